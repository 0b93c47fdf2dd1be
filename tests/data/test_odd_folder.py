"""500 odd and broken files: what is said about each kind, and what comes of skipping them."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from infocl.cli.main import app
from infocl.data.decoding import read_image
from infocl.data.prepare import prepare_source
from infocl.prepared.reader import load_prepared
from infocl.runtime.errors import UserError
from infocl.runtime.paths import PREPARED, REJECTED
from tests.data.odd_folder import BAD, CLASSES, GOOD, fill_odd_folder, picture
from tests.project import environment
from tests.workspace import ROOT, tiny_params

FOLDER = PREPARED


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    fill_odd_folder(root)
    return root


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def prepare(root, **changes):
    params = tiny_params(data__name="folder", data__root=str(root), **changes)
    return prepare_source(params)


def rejected():
    with REJECTED.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_kind_is_counted_and_each_file_listed(odd):
    assert sum(path.is_file() for path in odd.rglob("*")) == 500
    with pytest.raises(UserError) as caught:
        prepare(odd)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        f"{odd}/cats/broken 0.png cannot be read as an image (image file is truncated); "
    )
    assert f"{500 - GOOD} of 500 files are of no use" in message
    for kind, count in BAD.items():
        assert f"{count} {kind}" in message
    assert Counter(row["kind"] for row in rejected()) == BAD
    for row in rejected():
        assert Path(row["path"]).name.startswith(f"{row['kind']} "), "each under its own kind"
    assert not FOLDER.exists()


def test_reasons_say_what_is_wrong(odd):
    with pytest.raises(UserError):
        prepare(odd)
    reasons = {row["path"]: row["reason"] for row in rejected()}
    assert reasons["dogs/broken 1.png"].startswith("cannot be read as an image (cannot identify image file")
    assert reasons["cats/empty 0.png"] == "cannot be read as an image (it is empty)"
    assert reasons["dogs/tiny 1.png"] == "is 5 x 30 px"
    assert reasons["owls/near-constant 2.png"] == "varies by 0.0 grey levels"
    assert reasons["cats/duplicate 0.jpg"] == "has the same content as cats/2024/summer/000.jpg"
    assert reasons["dogs/duplicate 1.png"] == "has the same pixels as dogs/001.png"
    same = "has the same pixels as {}/conflicting labels {}.png, which is in another class"
    assert reasons["cats/conflicting labels 0.png"] == same.format("dogs", 1)
    assert reasons["dogs/conflicting labels 1.png"] == same.format("cats", 0)


def test_skipping_gives_what_removing_gives(odd, tmp_path, monkeypatch):
    metrics = prepare(odd, data__folder__on_bad="skip")
    assert metrics["train_images"] + metrics["test_images"] == GOOD
    meta = load_prepared(FOLDER).meta
    assert meta["rejected"] == BAD
    assert len(rejected()) == 500 - GOOD
    bad = {row["path"] for row in rejected()}
    skipped = {path.relative_to(FOLDER): path.read_bytes() for path in FOLDER.rglob("*.[nc]*[yv]")}
    clean = tmp_path / "clean" / odd.name
    for path in odd.rglob("*"):
        if path.is_file() and str(path.relative_to(odd)) not in bad:
            (clean / path.relative_to(odd)).parent.mkdir(parents=True, exist_ok=True)
            (clean / path.relative_to(odd)).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    prepare(clean)
    removed = {path.relative_to(FOLDER): path.read_bytes() for path in FOLDER.rglob("*.[nc]*[yv]")}
    assert {str(name) for name in removed} == {
        f"{split}/{name}" for split in ("train", "test") for name in ("images.npy", "labels.npy", "files.csv")
    }
    assert removed == skipped
    assert load_prepared(FOLDER).meta == meta | {"rejected": {}}
    assert not REJECTED.exists()


def test_each_row_is_the_file_that_the_listing_names(odd):
    prepare(odd, data__folder__on_bad="skip")
    split = load_prepared(FOLDER).split("test")
    with (FOLDER / "test/files.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert len(listed) == len(split)
    for row, label, image in zip(listed, split.labels, split.images, strict=True):
        assert row["path"].split("/")[0] == CLASSES[label]
        assert image.std(axis=(0, 1)).max() == pytest.approx(float(row["contrast"]), abs=0.01)


def test_limits_of_tiny_and_constant_can_be_lifted(odd):
    keep = {"data__folder__min_side": 0, "data__folder__min_contrast": 0.0}
    metrics = prepare(odd, data__folder__on_bad="skip", **keep)
    assert metrics["train_images"] + metrics["test_images"] == GOOD + BAD["tiny"] + BAD["near-constant"]


def test_another_seed_is_another_balanced_split(odd):
    names = []
    for seed in (0, 1):
        prepare(odd, data__folder__on_bad="skip", data__folder__split_seed=seed)
        names.append((FOLDER / "test/files.csv").read_text())
        assert np.bincount(load_prepared(FOLDER).split("test").labels).tolist() == [24] * 3
    assert names[0] != names[1]


def test_the_card_tells_what_a_person_asks(odd):
    prepare(odd, data__folder__on_bad="skip", data__folder__licence="CC0-1.0")
    card = (FOLDER / "README.md").read_text()
    meta = load_prepared(FOLDER).meta
    assert meta["licence"] == "CC0-1.0"
    for message in (
        "CC0-1.0",
        meta["source_sha256"],
        "| train | 288 | 884,736 |",
        "| owls | 96 | 24 |",
        "30 broken",
    ):
        assert message in card


def test_the_doctor_says_it_first(odd, tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "infocl", "doctor", "--images", str(odd), "--out", "seen"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    message = done.stdout
    assert f"500 files in {odd}, {GOOD} of use" in message
    for kind, count in BAD.items():
        assert f"{count} {kind}, such as" in message
    for part in ("288 train and 72 test", "owls: 96 train and 24 test", "take 1.1 MB", "from 4 x 30 px"):
        assert part in message
    assert message.splitlines()[-1].startswith("In training  0.8 MiB, resident on ")
    assert len((tmp_path / "seen/rejected.csv").read_text().splitlines()) == 1 + 500 - GOOD
    sheet = np.asarray(Image.open(tmp_path / "seen/contact-sheet.png"))
    blue = (sheet == (0, 10, 200)).all(axis=2)
    assert 0 < blue.mean() < 0.2, "near-constant images are shown, in a row of their own"
    assert not (tmp_path / "data").exists(), "looking prepares nothing"


def test_the_doctor_names_what_dvc_refuses_and_what_to_do(tmp_path, monkeypatch):
    root = tmp_path / "pictures"
    fill(root)
    (root / "notes.txt").symlink_to("gone.txt")
    odd = Path(os.fsdecode(os.fsencode(root) + b"/a/caf\xe9.png"))
    (root / "a/0.png").rename(odd)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {look: {cmd: 'true', deps: [pictures]}}")

    def dvc(*arguments):
        return subprocess.run(["dvc", *arguments], env=environment(), capture_output=True).returncode

    assert dvc("init", "--no-scm", "--quiet") == 0
    assert dvc("repro") == 255
    message = CliRunner().invoke(app, ["doctor", "--images", "pictures"]).stdout.splitlines()
    assert [line[13:] for line in message if line.startswith("DVC")] == [
        "stops at notes.txt, a link to nothing; remove it, or put back what it points to",
        r"stops at a/caf\xe9.png, whose name is not UTF-8; rename it",
    ]
    (root / "notes.txt").unlink()
    odd.rename(root / "a/0.png")
    assert dvc("repro") == 0


def fill(root, bits=8):
    """Pictures of two classes; in TIFF files of 16 bits where more than 8 are used."""
    for number in range(24):
        path = root / "ab"[number % 2] / f"{number}.{'tif' if bits > 8 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = picture(number)
        if bits > 8:
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << (bits - 8))
        image.save(path)


def test_twelve_bits_in_sixteen_keep_their_brightness_once_their_number_is_given(tmp_path):
    root = tmp_path / "pictures"
    fill(root, 12)
    with pytest.raises(
        UserError, match=r"so they seem to use 12 bits; set data\.folder\.bits to 12, or to 16 if they are"
    ):
        prepare(root)
    prepare(root, data__folder__bits=12)
    with (FOLDER / "test/files.csv").open(newline="") as stream:
        number = int(Path(next(csv.DictReader(stream))["path"]).stem)
    image = load_prepared(FOLDER).split("test").images[0]
    picture(number).convert("L").save(tmp_path / "8 bits.png")
    assert np.array_equal(image, read_image(tmp_path / "8 bits.png", 32))
    prepare(root, data__folder__bits=16)
    assert load_prepared(FOLDER).split("test").images.max() < 16


def test_more_bits_than_were_given_are_named(tmp_path):
    fill(tmp_path / "pictures", 13)
    with pytest.raises(UserError, match=r"has samples up to \d+, more than data\.folder\.bits 12 can hold"):
        prepare(tmp_path / "pictures", data__folder__bits=12)


def test_the_doctor_warns_of_imbalance(tmp_path, capsys):
    from infocl.cli.images import print_images_diagnosis

    for number in range(44):
        path = tmp_path / "images" / ("many" if number < 40 else "few") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    print_images_diagnosis(tiny_params().data, tmp_path / "images", tmp_path / "out")
    assert "many has 40 images, few 4" in capsys.readouterr().out


def test_the_same_image_in_both_splits_is_refused_and_skipping_spares_the_test_set(tmp_path):
    for number in range(24):
        path = tmp_path / ("test" if number < 8 else "train") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    with Image.open(tmp_path / "test/a/0.png") as image:
        image.save(tmp_path / "train/a/leak.bmp")
    with pytest.raises(UserError, match=r"train/a/leak\.bmp has the same pixels as test/a/0\.png.*1 in both"):
        prepare(tmp_path)
    assert prepare(tmp_path, data__folder__on_bad="skip") == {
        "data": "folder",
        "classes": 2,
        "train_images": 16,
        "test_images": 8,
    }
