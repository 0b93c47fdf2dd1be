"""The heat map of the audit on the page."""

from __future__ import annotations

import re

from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS
from tests.report.test_build import PAGE, build
from tests.tiny_run import audit

COST = {"seconds": 1.0, "peak_memory_mib": 1.0}


def test_every_cell_has_its_figure_its_interval_and_its_colour_and_every_row_a_sentence(project):
    write_json(DETAILS / "audit.json", audit(hue="brought back", blur="kept") | COST)
    page, _ = build()
    assert [each["id"] for each in page.all("section")][:2] == ["claim", "audit"]
    table = re.search(r'<table class="heat audited">.*?</table>', PAGE.read_text(), re.DOTALL).group()
    cells = re.findall(r'<td style="--told:(\d+)%">(.*?)<span>(.*?)</span>', table)
    hue = [("27", "0.60", "0.56 to 0.65"), ("18", "0.40", "0.36 to 0.45")]
    hue += [("5", "0.11", "0.07 to 0.16"), ("25", "0.55", "0.51 to 0.60")]
    assert cells[:4] == hue
    assert len(cells) == 8
    columns = re.findall(r'scope="col">(.*?)<', table)
    assert columns == ["change", "raw pixels", "untrained", "plain", "regularised"]
    assert re.findall(r'scope="row">(.*?)<', table) == ["hue", "blur"]
    said = page.text("li")
    assert "Hue was forgotten by plain training (0.11; raw pixels 0.60, untrained 0.40)" in said
    assert "and brought back by LBE (0.55; difference 0.44, 95 % interval" in said
    assert "Blur was kept by plain training" in said


def test_without_an_audit_the_page_has_no_such_section(project):
    empty = {"regularizer": "lbe", "train_images": 60, "test_images": 60}
    write_json(DETAILS / "audit.json", empty | COST)
    page, _ = build()
    assert "audit" not in [each["id"] for each in page.all("section")]
