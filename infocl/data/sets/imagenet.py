"""ImageNet (ILSVRC 2012): unpacked folders, or the archives as they are given out.

torchvision's class is not used, because it keeps the devkit's content in a file that `torch.load` must read.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from scipy.io import loadmat
from torchvision.datasets.imagenet import ARCHIVE_META
from torchvision.models import ResNet50_Weights

from infocl.data.folder.layouts import Entry, class_names, entries_below
from infocl.data.raw import RawSet, Request, missing
from infocl.data.sets.fetch import require_intact
from infocl.data.sets.pictures import Listing, Published, look_through
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing_folder
from infocl.runtime.progress import StepProgress

FOLDERS = {"train": "train", "test": "val"}  # by split; the test images have no published labels
NEEDS = {"train": ("train",), "val": ("val", "devkit")}  # archives by folder
CATEGORIES: list[str] = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]  # in the order of the WordNet ids
WNID = re.compile(r"n\d{8}")
UNPACKING = ".train.unpacking"
ABOUT = Published(
    "imagenet",
    (),
    {"train": 1_281_167, "test": 50_000},
    "ImageNet, ILSVRC 2012 (https://image-net.org), training and validation images",
    "non-commercial research and education only (terms of access of image-net.org)",
)


def load_imagenet(request: Request) -> RawSet:
    """ImageNet's 1,000 classes, or some of them; its validation images are the test split.

    The reference is Russakovsky et al. 2015. Folders are looked for in `imagenet` below the raw files and
    in their folder itself: `train` and `val` with a folder for each WordNet id. Where one is not there, it
    is unpacked from its archive, which takes as much disk again; one that was killed goes on.

    Raises:
        UserError: neither folders nor archives are there, or one of them is damaged.
    """
    root = _find(request.raw)
    for folder in NEEDS:
        if not (root / folder).is_dir():
            _unpack(root, folder)
    train, val = (class_names(root / folder) for folder in NEEDS)
    odd = next((name for name in train if not WNID.fullmatch(name)), None)
    if train != val or odd or not train:
        raise UserError(
            f"{root}/train and {root}/val must have the same folders, one for each WordNet id such as "
            f"n01440764{f', not {odd}' if odd else ''}; sort the images into them"
        )
    if len(train) == len(CATEGORIES):
        about, classes = ABOUT, [f"{wnid} {name}" for wnid, name in zip(train, CATEGORIES, strict=True)]
    else:
        classes = train
        source = f"{ABOUT.source}, {len(train)} of the {len(CATEGORIES):,} classes"
        about = ABOUT._replace(images={}, source=source)
    return look_through(request, about, Listing(root, _entries(root, train), classes))


def _entries(root: Path, wnids: list[str]) -> Iterator[Entry]:
    for part, folder in FOLDERS.items():
        yield from entries_below(root, root / folder, wnids, part)


def _find(raw: Path) -> Path:
    """The folder that holds ImageNet; the one to put it into where none does."""
    names = [*NEEDS, UNPACKING, *(file for file, _ in ARCHIVE_META.values())]
    places = [raw / "imagenet", raw]
    return next((place for place in places if any((place / name).exists() for name in names)), places[0])


def _unpack(root: Path, folder: str) -> None:
    archives = [ARCHIVE_META[name] for name in NEEDS[folder]]
    if not all((root / file).exists() for file, _ in archives):
        wanted = " and ".join(f"{file} (MD5 {md5})" for file, md5 in archives)
        raise missing(
            "imagenet",
            root,
            [f"the folder {folder} with a folder for each WordNet id, or {wanted}"],
            "image-net.org gives it out to registered users only",
        )
    for file, md5 in archives:
        require_intact(root / file, md5)
    files = [root / file for file, _ in archives]
    if folder == "train":
        _unpack_train(root, *files)
    else:
        _unpack_val(root, *files)


def _unpack_train(root: Path, archive: Path) -> None:
    """Unpack the archive of one archive for each class, class by class."""
    with tarfile.open(archive, "r:") as outer:
        members = outer.getmembers()
        with StepProgress("unpacking classes", len(members), done=0, line_every=100) as progress:
            for member in members:
                place = root / UNPACKING / Path(member.name).stem
                if not place.exists():
                    with (
                        replacing_folder(place) as into,
                        tarfile.open(fileobj=outer.extractfile(member), mode="r:") as inner,
                    ):
                        inner.extractall(into, filter="data")
                progress.advance()
    (root / UNPACKING).replace(root / "train")


def _unpack_val(root: Path, archive: Path, devkit: Path) -> None:
    """Unpack the validation images, sorted into folders by the devkit's labels."""
    wnids = _validation_wnids(devkit)
    with tarfile.open(archive, "r:") as tar, replacing_folder(root / "val") as into:
        members = sorted((member for member in tar if member.isfile()), key=lambda member: member.name)
        if len(members) != len(wnids):
            raise UserError(f"{archive} holds {len(members)} images, but {devkit} {len(wnids)} labels")
        for member, wnid in zip(members, wnids, strict=True):
            member.name = f"{wnid}/{Path(member.name).name}"
            tar.extract(member, into, filter="data")


def _validation_wnids(devkit: Path) -> list[str]:
    """The WordNet id of each validation image, in the order of their names."""
    with tarfile.open(devkit, "r:gz") as tar:
        meta, truth = (
            _content(tar, f"ILSVRC2012_devkit_t12/data/{name}")
            for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
        )
    synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    return [wnids[int(line)] for line in truth.split()]


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name) if name in tar.getnames() else None
    if stream is None:
        raise UserError(f"{tar.name!r} holds no file {name}; replace it")
    return stream.read()
