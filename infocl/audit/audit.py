"""The stage audit: which changes of an image can still be told from the features, on unlabelled images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infocl.audit.factors import change, draw_amounts, wanted
from infocl.audit.pictures import make_pictures
from infocl.audit.readers import BATCH, TRAINED, Images, Readers, batches, open_readers, read
from infocl.config import Params
from infocl.config.audit import Factor
from infocl.encoder.numerics import derive_seed
from infocl.evaluate.compare import verdict
from infocl.evaluate.diagnostics import choose_images
from infocl.evaluate.regression import fit_ridge, r2
from infocl.prepared.reader import Prepared, load_source
from infocl.results.audit import Word
from infocl.runtime.device import choose_device
from infocl.runtime.files import read_json
from infocl.runtime.paths import CONFIG_FILE, PRETRAIN, rerun

AMOUNTS, VALIDATION, RESAMPLES = 300, 301, 302  # purposes of derived seeds
STRENGTHS: list[float] = np.logspace(-6, 2, 17).tolist()  # by unit of a feature's variance
DRAWS = 2000  # of the bootstrap


def run_audit(params: Params) -> dict[str, Any]:
    """Stage audit: for each factor, how well its amount is told from the changed image alone.

    Ridge probes are fitted on changed training images and judged once on changed test images. What is to be
    seen is left in `models/audit/`.

    Returns:
        `regularizer`, `train_images`, `test_images`, and for each factor what `AuditedFactor` holds and
        `fits`, the strength that each probe chose.

    Raises:
        UserError: a file of an earlier stage is missing, or they do not belong together.
        InfoCLError: a feature is NaN or infinite.
    """
    device = choose_device(params.train.device)
    source = load_source(params.data, params.train.shards)
    readers = open_readers(params, source, device)
    train, test = (_some(source, split, params) for split in ("train", "test"))
    trained = [one for one in readers if one[0] in TRAINED]
    sha256 = read_json(PRETRAIN / CONFIG_FILE, rerun("pretrain", PRETRAIN))["weights_sha256"]
    make_pictures(source, trained, sha256, params.audit.decoder_steps, params.seed, device)
    rows: dict[str, dict[str, Any]] = {}
    weights = resamples(len(test), derive_seed(params.seed, RESAMPLES), device)
    for factor in params.audit.factors:
        rows[factor] = _audit(factor, (train, test), readers, weights, params)
        print(f"{factor}: " + ", ".join(f"{kind} {rows[factor][kind]:.2f}" for kind in dict(readers)))
    about = {"train_images": len(train), "test_images": len(test)}
    return {"regularizer": params.reg.name, **about, **rows}


def _some(source: Prepared, split: str, params: Params) -> Images:
    images = source.split(split).images
    return images[choose_images(len(images), params.seed, params.audit.images)]


@torch.inference_mode()
def _audit(
    factor: Factor, splits: tuple[Images, Images], readers: Readers, weights: Tensor, params: Params
) -> dict[str, Any]:
    limits = getattr(params.audit.ranges, factor)
    features, targets = [], []
    for number, images in enumerate(splits):
        amounts = draw_amounts(factor, limits, len(images), derive_seed(params.seed, AMOUNTS, number))
        amounts = amounts.to(weights.device)
        features.append(read(_changed(images, factor, amounts, limits), readers))
        targets.append(wanted(factor, amounts))
    validation = _validation(len(splits[0]), params).to(weights.device)
    told, fits = defaultdict(list), defaultdict(list)
    for (kind, _), given, new in zip(readers, *features, strict=True):
        probe = fit_ridge(given, targets[0], validation, STRENGTHS)
        told[kind].append(probe.predict(new))
        fits[kind].append({"l2": probe.l2, "l2_at_edge": probe.at_edge})
    values = {kind: torch.stack([r2(one, targets[1]) for one in all_]).mean() for kind, all_ in told.items()}
    draws = {kind: torch.stack([r2(one, targets[1], weights) for one in all_]) for kind, all_ in told.items()}
    row = compare(
        {kind: float(value) for kind, value in values.items()},
        {kind: each.mean(0) for kind, each in draws.items()},
    )
    return {**row, "fits": dict(fits)}


def _validation(images: int, params: Params) -> Tensor:
    """Which of the training images choose the strength, bool (N,)."""
    chance = np.random.default_rng(derive_seed(params.seed, VALIDATION))
    return torch.from_numpy(chance.permutation(images) < params.probe.validation_share * images)


def _changed(images: Images, factor: Factor, amounts: Tensor, limits: list[float]) -> Iterator[Tensor]:
    for number, batch in enumerate(batches(images, amounts.device)):
        yield change(batch, factor, amounts[number * BATCH :][:BATCH], limits)


def resamples(images: int, seed: int, device: torch.device) -> Tensor:
    """How often each of N images is drawn in each resample of the bootstrap, float64 (2000, N)."""
    counts = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), DRAWS)
    return torch.from_numpy(counts).to(device, torch.float64)


def interval95(draws: Tensor) -> list[float]:
    """The 2.5 % and 97.5 % quantiles of the bootstrap's values (B,): Efron's percentile interval.

    Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    ends = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=draws.dtype, device=draws.device))
    return [float(end) for end in ends]


def compare(values: Mapping[str, float], draws: Mapping[str, Tensor]) -> dict[str, Any]:
    """A row of `AuditedFactor`.

    Args:
        values: R2 by kind of reader.
        draws: the same of every resample of the test images, (B,), the same resamples for all.
    """
    figures = {kind: (values[kind], interval95(draws[kind])) for kind in values}
    if {"plain", "regularised"} <= values.keys():
        gap = values["regularised"] - values["plain"]
        figures["difference"] = gap, interval95(draws["regularised"] - draws["plain"])
    names = ("raw", "untrained", "plain", "regularised", "difference")
    return {
        **{name: figures[name][0] if name in figures else None for name in names},
        "ci95": {name: figures[name][1] for name in names if name in figures},
        "verdict": word(figures),
    }


def word(figures: Mapping[str, tuple[float, list[float]]]) -> Word | None:
    """A word for a factor, only where intervals allow, by the rules of the stage compare.

    `kept`, which that stage does not know: the plain encoder's interval is above the untrained encoders.
    """
    found = verdict(figures)
    if found in ("forgotten", "brought back"):
        return found
    if "plain" not in figures or "untrained" not in figures:
        return None
    return "kept" if figures["plain"][1][0] > max(0.0, figures["untrained"][0]) else None
