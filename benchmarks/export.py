"""`python -m benchmarks.export`: the variants of exports/encoder/ against torch eager, in one run."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.measure import interleaved
from benchmarks.run import RESULTS, processor
from infocl.encoder.files import load_encoder
from infocl.evaluate.features import extract
from infocl.export.session import THREADS, embed, few_threads, open_session
from infocl.pretrain.training import git_revision
from infocl.results.card import CARD_FILE
from infocl.runtime.files import read_json, write_text
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
    about = read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    shipped = {name: row for name, row in about["variants"].items() if row["shipped"]}
    example = np.load(EXPORT / about["example"]["file"])["images"]
    with few_threads() as threads:
        speed = {batch: _images_per_second(shipped, example, batch, threads) for batch in BATCHES}
    return [_row(name, row, speed) for name, row in ({TORCH: _torch_row(about)} | shipped).items()]


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


def _torch_row(about: Mapping[str, Any]) -> dict[str, Any]:
    """The yardstick itself: no error, the size of its weights in float32."""
    return {
        "bytes": sum(path.stat().st_size for path in PRETRAIN.glob("encoder.safetensors")),
        "relative_error": 0.0,
        "cosine_distance": 0.0,
        "neighbour_agreement": 1.0,
        "probe_accuracy": about["variants"]["float32"]["probe_accuracy_torch"],
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
    speeds = " | ".join(f"images/s, batch {batch} | times torch" for batch in BATCHES)
    lines = [f"| variant | size | relative error | 1 - cosine | same neighbours | linear probe | {speeds} |"]
    lines.append("|" + "---|" * (6 + 2 * len(BATCHES)))
    for row in rows:
        probe = "-" if row.probe_accuracy is None else f"{row.probe_accuracy:.1%}"
        speeds = " | ".join(f"{row.images_per_second[b]:.0f} | {row.times_torch[b]:.2f}" for b in BATCHES)
        errors = f"{row.relative_error:.2g} | {row.cosine_distance:.2g} | {row.neighbour_agreement:.1%}"
        lines.append(f"| {row.variant} | {row.bytes / 1e6:.2f} MB | {errors} | {probe} | {speeds} |")
    return lines


def main() -> None:
    """Measure, and write results/export.md with the raw figures beside it as JSON."""
    rows = variant_rows()
    config = read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": f"{processor()}, {counted(min(THREADS, torch.get_num_threads()), 'thread')}",
        "network": "{arch}, stem {stem}, width {width:g}".format(**config["encoder"]),
        "image_size": config["image_size"],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "revision": git_revision(),
    }
    message = ", ".join(f"{name} {value}" for name, value in about.items() if name != "device")
    lines = [f"# Exported variants, measured on {about['device']}", "", message, "", *variant_table(rows)]
    write_text(RESULTS / "export.md", "\n".join(lines) + "\n")
    record = about | {"rows": [asdict(row) for row in rows]}
    write_text(RESULTS / "export.json", json.dumps(record, indent=2) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
