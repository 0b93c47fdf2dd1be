"""Readers of published sets of image files, on small ones in the genuine layout."""

from __future__ import annotations

import json

import numpy as np
import pytest

from infocl.data.prepare import prepare_targets
from infocl.data.raw import Request
from infocl.data.registry import CATALOG
from infocl.data.store import PixelStore
from infocl.runtime.errors import UserError, guarded
from infocl.runtime.paths import TARGETS
from tests.data.layouts import SETS, numbers_of, pack, published, republish, take_offline, write
from tests.workspace import tiny_params


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    take_offline(monkeypatch)


def load(name, raw, **changes):
    """What each split shows: class by number of the image; and the set."""
    with PixelStore(raw.parent / "store", 32) as store:
        read = CATALOG[name](Request(tiny_params(**changes).data, raw, store))
        shown = {
            part: {
                number: read.classes[label]
                for number, label in zip(numbers_of(split.images[:]), split.labels, strict=True)
            }
            for part, split in read.splits.items()
        }
        assert all(len(shown[part]) == len(split.labels) for part, split in read.splits.items())
    return shown, read


@pytest.mark.parametrize("name", [name for name in SETS if name != "eurosat"])
def test_each_image_has_its_class_and_its_official_split(tmp_path, monkeypatch, name):
    written = write(monkeypatch, name, tmp_path / "raw")
    shown, read = load(name, tmp_path / "raw")
    assert shown == written
    assert len(read.classes) == len(set(written["train"].values()))
    assert read.licence
    assert "https://" in read.source


def test_any_of_the_ten_splits_of_dtd(tmp_path, monkeypatch):
    first = write(monkeypatch, "dtd", tmp_path / "raw")
    second, read = load("dtd", tmp_path / "raw", data__dtd={"split": 2})
    assert second["test"] != first["test"]
    assert sorted({**second["train"], **second["test"]}) == sorted({**first["train"], **first["test"]})
    assert "official split 2 of 10" in read.source


def test_eurosat_is_split_evenly_and_the_same_every_time(tmp_path, monkeypatch):
    written = write(monkeypatch, "eurosat", tmp_path / "raw")["train"]
    shown, read = load("eurosat", tmp_path / "raw")
    assert {**shown["train"], **shown["test"]} == written
    for part, each in (("train", 8), ("test", 2)):
        assert np.bincount(read.splits[part].labels).tolist() == [each, each]
    assert load("eurosat", tmp_path / "raw")[0] == shown
    assert "no official split: 20 % of each class held out by seed 0" in read.source


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("beside", [False, True])
def test_from_its_archives(tmp_path, monkeypatch, name, beside):
    """Where torchvision keeps them, or straight in the folder of raw files."""
    raw = tmp_path / "raw"
    write(monkeypatch, name, raw)
    unpacked = load(name, raw)[0]
    for archive, remote in zip(pack(monkeypatch, name, raw), published(name).remotes, strict=True):
        if beside and remote.file != remote.made:
            archive.replace(raw / remote.file)
    assert load(name, raw)[0] == unpacked
    assert all(remote.place(raw).exists() for remote in published(name).remotes)
    assert not list(raw.rglob("tmp*")), "nothing half unpacked is left"


@pytest.mark.parametrize("name", SETS)
def test_a_damaged_archive_is_named(tmp_path, monkeypatch, capfd, name):
    raw = tmp_path / "raw"
    write(monkeypatch, name, raw)
    archive = pack(monkeypatch, name, raw)[0]
    archive.write_bytes(archive.read_bytes()[:-7])
    assert guarded(lambda: load(name, raw)) == 2
    (message,) = capfd.readouterr().err.splitlines()
    assert f"{archive} is damaged or another file (MD5 is not {published(name).remotes[0].md5})" in message
    assert not published(name).remotes[0].place(raw).exists()


@pytest.mark.parametrize("name", SETS)
def test_without_files_or_network_one_line_says_what_to_put_where(tmp_path, capfd, name):
    assert guarded(lambda: load(name, tmp_path / "raw")) == 2
    (message,) = capfd.readouterr().err.splitlines()
    assert f"data set {name} is not in {tmp_path / 'raw'} and could not be downloaded" in message
    for remote in published(name).remotes:
        assert f"{remote.file} (MD5 {remote.md5})" in message
        assert remote.made in message
    assert not list((tmp_path / "raw").rglob("*.*")), "nothing half downloaded is left"


def images_in(raw):
    return sorted(path for path in raw.rglob("*") if path.suffix in (".jpg", ".ppm"))


@pytest.mark.parametrize("name", [name for name in SETS if name != "eurosat"])
def test_a_missing_image_is_named(tmp_path, monkeypatch, name):
    write(monkeypatch, name, tmp_path / "raw")
    gone = images_in(tmp_path / "raw")[0]
    gone.unlink()
    with pytest.raises(UserError) as caught:
        load(name, tmp_path / "raw")
    assert f"{gone} is missing; put it there, or remove {tmp_path / 'raw'}" in str(caught.value)


def test_images_of_eurosat_are_counted(tmp_path, monkeypatch):
    write(monkeypatch, "eurosat", tmp_path / "raw")
    images_in(tmp_path / "raw")[0].unlink()
    with pytest.raises(UserError, match=r"eurosat in .* has 19 images, not 20 images"):
        load("eurosat", tmp_path / "raw")


@pytest.mark.parametrize("name", SETS)
def test_a_damaged_image_is_named(tmp_path, monkeypatch, capfd, name):
    write(monkeypatch, name, tmp_path / "raw")
    harmed = images_in(tmp_path / "raw")[1]
    harmed.write_bytes(harmed.read_bytes()[:40])
    capfd.readouterr()
    assert guarded(lambda: load(name, tmp_path / "raw")) == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert f"{harmed} cannot be read as an image" in message
    assert f"of data set {name} are of no use; replace them" in message


@pytest.mark.parametrize(
    ("name", "listing"),
    [
        ("dtd", "dtd/dtd/labels/val1.txt"),
        ("aircraft", "fgvc-aircraft-2013b/data/images_variant_test.txt"),
        ("pets", "oxford-iiit-pet/annotations/trainval.txt"),
        ("food101", "food-101/meta/train.json"),
        ("gtsrb", "gtsrb/GT-final_test.csv"),
        ("cub200", "CUB_200_2011/train_test_split.txt"),
        ("cub200", "CUB_200_2011/classes.txt"),
    ],
)
def test_a_damaged_list_is_named(tmp_path, monkeypatch, name, listing):
    raw = tmp_path / "raw"
    write(monkeypatch, name, raw)
    path = raw / listing
    whole = path.read_text()
    path.write_text(whole[: 2 * len(whole) // 3])
    with pytest.raises(UserError, match=rf"data set {name} ") as caught:
        load(name, raw)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=rf"{path.name}|data set {name} is not in"):
        load(name, raw)


@pytest.mark.parametrize("file", ["setid.mat", "imagelabels.mat"])
def test_a_damaged_list_of_flowers_is_named(tmp_path, monkeypatch, file):
    write(monkeypatch, "flowers102", tmp_path / "raw")
    path = tmp_path / "raw/flowers-102" / file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=rf"{file} is damaged or another file \(MD5 is not"):
        load("flowers102", tmp_path / "raw")


def test_a_set_that_is_not_whole_is_refused(tmp_path, monkeypatch):
    write(monkeypatch, "cub200", tmp_path / "raw")
    republish(monkeypatch, "cub200", images={"train": 5_994, "test": 5_794})
    with pytest.raises(
        UserError, match="has 6 train images and 3 test images, not 5,994 train images and 5,794"
    ):
        load("cub200", tmp_path / "raw")


def test_targets_are_decoded_once_and_carry_their_source(tmp_path, monkeypatch, capfd):
    for name in ("dtd", "cub200"):
        write(monkeypatch, name, tmp_path / "raw")
    params = tiny_params(transfer__targets=["dtd", "cub200"], transfer__root=str(tmp_path / "raw"))
    metrics = prepare_targets(params)
    assert metrics == {"targets": 2, "dtd_images": 6, "cub200_images": 9}
    meta = json.loads((TARGETS / "cub200/meta.json").read_text())
    assert meta["licence"] == "non-commercial research and education only"
    assert meta["classes"][2] == "Red winged Blackbird"
    assert "Birds-200-2011" in (TARGETS / "cub200/README.md").read_text()
    assert "images/001.Black_footed_Albatross/" in (TARGETS / "cub200/train/files.csv").read_text()
    before = (TARGETS / "cub200/train/images.npy").read_bytes()
    capfd.readouterr()
    prepare_targets(params)
    assert "9 of 9 files, 0 of them decoded now" in capfd.readouterr().err
    assert (TARGETS / "cub200/train/images.npy").read_bytes() == before
