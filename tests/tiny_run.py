"""A run's files, tiny but complete: a real encoder, real images, and metrics of the stages' shapes."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import torch

from infocl.config import Params
from infocl.config.file import parse_params
from infocl.data.embedded import describe_task
from infocl.encoder.files import save_encoder
from infocl.encoder.network import Encoder
from infocl.runtime.files import read_json, sha256_array, write_array, write_json, write_text
from tests.workspace import SHIPPED, read_digits, write_set

SIZE = 16
CLASSES = ["zero", "one", "two"]
TEST_SET = {"test_images_sha256": "ab" * 32, "test_labels_sha256": "cd" * 32}
TARGETS = ["hue", "place", "photos"]


def tiny_params(**export) -> Params:
    raw = copy.deepcopy(SHIPPED)
    raw["data"]["image_size"] = SIZE
    raw["encoder"]["width"] = 0.125
    raw["transfer"]["targets"] = TARGETS
    raw["data"]["name"] = "scenes"
    raw["probe"] |= {"l2": [0.001, 0.1], "max_iterations": 100}
    raw["export"] |= {"parity_images": 12, "max_accuracy_drop": 0.1} | export
    return parse_params(raw)


def digit_images(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    digits = read_digits(n_class=len(CLASSES))
    chosen = slice(first, first + count)
    grey = np.kron(digits.images[chosen] * 15, np.ones((2, 2))).astype(np.uint8)
    return np.stack([grey, 255 - grey, grey // 2], axis=-1), digits.target[chosen].astype(np.int64)


def write_prepared(*, labelled=True, classes=CLASSES, splits=("train", "test")) -> dict:
    return write_set(
        Path("data/prepared"),
        {name: digit_images(60 * index, 60) for index, name in enumerate(splits)},
        name="scenes",
        classes=classes if labelled else None,
        mean=[0.3, 0.6, 0.1],
        std=[0.2, 0.3, 0.1],
    )


def write_encoder(meta: dict, *, regularizer="lbe", **about) -> dict:
    torch.manual_seed(0)
    params = tiny_params().encoder
    encoder = Encoder(params, meta["mean"], meta["std"])
    with torch.no_grad():
        encoder(torch.rand(16, 3, SIZE, SIZE))  # running statistics that are not the initial ones
    about = {
        "version": "0.1.0",
        "objective": "simclr",
        "regularizer": regularizer,
        "reg_weight": 1.0,
        "data": "scenes",
        "image_size": SIZE,
        "epochs": 3,
        "seed": 0,
        "params_sha256": "cd" * 32,
        "git_revision": "0123456789abcdef0123456789abcdef01234567",
        **about,
    }
    folder = Path("models/pretrain")
    folder.mkdir(parents=True, exist_ok=True)
    save_encoder(folder, encoder.eval(), about)
    return about


def task(accuracy: float, images: int = 60) -> dict:
    return {
        "accuracy": accuracy,
        "accuracy_ci95": [accuracy - 0.04321, accuracy + 0.03456],
        "knn_accuracy": accuracy - 0.1,
        "majority": 0.35,
        "l2": 0.001,
        "l2_at_edge": False,
        "validation_accuracy": accuracy,
        "converged": True,
        "classes": 3,
        "train_images": 60,
        "test_images": images,
    }


def compared(accuracy: float, **values) -> dict:
    """A row of the stage compare, without verdict."""
    shares = {"majority": 0.35, "raw": 0.4, "histogram": 0.3, "untrained": 0.45}
    shares |= {"plain": 0.5, "regularised": accuracy} | values
    both = shares["plain"], shares["regularised"]
    gap = None if None in both else both[1] - both[0]
    known = {kind: share for kind, share in shares.items() if share is not None}
    ci95 = {kind: [share - 0.04, share + 0.05] for kind, share in known.items()}
    if gap is not None:
        ci95["difference"] = [gap - 0.03, gap + 0.03]
    seeds = [] if shares["untrained"] is None else [shares["untrained"]]
    about = {"test_images": 60, "untrained_seeds": seeds, "difference": gap, "ci95": ci95, "verdict": None}
    return shares | about


def comparison(*, labelled=True, regularizer="lbe", **values) -> dict:
    """What the stage compare says of `TARGETS` and of the source."""
    rows = {name: compared(0.5 + index / 7, **values) | {"name": name} for index, name in enumerate(TARGETS)}
    source = {"source": compared(0.8123, **values) | {"name": "scenes"}} if labelled else {}
    return {"regularizer": regularizer, **source, **rows}


def audit(**words) -> dict:
    """What the stage audit says of two factors, whose words may be given."""
    rows = {}
    for factor, plain in (("hue", 0.11), ("blur", 0.5)):
        told = {"raw": 0.6, "untrained": 0.4, "plain": plain, "regularised": 0.55, "difference": 0.55 - plain}
        ci95 = {kind: [value - 0.04, value + 0.05] for kind, value in told.items()}
        rows[factor] = told | {"ci95": ci95, "verdict": words.get(factor)}
    return {"regularizer": "lbe", "train_images": 60, "test_images": 60, **rows}


def write_metrics(*, labelled=True) -> None:
    cost = {"seconds": 12.34, "peak_memory_mib": 567.8}
    diagnostics = {
        "rankme": 21.7,
        "dim": 64,
        "dead_units": 0.03125,
        "feature_norm": 7.9,
        "alignment": 0.4321,
        "uniformity": -2.345,
        "info_nce_nats": 2.1,
        "info_nce_ceiling_nats": math.log(45),
        "info_nce_temperature": 0.25,
        "view_images": 60,
    }
    rows = {
        name: task(0.5 + index / 7) | describe_task(f"{name}, of course", changed_by_views=name != "photos")
        for index, name in enumerate(TARGETS)
    }
    mean = sum(row["accuracy"] for row in rows.values()) / len(rows)
    transfer = {"mean_accuracy": mean, "mean_accuracy_ci95": [mean - 0.0222, mean + 0.0333]}
    pretrain = {
        "images_per_second": 1234.5,
        "loss": 1.5,
        "epochs": 3,
        "steps": 24,
        "device": "CPU, 2 threads",
    }
    metrics = {
        "prepare": {},
        "targets": {},
        "pretrain": pretrain,
        "plain": pretrain,
        "compare": comparison(labelled=labelled),
        "audit": audit(),
        "probe": diagnostics | (task(0.8123) | TEST_SET if labelled else {}),
        "transfer": rows | transfer | {"mean_knn_accuracy": 0.54},
    }
    for name, values in metrics.items():
        write_json(Path("metrics/details") / f"{name}.json", values | cost)
    for name, row in rows.items():
        write_right(Path("models/correct") / f"{name}.npy", row)
    if labelled:
        write_right(Path("models/features/correct.npy"), metrics["probe"])


def write_right(path: Path, row: dict) -> None:
    """Which test images the probe got right, as many as the row says."""
    write_array(path, np.arange(row["test_images"]) < round(row["accuracy"] * row["test_images"]))


def write_results(meta: dict, *, parts=("regularizer_mi_bound_nats", "regularizer_mi_ceiling_nats")) -> None:
    """The other files of pretraining and of the probe: history, pictures, features."""
    names = ["step", "epoch", "lr", "loss", "objective", "regularizer", *parts, "feature_spread"]
    names.append("images_per_second")
    rows = [[3 * k, k / 8, 1e-3, *(2 + 1 / k for _ in names[3:-1]), 1000 + k] for k in range(1, 25)]
    table = [",".join(names), *(",".join(f"{value:.8g}" for value in row) for row in rows)]
    write_text(Path("models/pretrain/history.csv"), "\n".join(table) + "\n")
    write_array(Path("models/pretrain/views.npy"), np.zeros((2, 3, 16, 16, 3), np.uint8))
    generator = np.random.default_rng(0)
    write_array(Path("models/audit/rebuilt.npy"), np.zeros((3, 2, 32, 32, 3), np.uint8))
    nearest = np.array([[[0, 1, 2], [3, 4, 5]]] * 2, dtype=np.int64)
    write_array(Path("models/audit/neighbours.npy"), nearest)
    config = read_json(Path("models/pretrain/config.json"), "")
    mapped = generator.normal(size=(2, 60, config["dim"])).astype(np.float32)
    write_array(Path("models/audit/features.npy"), mapped)
    write_array(Path("models/audit/rows.npy"), np.arange(60))
    seen = {"kinds": ["plain", "regularised"], "images_sha256": meta["splits"]["test"]["images_sha256"]}
    write_json(Path("models/audit/meta.json"), seen | {"encoder_sha256": config["weights_sha256"]})
    splits = {}
    for name, about in meta["splits"].items():
        features = generator.normal(size=(about["images"], config["dim"])).astype(np.float32)
        write_array(Path("models/features") / f"{name}.npy", features)
        splits[name] = {
            "images_sha256": about["images_sha256"],
            "images": about["images"],
            "features_sha256": sha256_array(features),
        }
    about = {"format": 2, "encoder_sha256": config["weights_sha256"], "splits": splits}
    write_json(Path("models/features/meta.json"), about)
