"""Where figures go: a page for people in `results/`, with the raw figures beside it as JSON."""

from __future__ import annotations

import datetime
import json
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infocl.runtime.files import write_text

RESULTS = Path(__file__).parent / "results"


def about(*packages: str, **more: object) -> dict[str, Any]:
    """When, on what and with which versions something is measured, and what else there is to say of it."""
    from infocl.pretrain.training import git_revision  # torch

    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": processor(),
        **more,
        "python": platform.python_version(),
        **{name: getattr(sys.modules.get(name), "__version__", None) or version(name) for name in packages},
        "revision": git_revision(),
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def table(titles: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of a table in Markdown."""
    head, *lines = (f"| {' | '.join(map(str, cells))} |" for cells in (titles, *rows))
    return [head, "|" + "---|" * (head.count("|") - 1), *lines]


def publish(name: str, title: str, lines: Iterable[str], about: dict[str, Any], **figures: object) -> None:
    """Write and print results/NAME.md, and results/NAME.json where there are raw figures."""
    message = ", ".join(f"{key} {value}" for key, value in about.items() if key != "device")
    page = "\n".join([f"# {title} {about['device']}", "", f"{message}.", "", *lines]) + "\n"
    write_text(RESULTS / f"{name}.md", page)
    if figures:
        write_text(RESULTS / f"{name}.json", json.dumps(about | figures, indent=2) + "\n")
    print(page)
