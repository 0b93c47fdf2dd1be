"""Preparation that was killed goes on, one with new files decodes only those, and memory stays constant."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from infocl.data import store as store_module
from infocl.data.decoding import ImageFiles
from infocl.data.prepare import prepare_source, write_set
from infocl.data.raw import RawSet, RawSplit
from infocl.data.store import PixelStore
from infocl.data.stream import chunk_images, stream_images
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_array, sha256_npy
from infocl.runtime.paths import DECODING, PREPARED
from tests.project import environment
from tests.workspace import ROOT, raw_params, tiny_params

FOLDER = PREPARED
LARGE = 128  # px, so that few images make several chunks


def make_images(root, numbers, size=20):
    """Two classes of images of noise, each another."""
    for number in numbers:
        path = root / "ab"[number % 2] / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


@pytest.fixture
def decodes(monkeypatch):
    """The files that were decoded in this process."""
    names = []

    decode = store_module.decode_image

    def counted(path, *how):
        names.append(path.name)
        return decode(path, *how)

    monkeypatch.setattr(store_module, "decode_image", counted)
    return names


def contents(folder=FOLDER):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def prepare(root, **changes):
    prepare_source(tiny_params(data__name="folder", data__root=str(root), **changes))
    return contents()


def from_scratch(root, **changes):
    shutil.rmtree("data", ignore_errors=True)
    return prepare(root, **changes)


# The stage: leaves the peak of its memory (`ru_maxrss` counts the test's), and dies between splits if asked.
STAGE = """
import atexit, os, runpy, signal, sys
from pathlib import Path
def kill(event, words):
    if event == "open" and ".prepared." in str(words[0]) and "/test/" in str(words[0]):
        os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1:] == ["killed"]: sys.addaudithook(kill)
status = Path("/proc/self/status")
atexit.register(lambda: Path("peak").write_text(status.read_text().split("VmHWM:")[1].split()[0]))
runpy.run_module("stages.prepare", run_name="__main__")
"""


def start(root, size, *how):
    """The stage in a process of its own, in this folder."""
    with Path("params.yaml").open("w") as stream:
        YAML().dump(raw_params(data__name="folder", data__root=str(root), data__image_size=size), stream)
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, *how],
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Let the stage end; how many files it decoded."""
    _, message = process.communicate(timeout=900)
    assert process.returncode == 0, message
    return decoded(message)


def decoded(message):
    return int(re.findall(r"([\d,]+) of them decoded now", message)[-1].replace(",", ""))


def test_kill_while_decoding_and_while_writing(tmp_path):
    count, chunk = 1400, chunk_images(LARGE)
    make_images(tmp_path / "images", range(count))
    process = start(tmp_path / "images", LARGE)
    message = process.stderr.readline()
    process.kill()
    process.wait()
    assert f"{chunk} of 1,400 files" in message
    assert not FOLDER.exists()
    process = start(tmp_path / "images", LARGE, "killed")
    message = process.communicate(timeout=900)[1]
    assert process.returncode == -signal.SIGKILL
    assert list(PREPARED.parent.glob(".prepared.*/train/images.npy"))
    assert 0 < decoded(message) <= count - chunk, "what was decoded before the kill is not decoded again"
    assert not FOLDER.exists()
    assert finish(start(tmp_path / "images", LARGE)) == 0
    continued = contents()
    assert not list(PREPARED.parent.glob(".prepared.*")), "what the kill left is put away"
    assert not DECODING.joinpath("source").exists(), "what is done leaves nothing behind"
    assert continued == from_scratch(tmp_path / "images", data__image_size=LARGE)


def test_pixels_that_a_kill_left_without_their_facts_are_not_used(tmp_path, decodes):
    root = tmp_path / "images"
    make_images(root, range(20))
    scratch = from_scratch(root)
    (root / "a/broken.png").write_bytes(b"no image")
    shutil.rmtree("data")
    with pytest.raises(UserError, match="broken"):
        prepare(root)
    (root / "a/broken.png").unlink()
    with (DECODING / "source/pixels.bin").open("ab") as stream:
        stream.write(b"torn" * 1000)
    decodes.clear()
    assert prepare(root) == scratch
    assert decodes == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "facts.sqlite").write_bytes(b"no database" * 1000),
        lambda folder: (folder / "pixels.bin").write_bytes(b""),
        lambda folder: (folder / "pixels.bin").unlink(),
    ],
)
def test_a_damaged_store_is_begun_anew(tmp_path, decodes, harm):
    root = tmp_path / "images"
    make_images(root, range(20))
    (root / "a/broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="broken"):
        prepare(root)
    (root / "a/broken.png").unlink()
    harm(DECODING / "source")
    decodes.clear()
    assert prepare(root) == from_scratch(root)
    assert len(decodes) == 2 * 20


def test_what_another_decoder_made_is_not_used(tmp_path, decodes, monkeypatch):
    root = tmp_path / "images"
    make_images(root, range(20))
    prepare(root)
    monkeypatch.setattr("infocl.data.store.DECODER", "another")
    decodes.clear()
    prepare(root)
    assert len(decodes) == 20
    assert json.loads((FOLDER / "meta.json").read_text())["decoder"] == "another"


def test_new_files_cost_only_their_own_decoding(tmp_path, decodes):
    root = tmp_path / "images"
    make_images(root, range(60))
    prepare(root)
    assert len(decodes) == 60
    make_images(root, range(100, 107))
    (root / "a/00000.png").rename(root / "b/renamed.png")
    (root / "a/00002.png").unlink()
    make_images(tmp_path / "other", [500])
    shutil.copy(tmp_path / "other/a/00500.png", root / "a/00004.png")
    decodes.clear()
    appended = prepare(root)
    assert sorted(decodes) == ["00004.png", *(f"{number:05}.png" for number in range(100, 107))]
    assert appended == from_scratch(root)


def test_another_size_is_decoded_anew(tmp_path, decodes):
    make_images(tmp_path / "images", range(20))
    prepare(tmp_path / "images")
    decodes.clear()
    assert prepare(tmp_path / "images", data__image_size=64) == from_scratch(
        tmp_path / "images", data__image_size=64
    )
    assert len(decodes) == 2 * 20


def _flip(place):
    def harm(file):
        content = bytearray(file.read_bytes())
        content[place] ^= 1
        file.write_bytes(content)

    return harm


@pytest.mark.parametrize(
    ("file", "harm", "again"),
    [
        ("train/images.npy", _flip(-1), 16),  # those of the test split are intact
        ("train/images.npy", _flip(3), 16),
        ("train/images.npy", lambda file: file.write_bytes(b""), 16),
        ("train/files.csv", _flip(12), 16),
        ("train/files.csv", _flip(-3), 16),
        ("train/files.csv", lambda file: file.write_bytes(b"\0\n" * 99), 16),
        ("meta.json", lambda file: file.write_text("[" * 100_000), 20),
        (
            "meta.json",
            lambda file: file.write_text(
                re.sub(r'"splits": {.*', '"splits": 1}', file.read_text(), flags=re.S)
            ),
            20,
        ),
    ],
)
def test_a_damaged_earlier_result_is_not_used(tmp_path, decodes, file, harm, again):
    root = tmp_path / "images"
    make_images(root, range(20))
    good = prepare(root)
    harm(FOLDER / file)
    decodes.clear()
    assert prepare(root) == good
    assert len(decodes) == again


def test_two_preparations_at_once_do_not_mix(tmp_path):
    with PixelStore(tmp_path / "store", 8), pytest.raises(UserError, match="another preparation uses"):
        PixelStore(tmp_path / "store", 8)


@pytest.mark.parametrize(("count", "lines"), [(1400, 5), (600, 0)])
def test_writing_shows_its_progress_when_it_takes_time(tmp_path, capsys, count, lines):
    images = np.broadcast_to(np.uint8(7), (count, LARGE, LARGE, 3))
    digest = stream_images(images, LARGE, tmp_path / "x.npy")
    assert digest == sha256_npy(tmp_path / "x.npy") == sha256_array(np.load(tmp_path / "x.npy"))
    message = capsys.readouterr().err.splitlines()
    assert len(message) == lines
    assert not message or message[-1] == "writing images 5/5 1,400 of 1,400 images"


def test_image_files_of_any_set_go_on_where_they_were(tmp_path, decodes):
    make_images(tmp_path / "images", range(10))
    paths = sorted((tmp_path / "images").rglob("*.png"))
    broken = paths[-1].read_bytes()

    def write(folder):
        splits = {"train": RawSplit(ImageFiles(paths, 16), None)}
        with PixelStore(tmp_path / "store", 16) as store:
            return write_set(folder, "named", RawSet(None, "s", "l", "h", splits), 16, store)

    paths[-1].write_bytes(b"")
    with pytest.raises(UserError, match=r"00009\.png cannot be read.*replace or remove it"):
        write(tmp_path / "set")
    paths[-1].write_bytes(broken)
    decodes.clear()
    meta = write(tmp_path / "set")
    assert decodes == ["00009.png"]
    images = np.load(tmp_path / "set/train/images.npy")
    assert np.array_equal(images, ImageFiles(paths, 16)[:])
    assert meta["splits"]["train"]["images_sha256"] == sha256_array(images)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    peaks = []
    few, many = 500, 1_600
    for first, count in ((0, few), (few, many)):
        make_images(tmp_path / "images", range(first, count), size=8)
        shutil.rmtree("data", ignore_errors=True)
        assert finish(start(tmp_path / "images", 192)) == count
        peaks.append(int(Path("peak").read_text()) / 1024)
    added = (many - few) * 3 * 192 * 192 / 2**20
    assert peaks[1] - peaks[0] < 0.5 * added, "in memory they would take at least 115 MiB more"
