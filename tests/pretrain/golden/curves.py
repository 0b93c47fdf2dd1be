"""Loss curves that must not change unawares; `python -m tests.pretrain.golden.curves` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

from infocl.pretrain.objectives import OBJECTIVES
from infocl.pretrain.regularizers import REGULARIZERS
from tests.pretrain.matrix import build, train

FILE = Path(__file__).parent / "curves.json"
STEPS = 20
NAMES = [f"{objective}+none" for objective in OBJECTIVES] + [
    f"simclr+{reg}" for reg in REGULARIZERS if reg != "none"
]


def compute(name: str) -> list[float]:
    """The losses of the first steps of an objective + regulariser, in float64."""
    return train(*build(*name.split("+")), range(STEPS))


def read() -> dict[str, list[float]]:
    """The kept curves by name."""
    curves: dict[str, list[float]] = json.loads(FILE.read_text())
    return curves


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: compute(name) for name in NAMES}, indent=1) + "\n")
