"""`python -m benchmarks.runtimes [RUNTIME==VERSION ...]`: which runtimes repeat the example.

Each release is tried on exports/encoder/, in an environment of its own with nothing else but NumPy (for which
it needs a network).
"""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from benchmarks import try_export
from benchmarks.run import RESULTS, processor
from infocl.export.card import TRIED_RUNTIMES
from infocl.pretrain.training import git_revision
from infocl.results.card import CARD_FILE
from infocl.runtime.files import read_json, write_text
from infocl.runtime.paths import EXPORT, rerun

NUMPY_2 = (1, 19)  # the first onnxruntime that was built for it


def try_runtime(name: str, version: str, folder: Path) -> dict[str, Any]:
    """What `try_export.py` prints in a fresh environment with this release.

    Raises:
        subprocess.CalledProcessError: it cannot be installed, or refuses a file.
    """
    release = tuple(int(part) for part in version.split(".")[:2])
    numpy = "numpy<2" if name == "onnxruntime" and release < NUMPY_2 else "numpy"
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = Path(place) / "bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        subprocess.run([*install, f"{name}=={version}", numpy], check=True)
        command = [python, try_export.__file__, name, str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def runtime_table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as lines of Markdown."""
    names = list(rows[0]["error"])
    lines = [f"| runtime | version | numpy | {' | '.join(names)} |", "|" + "---|" * (3 + len(names))]
    for row in rows:
        figures = " | ".join(f"{row['error'][name]:.2g}" for name in names)
        lines.append(f"| {row['runtime']} | {row['version']} | {row['numpy']} | {figures} |")
    return lines


def main() -> None:
    """Try the named releases, or those that the cards name, and write results/runtimes.md and .json."""
    read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    tried = [name.split("==") for name in sys.argv[1:]] or TRIED_RUNTIMES
    rows = [try_runtime(name, version, EXPORT.resolve()) for name, version in tried]
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": processor(),
        "python": platform.python_version(),
        "revision": git_revision(),
    }
    message = ", ".join(f"{name} {value}" for name, value in about.items() if name != "device")
    lines = [f"# Runtimes, tried on {about['device']}", "", message, ""]
    lines += [
        "Largest relative L2 error of an embedding of `example.npz`, images of all its sizes, by variant.",
        "",
        *runtime_table(rows),
    ]
    write_text(RESULTS / "runtimes.md", "\n".join(lines) + "\n")
    write_text(RESULTS / "runtimes.json", json.dumps(about | {"rows": rows}, indent=2) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
