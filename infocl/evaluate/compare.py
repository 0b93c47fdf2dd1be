"""The stage compare: plain and regularised encoder side by side, with what needs no training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from infocl.config import Params
from infocl.encoder.files import load_encoder
from infocl.evaluate.baselines import colour_histogram, raw_pixels, untrained_encoder
from infocl.evaluate.evaluation import FeatureBank, check_source_data, evaluate_data
from infocl.evaluate.features import Extract, extract
from infocl.evaluate.paired import paired95
from infocl.evaluate.protocol import Judged, Right, wilson95
from infocl.evaluate.stored import CORRECT_FILE
from infocl.prepared.reader import Prepared, load_prepared, load_source
from infocl.results.comparison import Verdict
from infocl.results.reading import TaskResult, read_probe, read_transfer
from infocl.runtime.device import choose_device
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array
from infocl.runtime.paths import CORRECT, FEATURES, NOT_TRAINED, PLAIN, TARGETS, rerun

SOURCE = "source"  # no target has this name


class Task(NamedTuple):
    """One labelled task, and what the probe on the encoder in models/pretrain got right of it."""

    data: Prepared
    result: TaskResult
    right: Right


def run_compare(params: Params) -> dict[str, Any]:
    """Stage compare: the source, where it is labelled, and every target, by all that there is to compare.

    Returns:
        `regularizer`, and for each task, the source being `source`, what `ComparedTask` holds and `fits`, the
        rows of `evaluate_task` of what was judged here.

    Raises:
        UserError: a file of an earlier stage is missing, or they do not belong together.
    """
    device = choose_device(params.train.device)
    source = load_source(params.data)
    tasks = read_tasks(params, source)
    judged: dict[str, dict[str, list[Judged]]] = {key: defaultdict(list) for key in tasks}
    for kind, extracting in _readers(params, source, device):
        bank = FeatureBank(extracting)
        for key, task in tasks.items():
            judged[key][kind].append(evaluate_data(task.data, bank, params, device))
        print(f"{kind}: " + ", ".join(f"{key} {judged[key][kind][-1].row['accuracy']:.1%}" for key in tasks))
    rows = {key: compare(tasks[key], judged[key], params.reg.name) for key in tasks}
    return {"regularizer": params.reg.name, **rows}


def _readers(params: Params, source: Prepared, device: torch.device) -> Iterator[tuple[str, Extract]]:
    """What is judged here, one after the other, so that the features of one are in memory at a time."""
    yield "raw", partial(raw_pixels, device=device)
    yield "histogram", partial(colour_histogram, device=device)
    for number in range(params.compare.untrained):
        encoder = untrained_encoder(params, source, number, device)
        yield "untrained", partial(extract, encoder, device=device)
    if params.reg.name != "none" and not (PLAIN / NOT_TRAINED).exists():
        plain, config = load_encoder(PLAIN, device)
        check_source_data(source, config, params.data.crop, PLAIN)
        yield "plain", partial(extract, plain, device=device)


def read_tasks(params: Params, source: Prepared) -> dict[str, Task]:
    """The labelled source, as `source`, and the targets."""
    tasks = {}
    if (result := read_probe().source) is not None:
        right = read_right(FEATURES / CORRECT_FILE, result, rerun("probe", FEATURES))
        tasks[SOURCE] = Task(source, result, right)
    results = read_transfer().targets
    hint = rerun("transfer", CORRECT)
    for name in params.transfer.targets:
        if name not in results:
            raise UserError(f"the stage transfer has not judged {name}; {hint}")
        right = read_right(CORRECT / f"{name}.npy", results[name], hint)
        tasks[name] = Task(load_prepared(TARGETS / name), results[name], right)
    return tasks


def read_right(file: Path, result: TaskResult, hint: str) -> Right:
    """Which test images the probe was right for.

    Raises:
        UserError: the file is missing, damaged, or does not give the accuracy that was reported.
    """
    right = read_array(file, hint)
    if right.dtype != np.bool_ or right.shape != (result.test_images,):
        raise UserError(f"{file} holds {right.dtype} {right.shape}, not bool ({result.test_images},); {hint}")
    if round(result.accuracy * result.test_images) != int(right.sum()):
        raise UserError(f"{file} does not give the accuracy that the stage reported; {hint}")
    return right


def compare(task: Task, judged: Mapping[str, list[Judged]], regularizer: str) -> dict[str, Any]:
    """A row of `ComparedTask`.

    Args:
        task: with the answers of the encoder in models/pretrain.
        judged: raw, histogram, and where they are there untrained (one for each seed) and plain.
        regularizer: `reg.name`; with none, the encoder in models/pretrain is the plain one.
    """
    images = task.result.test_images
    majority = task.result.majority
    figures = {"majority": (majority, wilson95(round(majority * images), images))}
    figures |= {kind: _mean([one.row for one in rows]) for kind, rows in judged.items()}
    figures["plain" if regularizer == "none" else "regularised"] = _mean([task.result.model_dump()])
    difference = None
    if "plain" in judged:
        difference = paired95(task.right, judged["plain"][0].right)
        figures["difference"] = difference
    names = ("majority", "raw", "histogram", "untrained", "plain", "regularised", "difference")
    return {
        "name": task.data.name,
        "test_images": images,
        **{name: figures[name][0] if name in figures else None for name in names},
        "untrained_seeds": [one.row["accuracy"] for one in judged.get("untrained", [])],
        "ci95": {name: list(figures[name][1]) for name in names if name in figures},
        "verdict": verdict(figures),
        "fits": {kind: [one.row for one in rows] for kind, rows in judged.items()},
    }


def _mean(rows: list[dict[str, Any]]) -> tuple[float, list[float]]:
    """Mean accuracy, and the mean of the intervals' ends: as wide as if all erred on the same images.

    It speaks of the sampling of test images, not of other seeds.
    """
    ends = np.mean([row["accuracy_ci95"] for row in rows], axis=0)
    return float(np.mean([row["accuracy"] for row in rows])), [float(end) for end in ends]


def verdict(figures: Mapping[str, tuple[float, list[float]]]) -> Verdict | None:
    """A word for a task, only where intervals allow; none without an untrained encoder to judge by.

    `brought back`: plain forgot it, and the interval of regularised - plain is above 0. `forgotten`: the
    interval of plain is below raw pixels and below the untrained encoder. `learned`: the interval of the
    trained encoder (the regularised one, where there are two) is above the best figure without training.

    Args:
        figures: accuracy and 95 % interval by kind, and those of `difference`, as far as they are there.
    """
    if "untrained" not in figures:
        return None
    trained = figures.get("regularised") or figures["plain"]
    kinds = ("majority", "raw", "histogram", "untrained")
    untrained = [figures[kind][0] for kind in kinds if kind in figures]
    forgotten = "plain" in figures and figures["plain"][1][1] < min(
        figures["raw"][0], figures["untrained"][0]
    )
    if forgotten and "difference" in figures and figures["difference"][1][0] > 0:
        return "brought back"
    if forgotten:
        return "forgotten"
    return "learned" if trained[1][0] > max(untrained) else None
