"""A look at a folder of images before it is prepared: what there is, what would be made, what looks wrong."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from infocl.config import DataParams
from infocl.data.decoding import FORMATS, read_image
from infocl.data.folder.layouts import PARTS, find_entries, readable
from infocl.data.folder.near import report_near
from infocl.data.folder.reader import dark_bits, write_rejected
from infocl.data.folder.survey import Survey
from infocl.data.store import PixelStore
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing
from infocl.runtime.text import counted, file_size

SHEET, LIST, NEAR = "contact-sheet.png", "rejected.csv", "near-duplicates.csv"
ROWS = 24  # classes named, and rows of the contact sheet
TILE, COLUMNS, MARGIN, LABEL = 72, 12, 4, 170  # px, images in a row, px, px
LARGE, MANY = 4, 0.1  # times data.image_size, and the share of images, that are worth a hint
IMBALANCE = 10  # times more images in the largest class than in the smallest are worth a word


def print_images_diagnosis(data: DataParams, root: Path, out: Path) -> int:
    """Print what preparation would make of the images below `root`, and write a contact sheet.

    Args:
        data: the size, the limits and the split are those of params.yaml.
        root: the folder.
        out: folder for the contact sheet and for the list of files of no use.

    Returns:
        How many images would be trained on; 0 where they cannot be split.

    Raises:
        UserError: there is no such folder, it holds no images, or its layout is unclear.
    """
    with (
        tempfile.TemporaryDirectory() as temporary,
        PixelStore(
            Path(temporary) / "store",
            data.image_size,
            crop=data.crop,
            bits=data.folder.bits,
            background=data.background,
            keep_pixels=True,
        ) as store,
    ):
        _print_refused_by_dvc(root)
        for what, names in _left_aside(root):
            if names:
                print(f"{'Left aside':<12} {len(names):,} {what}: {', '.join(names[:3])}")
        survey = Survey(root, find_entries(root, data.folder.csv, data.folder.label), store)
        survey.look()
        survey.judge(data.folder)
        for topic, text in _findings(survey, data, out):
            print(f"{topic:<12} {text}")
        _write_sheet(out / SHEET, survey)
        write_rejected(survey, out / LIST)
        print(f"{'Sheet':<12} {out / SHEET}")
        return sum(survey.counts("train").values())


def _print_refused_by_dvc(root: Path) -> None:
    """Name what DVC cannot hash; other files than images count, since it hashes all below data.root."""
    found = list(_refused_by_dvc(root))
    for line in found[:ROWS]:
        print(f"{'DVC':<12} stops at {line}")
    if len(found) > ROWS:
        print(f"{'DVC':<12} stops at {len(found) - ROWS:,} more")


def _refused_by_dvc(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = Path(folder, name)
            shown = readable(str(path.relative_to(root)))
            if readable(name) != name:
                yield f"{shown}, whose name is not UTF-8; rename it"
            elif name in files and not path.exists():
                yield f"{shown}, a link to nothing; remove it, or put back what it points to"


def _findings(survey: Survey, data: DataParams, out: Path) -> Iterator[tuple[str, str]]:
    kinds, files = survey.kinds(), survey.files
    of_use = files - sum(kinds.values())
    yield "Images", f"{counted(files, 'file')} in {survey.root}, {of_use:,} of use"
    yield "Sizes", _sizes(survey)
    if data.folder.bits == "auto" and (dark := dark_bits(survey)):
        yield "Dark", f"preparation stops: {dark}"
    yield from _rejections(survey, data, out)
    try:
        survey.split(data.folder.test_share, data.folder.split_seed)
    except UserError as error:
        yield "Split", f"not possible: {error}"
        return
    yield from _classes(survey)
    yield from _hints(survey, data)
    near = report_near(survey, out / NEAR)["near_duplicates"]
    yield "Near", f"{counted(near, 'test image')} nearly equal to a training image"
    total = 3 * data.image_size**2 * of_use
    yield (
        "Prepared",
        f"{of_use:,} images of {data.image_size} px take {file_size(total)} in data/prepared, and as "
        "much again while they are prepared",
    )


def _hints(survey: Survey, data: DataParams) -> Iterator[tuple[str, str]]:
    """What the sizes of the files suggest to set otherwise."""
    query = "SELECT count(*), sum(max(width, height) > 2 * min(width, height)) FROM facts"
    files, long = survey.database.execute(query).fetchone()
    side = "SELECT min(width, height) FROM facts ORDER BY 1 LIMIT 1 OFFSET ?"
    (middle,) = survey.database.execute(side, (files // 2,)).fetchone()
    if middle >= LARGE * data.image_size:
        yield (
            "Size",
            f"half of the images are at least {middle} px high and wide, and are shrunk to "
            f"{data.image_size}; a larger data.image_size keeps what is small in them",
        )
    if long >= MANY * files:
        yield (
            "Shape",
            f"{long:,} of {files:,} images are more than twice as long as wide, or the reverse; data.crop "
            f"{data.crop} {'cuts off their ends' if data.crop == 'center' else 'squashes them'}",
        )


def _left_aside(root: Path) -> Iterator[tuple[str, list[str]]]:
    """What is not looked at though it may be meant: linked folders, and images without extension."""
    linked, bare = list[str](), list[str]()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = (Path(folder, name) for name in folders if Path(folder) != root)  # not those of classes
        linked += [readable(str(path.relative_to(root))) for path in links if path.is_symlink()]
        found = (Path(folder, name) for name in files if not Path(name).suffix and not name.startswith("."))
        bare += [readable(str(path.relative_to(root))) for path in found if _is_picture(path)]
    yield "linked folders, which are not entered; put the files there, or link the files", sorted(linked)
    yield "images without an extension; give them one", sorted(bare)


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (OSError, ValueError, SyntaxError):
        return False


def _sizes(survey: Survey) -> str:
    query = "SELECT width, height FROM facts ORDER BY width * height, width LIMIT 1 OFFSET ?"
    (count,) = survey.database.execute("SELECT count(*) FROM facts").fetchone()
    found = [survey.database.execute(query, (at,)).fetchone() for at in (0, count // 2, max(count - 1, 0))]
    if not all(found):
        return "no file can be read"
    low, middle, high = (f"{width} x {height}" for width, height in found)
    return f"from {low} px to {high} px, half of them up to {middle} px"


def _rejections(survey: Survey, data: DataParams, out: Path) -> Iterator[tuple[str, str]]:
    kinds = survey.kinds()
    for kind, count in kinds.items():
        first = next(one for one in survey.rejected() if one.kind == kind)
        yield "Of no use", f"{count:,} {kind}, such as {first.name}, which {first.reason}"
    if kinds:
        does = "stops at them" if data.folder.on_bad == "refuse" else "leaves them out"
        if lost := survey.lost_classes():
            yield "Of no use", f"every image of class {', '.join(lost)}; skipping leaves the class out"
        yield "Of no use", f"all are listed in {out / LIST}; preparation {does} (data.folder.on_bad)"


def _classes(survey: Survey) -> Iterator[tuple[str, str]]:
    parts = {part: survey.counts(part) for part in PARTS}
    sums = [f"{sum(counts.values()):,} {part}" for part, counts in parts.items()]
    yield "Split", " and ".join(sums)
    classes = survey.classes()
    if classes is None:
        yield "Classes", "none: without labels the probe is left out"
        return
    for name in classes[:ROWS]:
        yield "Class", f"{name}: {' and '.join(f'{counts[name]:,} {part}' for part, counts in parts.items())}"
    if len(classes) > ROWS:
        yield "Class", f"and {len(classes) - ROWS:,} more"
    totals = {name: sum(counts[name] for counts in parts.values()) for name in classes}
    largest, smallest = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    if totals[largest] >= IMBALANCE * totals[smallest]:
        yield (
            "Imbalance",
            f"{largest} has {totals[largest]:,} images, {smallest} {totals[smallest]:,}: accuracy will speak "
            "mostly of the large classes",
        )


def _write_sheet(path: Path, survey: Survey) -> None:
    """Rows of evenly spread images: one row per class, and one per kind of file of no use."""
    rows = list(_sheet_rows(survey))[:ROWS]
    sheet = Image.new("RGB", (LABEL + COLUMNS * (TILE + MARGIN), len(rows) * (TILE + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, names) in enumerate(rows):
        top = row * (TILE + MARGIN)
        draw.text((MARGIN, top + TILE // 2 - 6), label[:26], fill="black")
        for column, name in enumerate(names):
            tile = Image.fromarray(read_image(survey.root / name, TILE))
            sheet.paste(tile, (LABEL + column * (TILE + MARGIN), top))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def _sheet_rows(survey: Survey) -> Iterator[tuple[str, list[str]]]:
    shown = "tiny", "near-constant", "duplicate", "conflicting labels", "in both splits"
    for kind in survey.kinds():
        if kind in shown:
            yield kind, survey.sample(kind, None, COLUMNS)
    for name in survey.classes() or [""]:
        yield name or "images", survey.sample(None, name or None, COLUMNS)
