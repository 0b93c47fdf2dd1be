"""Data sets by name; a new one is one reader and one line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from infocl.data.embedded import load_photo_pieces, load_plain_digits
from infocl.data.folder import load_folder
from infocl.data.named import load_cifar, load_fashionmnist, load_stl10
from infocl.data.raw import RawSet, Request
from infocl.data.scenes import ATTRIBUTES, load_attribute, load_scenes

CATALOG: dict[str, Callable[[Request], RawSet]] = {
    "scenes": load_scenes,
    **{name: partial(load_attribute, attribute=name) for name in ATTRIBUTES},
    "digits": load_plain_digits,
    "photos": load_photo_pieces,
    "cifar10": partial(load_cifar, name="cifar10"),
    "cifar100": partial(load_cifar, name="cifar100"),
    "stl10": load_stl10,
    "fashionmnist": load_fashionmnist,
    "folder": load_folder,
}
