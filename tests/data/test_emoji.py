"""The emoji, from a small file in the package's layout."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from infocl.data.raw import Request
from infocl.data.registry import CATALOG
from infocl.data.sets import emoji
from infocl.runtime.errors import UserError
from tests.workspace import tiny_params

TONES = list(emoji.TONES)
KINDS = {"hands": 10, "person": 5, "rare": 2}  # emoji with tones, by subcategory
FRUIT = 15


def entry(number, category, subcategory, tones=()):
    code = f"{number:04X}"
    variations = {tone: {"image": f"{code}-{tone}.png".lower()} for tone in tones}
    about = {
        "unified": code,
        "image": f"{code}.png".lower(),
        "category": category,
        "subcategory": subcategory,
    }
    return about | ({"skin_variations": variations} if tones else {})


def picture(number, tone, side=64):
    """Transparent but for a square whose place is the emoji's and whose colour is the tone's."""
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[number : number + 20, 5:25] = [40 * TONES.index(tone), 200, number, 255]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of raw files with the package in it."""
    listed = [
        entry(sum(list(KINDS.values())[:place]) + index, "People & Body", kind, TONES[1:])
        for place, (kind, count) in enumerate(KINDS.items())
        for index in range(count)
    ]
    listed += [entry(len(listed) + index, "Food & Drink", "fruit") for index in range(FRUIT)]
    listed.append(entry(len(listed), "People & Body", "family", ["1F3FB-1F3FC"]))
    listed.append(entry(len(listed), "Flags", "flag"))
    files = {"emoji.json": json.dumps(listed).encode(), "img/google/sheets/64.png": b"not read"}
    for about in listed[:-1]:  # the flag has no picture here
        found = {"": about["image"]}
        found |= {tone: value["image"] for tone, value in about.get("skin_variations", {}).items()}
        for tone, file in found.items():
            content = picture(int(about["unified"], 16), tone if tone in TONES else "")
            files[f"img/google/64/{file}"] = content
    with tarfile.open(tmp_path / emoji.FILE, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    md5 = hashlib.md5((tmp_path / emoji.FILE).read_bytes()).hexdigest()
    monkeypatch.setattr(emoji, "MD5", md5)
    monkeypatch.setattr(emoji, "LEAST", 5)
    return tmp_path


def load(name, folder):
    return CATALOG[name](Request(tiny_params(data__image_size=64).data, folder))


def test_shape_and_tone_are_asked_of_the_same_pictures_split_by_emoji(package):
    shape, tone = load("emoji", package), load("emoji_tone", package)
    assert shape.classes == ["hands", "person"], "two rare emoji are too few for a class"
    assert tone.classes == ["yellow", "light", "medium-light", "medium", "medium-dark", "dark"]
    assert tone.images_in == "emoji"
    numbers = {}
    for split, count in (("train", 12), ("test", 3)):
        images, labels = shape.splits[split].images, tone.splits[split].labels
        assert np.array_equal(images, tone.splits[split].images)
        assert np.bincount(labels).tolist() == [count] * 6
        assert np.array_equal(images[:, :, :, 0].min((1, 2)) // 40, labels.clip(max=3)), (
            "the tone is the colour"
        )
        numbers[split] = {int(image[image[..., 1] == 200][0][2]) for image in images}
        expected = [int(number >= KINDS["hands"]) for number in sorted(numbers[split])]
        assert sorted(shape.splits[split].labels[::6].tolist()) == sorted(expected)
    assert not numbers["train"] & numbers["test"]
    seen = shape.splits["pretrain"]
    assert seen.labels is None
    colours = {int(image[image[..., 1] == 200][0][2]) for image in seen.images}
    assert not colours & numbers["test"], "no tone of a test emoji is trained on"
    assert len(seen.images) == 12 * 6 + 2 * 6 + round(0.8 * FRUIT) + 1


def test_the_category_is_asked_of_untoned_pictures_on_mid_grey(package):
    found = load("emoji_category", package)
    assert found.classes == ["Food & Drink", "People & Body"]
    assert sum(len(split.images) for split in found.splits.values()) == sum(KINDS.values()) + FRUIT + 1
    assert (found.splits["test"].images[:, -1, -1] == emoji.GROUND).all()
    assert (found.splits["test"].images[:, :, :, 0].min((1, 2)) == 0).all(), "yellow alone"


def test_a_missing_or_damaged_package_is_named_with_what_to_do(package):
    path = package / emoji.FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"emoji-datasource-google-16\.0\.0\.tgz is damaged"):
        load("emoji", package)
    path.unlink()
    with pytest.raises(
        UserError, match=r"^data set emoji_tone is not in .*; run there: npm pack emoji-datasource"
    ):
        load("emoji_tone", package)
