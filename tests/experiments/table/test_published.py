"""The figures of the paper, and ours above them."""

from __future__ import annotations

import pytest

from infocl.experiments.table.published import read_published
from tests.experiments.table.shown import TARGETS, experiment, sections


def test_published_figures_stand_below_ours():
    (section,) = sections(
        experiment((0.5, 0.5), data__name="cifar10", reg__name="none"), published=read_published("cifar10")
    )
    ours, theirs = section.rows[:2]
    assert (ours.label, theirs.label) == ("SimCLR", "SimCLR, published")
    assert section.targets == [*TARGETS, "dtd", "mnist", "fashionmnist", "cub200", "flowers102", "gtsrb"]
    assert len(section.rows) == 16
    assert theirs.accuracy["flowers102"].mean == pytest.approx(0.4281)
    rc = next(row for row in section.rows if row.regularizer == "rc" and row.objective == "simclr")
    six, plain = [33.67, 97.99, 90.31, 10.89, 54.16, 95.84], [29.52, 97.03, 88.36, 8.87, 42.81, 92.41]
    assert 100 * rc.to_plain.mean == pytest.approx((sum(six) - sum(plain)) / 6)
    assert rc.to_plain.half_width is None


@pytest.mark.parametrize(
    ("name", "rows", "method", "column", "percent"),
    [  # typed anew, not read from the shipped file
        ("cifar10", 15, ("simclr", "mib"), "source", 86.20),
        ("cifar10", 15, ("supervised", "lbe"), "gtsrb", 94.47),
        ("cifar10", 15, ("byol", "rc"), "mnist", 98.07),
        ("stl10", 9, ("barlow_twins", "none"), "dtd", 36.86),
        ("stl10", 9, ("simclr", "lbe"), "gtsrb", 87.77),
        ("imagenet", 3, ("simclr", "rc"), "cifar100", 63.56),
        ("imagenet", 3, ("simclr", "lbe"), "source", 61.37),
    ],
)
def test_published_figures(name, rows, method, column, percent):
    table = read_published(name)
    assert len(table.rows) == rows
    (row,) = [row for row in table.rows if (row.objective, row.regularizer) == method]
    assert row.accuracy[column] == pytest.approx(percent / 100)


def test_a_folder_is_imagenet_by_its_name():
    folder = {"data__name": "folder", "data__root": "/disk/imagenet", "reg__name": "none"}
    (section,) = sections(experiment((0.5, 0.5), **folder), published=read_published("imagenet"))
    assert [row.published for row in section.rows] == [False, True, True, True]
    ours, theirs = sections(
        experiment((0.5, 0.5), **folder | {"data__root": "pets"}), published=read_published("imagenet")
    )
    assert {row.published for row in theirs.rows} | {row.published for row in ours.rows} == {True, False}
    assert {len(ours.rows), len(theirs.rows)} == {1, 3}
