"""The page in a real browser: light and dark, wide and on a phone, by keyboard, and without a network."""

from __future__ import annotations

import subprocess

from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS
from tests.javascript import BROWSERS, installed, lines, program
from tests.report.page import PAGE, build
from tests.report.test_audit import COST
from tests.tiny_run import audit

NOTHING_WRONG = {
    "problems": [],  # messages of the console, and requests for anything but the page
    "faint": [],  # texts below WCAG 2.2's contrast AA, by computed styles
    "overflow": 0,
    "leaps": 0,  # headings that skip a level
    "titles": 1,
    "silent": 0,  # images without alternative text
    "broken": 0,
    "unnamed": 0,  # drawings without a name
    "unreachable": [],  # what scrolls, but not by keyboard
    "missed": [],  # what the tab key does not reach
    "unmarked": [],  # what does not show that it has the focus
}


def test_the_page_is_sound_for_every_reader(project, tmp_path, tmp_path_factory):
    write_json(DETAILS / "audit.json", audit(hue="brought back", blur="kept") | COST)
    build()
    place = installed(tmp_path_factory)
    command = [
        program("node"),
        place / "look.js",
        program(*BROWSERS),
        PAGE.resolve().as_uri(),
        tmp_path / "page",
    ]
    looks = lines(subprocess.run([*map(str, command)], capture_output=True, text=True, check=False))
    assert [(look["colorScheme"], look["width"]) for look in looks] == [
        *(("light", 1280), ("dark", 1280)),
        *(("light", 390), ("dark", 390)),
    ]
    for look in looks:
        assert {key: look[key] for key in NOTHING_WRONG} == NOTHING_WRONG
        assert look["texts"] > 200
        assert look["images"] > 4
        assert look["stops"] > 4
