"""Small published sets in their genuine layouts: each image has a colour of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from infocl.data.sets import cub, gtsrb, torchvision_sets
from infocl.data.sets.torchvision_sets import Flowers102

NOWHERE = "http://127.0.0.1:9/"  # the discard port of this machine: refused at once
STEP = 32  # between colours, so that JPEG does not mix them up


class Painter:
    """Saves images and remembers what each shows: `shown[part][number]` is the class."""

    def __init__(self):
        self.shown = {"train": {}, "test": {}}
        self.count = 0

    def save(self, path, part, name):
        """Save an image of the next colour; not square, because published ones are not."""
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(STEP * (self.count // 8**power % 8) for power in range(3))
        Image.new("RGB", (15, 12), colour).save(path)
        self.shown[part][self.count] = name
        self.count += 1


def numbers_of(images):
    """Which image each of uint8 (N, S, S, 3) is."""
    digits = np.rint(images.mean((1, 2)) / STEP).astype(int)
    return (digits * [1, 8, 64]).sum(1).tolist()


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def write_dtd(raw, paint):
    """In split 1 the first two images of a class are trained on, in split 2 the last two."""
    root = raw / "dtd/dtd"
    for name in ("zigzagged", "banded"):
        files = [f"{name}/{name}_{number:04}.jpg" for number in (3, 1, 2)]
        for file, part in zip(files, ("train", "train", "test"), strict=True):
            paint.save(root / "images" / file, part, name)
        for number, order in ((1, (0, 1, 2)), (2, (1, 2, 0))):
            for split, row in zip(("train", "val", "test"), order, strict=True):
                listing = root / f"labels/{split}{number}.txt"
                listing.parent.mkdir(parents=True, exist_ok=True)
                with listing.open("a") as stream:
                    stream.write(f"{files[row]}\n")


def write_flowers102(raw, paint):
    root, names = raw / "flowers-102", Flowers102.classes
    parts = np.array(["tstid", "trnid", "valid"] * len(names))
    labels = np.arange(len(parts)) // 3 + 1
    for number, (split, label) in enumerate(zip(parts, labels, strict=True), 1):
        part = "test" if split == "tstid" else "train"
        paint.save(root / f"jpg/image_{number:05}.jpg", part, names[label - 1])
    ids = {split: np.flatnonzero(parts == split)[None] + 1 for split in ("trnid", "valid", "tstid")}
    savemat(root / "setid.mat", ids)
    savemat(root / "imagelabels.mat", {"labels": labels[None].astype(np.uint8)})


def write_aircraft(raw, paint):
    root, names = raw / "fgvc-aircraft-2013b/data", ["707-320", "F/A-18", "ERJ 135"]
    lines(root / "variants.txt", names)
    numbers = iter((12, 3, 45, 6, 78, 9))
    for split, part in (("trainval", "train"), ("test", "test")):
        rows = [(f"{next(numbers):07}", name) for name in reversed(names)]
        for number, name in rows:
            paint.save(root / f"images/{number}.jpg", part, name)
        lines(root / f"images_variant_{split}.txt", (f"{number} {name}" for number, name in rows))


def write_pets(raw, paint):
    root, names = raw / "oxford-iiit-pet", ["Abyssinian", "american_bulldog"]
    for split, part in (("trainval", "train"), ("test", "test")):
        rows = []
        for index, name in enumerate(names):
            for number in (1, 10) if split == "trainval" else (2,):
                paint.save(root / f"images/{name}_{number}.jpg", part, name.replace("_", " ").title())
                rows.append(f"{name}_{number} {index + 1} {index + 1} 1")
        lines(root / f"annotations/{split}.txt", rows)


def write_food101(raw, paint):
    root = raw / "food-101"
    for part in ("train", "test"):
        listing = {
            name: [f"{name}/{number}{part == 'test':d}" for number in (7, 3)] for name in ("waffles", "sushi")
        }
        for name, files in listing.items():
            for file in files:
                paint.save(root / f"images/{file}.jpg", part, name)
        lines(root / f"meta/{part}.json", [json.dumps(listing)])


def write_eurosat(raw, paint):
    for name in ("SeaLake", "Forest"):
        for number in range(1, 11):
            paint.save(raw / f"eurosat/2750/{name}/{name}_{number}.jpg", "train", name)


def write_gtsrb(raw, paint):
    root, rows = raw / "gtsrb", ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for index, name in enumerate(gtsrb.CLASSES):
        paint.save(root / f"GTSRB/Training/{index:05}/00000_00000.ppm", "train", name)
        lines(root / f"GTSRB/Training/{index:05}/GT-{index:05}.csv", rows)
    for number, index in enumerate(np.random.default_rng(0).permutation(len(gtsrb.CLASSES))):
        paint.save(root / f"GTSRB/Final_Test/Images/{number:05}.ppm", "test", gtsrb.CLASSES[index])
        rows.append(f"{number:05}.ppm;15;12;1;1;14;11;{index}")
    lines(root / "GT-final_test.csv", rows)


def write_cub200(raw, paint):
    root, images = raw / "CUB_200_2011", []
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "010.Red_winged_Blackbird"]
    for index, name in enumerate(names, 1):
        for number, training in ((5, 0), (2, 1), (3, 1)):
            file = f"{name}/{name[4:]}_{number:04}_7961.jpg"
            paint.save(root / "images" / file, "train" if training else "test", name[4:].replace("_", " "))
            images.append((file, index, training))
    lines(root / "classes.txt", (f"{index} {name}" for index, name in enumerate(names, 1)))
    for column, name in enumerate(("images", "image_class_labels", "train_test_split")):
        lines(root / f"{name}.txt", (f"{row} {one[column]}" for row, one in enumerate(images, 1)))


SETS = {  # how to write it, and where its reader says what is published
    "dtd": (write_dtd, torchvision_sets, "DTD_SET"),
    "flowers102": (write_flowers102, torchvision_sets, "FLOWERS_SET"),
    "aircraft": (write_aircraft, torchvision_sets, "AIRCRAFT_SET"),
    "pets": (write_pets, torchvision_sets, "PETS_SET"),
    "food101": (write_food101, torchvision_sets, "FOOD_SET"),
    "eurosat": (write_eurosat, torchvision_sets, "EUROSAT_SET"),
    "gtsrb": (write_gtsrb, gtsrb, "GTSRB_SET"),
    "cub200": (write_cub200, cub, "CUB_SET"),
}


def published(name):
    _, module, constant = SETS[name]
    return getattr(module, constant)


def republish(monkeypatch, name, **changes):
    _, module, constant = SETS[name]
    monkeypatch.setattr(module, constant, published(name)._replace(**changes))


def take_offline(monkeypatch):
    """No reader finds a server."""
    for name in SETS:
        remotes = [remote._replace(url=NOWHERE + remote.file) for remote in published(name).remotes]
        republish(monkeypatch, name, remotes=tuple(remotes))


def write(monkeypatch, name, raw):
    """Write a set, and let its reader expect as many images and the sums of its small files.

    Returns:
        Class by number of the image, by split.
    """
    paint = Painter()
    SETS[name][0](raw, paint)
    images = {part: len(numbers) for part, numbers in paint.shown.items()}
    republish(monkeypatch, name, images={None: 20} if name == "eurosat" else images)
    if name == "flowers102":
        sums = {
            key: (file, md5 if key == "image" else md5_of(raw / "flowers-102" / file))
            for key, (file, md5) in Flowers102._file_dict.items()
        }
        monkeypatch.setattr(Flowers102, "_file_dict", sums)
        remotes = [
            remote._replace(md5=sums[key][1])
            for key, remote in zip(sums, published(name).remotes, strict=True)
        ]
        republish(monkeypatch, name, remotes=tuple(remotes))
    return paint.shown


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def pack(monkeypatch, name, raw):
    """Turn a written set into its published archives, without what they unpack to."""
    remotes = []
    for remote in published(name).remotes:
        base, archive = raw / remote.base, raw / remote.base / remote.file
        if remote.file != remote.made:
            if archive.suffix == ".zip":
                top = remote.made.split("/")[0]
                holding = raw / "holding"
                (holding / remote.made).parent.mkdir(parents=True)
                (base / remote.made).replace(holding / remote.made)
                shutil.make_archive(str(archive.with_suffix("")), "zip", holding, top)
                shutil.rmtree(holding)
            else:
                with tarfile.open(archive, "w:gz") as tar:
                    tar.add(base / remote.made, remote.made)
                shutil.rmtree(base / remote.made)
            remote = remote._replace(md5=md5_of(archive))
        remotes.append(remote)
    republish(monkeypatch, name, remotes=tuple(remotes))
    return [Path(raw / remote.base / remote.file) for remote in remotes]
