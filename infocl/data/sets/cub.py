"""CUB-200-2011, birds, which torchvision does not have."""

from __future__ import annotations

from pathlib import Path

from infocl.data.folder.layouts import Entry
from infocl.data.raw import RawSet, Request
from infocl.data.sets.fetch import Remote
from infocl.data.sets.pictures import Listing, Published, label, load_pictures

CUB_SET = Published(
    "cub200",
    (
        Remote(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            "97eceeb196236b17998738112f37df78",
            "CUB_200_2011",
        ),
    ),
    {"train": 5_994, "test": 5_794},
    "Caltech-UCSD Birds-200-2011 (https://www.vision.caltech.edu/datasets/cub_200_2011), official split",
    "non-commercial research and education only",
)


def load_cub200(request: Request) -> RawSet:
    """CUB-200-2011, 200 species, official split (Wah et al. 2011)."""
    return load_pictures(request, CUB_SET, lambda raw: _read(CUB_SET.remotes[0].place(raw)))


def _read(root: Path) -> Listing:
    classes = _table(root / "classes.txt")
    numbers = {number: index for index, number in enumerate(classes)}
    files, labels, training = (
        _table(root / name) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    if not files.keys() == labels.keys() == training.keys():
        raise ValueError("images.txt, image_class_labels.txt and train_test_split.txt number other images")
    entries = [
        Entry(f"images/{file}", "train" if training[one] == "1" else "test", label(numbers[labels[one]]))
        for one, file in files.items()
    ]
    names = [name.partition(".")[2].replace("_", " ") for name in classes.values()]
    return Listing(root, entries, names)


def _table(file: Path) -> dict[str, str]:
    """Lines of a number and a value, in order."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {number: value for number, _, value in (line.partition(" ") for line in lines) if value}
