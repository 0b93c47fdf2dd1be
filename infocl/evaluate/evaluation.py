"""The stages probe and transfer: judge the pretrained encoder on its source and on other tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infocl.config import Crop, Params, TaskKind
from infocl.encoder.files import load_encoder
from infocl.encoder.network import Encoder
from infocl.evaluate.answers import evaluate_labels, evaluate_numbers
from infocl.evaluate.diagnostics import (
    VIEW_IMAGES,
    choose_images,
    describe_features,
    describe_views,
    encode_views,
)
from infocl.evaluate.efficiency import label_efficiency
from infocl.evaluate.features import Extract, extract
from infocl.evaluate.protocol import Judged, evaluate_task, mean_accuracy
from infocl.evaluate.scaling import fit_scaling
from infocl.evaluate.stored import (
    CORRECT_FILE,
    RERUN,
    Features,
    SplitFeatures,
    StoredFeatures,
    load_features,
    save_features,
)
from infocl.prepared.reader import Prepared, Split, load_prepared, load_source
from infocl.prepared.tasks import check_source
from infocl.runtime.device import choose_device
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing_folder, write_array
from infocl.runtime.paths import CORRECT, FEATURES, PRETRAIN, TARGETS

ROUNDING = 1e-6  # of means and deviations in float32


def run_probe(params: Params) -> dict[str, Any]:
    """Stage probe: features of the source data set, their diagnostics and, with labels, their accuracy.

    Returns:
        The metrics of `describe_features` and `describe_views`; those of `evaluate_task` only when both
        splits are labelled.

    Raises:
        UserError: the encoder or the data set is missing, or they do not belong together.
    """
    device = choose_device(params.train.device)
    encoder, config = load_encoder(PRETRAIN, device)
    data = load_source(params.data, params.train.shards)
    check_source_data(data, config, params.data.crop)
    train, test = data.split("train"), data.split("test")
    share = params.probe.validation_share
    check_source(train.labels, test.labels, len(test), share, str(data.folder), data.classes)
    stored = {
        name: SplitFeatures(extract(encoder, split.images, device), split.images_sha256)
        for name, split in (("train", train), ("test", test))
    }
    save_features(FEATURES, StoredFeatures(config["weights_sha256"], stored))
    metrics = describe(params, encoder, test, stored["train"].features, device)
    if train.labels is None or test.labels is None:
        return metrics
    bank = FeatureBank(partial(extract, encoder, device=device), stored.values())
    judged = evaluate_data(data, bank, params, device)
    print(describe_row(data.name, judged.row), flush=True)
    write_array(FEATURES / CORRECT_FILE, judged.answers)
    return judged.row | _details(judged, data, bank, params, device) | metrics


def run_transfer(params: Params) -> dict[str, Any]:
    """Stage transfer: the same protocol on every target of `transfer.targets`.

    Returns:
        One row of the protocol for each task, and `mean_accuracy` (of those that have one).

    Raises:
        UserError: the encoder, the features or a target is missing, or they do not belong together.
    """
    device = choose_device(params.train.device)
    encoder, config = load_encoder(PRETRAIN, device)
    stored = load_features(FEATURES)
    if stored.encoder_sha256 != config["weights_sha256"]:
        raise UserError(f"{FEATURES} holds the features of another encoder than {PRETRAIN}; {RERUN}")
    bank = FeatureBank(partial(extract, encoder, device=device), stored.splits.values())
    rows: dict[str, dict[str, Any]] = {}
    with replacing_folder(CORRECT) as folder:
        for target in params.transfer.tasks:
            data = load_prepared(TARGETS / target)
            check_images(data, config, params.data.crop)
            judged = evaluate_data(data, bank, params, device)
            print(describe_row(target, judged.row), flush=True)
            write_array(folder / f"{target}.npy", judged.answers)
            rows[target] = judged.row | _details(judged, data, bank, params, device)
    return {**rows, **mean_accuracy(list(rows.values()))}


class FeatureBank:
    """Features by image set, each computed once.

    Args:
        extract: gives the features of images, uint8 (N, H, W, 3).
        known: features that are not computed again, such as those of the probe stage.
    """

    def __init__(self, extract: Extract, known: Iterable[SplitFeatures] = ()) -> None:
        self._extract = extract
        self._known = {split.images_sha256: split.features for split in known}

    def features(self, split: Split) -> Features:
        """Unstandardised features (N, D) of a split's images."""
        if split.images_sha256 not in self._known:
            self._known[split.images_sha256] = self._extract(split.images)
        return self._known[split.images_sha256]


def describe(
    params: Params, encoder: Encoder, test: Split, train_features: Features, device: torch.device
) -> dict[str, Any]:
    """Diagnostics without labels: of the training features, and of views of held-out images."""
    features = torch.from_numpy(train_features).to(device)
    images = test.images[choose_images(len(test), params.seed, VIEW_IMAGES)]
    first, second = encode_views(encoder, images, params.views, params.seed, device)
    about_views = describe_views(first, second, fit_scaling(features))
    return describe_features(features, params.seed) | about_views


def evaluate_data(data: Prepared, bank: FeatureBank, params: Params, device: torch.device) -> Judged:
    """The protocol on a prepared data set, by the features of its splits `train` and `test`.

    Raises:
        UserError: a split has no labels, or the labels do not make a task.
    """
    train, test = data.split("train"), data.split("test")
    if train.labels is None or test.labels is None:
        raise UserError(
            f"{data.folder} has no labels, so it cannot be a target; drop it from transfer.targets"
        )
    judge: dict[TaskKind, Callable[..., Judged]] = {
        "class": partial(evaluate_task, classes=data.classes),
        "labels": evaluate_labels,
        "number": evaluate_numbers,
    }
    judged = judge[data.kind](
        bank.features(train),
        train.labels,
        bank.features(test),
        test.labels,
        params.probe,
        params.seed,
        device,
        name=str(data.folder),
    )
    about = data.splits["test"]
    hashes = {f"test_{key}": about[key] for key in ("images_sha256", "labels_sha256")}
    return judged._replace(row=judged.row | hashes | {"task": data.meta.get("task", {})})


def _details(
    judged: Judged, data: Prepared, bank: FeatureBank, params: Params, device: torch.device
) -> dict[str, Any]:
    """What is told of the trained encoder alone, beside the figures that everything is compared by."""
    if data.kind == "labels":
        return {"label_names": data.classes}
    if data.kind == "number":
        return {}
    return {"confusion": judged.confusion, "label_efficiency": few_labels(data, bank, params, device)}


def few_labels(
    data: Prepared, bank: FeatureBank, params: Params, device: torch.device
) -> list[dict[str, Any]]:
    """`label_efficiency` of a task of classes."""
    train, test = data.split("train"), data.split("test")
    if data.kind != "class" or train.labels is None or test.labels is None:
        return []
    features = bank.features(train), train.labels, bank.features(test), test.labels
    return label_efficiency(*features, params.probe.label_efficiency, params.seed, device)


def describe_row(name: str, row: Mapping[str, Any]) -> str:
    """A task's result as a person would say it."""
    message = f"{name}: {_said(row)}"
    if row["l2_at_edge"]:
        message += (
            f" The chosen strength {row['l2']:g} is at the edge of probe.l2; a wider grid may do better."
        )
    if not row["converged"]:
        message += " The fit ended at probe.max_iterations."
    return message


def _said(row: Mapping[str, Any]) -> str:
    images = f"{row['test_images']} test images"
    kind = row.get("kind", "class")
    if kind == "class":
        low, high = row["accuracy_ci95"]
        return (
            f"the linear probe is right for {row['accuracy']:.1%} of {images} "
            f"(95 % interval {low:.1%} to {high:.1%}), nearest neighbours for {row['knn_accuracy']:.1%}, "
            f"the most frequent class for {row['majority']:.1%}."
        )
    if kind == "labels":
        low, high = row["mean_average_precision_ci95"]
        return (
            f"the mean average precision of {row['classes']} labels on {images} is "
            f"{row['mean_average_precision']:.1%} (95 % interval {low:.1%} to {high:.1%}), of nearest "
            f"neighbours {row['knn_mean_average_precision']:.1%}, of a ranking at random {row['chance']:.1%}."
        )
    (low, high), (least, most) = row["r2_ci95"], row["rmse_ci95"]
    return (
        f"ridge regression has R² {row['r2']:.3f} on {images} (95 % interval {low:.3f} to {high:.3f}), "
        f"nearest neighbours {row['knn_r2']:.3f}; the RMSE is {row['rmse']:.4g} ({least:.4g} to {most:.4g}), "
        f"of the mean {row['chance_rmse']:.4g}."
    )


def check_source_data(data: Prepared, config: Mapping[str, Any], crop: Crop, folder: Path = PRETRAIN) -> None:
    """Refuse another source than the encoder was trained on, whose normalisation it carries.

    Raises:
        UserError: the sizes or crops differ, or the means and deviations of the images.
    """
    check_images(data, config, crop, folder)
    if not np.allclose([data.mean, data.std], [config["mean"], config["std"]], rtol=0, atol=ROUNDING):
        raise UserError(
            f"the encoder in {folder} normalises by other images than those in {data.folder}; "
            f"run the {folder.name} stage again (dvc repro {folder.name})"
        )


def check_images(data: Prepared, config: Mapping[str, Any], crop: Crop, folder: Path = PRETRAIN) -> None:
    """Refuse images of another size than the encoder was trained on, or made square in another way.

    Args:
        data: prepared.
        config: the encoder's.
        crop: `data.crop`, in force for source and targets alike.
        folder: the encoder's.

    Raises:
        UserError: the sizes or crops differ.
    """
    if data.image_size != config.get("image_size"):
        raise UserError(
            f"{data.folder} holds images of {data.image_size} px, but the encoder in {folder} was trained "
            f"on {config.get('image_size')} px; bring both to data.image_size (dvc repro)"
        )
    if data.crop != crop:
        raise UserError(
            f"the images in {data.folder} were made square by {data.crop}, but data.crop is {crop}; "
            "prepare them again (dvc repro)"
        )
