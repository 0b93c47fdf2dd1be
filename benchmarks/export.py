"""`python -m benchmarks.export`: the variants of exports/encoder/ against torch eager, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.measure import interleaved
from benchmarks.publish import about, processor, publish, table
from infocl.encoder.files import load_encoder
from infocl.evaluate.features import extract
from infocl.export.session import THREADS, embed, few_threads, open_session
from infocl.results.card import CARD_FILE
from infocl.runtime.files import read_json
from infocl.runtime.paths import EXPORT, PRETRAIN, rerun
from infocl.runtime.text import counted

BATCHES = (64, 1)
TORCH = "torch eager"


@dataclass(frozen=True)
class VariantRow:
    """One variant; speed in images per second by batch, errors and accuracy as encoder.json has them.

    Speed is of the fastest of many calls: beside other work, a call of a millisecond or two takes a whole
    time slice more or none, and the median tells of the neighbours.
    """

    variant: str
    bytes: int
    relative_error: float
    cosine_distance: float
    neighbour_agreement: float
    probe_accuracy: float | None
    images_per_second: dict[int, float]
    times_torch: dict[int, float]


def variant_rows() -> list[VariantRow]:
    """Torch and every shipped variant on real images, timed in turn, with the threads of the export stage."""
    card = read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    shipped = {name: row for name, row in card["variants"].items() if row["shipped"]}
    example = np.load(EXPORT / card["example"]["file"])["images"]
    with few_threads() as threads:
        speed = {batch: _images_per_second(shipped, example, batch, threads) for batch in BATCHES}
    return [_row(name, row, speed) for name, row in ({TORCH: _torch_row(card)} | shipped).items()]


def _images_per_second(
    shipped: Mapping[str, Mapping[str, Any]], example: np.ndarray, batch: int, threads: int
) -> dict[str, float]:
    images = np.concatenate([example] * batch)[:batch]
    encoder, _ = load_encoder(PRETRAIN)
    work: dict[str, Callable[[], object]] = {TORCH: lambda: extract(encoder, images, torch.device("cpu"))}
    for name, row in shipped.items():
        session = open_session((EXPORT / row["file"]).read_bytes(), threads)
        work[name] = lambda session=session: embed(session, images)
    timings = interleaved(work, repeats=201, warm_up=10)
    return {name: batch / timing.fastest for name, timing in timings.items()}


def _torch_row(card: Mapping[str, Any]) -> dict[str, Any]:
    """The yardstick itself: no error, the size of its weights in float32."""
    return {
        "bytes": sum(path.stat().st_size for path in PRETRAIN.glob("encoder.safetensors")),
        "relative_error": 0.0,
        "cosine_distance": 0.0,
        "neighbour_agreement": 1.0,
        "probe_accuracy": card["variants"]["float32"]["probe_accuracy_torch"],
    }


def _row(name: str, row: Mapping[str, Any], speed: Mapping[int, Mapping[str, float]]) -> VariantRow:
    figures = ("bytes", "relative_error", "cosine_distance", "neighbour_agreement", "probe_accuracy")
    return VariantRow(
        name,
        *(row[key] for key in figures),
        {batch: of[name] for batch, of in speed.items()},
        {batch: of[name] / of[TORCH] for batch, of in speed.items()},
    )


def variant_table(rows: list[VariantRow]) -> list[str]:
    """The rows as lines of Markdown."""
    speeds = [name for batch in BATCHES for name in (f"images/s, batch {batch}", "times torch")]
    return table(
        ("variant", "size", "relative error", "1 - cosine", "same neighbours", "linear probe", *speeds),
        map(_cells, rows),
    )


def _cells(row: VariantRow) -> list[str]:
    probe = "-" if row.probe_accuracy is None else f"{row.probe_accuracy:.1%}"
    errors = f"{row.relative_error:.2g}", f"{row.cosine_distance:.2g}", f"{row.neighbour_agreement:.1%}"
    speeds = [(f"{row.images_per_second[batch]:.0f}", f"{row.times_torch[batch]:.2f}") for batch in BATCHES]
    return [
        row.variant,
        f"{row.bytes / 1e6:.2f} MB",
        *errors,
        probe,
        *(cell for pair in speeds for cell in pair),
    ]


def main() -> None:
    """Measure, and write results/export.md with the raw figures beside it as JSON."""
    rows = variant_rows()
    config = read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    described = about(
        "torch",
        "onnxruntime",
        device=f"{processor()}, {counted(min(THREADS, torch.get_num_threads()), 'thread')}",
        network="{arch}, stem {stem}, width {width:g}".format(**config["encoder"]),
        image_size=config["image_size"],
    )
    title, figures = "Exported variants, measured on", [asdict(row) for row in rows]
    publish("export", title, variant_table(rows), described, rows=figures)


if __name__ == "__main__":
    main()
