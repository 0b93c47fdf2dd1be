"""The encoders of a study judged twice: by the paper's protocol, and by that of this project.

`python -m benchmarks.protocol` in a project with finished experiments of `infocl study`, whose outputs lie in
its DVC cache. What was judged before is in `results/protocol.json` and is not judged again.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from dvc.api import DVCFileSystem

from benchmarks.publish import RESULTS, table
from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.config.transfer import named_tasks
from infocl.encoder.files import load_encoder
from infocl.evaluate.evaluation import FeatureBank
from infocl.evaluate.features import extract
from infocl.evaluate.scaling import fit_scaling
from infocl.evaluate.stored import Features
from infocl.experiments.dvc_command import run_dvc
from infocl.experiments.table.build import label
from infocl.experiments.table.experiments import Experiment, read_experiments
from infocl.experiments.table.stats import estimate, in_percent, paired_difference
from infocl.prepared.reader import Prepared, load_prepared
from infocl.results.comparison import SOURCE
from infocl.runtime.files import read_json, write_json, write_text

DATA = RESULTS / "protocol.json"
TABLE = DATA.with_suffix(".md")
EPOCHS, DROPS = 100, (60, 80)  # published: the rate falls tenfold after these epochs
RATE, MOMENTUM, BATCH = 0.01, 0.9, 128  # published
JUDGEMENTS = {
    "published": "paper's: raw features, best test epoch",
    "last": "raw features, last epoch",
    "standardised": "standardised features, best test epoch",
    "ours": "ours: standardised, strength by validation, test read once",
}
Labels = npt.NDArray[np.int64]
Rows = dict[str, dict[str, Any]]  # by experiment


def published_curve(
    train: Features,
    train_labels: Labels,
    test: Features,
    test_labels: Labels,
    seed: int,
    epochs: int = EPOCHS,
) -> list[float]:
    """Test accuracy after each epoch of the paper's linear classifier, on features as they are.

    Softmax cross-entropy, SGD of rate 0.01 and momentum 0.9 in shuffled batches of 128; the rate falls
    tenfold after 60 and after 80 epochs. The paper reports the largest figure, so it chooses on the test set.

    Args:
        train: features (N, D).
        train_labels: (N,), any integers.
        test: (M, D).
        test_labels: (M,).
        seed: of the initial weights and of the order.
        epochs: how many.

    Reference: Wang et al., CVPR 2022, and its released commands.
    """
    known, codes = np.unique(train_labels, return_inverse=True)
    features, wanted, new = (torch.from_numpy(each) for each in (train, codes, test))
    truth = torch.from_numpy(test_labels)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = torch.nn.Linear(train.shape[1], len(known))
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, DROPS)
    curve = []
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(features), generator=generator), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(model(features[rows]), wanted[rows]))
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            answers = torch.from_numpy(known)[model(new).argmax(dim=1)]
        curve.append(float((answers == truth).double().mean()))
    return curve


def judge(data: Prepared, bank: FeatureBank, seed: int) -> dict[str, float]:
    """A task's accuracy by each judgement but ours, and the mean length of the features."""
    train, test = data.split("train"), data.split("test")
    given, new = bank.features(train), bank.features(test)
    scaling = fit_scaling(torch.from_numpy(given))
    scaled = [scaling(torch.from_numpy(each)).float().numpy() for each in (given, new)]
    if train.labels is None or test.labels is None:
        raise ValueError(f"{data.folder} has no labels")
    raw = published_curve(given, train.labels, new, test.labels, seed)
    standardised = published_curve(scaled[0], train.labels, scaled[1], test.labels, seed)
    return {"published": max(raw), "last": raw[-1], "standardised": max(standardised)}


def judge_experiment(run: Experiment) -> dict[str, Any]:
    """All judgements of an experiment's encoder, by task."""
    files = DVCFileSystem(".", rev=run.revision)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for part in ("models/pretrain", "data/prepared", "data/targets"):
            files.get(part, str(place / part), recursive=True)
        encoder, _ = load_encoder(place / "models/pretrain")
        bank = FeatureBank(partial(extract, encoder, device=torch.device("cpu")))
        source = load_prepared(place / "data/prepared")
        ours = run.targets if run.source is None else {SOURCE: run.source, **run.targets}
        tasks = {}
        for name, accuracy in ours.items():
            data = source if name == SOURCE else load_prepared(place / "data/targets" / name)
            tasks[name] = judge(data, bank, run.seed) | {"ours": accuracy}
        lengths = np.linalg.norm(bank.features(source.split("test")), axis=1)
    reg = run.params["reg"]
    method = {
        "objective": run.params["objective"]["name"],
        "regularizer": reg["name"],
        "weight": reg["weight"],
    }
    return {**method, "seed": run.seed, "feature_norm": float(lengths.mean()), "tasks": tasks}


def tables(rows: Rows) -> list[str]:
    """The figures as Markdown: accuracies, and what each regulariser changes, under each judgement."""
    names = list(next(iter(rows.values()))["tasks"])
    methods: dict[str, list[dict[str, Any]]] = {}
    for row in rows.values():
        methods.setdefault(label(row["objective"], row["regularizer"], row["weight"]), []).append(row)
    accuracies, differences = [], []
    for name, found in methods.items():
        objective = found[0]["objective"]
        plain = [row for row in rows.values() if row["regularizer"] == "none"]
        alone = [row for row in plain if row["objective"] == objective]
        length = float(np.mean([row["feature_norm"] for row in found]))
        for key, words in JUDGEMENTS.items():
            of = [_by_seed(found, task, key) for task in names]
            shares = [in_percent(estimate(list(each.values()))) for each in of]
            accuracies.append([name, words, len(found), f"{length:.1f}", *shares])
            pairs = [
                paired_difference(each, _by_seed(alone, task, key))
                for task, each in zip(names, of, strict=True)
            ]
            if found[0]["regularizer"] != "none" and all(pairs):
                differences.append([name, words, *(in_percent(pair, "+.1f") for pair in pairs)])
    lines = table(["encoder", "judged by", "seeds", "length", *names], accuracies)
    if differences:
        lines += ["", *table(["difference to the objective alone", "judged by", *names], differences)]
    return lines


def _by_seed(rows: list[dict[str, Any]], task: str, key: str) -> dict[int, float]:
    return {row["seed"]: row["tasks"][task][key] for row in rows}


ABOUT = """# The same encoders by the paper's protocol and by ours

The paper's linear classifier is trained by SGD (rate 0.01, momentum 0.9, batches of 128, 100 epochs, the
rate tenfold smaller after 60 and 80) on features as they are, and its figure is the best test accuracy of
all epochs. Ours standardises the features, chooses the penalty on a validation split and reads the test set
once. Two judgements between them say which of the two differences does what: the last epoch instead of the
best one, and standardised features with the best test epoch. The encoders are those of finished experiments
of `infocl study`; ours are the figures of their stages. Accuracies in %, ± half the 95 % interval over
seeds (Student's t); length is the mean L2 norm of the features of test images. Differences, in points, are
paired by seed and not corrected for their number.

"""


def main() -> None:
    """Judge what is finished, one experiment after the other, and write both files after each."""
    found = read_experiments(run_dvc(["exp", "show", "--json"], capture=True), partly_run=True).finished
    rows: Rows = read_json(DATA, "") if DATA.exists() else {}
    asked = read_yaml(PARAMS_FILE)
    found = [run for run in found if run.params["data"]["name"] == asked["data"]["name"]]
    found = [run for run in found if list(run.targets) == named_tasks(asked)]
    for run in sorted(
        found, key=lambda each: (each.seed, each.params["reg"]["name"] != "none", each.finished)
    ):
        if run.name.startswith("study-") and run.name not in rows:
            rows[run.name] = judge_experiment(run)
            write_json(DATA, rows)
            write_text(TABLE, ABOUT + "\n".join(tables(rows)) + "\n")
            print(f"{run.name}: judged", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
