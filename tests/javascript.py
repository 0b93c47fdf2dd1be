"""Node.js, its packages and a browser, for tests of what people open."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.once import once
from tests.workspace import ROOT

SOURCE = ROOT / "infocl/deploy/js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def program(*names):
    """The path of the first of these programs that is installed."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, f"install one of {', '.join(names)} to run this test (Debian: apt-get install {names[0]})"
    return found


def installed(tmp_path_factory):
    """The JavaScript example with its packages and the scripts of tests, made once for all workers."""
    return once(tmp_path_factory, "javascript", _install) / "js"


def _install(folder):
    place = folder / "js"
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("node_modules"))
    for script in Path(__file__).parent.glob("*/*.js"):
        shutil.copy(script, place)
    command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    return ""


def lines(done):
    """What a script printed, a JSON value for each line."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
