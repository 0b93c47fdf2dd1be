"""Folders of images of every kind that Pillow reads, and what is said about those it does not."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infocl.data.decoding import VERSION, read_image
from infocl.data.folder.reader import load_folder
from infocl.data.raw import RawSplit, Request
from infocl.data.store import PixelStore
from infocl.runtime.errors import UserError
from infocl.runtime.paths import RAW, REJECTED
from tests.workspace import digit_images, tiny_params


@pytest.fixture(autouse=True)
def _workspace(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("project"))


def load(root, **changes):
    """The set with its images in memory."""
    params = tiny_params(data__name="folder", data__root=str(root), **changes).data
    with PixelStore(Path("store"), params.image_size) as store:
        raw = load_folder(Request(params, RAW, store))
        splits = {name: RawSplit(split.images[:], split.labels) for name, split in raw.splits.items()}
    return replace(raw, splits=splits)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def fill(root, classes, per_class=10, offset=0):
    images, _ = digit_images(len(classes) * per_class, offset=offset)
    for number, image in enumerate(images):
        save(root / classes[number % len(classes)] / f"{number}.png", Image.fromarray(image))


def test_class_folders_are_split_evenly_and_the_same_every_time(tmp_path):
    fill(tmp_path, ["b", "a"])
    raw = load(tmp_path)
    assert raw.classes == ["a", "b"]
    assert np.bincount(raw.splits["train"].labels).tolist() == [8, 8]
    assert np.bincount(raw.splits["test"].labels).tolist() == [2, 2]
    assert np.array_equal(load(tmp_path).splits["test"].images, raw.splits["test"].images)
    train = {image.tobytes() for image in raw.splits["train"].images}
    assert not any(image.tobytes() in train for image in raw.splits["test"].images)


def test_many_small_classes_are_split_each(tmp_path):
    fill(tmp_path, [f"class {number}" for number in range(10)], per_class=2)
    raw = load(tmp_path)
    for split in raw.splits.values():
        assert np.bincount(split.labels).tolist() == [1] * 10


def test_another_class_of_an_image_is_another_source(tmp_path):
    fill(tmp_path, ["a", "b"])
    before = load(tmp_path).source_sha256
    (tmp_path / "a/18.png").rename(tmp_path / "b/18.png")
    assert load(tmp_path).source_sha256 != before


def test_what_is_no_image_is_left_out(tmp_path):
    fill(tmp_path, ["a", "b"])
    for name in ("notes.pdf", "._0.png", "figure.eps", "Thumbs.db"):
        (tmp_path / "a" / name).write_bytes(b"not an image")
    assert sum(len(split.images) for split in load(tmp_path).splits.values()) == 20


def test_copies_in_hidden_folders_are_no_images(tmp_path):
    fill(tmp_path, ["a", "b"])
    before = load(tmp_path)
    (tmp_path / "a/.thumbs").mkdir()
    for path in list((tmp_path / "a").glob("*.png")):
        (tmp_path / "a/.thumbs" / path.name).write_bytes(path.read_bytes())
    after = load(tmp_path)
    assert after.source_sha256 == before.source_sha256
    assert [len(split.images) for split in after.splits.values()] == [16, 4]


def test_given_splits_are_kept(tmp_path):
    fill(tmp_path / "train", ["a", "b"])
    fill(tmp_path / "test", ["a", "b"], per_class=3, offset=20)
    raw = load(tmp_path)
    assert (len(raw.splits["train"].images), len(raw.splits["test"].images)) == (20, 6)
    fill(tmp_path / "test", ["c"])
    with pytest.raises(UserError, match="different class folders"):
        load(tmp_path)


def test_a_flat_folder_is_unlabelled(tmp_path):
    fill(tmp_path, ["."], per_class=10)
    raw = load(tmp_path)
    assert raw.classes is None
    assert raw.splits["train"].labels is None
    assert len(raw.splits["test"].images) == 2


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (40, 1))
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(ramp.astype(np.float32))
    else:
        image = Image.fromarray(ramp).convert(mode)
    path = tmp_path / ("x.tiff" if mode in ("CMYK", "F") else "x.png")
    save(path, image)
    pixels = read_image(path, 20)
    assert pixels.shape == (20, 20, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:, -3:].mean() > pixels[:, :3].mean() + 150


def test_a_tiff_that_says_twelve_bits_is_read_as_such(tmp_path):
    ramp = np.tile(np.arange(16) * 273, (16, 1))
    packed = int("".join(f"{sample:012b}" for sample in ramp.ravel()), 2).to_bytes(384, "big")
    tags = {256: 16, 257: 16, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 16, 279: 384}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    (tmp_path / "x.tif").write_bytes(head + entries + bytes(4) + packed)
    assert read_image(tmp_path / "x.tif", 16)[0, :, 0].tolist() == [17 * level for level in range(16)]


def test_rotation_of_the_camera_is_undone(tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    turned = read_image(tmp_path / "x.png", 20)
    assert turned[:9].max() == 0
    assert turned[11:].min() == 255


def test_the_same_version_of_the_decoder_makes_the_same_pixels(tmp_path):
    """When this fails, raise `VERSION` in infocl/data/decoding.py before the new value is put here."""
    ramp = Image.fromarray(np.arange(60 * 40, dtype=np.uint16).reshape(40, 60) * 27)
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp.save(tmp_path / "0.png")
    grey = (np.arange(60 * 40) * 7 % 256).astype(np.uint8).reshape(40, 60)
    clear = Image.fromarray(np.stack([np.roll(grey, 9 * channel) for channel in range(4)], axis=-1))
    clear.save(tmp_path / "1.png")
    clear.convert("RGB").save(tmp_path / "2.png", exif=exif)
    pixels = b"".join(read_image(tmp_path / f"{number}.png", 16).tobytes() for number in range(3))
    assert (VERSION, hashlib.sha256(pixels).hexdigest()[:16]) == (4, "ce6152856a470ca4")


def test_transparency_lies_on_white_and_the_centre_is_kept(tmp_path):
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", 10).min() == 255
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png", 20).min() == 200


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_file_is_named(tmp_path, content):
    fill(tmp_path, ["a", "b"])
    (tmp_path / "a" / "broken.png").write_bytes(content)
    with pytest.raises(
        UserError, match=r"a/broken\.png cannot be read as an image.*replace or remove"
    ) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(tmp_path):
    fill(tmp_path, ["a", "b"])
    path = tmp_path / "a" / "0.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"a/0\.png cannot be read"):
        load(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "webp", "avif", "ico"])
def test_damage_of_any_kind_is_named(tmp_path, kind):
    images, _ = digit_images(1)
    path = tmp_path / f"x.{kind}"
    Image.fromarray(images[0]).save(path)
    good = np.fromfile(path, np.uint8)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = good[: generator.integers(1, len(good) + 1)].copy()
        content[generator.integers(0, len(content), 4)] = generator.integers(0, 256, 4)
        content.tofile(path)
        try:
            assert read_image(path, 8).shape == (8, 8, 3)
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 20


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    fill(tmp_path, ["a", "b"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UserError, match="too many pixels"):
        load(tmp_path)


def test_links_that_lead_nowhere_and_pipes_are_named(tmp_path):
    root = tmp_path / "pictures"
    fill(root, ["a", "b"])
    (root / "a/loop.png").symlink_to("loop.png")
    (root / "a/gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "pipe")
    (root / "b/pipe.png").symlink_to("../pipe")
    with pytest.raises(UserError, match=r"pictures/a/gone\.png is a link to nothing; 3 of 23 files are"):
        load(root)
    with REJECTED.open(newline="") as stream:
        _, *rows = csv.reader(stream)
    assert rows == [
        ["a/gone.png", "missing", "is a link to nothing"],
        ["a/loop.png", "broken", "cannot be read (Too many levels of symbolic links)"],
        ["b/pipe.png", "broken", "is not a regular file"],
    ]
    assert len(load(root, data__folder__on_bad="skip").splits["train"].images) == 16


def test_a_class_without_an_image_of_use_is_left_out_by_skipping_and_named_by_refusing(tmp_path, capsys):
    root = tmp_path / "pictures"
    fill(root, ["a", "b"])
    for lost in ("c", "d"):
        save(root / lost / "tiny.png", Image.new("RGB", (3, 3)))
        (root / lost / "broken.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"4 of 24 files are .*, among them every one of class c, d, all listed"
    ):
        load(root)
    raw = load(root, data__folder__on_bad="skip")
    assert "2 classes left out for want of images of use: c, d" in capsys.readouterr().out
    assert (raw.classes, raw.about["lost_classes"]) == (["a", "b"], ["c", "d"])
    assert np.bincount(raw.splits["train"].labels).tolist() == [8, 8]
    for lost in ("c", "d"):
        shutil.rmtree(root / lost)
    removed = load(root)
    assert (removed.source_sha256, "lost_classes" in removed.about) == (raw.source_sha256, False)
    for path in (root / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"pictures has images of use in 1 class alone, and none of b; a task"
    ):
        load(root, data__folder__on_bad="skip")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "is not a folder"),
        (lambda root: root.symlink_to(root), "is not a folder"),
        (
            lambda root: [fill(root, ["a"]), os.mkdir(os.fsencode(root) + b"/caf\xe9")],  # noqa: PTH102
            r"the class folder \S+/caf\\xe9 has a name that is not UTF-8; rename it",
        ),
        (lambda root: root.mkdir(), "holds no images"),
        (lambda root: [fill(root, ["a"]), (root / "empty").mkdir()], "empty holds no images"),
        (
            lambda root: [fill(root, ["a"]), fill(root, ["alone"], per_class=1, offset=10)],
            "alone holds a single image",
        ),
        (lambda root: fill(root, ["a"]), "a is the only class"),
        (lambda root: fill(root / "train", ["a", "b"]), "train has no .*test beside it"),
        (lambda root: [fill(root / part, ["a", "b"]) for part in ("train", "val")], "train has no"),
        (lambda root: [fill(root, ["a", "b"]), fill(root, ["."], per_class=1)], "lies beside class folders"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, message):
    root = tmp_path / "pictures"
    make(root)
    with pytest.raises(UserError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)
    assert "pictures" in str(caught.value)
