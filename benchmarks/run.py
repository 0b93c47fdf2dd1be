"""`python -m benchmarks.run`: measure everything on this machine and write benchmarks/results/."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks import cases
from benchmarks.loop import LOOP_TITLES, measure
from benchmarks.measure import device, machine
from benchmarks.parts import part_rows, part_table, shipped_and_large
from benchmarks.publish import about, publish, table
from infocl.config.file import load_params


def main() -> None:
    """Run all comparisons and write them as Markdown and JSON."""
    params = load_params()
    rows = [*cases.lbe(), *cases.views(params)]
    loop, costs = measure(params), part_rows(shipped_and_large(params))
    cells = [(row.what, row.ours, row.alternative, f"{row.ratio:.2f}") for row in rows]
    lines = table(("what", "InfoCL", "alternative", "ratio"), cells)
    lines += ["", *table(("pretraining loop", *LOOP_TITLES), [loop.cells()]), "", *part_table(costs)]
    publish(
        "cpu" if device().type == "cpu" else "cuda-comparisons",
        "Measured on",
        lines,
        about("torch", "kornia", device=machine()),
        rows=[asdict(row) for row in rows],
        loops=[asdict(loop)],
        parts=[asdict(row) for row in costs],
    )


if __name__ == "__main__":
    main()
