"""Any folder of images: class subfolders, train/ and test/ with class subfolders, flat, or by a CSV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infocl.data.folder.layouts import Entry, find_entries, warn_of_links
from infocl.data.folder.near import report_near
from infocl.data.folder.survey import Rejected, Survey
from infocl.data.raw import RawSet, Request
from infocl.runtime.errors import UserError
from infocl.runtime.files import write_csv
from infocl.runtime.paths import REJECTED
from infocl.runtime.text import counted, named

LEAST_CLASSES = 2
DEPTHS = (8, 10, 12, 14)  # of cameras that save 16-bit files


def load_folder(request: Request, rejected: Path = REJECTED, watched: Path | None = None) -> RawSet:
    """The images under `data.root`, labelled by subfolder when there are subfolders, or by `data.folder.csv`.

    Files that are of no use are listed in `rejected`, and refused or skipped by `data.folder.on_bad`.
    Skipping gives what removing them would; a class of which nothing is left is left out as well.

    Args:
        request: of the data.
        rejected: where to list.
        watched: the folder that DVC watches, where it is not `data.root`.

    Raises:
        UserError: there is no such folder, it holds no images, its layout is unclear, or a file is of no
            use and to be refused.
    """
    root, params = Path(request.data.root), request.data.folder
    entries = find_entries(root, params.csv, params.label)
    warn_of_links(watched or root, root)
    survey = surveyed(request, root, entries, rejected)
    lost = _lost_classes(survey)
    survey.split(params.test_share, params.split_seed)
    return RawSet(
        classes=survey.classes(),
        source=f"folder {root.name}",
        licence=params.licence,
        source_sha256=survey.source_sha256(with_labels=bool(params.csv)),
        splits=survey.splits(),
        about={
            "decoder": survey.store.decoder,
            "rejected": survey.kinds(),
            **lost,
            **report_near(survey, rejected.with_name(rejected.name.replace("rejected", "near-duplicates"))),
        },
    )


def _lost_classes(survey: Survey) -> dict[str, Any]:
    """`about_lost` of a survey.

    Raises:
        UserError: fewer than two classes remain.
    """
    lost, left = survey.lost_classes(), survey.classes() or []
    if lost and len(left) < LEAST_CLASSES:
        raise UserError(
            f"{survey.root} has images of use in {counted(len(left), 'class', 'classes')} alone, and none of "
            f"{named(lost)}; a task needs two classes: add images"
        )
    return about_lost(lost, str(survey.root))


def about_lost(lost: list[str], where: str) -> dict[str, Any]:
    """Say which classes are left out, because all of their images are of no use.

    Returns:
        `lost_classes` for `meta.json`, where there are any.
    """
    if not lost:
        return {}
    classes = counted(len(lost), "class", "classes")
    print(f"{where}: {classes} left out for want of images of use: {named(lost)}", flush=True)
    return {"lost_classes": lost}


def surveyed(
    request: Request, root: Path, entries: Iterable[Entry], rejected: Path, *, labelled: bool = True
) -> Survey:
    """All files, looked at and judged, those of no use listed in `rejected`.

    Args:
        request: with the store and the limits.
        root: the folder.
        entries: its files.
        rejected: where to list.
        labelled: whether the labels of the entries are classes.

    Raises:
        UserError: a file is of no use and to be refused, or 16-bit files would come out dark.
    """
    if request.store is None:
        raise ValueError("a folder is read through a store of decoded images")
    params = request.data.folder
    survey = Survey(root, entries, request.store)
    survey.look()
    if params.bits == "auto" and (dark := dark_bits(survey)):
        raise UserError(dark)
    survey.judge(params)
    kinds = survey.kinds()
    write_rejected(survey, rejected)
    if kinds and params.on_bad == "refuse":
        lost = survey.lost_classes() if labelled else []
        raise UserError(_refusal(next(survey.rejected()), root, kinds, survey.files, rejected, lost))
    if kinds:
        print(
            f"{_counted(kinds)} of {survey.files} files in {root} left out, listed in {rejected}", flush=True
        )
    return survey


def dark_bits(survey: Survey) -> str | None:
    """What to say of 16-bit files that all use fewer bits and would come out dark; None otherwise."""
    peak = survey.peak()
    depth = next((bits for bits in DEPTHS if peak is not None and not peak >> bits), None)
    if depth is None:
        return None
    return (
        f"the 16-bit images in {survey.root} have no sample above {peak}, so they seem to use {depth} bits; "
        f"set data.folder.bits to {depth}, or to 16 if they are meant to be so dark"
    )


def write_rejected(survey: Survey, file: Path) -> None:
    """List every file of no use with what is wrong with it; no file where there is none."""
    file.unlink(missing_ok=True)
    if survey.kinds():
        rows = ((one.name, one.kind, one.reason) for one in survey.rejected())
        write_csv(file, ("path", "kind", "reason"), rows)


def _refusal(
    first: Rejected, root: Path, kinds: dict[str, int], files: int, listed: Path, lost: list[str]
) -> str:
    nothing_left = f", among them every one of class {', '.join(lost)}" if lost else ""
    return (
        f"{root / first.name} {first.reason}; {sum(kinds.values())} of {files} files are of no use "
        f"({_counted(kinds)}){nothing_left}, all listed in {listed}; "
        "replace or remove them, or set data.folder.on_bad to skip"
    )


def _counted(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
