"""Data sets by name; a new one is one reader and one line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from infocl.data.embedded import load_photo_pieces, load_plain_digits
from infocl.data.folder import load_folder
from infocl.data.named.arrays import load_cifar, load_stl10, load_svhn
from infocl.data.named.cub import load_cub200
from infocl.data.named.gtsrb import load_gtsrb
from infocl.data.named.idx import load_idx
from infocl.data.named.imagenet import load_imagenet
from infocl.data.named.torchvision_sets import (
    load_aircraft,
    load_dtd,
    load_eurosat,
    load_flowers102,
    load_food101,
    load_pets,
)
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
    "fashionmnist": partial(load_idx, name="fashionmnist"),
    "mnist": partial(load_idx, name="mnist"),
    "svhn": load_svhn,
    "imagenet": load_imagenet,
    "dtd": load_dtd,
    "cub200": load_cub200,
    "flowers102": load_flowers102,
    "gtsrb": load_gtsrb,
    "aircraft": load_aircraft,
    "eurosat": load_eurosat,
    "pets": load_pets,
    "food101": load_food101,
    "folder": load_folder,
}
