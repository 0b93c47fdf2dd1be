"""The page can be read in light, in dark and on paper: contrasts of its own colours, by WCAG 2.2."""

from __future__ import annotations

import re

import pytest

from infocl.report.audit import FULL
from tests.workspace import ROOT

STYLE = (ROOT / "infocl/report/style.css").read_text()
BLOCKS = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
LIGHT, DARK, PAPER = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block)) for block in BLOCKS)
TEXTS = [("ink", "paper"), ("ink", "card"), ("ink", "note")]
TEXTS += [("soft", "paper"), ("soft", "card"), ("first", "paper")]
MARKS = [("first", "card"), ("second", "card"), ("soft", "card")]


def channels(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_gives_wcags_own_examples():
    assert contrast(channels("#fff"), channels("#000000")) == pytest.approx(21)
    assert contrast(channels("#777777"), channels("#ffffff")) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("colours", [LIGHT, DARK, PAPER], ids=["light", "dark", "paper"])
def test_text_has_a_contrast_of_4_5_and_marks_of_3(colours):
    for text, ground in TEXTS:
        assert contrast(channels(colours[text]), channels(colours[ground])) >= 4.5, (text, ground)
    for mark, ground in MARKS:
        assert contrast(channels(colours[mark]), channels(colours[ground])) >= 3, (mark, ground)


@pytest.mark.parametrize("colours", [LIGHT, DARK, PAPER], ids=["light", "dark", "paper"])
def test_figures_can_be_read_in_the_fullest_cell_of_the_heat_map(colours):
    first, card = channels(colours["first"]), channels(colours["card"])
    fullest = [(FULL * a + (100 - FULL) * b) / 100 for a, b in zip(first, card, strict=True)]
    assert contrast(channels(colours["ink"]), fullest) >= 4.5
    assert ".heat td { background: color-mix(in srgb, var(--first) var(--told), var(--card))" in STYLE
