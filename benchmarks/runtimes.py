"""`python -m benchmarks.runtimes [RUNTIME==VERSION ...]`: which runtimes repeat the example.

Each release is tried on exports/encoder/, alone with NumPy or in Node.js, and replaces its row in the results
(for which it needs a network). `onnxruntime-web` runs its WebAssembly there; a test runs it in a browser.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import try_export
from benchmarks.publish import RESULTS, about, publish, table
from infocl.export.card import TRIED_IN_JAVASCRIPT, TRIED_PREPARED, TRIED_RUNTIMES
from infocl.results.card import CARD_FILE
from infocl.runtime.files import read_json
from infocl.runtime.paths import EXPORT, rerun

JAVASCRIPT = Path(__file__).parents[1] / "infocl/deploy/js"
TRIED = (*TRIED_RUNTIMES, *TRIED_PREPARED, *TRIED_IN_JAVASCRIPT)
NUMPY_2 = (1, 19)  # the first onnxruntime that was built for it


def try_runtime(name: str, version: str, folder: Path) -> dict[str, Any]:
    """What `try_export.py` prints where only this release and NumPy are installed.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    release = tuple(int(part) for part in version.split(".")[:2])
    numpy = "numpy<2" if name == "onnxruntime" and release < NUMPY_2 else "numpy"
    with tempfile.TemporaryDirectory() as place:
        install = ["pip", "install", "--quiet", "--only-binary", ":all:", "--target", place]
        subprocess.run([sys.executable, "-m", *install, f"{name}=={version}", numpy], check=True)
        # -S leaves out what this environment has installed.
        command = [sys.executable, "-S", try_export.__file__, name, str(folder)]
        environment = os.environ | {"PYTHONPATH": place}
        done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def try_javascript(name: str, version: str, folder: Path) -> dict[str, Any]:
    """What `try_export.js` prints beside the packages of the JavaScript example, of this release.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    with tempfile.TemporaryDirectory() as parent:
        place = shutil.copytree(
            JAVASCRIPT, Path(parent) / "js", ignore=shutil.ignore_patterns("node_modules")
        )
        script = shutil.copy(Path(try_export.__file__).with_suffix(".js"), place)
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", f"{name}@{version}"]
        subprocess.run(install, cwd=place, check=True, capture_output=True)
        command = ["node", script, name, str(folder)]
        done = subprocess.run(command, cwd=place, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def runtime_table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as lines of Markdown."""
    variants = list(dict.fromkeys(name for row in rows for name in row["error"]))
    return table(
        ("runtime", "version", "numpy", "tried", *variants),
        (
            [row[key] for key in ("runtime", "version", "numpy", "date")]
            + [_figure(row["error"].get(variant, "not tried")) for variant in variants]
            for row in rows
        ),
    )


def _figure(error: float | str | None) -> str:
    return "refused" if error is None else error if isinstance(error, str) else f"{error:.2g}"


def write_table(new: list[dict[str, Any]]) -> None:
    """Write results/runtimes.md and .json: rows just tried, and earlier ones of the other releases."""
    file = RESULTS / "runtimes.json"
    described = about()
    known = {(row["runtime"], row["version"]): row for row in json.loads(file.read_text())["rows"]}
    known |= {(row["runtime"], row["version"]): row | {"date": described["date"]} for row in new}
    rows = [known[release] for release in TRIED if release in known]
    lines = [
        "The line above is of the last. Largest relative L2 error of an embedding of `example.npz`, images",
        "of all its sizes, by variant; `prepared` is `encoder.float.onnx`. TensorRT was not tried; ncnn and",
        "MNN do not read ONNX.",
        "",
        *runtime_table(rows),
    ]
    publish("runtimes", "Runtimes, tried on", lines, described, rows=rows)


def main() -> None:
    """Try the named releases, or those that the cards name."""
    read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    tried = [name.split("==") for name in sys.argv[1:]] or list(TRIED)
    in_javascript = dict(TRIED_IN_JAVASCRIPT)
    write_table(
        [
            (try_javascript if name in in_javascript else try_runtime)(name, version, EXPORT.resolve())
            for name, version in tried
        ]
    )


if __name__ == "__main__":
    main()
