"""MNIST and FashionMNIST, on small IDX files in the genuine on-disk layout."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

from infocl.data.raw import Request
from infocl.data.sets import idx
from infocl.data.sets.idx import load_idx, read_idx
from infocl.runtime.errors import UserError
from tests.data.layouts import NOWHERE
from tests.workspace import tiny_params


@pytest.fixture(autouse=True)
def _small_and_offline(monkeypatch):
    monkeypatch.setattr(idx, "IMAGES", {"train": 40, "test": 40})
    for name, about in idx.IDX_SETS.items():
        monkeypatch.setitem(idx.IDX_SETS, name, about._replace(mirror=NOWHERE))


def request_for(raw, **changes):
    return Request(tiny_params(**changes).data, raw)


def write_idx(folder, name, *, compressed=True, count=40):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    about = idx.IDX_SETS[name]
    labels = np.array([*about.first_labels, *(np.arange(count) % 10)][:count], np.uint8)
    for name, _ in about.resources:
        if "images" in name:
            values = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            header = np.array([2051, count, 28, 28], ">u4").tobytes()
        else:
            values, header = labels, np.array([2049, count], ">u4").tobytes()
        content = header + values.tobytes()
        if compressed:
            (folder / name).write_bytes(gzip.compress(content))
        else:
            (folder / name.removesuffix(".gz")).write_bytes(content)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    ("name", "inside"),
    [
        *(("fashionmnist", inside) for inside in ("", "fashion-mnist", "FashionMNIST/raw")),
        *(("mnist", inside) for inside in ("mnist", "MNIST/raw")),
    ],
)
def test_idx_sets_as_they_lie_on_disk(tmp_path, name, inside, compressed):
    write_idx(tmp_path / inside, name, compressed=compressed)
    raw = load_idx(request_for(tmp_path, data__image_size=28), name)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    assert np.array_equal(raw.splits["train"].images, np.repeat(pixels[..., None], 3, -1))
    assert np.array_equal(raw.splits["test"].labels[10:], np.arange(30) % 10)
    assert load_idx(request_for(tmp_path), name).splits["train"].images.shape == (40, 32, 32, 3)


def test_files_of_the_same_names_are_not_taken_for_another_set(tmp_path):
    write_idx(tmp_path, "mnist")
    with pytest.raises(UserError, match="holds the labels of another data set than fashionmnist"):
        load_idx(request_for(tmp_path), "fashionmnist")


def test_idx_files_are_downloaded_whole_or_not_at_all(tmp_path, monkeypatch, mirror):
    served, url = mirror
    write_idx(served, "mnist")
    about = idx.IDX_SETS["mnist"]
    md5s = [(file, hashlib.md5((served / file).read_bytes()).hexdigest()) for file, _ in about.resources]
    monkeypatch.setitem(idx.IDX_SETS, "mnist", about._replace(mirror=url, resources=md5s))
    last = served / md5s[-1][0]
    whole = last.read_bytes()
    last.write_bytes(whole[:-20])
    with pytest.raises(
        UserError, match=r"put the file MNIST/raw/t10k-labels-idx1-ubyte\.gz \(MD5 \w+\) there"
    ):
        load_idx(request_for(tmp_path / "raw"), "mnist")
    there = {path.name for path in (tmp_path / "raw/MNIST/raw").iterdir()}
    assert there == {file for file, _ in md5s[:-1]}, "what came whole stays"
    last.write_bytes(whole)
    assert len(load_idx(request_for(tmp_path / "raw"), "mnist").splits["test"].images) == 40


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-3],
        lambda content: b"PK" + content,
        lambda content: gzip.compress(gzip.decompress(content)[:-100]),
        lambda content: gzip.compress(b"\0\0\x08\x02" + gzip.decompress(content)[4:]),
        lambda content: content[:10] + b"\xff" * 40 + content[50:],
        lambda _content: b"",
    ],
)
def test_damaged_idx_is_named(tmp_path, harm):
    write_idx(tmp_path, "fashionmnist")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(
        UserError, match=r"train-images-idx3-ubyte\.gz is (damaged|not an IDX file).*replace it"
    ):
        read_idx(path, 3)


def test_fashionmnist_with_images_missing_is_named(tmp_path):
    write_idx(tmp_path, "fashionmnist", count=39)
    with pytest.raises(UserError, match=r"train-images.*holds 39 images, not 40"):
        load_idx(request_for(tmp_path), "fashionmnist")
