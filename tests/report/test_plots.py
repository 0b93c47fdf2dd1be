"""Curves."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from infocl.report.plots import draw_panel, training_panels


def history(**columns):
    epochs = np.linspace(0.5, 4, 8)
    base = {
        "step": epochs * 2,
        "epoch": epochs,
        "loss": 1 / epochs,
        "objective": 2 / epochs,
        "regularizer": 0 * epochs,
    }
    return base | {name: np.full(8, value) for name, value in columns.items()}


def test_the_loss_is_drawn_with_the_weighted_term_where_there_is_one():
    (panel,) = training_panels(history(), 1.0)
    assert [curve.label for curve in panel.curves] == ["loss", "objective"]
    (panel,) = training_panels(history(regularizer=-3.0), 0.1)
    assert panel.curves[2].label == "0.1 × regulariser"
    np.testing.assert_allclose(panel.curves[2].values, -0.3)


def test_no_unit_is_claimed_for_a_loss_that_has_none():
    (panel,) = training_panels(history(), 1.0)
    assert "nats" not in panel.unit + panel.words


def test_information_is_drawn_below_its_ceiling_in_nats():
    columns = history(
        regularizer_mi_bound_nats=4.0, regularizer_mi_bound_nats_level2=2.0, regularizer_mi_ceiling_nats=6.2
    )
    panel = training_panels(columns, 1.0)[1]
    assert [(curve.label, curve.values[0], curve.dashed) for curve in panel.curves] == [
        ("level 4", 4.0, False),
        ("level 2", 2.0, False),
        ("ceiling log N", 6.2, True),
    ]
    assert "nats" in panel.unit
    assert "ceiling log N" in draw_panel(panel, columns["epoch"])


def test_parts_that_nobody_knows_yet_are_drawn_too():
    titles = {panel.title: panel.unit for panel in training_panels(history(objective_new_part_nats=1.0), 1.0)}
    assert titles["Objective new part nats"] == "nats"


def test_a_drawing_is_xml_that_says_its_unit_and_is_the_same_again():
    columns = history(images_per_second=900.0)
    panel = training_panels(columns, 1.0)[-1]
    drawing = draw_panel(panel, columns["epoch"])
    root = ET.fromstring(drawing)
    assert root.get("role") == "img"
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"epoch", "images per second", "0"} <= set(words), "an axis of a rate begins at zero"
    assert drawing == draw_panel(panel, columns["epoch"])
    assert "<metadata>" not in drawing
    assert not re.search(r"font: ", drawing)


def test_one_row_of_history_is_a_visible_point():
    columns = {name: values[:1] for name, values in history().items()}
    drawing = draw_panel(training_panels(columns, 1.0)[0], columns["epoch"])
    assert "<use " in drawing
