"""Images that are looked at: near-duplicates, floats, depths, transparency, and hints of the doctor."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from infocl.cli.images import print_images_diagnosis
from infocl.data.decoding import UnreadableError, decode
from infocl.data.folder.near import MOST_BITS, MOST_LEVELS, difference_hash, near_pairs
from infocl.data.prepare import prepare_source
from infocl.prepared.reader import load_prepared
from infocl.runtime.paths import PREPARED
from tests.data.odd_folder import write_table
from tests.workspace import digit_images, tiny_params


def pieces(count):
    """Squares of a photograph, each of another place."""
    photo, generator = load_sample_image("flower.jpg"), np.random.default_rng(0)
    corners = generator.integers(0, (photo.shape[0] - 120, photo.shape[1] - 120), (count, 2))
    return [Image.fromarray(photo[y : y + 120, x : x + 120]) for y, x in corners]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Forty photographs in a table, the last eight of them tests, and three copies of tests in training."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    root, rows = tmp_path / "photos", []
    root.mkdir()
    images = pieces(40)
    for number, image in enumerate(images):
        image.save(root / f"{number:02}.png")
        rows.append([f"{number:02}.png", "test" if number >= 32 else "train"])
    images[32].save(root / "copy-a.jpg", quality=90)
    images[33].resize((60, 60), Image.Resampling.BICUBIC).save(root / "copy-b.png")
    images[34].resize((240, 240)).save(root / "copy-c.jpg", quality=95)
    rows += [[name, "train"] for name in ("copy-a.jpg", "copy-b.png", "copy-c.jpg")]
    write_table(root, rows, ["path", "split"])
    return root, tiny_params(data__name="folder", data__root=str(root), data__folder__csv="table.csv")


def test_copies_in_the_other_split_are_counted_named_and_listed(photos, capsys):
    root, params = photos
    prepare_source(params)
    assert (
        "3 of 8 test images are nearly equal to a training image, such as 32.png to copy-a.jpg"
        in capsys.readouterr().out
    )
    listed = (PREPARED.parent / "near-duplicates.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in listed[1:]] == [
        ["32.png", "copy-a.jpg"],
        ["33.png", "copy-b.png"],
        ["34.png", "copy-c.jpg"],
    ]
    assert load_prepared(PREPARED).meta["near_duplicates"] == 3
    assert "nearly equal to a training image: 3" in (PREPARED / "README.md").read_text()
    print_images_diagnosis(params.data, root, PREPARED.parent / "doctor")
    assert "Near         3 test images nearly equal to a training image" in capsys.readouterr().out


def test_the_nearest_is_found_as_by_a_loop_and_other_images_are_none():
    images, _ = digit_images(300)
    assert near_pairs(images[:100], images[100:], 32) == []
    bits = np.unpackbits(difference_hash(images).view(np.uint8), axis=1)
    assert bits.shape == (300, 256)
    noise = np.random.default_rng(0).integers(-3, 4, images[:20].shape)
    noisy = np.clip(images[:20].astype(int) + noise, 0, 255).astype(np.uint8)
    other = np.unpackbits(difference_hash(noisy).view(np.uint8), axis=1)
    expected = []
    for row in range(20):
        apart = [int((other[row] != one).sum()) for one in bits]
        levels = np.abs(noisy[row].astype(float) - images[int(np.argmin(apart))]).mean()
        if min(apart) <= MOST_BITS and levels <= MOST_LEVELS:
            expected.append((row, int(np.argmin(apart)), min(apart)))
    found = near_pairs(noisy, images, 32)
    assert [(pair.test, pair.train, pair.bits) for pair in found] == expected
    assert len(found) >= 10


def test_floats_of_0_to_1_depths_and_transparency_are_read_by_stated_rules(tmp_path):
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "unit.tiff")
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "unit.tiff"))[..., 0], np.round(255 * grey))
    Image.fromarray(255 * grey).save(tmp_path / "levels.tiff")
    assert np.asarray(decode(tmp_path / "levels.tiff")).max() == 255
    depth = (grey * 3999).astype(np.int32)  # mm, of 12 bits
    Image.fromarray(depth).save(tmp_path / "depth.tiff")
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "depth.tiff", 12))[..., 0], depth >> 4)
    Image.fromarray(3 * grey).save(tmp_path / "metres.tiff")
    Image.fromarray(1000 * grey).save(tmp_path / "odd.tiff")
    with pytest.raises(UnreadableError, match="range from 0 to 1000, so it is unclear what is white"):
        decode(tmp_path / "odd.tiff")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    shown = {name: np.asarray(decode(tmp_path / "clear.png", background=name))[0, 0, 0] for name in GROUNDS}
    assert shown == GROUNDS


GROUNDS = {"white": 255, "black": 0, "grey": 128}


def test_the_doctor_names_what_it_leaves_aside_and_hints_at_sizes(photos, tmp_path, capsys):
    root, params = photos
    data = params.data.model_copy(update={"image_size": 16})
    for name in ("a", "b"):
        (root / name).mkdir()
        for number, image in enumerate(pieces(12)):
            long = image.crop((0, 0, 120, 40 + number))
            long.rotate(90 * (name == "b"), expand=True).save(root / f"{name}/{number}.png")
    for path in root.glob("*.*"):
        path.unlink()
    (tmp_path / "elsewhere").mkdir()
    (root / "a/linked").symlink_to(tmp_path / "elsewhere")
    (root / "a/bare").write_bytes((root / "a/0.png").read_bytes())
    (root / "a/notes").write_text("no image")
    folder = data.folder.model_copy(update={"csv": ""})
    print_images_diagnosis(data.model_copy(update={"folder": folder}), root, tmp_path / "seen")
    said = capsys.readouterr().out
    assert "1 linked folders, which are not entered; put the files there, or link the files: a/linked" in said
    assert "1 images without an extension; give them one: a/bare" in said
    assert "24 of 24 images are more than twice as long as wide" in said
