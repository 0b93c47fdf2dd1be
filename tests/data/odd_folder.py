"""A folder of 500 files as people have them: odd ones of every kind among good ones."""

from __future__ import annotations

import csv

import numpy as np
from PIL import Image

from tests.workspace import digit_images

CLASSES = ["cats", "dogs", "owls"]
MODES = ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16"]
SUFFIXES = {"RGBA": "png", "LA": "png", "P": "gif", "1": "bmp", "CMYK": "tiff", "I;16": "png"}
# how many of each kind `fill_odd_folder` makes; the rest, to 500, are of use
BAD = {
    "broken": 30,
    "empty": 20,
    "tiny": 15,
    "near-constant": 25,
    "duplicate": 30,
    "conflicting labels": 20,
}
GOOD = 500 - sum(BAD.values())


def picture(number, mode="RGB"):
    """A real digit in a colour, a size and a mode of its own."""
    images, _ = digit_images(1, offset=number)
    side = 24 + 8 * (number % 7)
    image = Image.fromarray(images[0]).resize((side + 16 * (number % 3), side))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def fill_odd_folder(root):
    """Make the folder; where each bad file lies is its name, such as `dogs/broken 3.png`."""
    for number in range(GOOD):
        mode = MODES[number % len(MODES)]
        suffix = SUFFIXES.get(mode, ("jpg", "png", "webp")[number % 3])
        deep = ["2024/summer", ""][number % 2]  # nested folders below a class
        path = root / CLASSES[number % 3] / deep / f"{number:03}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        picture(number, mode).save(path, **({"exif": exif} if suffix in ("jpg", "webp") else {}))
    for kind, count in BAD.items():
        for number in range(count):
            _write_bad(root, kind, number)


def _write_bad(root, kind, number):
    path = root / CLASSES[number % 3] / f"{kind} {number}.png"
    if kind == "broken":
        whole = root / CLASSES[0] / "whole.png"
        picture(500 + number).save(whole)
        content = whole.read_bytes()
        whole.unlink()
        path.write_bytes([content[: len(content) // 2], b"not an image", b"\x89PNG\r\n\x1a\n"][number % 3])
    elif kind == "empty":
        path.touch()
    elif kind == "tiny":
        picture(600 + number).resize((4 + number % 4, 30)).save(path)
    elif kind == "near-constant":
        Image.new("RGB", (40, 40), (number, 10, 200)).save(path)
    elif kind == "conflicting labels":  # pairs, which neighbouring classes show in other bytes
        picture(700 + number // 2).save(path, compress_level=1 + number % 2)
    else:  # the file that comes first in order is the original: copies lie behind it, every second is longer
        original = next((root / CLASSES[number % 3]).rglob(f"{number:03}.*"))
        path.with_suffix(original.suffix).write_bytes(original.read_bytes() + bytes(number % 2))


def write_table(root, rows, columns=("path", "label", "split")):
    with (root / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
