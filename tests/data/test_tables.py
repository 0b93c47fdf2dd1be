"""Images that a table lists: their classes, their splits, and what is said of a damaged table."""

from __future__ import annotations

from pathlib import Path

import pytest

from infocl.data.prepare import prepare_source
from infocl.prepared.reader import load_prepared
from infocl.runtime.errors import UserError
from infocl.runtime.paths import PREPARED as FOLDER
from tests.data.odd_folder import picture, write_table
from tests.workspace import tiny_params


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def prepare(root, **changes):
    return prepare_source(tiny_params(data__name="folder", data__root=str(root), **changes))


@pytest.fixture
def tabled(tmp_path):
    """Twelve images in no class folders, and their names."""
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    names = [f"deep/{number:02}.png" for number in range(12)]
    for number, name in enumerate(names):
        picture(number).save(root / name)
    return root, names


def test_a_table_gives_classes_and_splits(tabled):
    root, names = tabled
    rows = [[name, "xy"[number % 2], "test" if number < 4 else "train"] for number, name in enumerate(names)]
    write_table(root, reversed(rows))
    assert prepare(root, data__folder__csv="table.csv")["test_images"] == 4
    first, source = (FOLDER / "test/files.csv").read_bytes(), load_prepared(FOLDER).meta["source_sha256"]
    prepared = load_prepared(FOLDER)
    assert prepared.classes == ["x", "y"]
    assert prepared.split("test").labels.tolist() == [0, 0, 1, 1]
    write_table(root, rows)
    prepare(root, data__folder__csv="table.csv")
    assert (FOLDER / "test/files.csv").read_bytes() == first, "the order of lines does not matter"
    rows[0][1] = "y"
    write_table(root, rows)
    prepare(root, data__folder__csv="table.csv")
    assert load_prepared(FOLDER).meta["source_sha256"] != source, "another class is another source"


def test_a_table_of_paths_alone_is_unlabelled_and_may_lie_beside_its_images(tabled):
    root, names = tabled
    write_table(root, [[Path(name).name] for name in names], ["path"])
    (root / "table.csv").rename(root / "deep/table.csv")
    metrics = prepare(root, data__folder__csv="deep/table.csv")
    assert metrics == {"data": "folder", "classes": 0, "train_images": 10, "test_images": 2}
    assert load_prepared(FOLDER).split("train").labels is None


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        (["file", "label"], ["deep/00.png", "x"], "has the columns file, label; its first line must be"),
        (["path", "label", "split"], ["deep/00.png", "", "test"], "line 3 is a test image without a label"),
        (["path", "label", "split"], ["deep/00.png", "x", ""], "line 3 has no split"),
        (["path", "lable"], ["deep/00.png", "x"], "has no column label but lable; set data.folder.label"),
        (["path", "label"], ["deep/00.png"], "line 3 has not as many values"),
        (["path", "label", "split"], ["deep/00.png", "x", "val"], "has the split 'val'; use train or test"),
        (["path", "label"], ["../00.png", "x"], "which is not a path below"),
        (["path", "label"], ["deep/99.png", "x"], "deep/99.png is not there; 1 of 2 files"),
        (["path", "label"], ["deep/01.png", "x"], "deep/01.png is named twice"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tabled, columns, row, message):
    root, _ = tabled
    good = ["deep/01.png", "x", "train"][: len(columns)]
    write_table(root, [good, row], columns)
    with pytest.raises(UserError, match=message) as caught:
        prepare(root, data__folder__csv="table.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.csv", "../table.csv", "/table.csv", "deep"])
def test_a_table_that_is_not_there_is_named(tabled, name):
    with pytest.raises(UserError, match=r"data\.folder\.csv"):
        prepare(tabled[0], data__folder__csv=name)
