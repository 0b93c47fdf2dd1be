"""Tasks of one's own: class folders, and the columns of a table, beside images that nobody has labelled."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from infocl.data.prepare import prepare_source, prepare_targets
from infocl.prepared.reader import load_prepared
from infocl.runtime.errors import UserError
from infocl.runtime.paths import PREPARED, TARGETS
from tests.data.odd_folder import picture, write_table
from tests.workspace import tiny_params

COLUMNS = {"kind": "class", "tags": "labels", "weight": "number"}
HEADER = ["path", *COLUMNS]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Forty images below `raw/parts`, and the rows of a table of them."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    root = tmp_path / "raw/parts"
    root.mkdir(parents=True)
    rows = []
    for number in range(40):
        picture(number).save(root / f"{number:02}.png")
        tags = ";".join(tag for tag, step in (("dusty", 2), ("worn", 3)) if number % step == 0) or "-"
        rows.append([f"{number:02}.png", ["bolt", "nut"][number % 2], tags, str(number / 4)])
    return root, rows


def prepare(root, own, **changes):
    params = tiny_params(
        transfer__root=str(root.parent), transfer__own={"parts": own}, transfer__targets="auto", **changes
    )
    assert prepare_targets(params)["targets"] == len(own.get("columns", {"": 0}))
    return {task: load_prepared(TARGETS / task) for task in params.transfer.tasks}


def own_table(root, rows, header=HEADER, columns=COLUMNS):
    write_table(root, rows, header)
    return prepare(root, {"folder": "parts", "csv": "table.csv", "columns": columns})


def listed(split):
    """The numbers of the files of a split of the images."""
    lines = (TARGETS / "parts" / split / "files.csv").read_text().splitlines()[1:]
    return np.array([int(line[:2]) for line in lines])


def test_each_column_of_a_table_is_a_task_on_the_same_images(table):
    tasks = own_table(*table)
    assert list(tasks) == ["parts_kind", "parts_tags", "parts_weight"]
    for split, count in (("train", 32), ("test", 8)):
        files = listed(split)
        assert len(files) == count
        kinds, tags, weights = (one.split(split).labels for one in tasks.values())
        np.testing.assert_array_equal(kinds, files % 2)
        np.testing.assert_array_equal(tags, np.stack([files % 2 == 0, files % 3 == 0], axis=1))
        np.testing.assert_array_equal(weights, files / 4)
    assert [one.classes for one in tasks.values()] == [["bolt", "nut"], ["dusty", "worn"], None]
    assert {one.meta["images_in"] for one in tasks.values()} == {"parts"}
    assert (TARGETS / "parts_weight/README.md").read_text().count("Numbers in ") == 2


def test_an_image_without_an_answer_takes_no_part_in_that_task_alone(table):
    root, rows = table
    for row in rows[:10]:
        row[3] = ""
    tasks = own_table(root, rows)
    weights = [len(tasks["parts_weight"].split(split)) for split in ("train", "test")]
    assert sum(weights) == 30
    assert sum(len(tasks["parts_kind"].split(split)) for split in ("train", "test")) == 40
    known = listed("test")[listed("test") >= 10]
    np.testing.assert_array_equal(tasks["parts_weight"].split("test").labels, known / 4)
    whole = tasks["parts_kind"].split("test").images[np.flatnonzero(listed("test") >= 10)]
    np.testing.assert_array_equal(tasks["parts_weight"].split("test").images, whole)


def test_a_class_of_a_column_without_an_image_of_use_is_named(table, capsys):
    root, rows = table
    for row in rows[:2]:
        (root / row[0]).write_bytes(b"")
        row[1] = "rivet"
    write_table(root, rows, HEADER)
    prepare(
        root,
        {"folder": "parts", "csv": "table.csv", "columns": {"kind": "class"}},
        data__folder__on_bad="skip",
    )
    assert load_prepared(TARGETS / "parts_kind").meta["lost_classes"] == ["rivet"]
    assert "table.csv: 1 class left out for want of images of use: rivet" in capsys.readouterr().out


def test_class_folders_below_the_root_are_a_target(table):
    root, rows = table
    for name, kind, *_ in rows:
        (root / kind).mkdir(exist_ok=True)
        (root / name).rename(root / kind / name)
    tasks = prepare(root, {"folder": "parts"})
    assert tasks["parts"].classes == ["bolt", "nut"]
    assert tasks["parts"].kind == "class"


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (3, ["heavy"], r"line 2 has 'heavy' in the column weight, which holds numbers"),
        (1, ["rivet", "screw"], r"single training image of class|test images of class"),
        (3, ["1"] * 40, r"column weight of .* has 1 different numbers on 32 training images"),
        (2, ["-"] * 40, r"column tags of .* none of which can be judged"),
    ],
)
def test_answers_that_make_no_task_are_named(table, column, values, message):
    root, rows = table
    for row, value in zip(rows, values, strict=False):
        row[column] = value
    with pytest.raises(UserError, match=message) as caught:
        own_table(
            root, [[*row, "train" if at < 32 else "test"] for at, row in enumerate(rows)], [*HEADER, "split"]
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["kind", ""])
def test_other_columns_of_the_source_are_tasks_on_its_own_split(table, label):
    root, rows = table
    for row in rows[:4]:
        row[1] = ""
    write_table(root, rows, HEADER)
    params = tiny_params(
        data__name="folder",
        data__root=str(root),
        data__folder__csv="table.csv",
        data__folder__label=label,
        train__batch_size=8,
        transfer__root=str(root),
        transfer__own={"parts": {"csv": "table.csv", "columns": {"weight": "number", "tags": "labels"}}},
        transfer__targets="auto",
    )
    prepare_source(params)
    prepare_targets(params)
    for split in ("train", "test"):
        assert (TARGETS / "parts" / split / "files.csv").read_bytes() == (
            PREPARED / split / "files.csv"
        ).read_bytes()
        weights = load_prepared(TARGETS / "parts_weight").split(split).labels
        np.testing.assert_array_equal(weights, listed(split) / 4)


def test_links_to_folders_which_dvc_does_not_follow_are_named(table, tmp_path, capsys):
    root, rows = table
    for name, kind, *_ in rows:
        (tmp_path / "away" / kind).mkdir(exist_ok=True, parents=True)
        (root / name).rename(tmp_path / "away" / kind / name)
    (root / "nut").symlink_to(tmp_path / "away/nut")
    shutil.copytree(tmp_path / "away/bolt", root / "bolt", copy_function=os.symlink)
    (root.parent / "linked").symlink_to(root)
    assert prepare(root, {"folder": "linked"})["parts"].classes == ["bolt", "nut"]
    told = [line for line in capsys.readouterr().out.splitlines() if "is a link to a folder" in line]
    assert [line.split()[0] for line in told] == [
        str(root.parent / "linked"),
        str(root.parent / "linked/nut"),
    ]
    assert told[1].endswith(f"cp -rs {tmp_path}/away/nut ...")


def test_a_column_that_is_not_there_and_a_folder_are_named(table):
    root, rows = table
    with pytest.raises(
        UserError,
        match=r"no column colour but path, kind, tags, weight; correct transfer\.own\.parts\.columns",
    ):
        own_table(root, rows, columns={"colour": "class"})
    with pytest.raises(UserError, match=r"set transfer\.own\.parts\.folder to the one that holds the images"):
        prepare(root, {"folder": "nowhere"})


def test_images_without_a_label_are_learned_from_and_never_judged_on(table, tmp_path):
    root, rows = table
    write_table(
        root, [[name, "" if at < 10 else kind] for at, (name, kind, *_) in enumerate(rows)], HEADER[:2]
    )
    csv = {"data__folder__csv": "table.csv", "data__folder__label": "kind"}
    params = {"data__name": "folder", "data__root": str(root), "train__batch_size": 8}
    assert prepare_source(tiny_params(**params, **csv)) == {
        "data": "folder",
        "classes": 2,
        "train_images": 24,
        "test_images": 6,
        "pretrain_images": 34,
    }
    first = load_prepared(PREPARED)
    assert first.pretrain.labels is None
    for at, (name, kind, *_) in enumerate(rows):
        place = root / ("unlabelled" if at < 10 else kind) / name
        place.parent.mkdir(exist_ok=True)
        (root / name).rename(place)
    assert prepare_source(tiny_params(**params))["pretrain_images"] == 34
    assert load_prepared(PREPARED).classes == ["bolt", "nut"]
