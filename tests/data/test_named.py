"""Readers of published sets, on small files in the genuine on-disk layout."""

from __future__ import annotations

import hashlib
import socket
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from scipy.io import savemat

from infocl.data.raw import Request
from infocl.data.registry import CATALOG
from infocl.data.sets import arrays, fetch, idx
from infocl.data.sets.arrays import load_cifar, load_stl10, load_svhn
from infocl.runtime.errors import UserError
from tests.data.layouts import NOWHERE
from tests.workspace import tiny_params

CIFAR_ROWS = {"cifar10": 10, "cifar100": 100}  # images in each file made here


@pytest.fixture(autouse=True)
def _small_and_offline(monkeypatch):
    for name, about in arrays.CIFARS.items():
        rows = CIFAR_ROWS[name]
        images = {"train": len(about.train) * rows, "test": rows}
        set_cifar(monkeypatch, name, url=NOWHERE + about.remote.file, images=images)
    monkeypatch.setattr(arrays.STL10, "url", NOWHERE + arrays.STL10.filename)
    monkeypatch.setattr(arrays, "SVHN_IMAGES", {"train": 20, "test": 20})
    here = {name: [NOWHERE + file, file, md5] for name, (_, file, md5) in arrays.SVHN.split_list.items()}
    monkeypatch.setattr(arrays.SVHN, "split_list", here)
    for name, about in idx.IDX_SETS.items():
        monkeypatch.setitem(idx.IDX_SETS, name, about._replace(mirror=NOWHERE))


def set_cifar(monkeypatch, name, images=None, **remote):
    about = arrays.CIFARS[name]
    about = about._replace(remote=about.remote._replace(**remote), images=images or about.images)
    monkeypatch.setitem(arrays.CIFARS, name, about)


def request_for(raw, **changes):
    return Request(tiny_params(**changes).data, raw)


def cifar_rows(count, label_bytes, classes, seed):
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    rows[:, label_bytes - 1] = np.arange(count) % classes
    return rows


def write_cifar(raw, name):
    about = arrays.CIFARS[name]
    classes = CIFAR_ROWS[name]
    folder = raw / about.remote.made
    folder.mkdir(parents=True)
    rows = {
        file: cifar_rows(classes, about.label_bytes, classes, seed)
        for seed, file in enumerate((*about.train, *about.test))
    }
    for file, content in rows.items():
        content.tofile(folder / file)
    (folder / about.names).write_text("".join(f"class{index}\n" for index in range(classes)) + "\n")
    return folder, rows


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path, name):
    _, rows = write_cifar(tmp_path, name)
    raw = load_cifar(request_for(tmp_path), name)
    about = arrays.CIFARS[name]
    train = np.concatenate([rows[file] for file in about.train])
    assert len(raw.classes) == (10 if name == "cifar10" else 100)
    assert np.array_equal(raw.splits["train"].labels, train[:, about.label_bytes - 1])
    image = raw.splits["train"].images[3]
    planes = train[3, about.label_bytes :].reshape(3, 32, 32)
    assert np.array_equal(image[..., 0], planes[0]), "red plane first, row by row"
    assert np.array_equal(image[..., 2], planes[2])


def test_cifar_from_its_archive(tmp_path, monkeypatch):
    folder, _ = write_cifar(tmp_path / "made", "cifar10")
    raw = tmp_path / "raw"
    raw.mkdir()
    with tarfile.open(raw / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    with pytest.raises(UserError, match=r"cifar-10-binary\.tar\.gz is damaged or another file"):
        load_cifar(request_for(raw), "cifar10")
    md5 = hashlib.md5((raw / "cifar-10-binary.tar.gz").read_bytes()).hexdigest()
    set_cifar(monkeypatch, "cifar10", md5=md5)
    assert len(load_cifar(request_for(raw), "cifar10").splits["train"].images) == 50


def test_damaged_cifar_is_named(tmp_path):
    folder, rows = write_cifar(tmp_path, "cifar10")
    rows["test_batch.bin"].tofile(folder / "data_batch_3.bin", sep="")
    path = folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"data_batch_3\.bin is damaged"):
        load_cifar(request_for(tmp_path), "cifar10")
    wrong = rows["data_batch_1.bin"].copy()
    wrong[:, 0] = 77
    wrong.tofile(path)
    with pytest.raises(UserError, match="labels outside 0 to 9"):
        load_cifar(request_for(tmp_path), "cifar10")


def test_cifar_with_images_missing_is_named(tmp_path):
    folder, rows = write_cifar(tmp_path, "cifar10")
    rows["data_batch_4.bin"][:-1].tofile(folder / "data_batch_4.bin")
    with pytest.raises(UserError, match=r"data_batch_4\.bin is damaged \(27657 bytes, not 30730\)"):
        load_cifar(request_for(tmp_path), "cifar10")
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_4\.bin is missing"):
        load_cifar(request_for(tmp_path), "cifar10")


def test_a_download_is_checked_unpacked_and_kept(tmp_path, monkeypatch, mirror):
    served, url = mirror
    folder, _ = write_cifar(tmp_path / "made", "cifar10")
    archive = served / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as stream:
        stream.add(folder, arcname=folder.name)
    raw = tmp_path / "raw"
    set_cifar(monkeypatch, "cifar10", url=url + archive.name)
    with pytest.raises(UserError, match=r"could not be downloaded.*corrupted"):
        load_cifar(request_for(raw), "cifar10")
    assert list(raw.iterdir()) == [], "a download with another MD5 is not kept"
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    set_cifar(monkeypatch, "cifar10", md5=md5)
    assert len(load_cifar(request_for(raw), "cifar10").splits["train"].images) == 50
    assert {path.name for path in raw.iterdir()} == {"cifar-10-binary.tar.gz", "cifar-10-batches-bin"}


def test_a_connection_lost_in_the_middle_leaves_no_half_file(tmp_path, monkeypatch):
    class Losing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(bytes(70_000))

    with ThreadingHTTPServer(("127.0.0.1", 0), Losing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        set_cifar(monkeypatch, "cifar10", url=f"http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz")
        with pytest.raises(UserError, match=r"cifar10 is not in .* and could not be downloaded"):
            load_cifar(request_for(tmp_path / "raw"), "cifar10")
        server.shutdown()
        thread.join()
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_silent_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "SECONDS_OF_SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/cifar-10-binary.tar.gz"
        set_cifar(monkeypatch, "cifar10", url=url)
        with pytest.raises(UserError, match="timed out"):
            load_cifar(request_for(tmp_path), "cifar10")
    assert socket.getdefaulttimeout() is None


def write_stl10(raw, monkeypatch, count=20):
    folder = raw / "stl10_binary"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    made = {}
    for split in ("train", "test", "unlabeled"):
        pixels = generator.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        pixels.tofile(folder / f"{split}_X.bin")
        made[split] = pixels
        if split != "unlabeled":
            (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(folder / f"{split}_y.bin")
    (folder / "class_names.txt").write_text("".join(f"class{index}\n" for index in range(10)))
    for listed in ("train_list", "test_list"):
        entries = getattr(arrays.STL10, listed)
        md5s = [[file, hashlib.md5((folder / file).read_bytes()).hexdigest()] for file, _ in entries]
        monkeypatch.setattr(arrays.STL10, listed, md5s)
    return folder, made


def test_stl10_pretrains_on_its_unlabelled_split(tmp_path, monkeypatch):
    folder, made = write_stl10(tmp_path, monkeypatch)
    raw = load_stl10(request_for(tmp_path, data__image_size=96))
    assert set(raw.splits) == {"pretrain", "train", "test"}
    assert raw.splits["pretrain"].labels is None
    assert np.array_equal(raw.splits["train"].labels, np.arange(20) % 10)
    assert np.array_equal(raw.splits["pretrain"].images[2, ..., 1], made["unlabeled"][2, 1].T), (
        "column by column"
    )
    assert load_stl10(request_for(tmp_path)).splits["test"].images.shape == (20, 32, 32, 3)
    (folder / "train_X.bin").write_bytes(b"short")
    with pytest.raises(UserError, match=r"train_X\.bin is damaged"):
        load_stl10(request_for(tmp_path))


def write_svhn(raw, monkeypatch):
    raw.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    labels = (np.arange(20) % 10 + 1).astype(np.uint8)[:, None]
    here = dict(arrays.SVHN.split_list)
    for split in ("train", "test"):
        url, file, _ = here[split]
        savemat(raw / file, {"X": pixels, "y": labels})
        here[split] = [url, file, hashlib.md5((raw / file).read_bytes()).hexdigest()]
    monkeypatch.setattr(arrays.SVHN, "split_list", here)
    return pixels


def test_svhn(tmp_path, monkeypatch):
    pixels = write_svhn(tmp_path, monkeypatch)
    raw = load_svhn(request_for(tmp_path))
    assert np.array_equal(raw.splits["train"].images[7], pixels[..., 7])
    assert raw.splits["test"].labels[:11].tolist() == [*range(1, 10), 0, 1], "the published label 10 is 0"
    assert raw.classes[0] == "0"
    monkeypatch.setattr(arrays, "SVHN_IMAGES", {"train": 21, "test": 20})
    with pytest.raises(UserError, match=r"train_32x32\.mat holds 20 images, not 21"):
        load_svhn(request_for(tmp_path))
    (tmp_path / "test_32x32.mat").write_bytes(b"MATLAB")
    monkeypatch.setattr(arrays, "SVHN_IMAGES", {"test": 20})
    with pytest.raises(UserError, match=r"test_32x32\.mat is damaged or another file \(MD5 is not"):
        load_svhn(request_for(tmp_path))


@pytest.mark.parametrize(
    ("name", "named_file"),
    [
        ("cifar10", "cifar-10-binary.tar.gz"),
        ("cifar100", "cifar-100-binary.tar.gz"),
        ("stl10", "stl10_binary.tar.gz"),
        ("svhn", "test_32x32.mat"),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz"),
        ("fashionmnist", "t10k-labels-idx1-ubyte.gz"),
    ],
)
def test_without_files_or_network_one_line_says_what_to_put_where(tmp_path, capfd, name, named_file):
    with pytest.raises(UserError) as caught:
        CATALOG[name](request_for(tmp_path / "raw"))
    message = str(caught.value)
    assert "\n" not in message
    assert f"data set {name} is not in {tmp_path / 'raw'}" in message
    assert f"{named_file} (MD5 " in message
    assert "INFOCL_DATA" in message
    assert "Traceback" not in capfd.readouterr().err
