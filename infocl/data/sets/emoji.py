"""Google's emoji, from the npm package that holds them: colour against shape on the same pictures.

A picture of a person or a hand comes in six skin tones, which lie in the colour; what it shows, its
subcategory, lies mostly in the shape. Which tone a picture has is independent of what it shows, since each
comes in all six.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from infocl.data.raw import Images, RawSet, RawSplit, Request, resized, sha256_files
from infocl.data.sets.fetch import require_intact
from infocl.runtime.errors import UserError

PACKAGE = "emoji-datasource-google@16.0.0"
FILE = "emoji-datasource-google-16.0.0.tgz"
MD5 = "afdb2b1eb6e038ffd8c59dd6f654720f"
SIDE = 64  # px, of the pictures that are taken
GROUND = 128  # grey level behind what is transparent
TONES = {
    "": "yellow",
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
LEAST = 6  # emoji of a class, below which it is left out
TEST_SHARE, SPLIT_SEED = 0.2, 0  # of the emoji of each subcategory
LIMITS = "Emoji are drawings: results on them are no finding about natural images."
ASKS = {
    "emoji": ("what the emoji shows", False),
    "emoji_tone": ("the skin tone of the emoji", True),
    "emoji_category": ("the category of the emoji, untoned", False),
}


class Picture(NamedTuple):
    """One picture: its emoji without tone, its file's name, its tone, and the emoji's classes."""

    base: str
    file: str
    tone: str
    category: str
    subcategory: str
    toned: bool  # whether its emoji comes in all tones


def load_emoji(request: Request, name: str = "emoji") -> RawSet:
    """The emoji, split by emoji and never by picture, so that no tone of a test emoji is trained on.

    Args:
        request: where the package's file lies.
        name: `emoji` (subcategories of those with tones; pretraining sees all pictures but the test emoji's),
            `emoji_tone` (the tones, same pictures) or `emoji_category` (categories, one picture an emoji).

    Raises:
        UserError: the package is not there, or damaged.
    """
    path = request.raw / FILE
    if not path.exists():
        raise UserError(
            f"data set {name} is not in {request.raw}; run there: npm pack {PACKAGE}, or set data.root (of a "
            f"target: transfer.root) or INFOCL_DATA to the folder that holds {FILE}"
        )
    require_intact(path, MD5)
    listed, pixels = _read(path)
    pictures = [picture for picture in _pictures(listed) if picture.file in pixels]
    tests = _test_emoji(pictures)
    judged = _judged(name, pictures)
    labels = {picture: _label(name, picture) for picture in judged}
    classes = list(TONES.values()) if name == "emoji_tone" else sorted(set(labels.values()))
    parts = {"train": [one for one in judged if one.base not in tests]}
    parts["test"] = [one for one in judged if one.base in tests]
    splits = {
        part: RawSplit(_stacked(chosen, pixels), np.array([classes.index(labels[one]) for one in chosen]))
        for part, chosen in parts.items()
    }
    if name == "emoji":
        seen = [picture for picture in pictures if picture.base not in tests]
        splits["pretrain"] = RawSplit(_stacked(seen, pixels), None)
    asks, by_views = ASKS[name]
    return RawSet(
        classes,
        f"{PACKAGE} (npm), images by Google (Noto Emoji)",
        "Apache-2.0",
        sha256_files([path]),
        resized(splits, request.data.image_size),
        images_in="emoji" if name == "emoji_tone" else None,
        about={"task": {"asks": asks, "changed_by_views": by_views, "limits": LIMITS}},
    )


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Images]]:
    """The package's list of emoji, and the pictures by name, (SIDE, SIDE, 3), on the ground."""
    listed, pixels = [], {}
    with tarfile.open(path) as archive:
        for member in archive:
            folder, _, file = member.name.removeprefix("package/").rpartition("/")
            if (folder, file) == ("", "emoji.json"):
                listed = json.load(archive.extractfile(member))  # type: ignore[arg-type]
            elif folder == f"img/google/{SIDE}":
                with Image.open(archive.extractfile(member)) as image:  # type: ignore[arg-type]
                    rgba = image.convert("RGBA")
                ground = Image.new("RGBA", rgba.size, (GROUND, GROUND, GROUND, 255))
                pixels[file] = np.asarray(Image.alpha_composite(ground, rgba).convert("RGB"))
    return listed, pixels


def _pictures(listed: Sequence[Mapping[str, Any]]) -> Iterator[Picture]:
    """Every emoji untoned, and those of people in each tone; pairs of people of two tones are left out."""
    for emoji in sorted(listed, key=lambda emoji: str(emoji["unified"])):
        variations = emoji.get("skin_variations") or {}
        about = emoji["unified"], emoji["category"], emoji["subcategory"]
        files = {"": emoji["image"]} | {
            tone: found["image"] for tone, found in variations.items() if tone in TONES
        }
        for tone, file in files.items():
            yield Picture(about[0], file, tone, *about[1:], toned=len(files) == len(TONES))


def _test_emoji(pictures: Sequence[Picture]) -> set[str]:
    """A fixed share of the emoji of each subcategory."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        if not picture.tone:
            by_kind[picture.subcategory].append(picture.base)
    generator = np.random.default_rng(SPLIT_SEED)
    shuffled = (generator.permutation(by_kind[kind]) for kind in sorted(by_kind))
    return {str(base) for bases in shuffled for base in bases[: round(TEST_SHARE * len(bases))]}


def _judged(name: str, pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures of a task, without classes of few emoji."""
    if name == "emoji_category":
        chosen = [picture for picture in pictures if not picture.tone]
        emoji = Counter(picture.category for picture in chosen)
        return [picture for picture in chosen if emoji[picture.category] >= LEAST]
    chosen = [picture for picture in pictures if picture.toned]
    emoji = Counter(picture.subcategory for picture in chosen if not picture.tone)
    return [picture for picture in chosen if emoji[picture.subcategory] >= LEAST]


def _label(name: str, picture: Picture) -> str:
    if name == "emoji_tone":
        return TONES[picture.tone]
    return picture.category if name == "emoji_category" else picture.subcategory


def _stacked(pictures: Sequence[Picture], pixels: Mapping[str, Images]) -> Images:
    return np.stack([pixels[picture.file] for picture in pictures])
