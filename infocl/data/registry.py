"""Data sets by name; a new one is one reader and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from infocl.data.embedded import READERS
from infocl.data.raw import RawSet, Request

Reader = Callable[[Request], RawSet]


def _reader(place: str, **fixed: Any) -> Reader:
    """A reader that is imported where it is called: no set waits for the libraries of the others."""

    def read(request: Request) -> RawSet:
        raw_set: RawSet = resolve_name(place)(request, **fixed)
        return raw_set

    return read


CATALOG: dict[str, Reader] = {
    **{name: _reader(place, **fixed) for name, (place, fixed) in READERS.items()},
    "cifar10": _reader("infocl.data.sets.arrays:load_cifar", name="cifar10"),
    "cifar100": _reader("infocl.data.sets.arrays:load_cifar", name="cifar100"),
    "stl10": _reader("infocl.data.sets.arrays:load_stl10"),
    "fashionmnist": _reader("infocl.data.sets.idx:load_idx", name="fashionmnist"),
    "mnist": _reader("infocl.data.sets.idx:load_idx", name="mnist"),
    "svhn": _reader("infocl.data.sets.arrays:load_svhn"),
    **{
        name: _reader("infocl.data.sets.emoji:load_emoji", name=name)
        for name in ("emoji", "emoji_tone", "emoji_category")
    },
    "imagenet": _reader("infocl.data.sets.imagenet:load_imagenet"),
    "dtd": _reader("infocl.data.sets.torchvision_sets:load_dtd"),
    "cub200": _reader("infocl.data.sets.cub:load_cub200"),
    "flowers102": _reader("infocl.data.sets.torchvision_sets:load_flowers102"),
    "gtsrb": _reader("infocl.data.sets.gtsrb:load_gtsrb"),
    "aircraft": _reader("infocl.data.sets.torchvision_sets:load_aircraft"),
    "eurosat": _reader("infocl.data.sets.torchvision_sets:load_eurosat"),
    "pets": _reader("infocl.data.sets.torchvision_sets:load_pets"),
    "food101": _reader("infocl.data.sets.torchvision_sets:load_food101"),
    "folder": _reader("infocl.data.folder.reader:load_folder"),
}
