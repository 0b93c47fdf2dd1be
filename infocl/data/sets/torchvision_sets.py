"""Published sets of image files as torchvision has them: DTD, Flowers-102, Aircraft, Pets, Food-101, EuroSAT.

torchvision's classes parse the published lists, here without downloading and without decoding a single image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from torchvision.datasets import DTD, FGVCAircraft, Flowers102, Food101, OxfordIIITPet

from infocl.data.folder.layouts import class_names, entries_below
from infocl.data.raw import RawSet, Request
from infocl.data.sets.fetch import Remote, require_intact
from infocl.data.sets.pictures import SPLIT_SEED, TEST_SHARE, Listing, Published, listed, load_pictures

RESEARCH = "unknown (published for research)"

DTD_SET = Published(
    "dtd",
    (Remote(DTD._URL, DTD._MD5, "dtd", "dtd"),),
    {"train": 3_760, "test": 1_880},
    "Describable Textures Dataset r1.0.1 (https://www.robots.ox.ac.uk/~vgg/data/dtd)",
    RESEARCH,
)
FLOWERS_SET = Published(
    "flowers102",
    tuple(
        Remote(Flowers102._download_url_prefix + file, md5, made or file, "flowers-102")
        for (file, md5), made in zip(Flowers102._file_dict.values(), ("jpg", "", ""), strict=True)
    ),
    {"train": 2_040, "test": 6_149},
    "Oxford 102 Flowers (https://www.robots.ox.ac.uk/~vgg/data/flowers/102), official train + val, and test",
    RESEARCH,
)
AIRCRAFT_SET = Published(
    "aircraft",
    # torchvision names no MD5; this is the one that the data set's page links to.
    (Remote(FGVCAircraft._URL, "d4acdd33327262359767eeaa97a4f732", "fgvc-aircraft-2013b"),),
    {"train": 6_667, "test": 3_333},
    "FGVC-Aircraft 2013b (https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft), variants, trainval and test",
    "non-commercial research only",
)
PETS_SET = Published(
    "pets",
    tuple(
        Remote(url, md5, made, "oxford-iiit-pet")
        for (url, md5), made in zip(OxfordIIITPet._RESOURCES, ("images", "annotations"), strict=True)
    ),
    {"train": 3_680, "test": 3_669},
    "Oxford-IIIT Pet (https://www.robots.ox.ac.uk/~vgg/data/pets), breeds, trainval and test",
    "CC-BY-SA-4.0",
)
FOOD_SET = Published(
    "food101",
    (Remote(Food101._URL, Food101._MD5, "food-101"),),
    {"train": 75_750, "test": 25_250},
    "Food-101 (https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101)",
    "unknown (published for scientific fair use)",
)
EUROSAT_SET = Published(
    "eurosat",
    (
        Remote(
            "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"
            "EuroSAT.zip",
            "c8fa014336c82ac7804f0398fcb19387",
            "2750",
            "eurosat",
        ),
    ),
    {None: 27_000},
    "EuroSAT RGB (https://github.com/phelber/EuroSAT), which has no official split: "
    f"{100 * TEST_SHARE:g} % of each class held out by seed {SPLIT_SEED}",
    "MIT",
)


def load_dtd(request: Request) -> RawSet:
    """DTD, 47 textures (Cimpoi et al. 2014), the official split `data.dtd.split`: train + val, and test."""
    split = request.data.dtd.split
    about = DTD_SET._replace(source=f"{DTD_SET.source}, official split {split} of 10: train + val, and test")
    return _official(request, about, partial(DTD, partition=split), "dtd/dtd", ("train", "val"))


def load_flowers102(request: Request) -> RawSet:
    """Flowers-102 by its official split (Nilsback, Zisserman 2008).

    Training and validation images are trained on together, 2,040 in all, as in linear evaluation since
    Kornblith, Shlens, Le (CVPR 2019).
    """
    return _official(request, FLOWERS_SET, Flowers102, "flowers-102", ("train", "val"))


def load_aircraft(request: Request) -> RawSet:
    """FGVC-Aircraft, 100 variants, trainval and test (Maji et al. 2013)."""
    return _official(request, AIRCRAFT_SET, FGVCAircraft, "fgvc-aircraft-2013b", ("trainval",))


def load_pets(request: Request) -> RawSet:
    """Oxford-IIIT Pet, 37 breeds, trainval and test (Parkhi et al. 2012)."""
    return _official(request, PETS_SET, OxfordIIITPet, "oxford-iiit-pet", ("trainval",), "_images")


def load_food101(request: Request) -> RawSet:
    """Food-101, train and test (Bossard, Guillaumin, Van Gool 2014)."""
    return _official(request, FOOD_SET, Food101, "food-101", ("train",))


def load_eurosat(request: Request) -> RawSet:
    """EuroSAT RGB, 10 kinds of land use, 64 px (Helber et al. 2019).

    It has no official split; as there, a fifth is held out, here of each class and by a fixed seed.
    """

    def read(raw: Path) -> Listing:
        folder = EUROSAT_SET.remotes[0].place(raw)
        classes = class_names(folder)
        return Listing(folder, entries_below(folder, folder, classes, None), classes)

    return load_pictures(request, EUROSAT_SET, read)


def _official(
    request: Request,
    about: Published,
    kind: Callable[..., Any],
    folder: str,
    train: Sequence[str],
    files: str = "_image_files",
) -> RawSet:
    """A set by its official splits, whose lists of files and labels torchvision's class `kind` keeps.

    Args:
        request: of the data.
        about: the set.
        kind: of torchvision, called with the folder of raw files and the name of a split.
        folder: of the set below the raw files.
        train: its splits that are trained on; `test` is judged on.
        files: the attribute that holds the list of files.
    """

    def read(raw: Path) -> Listing:
        for remote in about.remotes:
            if remote.file == remote.made:
                require_intact(remote.place(raw), remote.md5)
        sets = [("train", kind(raw, split)) for split in train] + [("test", kind(raw, "test"))]
        classes = sets[0][1].classes
        if any(one.classes != classes for _, one in sets):
            raise ValueError("the splits have different classes")
        root = raw / folder
        entries = [listed(root, part, getattr(one, files), one._labels) for part, one in sets]
        return Listing(root, chain.from_iterable(entries), list(classes))

    return load_pictures(request, about, read)
