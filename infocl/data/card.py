"""The data card: what a prepared data set is, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.data.raw import RawSet

CARD_FILE = "README.md"
CROPS = {"center": "resized, centre kept", "squash": "resized as a whole, whatever the shape"}
CLASSES = 50  # named in the card; the rest are counted


def render_data_card(meta: Mapping[str, Any], raw_set: RawSet) -> str:
    """The card as Markdown.

    Args:
        meta: the content of `meta.json`.
        raw_set: what it was made from.
    """
    size = meta["image_size"]
    lines = [
        f"# Data set {meta['name']}",
        "",
        f"- Source: {meta['source']}",
        f"- Licence: {meta['licence']}",
        f"- SHA-256 of the source: `{meta['source_sha256']}`",
        f"- Images: {size} x {size} px, RGB, uint8",
        f"- Channels in 0..1: means {_numbers(meta['mean'])}; deviations {_numbers(meta['std'])}",
        *([f"- Images lie in `../{meta['images_in']}`, whose labels these are"] if meta["images_in"] else []),
        *([f"- Decoded by {meta['decoder']}; {CROPS[meta['crop']]}"] if "decoder" in meta else []),
        *_left_out(meta),
        "",
        "| split | images | bytes | labels | SHA-256 of the images |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {about['images']:,} | {3 * size * size * about['images']:,} "
            f"| {'yes' if about['labelled'] else 'none'} | `{about['images_sha256']}` |"
            for name, about in meta["splits"].items()
        ),
        *_classes(raw_set),
    ]
    return "\n".join(lines) + "\n"


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _left_out(meta: Mapping[str, Any]) -> Iterator[str]:
    if (rejected := meta.get("rejected")) is not None:
        listed = ", ".join(f"{count:,} {kind}" for kind, count in rejected.items())
        yield f"- Files left out: {listed or 'none'}"
    if lost := meta.get("lost_classes"):
        yield f"- Classes left out for want of images of use: {', '.join(lost)}"
    if near := meta.get("near_duplicates"):
        yield f"- Test images nearly equal to a training image: {near:,}"


def _classes(raw_set: RawSet) -> list[str]:
    labels = {part: split.labels for part, split in raw_set.splits.items() if split.labels is not None}
    if not raw_set.classes:
        return (
            ["", *(f"- Numbers in {part}: {_spread(numbers)}" for part, numbers in labels.items())]
            if labels
            else []
        )
    names = raw_set.classes
    counts = {
        part: found.sum(axis=0) if found.ndim == 2 else np.bincount(found, minlength=len(names))
        for part, found in labels.items()
    }
    rows = [
        f"| {name} | {' | '.join(f'{count[row]:,}' for count in counts.values())} |"
        for row, name in enumerate(names[:CLASSES])
    ]
    more = [f"\nand {len(names) - CLASSES:,} more classes."] if len(names) > CLASSES else []
    return ["", f"| class | {' | '.join(counts)} |", f"|---|{'---|' * len(counts)}", *rows, *more]


def _spread(numbers: npt.NDArray[Any]) -> str:
    low, high, mean, std = numbers.min(), numbers.max(), numbers.mean(), numbers.std()
    return f"from {low:g} to {high:g}, mean {mean:g}, standard deviation {std:g}"
