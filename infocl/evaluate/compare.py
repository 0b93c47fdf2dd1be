"""The stage compare: plain and regularised encoder side by side, with what needs no training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from infocl.config import Params
from infocl.encoder.files import load_encoder
from infocl.encoder.imported import describe_imported, read_imported
from infocl.encoder.network import Encoder
from infocl.evaluate.answers import SCORES, difference95
from infocl.evaluate.baselines import colour_histogram, raw_pixels, untrained_encoder
from infocl.evaluate.evaluation import FeatureBank, check_source_data, evaluate_data, few_labels
from infocl.evaluate.features import Extract, extract
from infocl.evaluate.paired import paired95
from infocl.evaluate.protocol import Judged
from infocl.evaluate.stored import CORRECT_FILE
from infocl.evaluate.wilson import wilson95
from infocl.prepared.reader import Prepared, load_prepared, load_source
from infocl.results.comparison import SOURCE, Verdict
from infocl.results.reading import TaskResult, read_probe, read_transfer
from infocl.results.scores import KINDS, kind_of, score_of, show_score
from infocl.runtime.device import choose_device
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array
from infocl.runtime.paths import CORRECT, FEATURES, NOT_TRAINED, PLAIN, TARGETS, rerun

SAME = 1e-6  # as scores differ that were computed from the same answers


class Task(NamedTuple):
    """One labelled task, and what the probe on the encoder in models/pretrain answered."""

    data: Prepared
    result: TaskResult
    answers: npt.NDArray[Any]


def run_compare(params: Params) -> dict[str, Any]:
    """Stage compare: the source, where it is labelled, and every target, by all that there is to compare.

    Returns:
        `regularizer`, where there is one `imported`, what it is, and for each task, the source being
        `source`, what `ComparedTask` holds and `fits`, the rows of `evaluate_task` of what was judged here.

    Raises:
        UserError: a file of an earlier stage is missing, or they do not belong together.
    """
    device = choose_device(params.train.device)
    source = load_source(params.data, params.train.shards)
    tasks = read_tasks(params, source)
    given = params.compare.imported
    imported = read_imported(given) if given.file else None
    about = {"imported": describe_imported(imported, given, source.image_size)} if imported else {}
    plain: dict[str, list[dict[str, Any]]] = {}
    judged: dict[str, dict[str, list[Judged]]] = {key: defaultdict(list) for key in tasks}
    for kind, extracting in _readers(params, source, imported, device):
        bank = FeatureBank(extracting)
        for key, task in tasks.items():
            judged[key][kind].append(evaluate_data(task.data, bank, params, device))
            if kind == "plain":
                plain[key] = few_labels(task.data, bank, params, device)
        what = f"{kind} ({about[kind]})" if kind in about else kind
        scores = (f"{key} {_shown(judged[key][kind][-1].row)}" for key in tasks)
        print(f"{what}: {', '.join(scores)}", flush=True)
    rows = {key: compare(tasks[key], judged[key], params.reg.name) for key in tasks}
    for key, few in plain.items():
        rows[key]["plain_label_efficiency"] = few
    return {"regularizer": params.reg.name, **about, **rows}


def _readers(
    params: Params, source: Prepared, imported: Encoder | None, device: torch.device
) -> Iterator[tuple[str, Extract]]:
    """What is judged here, one after the other, so that the features of one are in memory at a time."""
    yield "raw", partial(raw_pixels, device=device)
    yield "histogram", partial(colour_histogram, device=device)
    for number in range(params.compare.untrained):
        encoder = untrained_encoder(params, source, number, device)
        yield "untrained", partial(extract, encoder, device=device)
    if imported is not None:
        side = params.compare.imported.side(source.image_size)
        yield (
            "imported",
            partial(extract, imported.to(device), device=device, batch_size=128, image_size=side),
        )
    if params.reg.name != "none" and not (PLAIN / NOT_TRAINED).exists():
        plain, config = load_encoder(PLAIN, device)
        check_source_data(source, config, params.data.crop, PLAIN)
        yield "plain", partial(extract, plain, device=device)


def read_tasks(params: Params, source: Prepared) -> dict[str, Task]:
    """The labelled source, as `source`, and the targets."""
    tasks = {}
    if (result := read_probe().source) is not None:
        answers = read_answers(FEATURES / CORRECT_FILE, source, result, rerun("probe", FEATURES))
        tasks[SOURCE] = Task(source, result, answers)
    results = read_transfer().targets
    hint = rerun("transfer", CORRECT)
    for name in params.transfer.tasks:
        if name not in results:
            raise UserError(f"the stage transfer has not judged {name}; {hint}")
        data = load_prepared(TARGETS / name)
        answers = read_answers(CORRECT / f"{name}.npy", data, results[name], hint)
        tasks[name] = Task(data, results[name], answers)
    return tasks


def task_truth(data: Prepared) -> npt.NDArray[Any]:
    """The labels of a task's test images.

    Raises:
        UserError: it has none any more.
    """
    truth = data.labels("test")
    if truth is None:
        raise UserError(f"{data.folder} has no labels; prepare it again (dvc repro)")
    return truth


def read_answers(file: Path, data: Prepared, result: TaskResult, hint: str) -> npt.NDArray[Any]:
    """The probe's answers for the test images, as `Judged` has them.

    Raises:
        UserError: the file is missing, damaged, or does not give the score that was reported.
    """
    answers = read_array(file, hint)
    shape = task_truth(data).shape
    dtype = np.dtype(bool if result.kind == "class" else np.float64)
    if answers.dtype != dtype or answers.shape != shape:
        raise UserError(f"{file} holds {answers.dtype} {answers.shape}, not {dtype} {shape}; {hint}")
    alike = np.ones((1, len(answers)))
    if result.kind == "class":
        agrees = round(result.score * result.test_images) == int(answers.sum())
    else:
        [found] = SCORES[result.kind](task_truth(data), answers, alike)
        agrees = abs(float(found) - result.score) < SAME
    if not agrees:
        raise UserError(f"{file} does not give the {result.words.name} that the stage reported; {hint}")
    return answers


def compare(task: Task, judged: Mapping[str, list[Judged]], regularizer: str) -> dict[str, Any]:
    """A row of `ComparedTask`.

    Args:
        task: with the answers of the encoder in models/pretrain.
        judged: raw, histogram, and where they are there untrained (one for each seed), imported and plain.
        regularizer: `reg.name`; with none, the encoder in models/pretrain is the plain one.
    """
    result, images = task.result, task.result.test_images
    chance95 = result.chance_ci95 or wilson95(round(result.chance * images), images)
    figures = {"majority": (result.chance, list(chance95))}
    figures |= {
        kind: _mean([(score_of(one.row), _ci95(one.row)) for one in rows]) for kind, rows in judged.items()
    }
    figures["plain" if regularizer == "none" else "regularised"] = result.score, list(result.score_ci95)
    if "plain" in judged:
        figures["difference"] = _difference(task, judged["plain"][0])
    names = ("majority", "raw", "histogram", "untrained", "plain", "regularised", "difference")
    return {
        "name": task.data.name,
        **({} if result.kind == "class" else {"kind": result.kind}),
        "test_images": images,
        **{name: figures[name][0] if name in figures else None for name in names},
        **({"imported": figures["imported"][0]} if "imported" in figures else {}),
        "untrained_seeds": [score_of(one.row) for one in judged.get("untrained", [])],
        "ci95": {name: list(figures[name][1]) for name in (*names, "imported") if name in figures},
        "verdict": verdict(figures),
        "fits": {kind: [one.row for one in rows] for kind, rows in judged.items()},
    }


def _difference(task: Task, plain: Judged) -> tuple[float, list[float]]:
    if task.result.kind == "class":
        return paired95(task.answers, plain.answers)
    return difference95(task.result.kind, task_truth(task.data), task.answers, plain.answers)


def _ci95(row: Mapping[str, Any]) -> list[float]:
    ends: list[float] = row[f"{KINDS[kind_of(row)].key}_ci95"]
    return ends


def _shown(row: Mapping[str, Any]) -> str:
    return show_score(kind_of(row), score_of(row))


def _mean(rows: list[tuple[float, list[float]]]) -> tuple[float, list[float]]:
    """Mean score, and the mean of the intervals' ends: as wide as if all erred on the same images.

    It speaks of the sampling of test images, not of other seeds.
    """
    ends = np.mean([ci95 for _, ci95 in rows], axis=0)
    return float(np.mean([score for score, _ in rows])), [float(end) for end in ends]


def verdict(figures: Mapping[str, tuple[float, list[float]]]) -> Verdict | None:
    """A word for a task, only where intervals allow; none without an untrained encoder to judge by.

    `brought back`: plain forgot it, and the interval of regularised - plain is above 0. `forgotten`: the
    interval of plain is below raw pixels and below the untrained encoder. `learned`: the interval of the
    trained encoder (the regularised one, where there are two) is above the best figure without training.

    Args:
        figures: score and 95 % interval by kind, and those of `difference`, as far as they are there.
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
