"""The stages probe and transfer: judge the pretrained encoder on its source and on other tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from infocl.config import Crop, Params
from infocl.encoder.files import load_encoder
from infocl.encoder.network import Encoder
from infocl.evaluate.diagnostics import (
    VIEW_IMAGES,
    choose_images,
    describe_features,
    describe_views,
    encode_views,
)
from infocl.evaluate.features import extract
from infocl.evaluate.protocol import evaluate_task, mean_accuracy
from infocl.evaluate.scaling import fit_scaling
from infocl.evaluate.stored import (
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
from infocl.runtime.paths import FEATURES, PRETRAIN, TARGETS

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
    data = load_source(params.data)
    check_source_data(data, config, params.data.crop)
    train, test = data.split("train"), data.split("test")
    share = params.probe.validation_share
    check_source(train.labels, test.labels, len(test), share, str(data.folder), data.classes)
    stored = {name: _extract_split(encoder, data.split(name), device) for name in ("train", "test")}
    save_features(FEATURES, StoredFeatures(config["weights_sha256"], stored))
    metrics = describe(params, encoder, test, stored["train"].features, device)
    if train.labels is None or test.labels is None:
        return metrics
    features = {name: split.features for name, split in stored.items()}
    return evaluate_data(data, features, params, device) | metrics


def run_transfer(params: Params) -> dict[str, Any]:
    """Stage transfer: the same protocol on every target of `transfer.targets`.

    Returns:
        One row of `evaluate_task` for each target, and `mean_accuracy` (of all targets).

    Raises:
        UserError: the encoder, the features or a target is missing, or they do not belong together.
    """
    device = choose_device(params.train.device)
    encoder, config = load_encoder(PRETRAIN, device)
    bank = FeatureBank(encoder, device, load_features(FEATURES), config)
    rows: dict[str, dict[str, Any]] = {}
    for target in params.transfer.targets:
        data = load_prepared(TARGETS / target)
        check_images(data, config, params.data.crop)
        features = {name: bank.features(data.split(name)) for name in ("train", "test")}
        rows[target] = evaluate_data(data, features, params, device)
    return {**rows, **mean_accuracy(list(rows.values()))}


class FeatureBank:
    """Features by image set, each computed once; those of the probe stage are not computed again.

    Args:
        encoder: in evaluation mode, on `device`.
        device: where to compute.
        stored: what the probe stage left.
        config: the encoder's, whose `weights_sha256` must be that of the stored features.

    Raises:
        UserError: the stored features are another encoder's.
    """

    def __init__(
        self, encoder: Encoder, device: torch.device, stored: StoredFeatures, config: Mapping[str, Any]
    ) -> None:
        if stored.encoder_sha256 != config["weights_sha256"]:
            raise UserError(f"{FEATURES} holds the features of another encoder than {PRETRAIN}; {RERUN}")
        self._encoder = encoder
        self._device = device
        self._known = {split.images_sha256: split.features for split in stored.splits.values()}

    def features(self, split: Split) -> Features:
        """Unstandardised features (N, D) of a split's images."""
        if split.images_sha256 not in self._known:
            extracted = _extract_split(self._encoder, split, self._device)
            self._known[split.images_sha256] = extracted.features
        return self._known[split.images_sha256]


def _extract_split(encoder: Encoder, split: Split, device: torch.device) -> SplitFeatures:
    return SplitFeatures(extract(encoder, split.images, device), split.images_sha256)


def describe(
    params: Params, encoder: Encoder, test: Split, train_features: Features, device: torch.device
) -> dict[str, Any]:
    """Diagnostics without labels: of the training features, and of views of held-out images."""
    features = torch.from_numpy(train_features).to(device)
    images = test.images[choose_images(len(test), params.seed, VIEW_IMAGES)]
    first, second = encode_views(encoder, images, params.views, params.seed, device)
    about_views = describe_views(first, second, fit_scaling(features))
    return describe_features(features, params.seed) | about_views


def evaluate_data(
    data: Prepared, features: Mapping[str, Features], params: Params, device: torch.device
) -> dict[str, Any]:
    """The protocol on a prepared data set, given the features of its splits `train` and `test`.

    Raises:
        UserError: a split has no labels, or the labels do not make a task.
    """
    train_labels, test_labels = data.split("train").labels, data.split("test").labels
    if train_labels is None or test_labels is None:
        raise UserError(
            f"{data.folder} has no labels, so it cannot be a target; drop it from transfer.targets"
        )
    row = evaluate_task(
        features["train"],
        train_labels,
        features["test"],
        test_labels,
        params.probe,
        params.seed,
        device,
        name=str(data.folder),
        classes=data.classes,
    )
    print(describe_row(data.name, row), flush=True)
    return row


def describe_row(name: str, row: Mapping[str, Any]) -> str:
    """A task's result as a person would say it."""
    low, high = row["accuracy_ci95"]
    message = (
        f"{name}: the linear probe is right for {row['accuracy']:.1%} of {row['test_images']} test images "
        f"(95 % interval {low:.1%} to {high:.1%}), nearest neighbours for {row['knn_accuracy']:.1%}, "
        f"the most frequent class for {row['majority']:.1%}."
    )
    if row["l2_at_edge"]:
        message += (
            f" The chosen strength {row['l2']:g} is at the edge of probe.l2; a wider grid may do better."
        )
    if not row["converged"]:
        message += " The fit ended at probe.max_iterations."
    return message


def check_source_data(data: Prepared, config: Mapping[str, Any], crop: Crop) -> None:
    """Refuse another source than the encoder was trained on, whose normalisation it carries.

    Raises:
        UserError: the sizes or crops differ, or the means and deviations of the images.
    """
    check_images(data, config, crop)
    if not np.allclose([data.mean, data.std], [config["mean"], config["std"]], rtol=0, atol=ROUNDING):
        raise UserError(
            f"the encoder in {PRETRAIN} normalises by other images than those in {data.folder}; "
            "run the pretrain stage again (dvc repro pretrain)"
        )


def check_images(data: Prepared, config: Mapping[str, Any], crop: Crop) -> None:
    """Refuse images of another size than the encoder was trained on, or made square in another way.

    Args:
        data: prepared.
        config: the encoder's.
        crop: `data.crop`, in force for source and targets alike.

    Raises:
        UserError: the sizes or crops differ.
    """
    if data.image_size != config.get("image_size"):
        raise UserError(
            f"{data.folder} holds images of {data.image_size} px, but the encoder in {PRETRAIN} was trained "
            f"on {config.get('image_size')} px; bring both to data.image_size (dvc repro)"
        )
    if data.crop != crop:
        raise UserError(
            f"the images in {data.folder} were made square by {data.crop}, but data.crop is {crop}; "
            "prepare them again (dvc repro)"
        )
