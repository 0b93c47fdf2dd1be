"""`python -m benchmarks.hostile`: what hostile folders and wrong requests get.

They are those of tests/deploy: folders for `infocl verify`, requests to `infocl serve`, by exports/encoder/.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.publish import about, publish, table
from infocl.results.card import CARD_FILE
from infocl.runtime.files import read_json
from infocl.runtime.paths import EXPORT, rerun
from tests.deploy.test_hostile import HARMS
from tests.deploy.test_serving import INFER, PIXEL, WRONG_BODIES, WRONG_TENSORS, ask, running

LONGEST = 60  # characters of a request that are shown


def folders(place: Path) -> list[str]:
    """A table of what each hostile folder gets."""
    rows = []
    for name, (harm, _) in HARMS.items():
        folder = shutil.copytree(EXPORT, place / "encoder")
        harm(folder)
        began = time.perf_counter()
        command = [sys.executable, "-m", "infocl", "verify", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took = time.perf_counter() - began
        said = _cell(
            done.stderr.removeprefix("infocl: ").replace(f"{folder}/", "").replace(str(folder), "it")
        )
        rows.append((name, said, done.returncode, f"{took:.1f}"))
        shutil.rmtree(folder)
    return table(("folder", "`infocl verify` says", "exit code", "s"), rows)


def requests(place: Path) -> list[str]:
    """A table of what each wrong request gets, all by one server, which answers a right one after it."""
    rows = []
    right = json.dumps({"inputs": [PIXEL]}).encode()
    asked = [
        (json.dumps(change), json.dumps({"inputs": [PIXEL | change]}).encode(), dict[str, str]())
        for change, _ in WRONG_TENSORS
    ]
    asked += [(_shown(body, headers), body, headers) for body, headers, *_ in WRONG_BODIES]
    with running(EXPORT, place) as port:
        for name, body, headers in asked:
            answer = ask(port, INFER, body, headers)
            if ask(port, INFER, right).status != 200:
                raise RuntimeError(f"after {name} the server no longer answers")
            rows.append((f"`{_cell(name)}`", answer.status, _cell(answer.content["error"])))
    return table(("request", "status", "`infocl serve` answers"), rows)


def _shown(body: bytes, headers: dict[str, str]) -> str:
    begin = "".join(map(chr, body[:LONGEST])).strip()
    more = f" ... {len(body):,} bytes" if len(body) > LONGEST else ""
    return f"{begin}{more} {headers or ''}".strip() or "an empty body"


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    short = re.sub(r"[^ -~]", ".", " ".join(text.split())).replace("|", "/").replace("`", "'")
    return short if len(short) < 3 * LONGEST else f"{short[: 3 * LONGEST]} ..."


def main() -> None:
    """Try all, and write results/hostile.md."""
    read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    with tempfile.TemporaryDirectory() as name:
        tables = [*folders(Path(name)), "", *requests(Path(name))]
    described = about("onnxruntime", load=round(os.getloadavg()[0], 1))
    publish("hostile", "What hostile folders and requests get, on", tables, described)


if __name__ == "__main__":
    main()
