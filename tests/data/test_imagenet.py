"""ImageNet from unpacked folders and from its archives, on small ones in the genuine layout."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from infocl.data.raw import Request
from infocl.data.registry import CATALOG
from infocl.data.sets import imagenet
from infocl.data.store import PixelStore
from infocl.runtime.errors import UserError, guarded
from tests.data.layouts import Painter, md5_of, numbers_of
from tests.workspace import tiny_params

WNIDS = ["n01440764", "n01443537", "n02105855"]
NAMES = {"n01440764": "tench", "n01443537": "goldfish", "n02105855": "Shetland sheepdog"}
FILES = {key: file for key, (file, _) in imagenet.ARCHIVE_META.items()}


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(pickle, "Unpickler", None)
    monkeypatch.setattr("torch.load", None)


@pytest.fixture
def all_classes(monkeypatch):
    """As if ImageNet had three classes, of two training images and one validation image each."""
    monkeypatch.setattr(imagenet, "CATEGORIES", list(NAMES.values()))
    monkeypatch.setattr(imagenet, "ABOUT", imagenet.ABOUT._replace(images={"train": 6, "test": 3}))


def write(root):
    """Unpacked folders; what each image shows."""
    paint = Painter()
    for wnid in WNIDS:
        for number in (10, 9):
            paint.save(root / f"train/{wnid}/{wnid}_{number}.JPEG", "train", wnid)
    for number, wnid in enumerate(reversed(WNIDS), 1):
        paint.save(root / f"val/{wnid}/ILSVRC2012_val_{number:08}.JPEG", "test", wnid)
    return paint.shown


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_train(archive, folder):
    with tarfile.open(archive, "w") as outer:
        for wnid in WNIDS:
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for path in sorted((folder / wnid).iterdir()):
                    tar.add(path, path.name)
            add(outer, f"{wnid}.tar", inner.getvalue())


def write_val(archive, folder):
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.rglob("*.JPEG"), key=lambda path: path.name):
            tar.add(path, path.name)


def write_devkit(archive):
    """The numbers of the classes are not in the order of their WordNet ids, and inner synsets come last."""
    kinds = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    numbers = {"n02105855": 1, "n01440764": 2, "n01443537": 3, "n00001740": 4}
    synsets = [
        (number, wnid, NAMES.get(wnid, "entity"), "", wnid not in NAMES) for wnid, number in numbers.items()
    ]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(synsets, dtype=kinds)[:, None]})
    truth = "".join(f"{numbers[wnid]}\n" for wnid in reversed(WNIDS))
    with tarfile.open(archive, "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth.encode())


def write_archives(root, monkeypatch):
    """The three archives, with their sums; what each image shows."""
    shown = write(root / "made")
    write_train(root / FILES["train"], root / "made/train")
    write_val(root / FILES["val"], root / "made/val")
    write_devkit(root / FILES["devkit"])
    monkeypatch.setattr(
        imagenet, "ARCHIVE_META", {key: (file, md5_of(root / file)) for key, file in FILES.items()}
    )
    return shown


def load(raw):
    """What each split shows by WordNet id, and the set."""
    with PixelStore(raw.parent / "store", 32) as store:
        read = CATALOG["imagenet"](Request(tiny_params().data, raw, store))
        shown = {
            part: {
                number: read.classes[label].split()[0]
                for number, label in zip(numbers_of(split.images[:]), split.labels, strict=True)
            }
            for part, split in read.splits.items()
        }
    return shown, read


@pytest.mark.parametrize("inside", ["", "imagenet"])
def test_unpacked_folders(tmp_path, all_classes, inside):
    written = write(tmp_path / "raw" / inside)
    shown, read = load(tmp_path / "raw")
    assert shown == written
    assert read.classes == ["n01440764 tench", "n01443537 goldfish", "n02105855 Shetland sheepdog"]
    assert "non-commercial" in read.licence


def test_archives_are_unpacked_once(tmp_path, all_classes, monkeypatch):
    raw = tmp_path / "raw"
    written = write_archives(raw, monkeypatch)
    assert load(raw)[0] == written
    assert sorted(path.name for path in (raw / "val").iterdir()) == WNIDS
    for file in FILES.values():
        (raw / file).unlink()
    assert load(raw)[0] == written
    assert {path.name for path in raw.iterdir()} == {"made", "train", "val"}


def test_unpacking_that_was_killed_goes_on(tmp_path, all_classes, monkeypatch):
    raw = tmp_path / "raw"
    written = write_archives(raw, monkeypatch)
    opened, whole = [], tarfile.open

    def killed_at_the_third(*args, **given):
        if "fileobj" in given:
            opened.append(1)
            if len(opened) == 3:
                raise KeyboardInterrupt
        return whole(*args, **given)

    monkeypatch.setattr(tarfile, "open", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        load(raw)
    assert not (raw / "train").exists()
    assert load(raw)[0] == written
    assert len(opened) == 4, "two classes are not unpacked again"
    assert not (raw / imagenet.UNPACKING).exists()


@pytest.mark.parametrize("key", FILES)
def test_a_damaged_archive_is_named(tmp_path, monkeypatch, capfd, key):
    raw = tmp_path / "raw"
    write_archives(raw, monkeypatch)
    path = raw / FILES[key]
    path.write_bytes(path.read_bytes()[:-9])
    assert guarded(lambda: load(raw)) == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert f"{path} is damaged or another file (MD5 is not {imagenet.ARCHIVE_META[key][1]})" in message
    assert not (raw / ("train" if key == "train" else "val")).exists()


def test_without_files_one_line_says_what_to_put_where(tmp_path, capfd):
    assert guarded(lambda: load(tmp_path / "raw")) == 2
    (message,) = capfd.readouterr().err.splitlines()
    assert f"data set imagenet is not in {tmp_path / 'raw/imagenet'}" in message
    assert "ILSVRC2012_img_train.tar (MD5 1d675b47d978889d74fa0da5fadfb00e)" in message


def test_labels_of_the_validation_archive_are_needed(tmp_path, all_classes, monkeypatch, capfd):
    write_archives(tmp_path / "raw", monkeypatch)
    (tmp_path / "raw" / FILES["devkit"]).unlink()
    assert guarded(lambda: load(tmp_path / "raw")) == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert f"the folder val with a folder for each WordNet id, or {FILES['val']} (MD5" in message
    assert FILES["devkit"] in message


def test_some_of_the_classes_are_said_to_be_so(tmp_path):
    written = write(tmp_path / "raw")
    shown, read = load(tmp_path / "raw")
    assert shown == written
    assert read.classes == WNIDS
    assert read.source.endswith("3 of the 1,000 classes")


def test_a_folder_that_is_not_whole_is_refused(tmp_path, all_classes):
    write(tmp_path / "raw")
    (tmp_path / "raw/train/n01440764/n01440764_10.JPEG").unlink()
    with pytest.raises(UserError, match="has 5 train images and 3 test images, not 6 train images"):
        load(tmp_path / "raw")


def test_validation_images_that_are_not_sorted_are_refused(tmp_path):
    root = tmp_path / "raw"
    write(root)
    for wnid in WNIDS:
        for path in list((root / "val" / wnid).iterdir()):
            path.replace(root / "val" / path.name)
        (root / "val" / wnid).rmdir()
    with pytest.raises(UserError, match="must have the same folders, one for each WordNet id"):
        load(root)
