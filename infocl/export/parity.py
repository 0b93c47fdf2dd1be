"""Proof that an ONNX file computes what torch computes, on real images, and is as good for a probe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from infocl.config import ExportParams, Params, ProbeParams
from infocl.encoder.network import Encoder
from infocl.evaluate.diagnostics import dead_units
from infocl.evaluate.features import encode, extract
from infocl.evaluate.protocol import evaluate_task
from infocl.evaluate.stored import Features
from infocl.export.compare import compare, neighbour_agreement
from infocl.export.preprocessing import square_unit_range
from infocl.export.session import BATCH, embed, few_threads, open_session
from infocl.export.variants import with_half_rounding
from infocl.prepared.reader import Prepared, Split
from infocl.prepared.rows import evenly_spread
from infocl.prepared.tasks import check_labels
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.paths import PRETRAIN

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

CPU = torch.device("cpu")
ROUNDING = 1e-9  # of the difference of two accuracies
LEAST_OF_A_CLASS = 10  # training images, so that a part of them can be held out for the strength


@dataclass(frozen=True)
class ProbeTask:
    """The source task, or an even part of it, as every variant is probed with.

    The strength of the probe is chosen once, on torch's features.
    """

    train: tuple[Images, Labels]
    test: tuple[Images, Labels]
    params: ProbeParams
    seed: int

    def judge(self, features: Callable[[Images], Features]) -> dict[str, Any]:
        """The row of `evaluate_task`; an accuracy of NaN alone where a feature is not finite."""
        train, test = features(self.train[0]), features(self.test[0])
        if not np.isfinite(train).all() or not np.isfinite(test).all():
            return {"accuracy": math.nan}
        return evaluate_task(train, self.train[1], test, self.test[1], self.params, self.seed, CPU).row

    def with_strength(self, l2: float) -> ProbeTask:
        """The same task with one strength of the probe, so that variants do not differ by its choice."""
        return replace(self, params=self.params.model_copy(update={"l2": [l2]}))


@dataclass(frozen=True)
class TorchReference:
    """Torch's answers in float32, which every variant is held to.

    `resized` holds images of other sizes than the trained one, and their embeddings.
    """

    images: Images
    embeddings: Features
    resized: list[tuple[Images, Features]]
    task: ProbeTask | None
    probe_accuracy: float | None
    images_per_second: float
    threads: int

    @property
    def one_image(self) -> float:
        """What a single test image weighs in the probe's accuracy: fits on few images may flip one."""
        return 1 / len(self.task.test[1]) if self.task else 0.0


@dataclass(frozen=True)
class Figures:
    """How far a variant is from torch (the worst image), how good for a probe, and how fast.

    `max_relative_error` is the largest L2 distance of an embedding divided by torch's norm, `resized_error`
    the same for the yardstick's images of other sizes.
    """

    max_abs_error: float
    max_relative_error: float
    resized_error: float
    max_cosine_distance: float
    neighbour_agreement: float
    probe_accuracy: float | None
    images_per_second: float


def measure_torch(encoder: Encoder, data: Prepared, params: Params) -> TorchReference:
    """What torch makes of real images, on the CPU.

    Args:
        encoder: in evaluation mode, on the CPU.
        data: the source data set; its test split is used (train where there is none).
        params: the blocks `export` and `probe`, and the seed of the probe's validation split.

    Raises:
        InfoCLError: an embedding is not finite, or all images have the same embedding.
    """
    images = parity_images(data, params.export.parity_images)
    with few_threads() as threads:
        extract(encoder, images[:BATCH], CPU)  # the first batch of a shape is slower
        start = time.perf_counter()
        embeddings = extract(encoder, images, CPU, BATCH)
        seconds = time.perf_counter() - start
    if len(images) > 1 and dead_units(torch.from_numpy(embeddings)) == 1:
        raise InfoCLError(
            f"the encoder in {PRETRAIN} has collapsed: all {len(images)} images have the same embedding; "
            "nothing was exported. Lower train.optimizer.lr or reg.weight and run dvc repro pretrain"
        )
    task, row = source_task(data, params), None
    if task is not None:
        row = task.judge(lambda pixels: extract(encoder, pixels, CPU))
        task = task.with_strength(row["l2"])
    return TorchReference(
        images=images,
        embeddings=embeddings,
        resized=[(odd, _by_torch(encoder, odd, data)) for odd in other_sizes(images)],
        task=task,
        probe_accuracy=row["accuracy"] if row else None,
        images_per_second=round(len(images) / seconds, 1),
        threads=threads,
    )


@torch.inference_mode()
def _by_torch(encoder: Encoder, images: Images, data: Prepared) -> Features:
    square = square_unit_range(torch.from_numpy(images), data.image_size, data.crop)
    features: Features = encode(encoder, square).numpy()
    return features


def parity_images(data: Prepared, count: int) -> Images:
    """At most `count` images (N, S, S, 3), evenly spread over the test split (train where there is none)."""
    split = data.split("test" if "test" in data.splits else "train")
    return np.asarray(split.images[evenly_spread(len(split), count)])


def other_sizes(images: Images) -> list[Images]:
    """Pairs of larger and smaller, wider and higher images (2, H, W, 3), cut from mosaics of real ones.

    They show a runtime that shrinks, crops or rounds odd sizes in another way.

    Args:
        images: (N, S, S, 3).
    """
    size = images.shape[1]
    tiles = images[np.arange(18) % len(images)].reshape(2, 3, 3, size, size, 3)
    mosaics = tiles.swapaxes(2, 3).reshape(2, 3 * size, 3 * size, 3)
    shapes = ((2 * size + 1, 3 * size), (3 * size, 2 * size - 1), (size - 1, size // 2), (3 * size, 1))
    return [np.ascontiguousarray(mosaics[:, :height, :width]) for height, width in shapes]


def source_task(data: Prepared, params: Params) -> ProbeTask | None:
    """The source task on at most about `export.probe_images` images of each split; None without labels."""
    if "test" not in data.splits:
        return None
    train, test = data.split("train"), data.split("test")
    if train.labels is None or test.labels is None:
        return None
    most = params.export.probe_images
    return ProbeTask(
        train=_part(train, train.labels, training_rows(train.labels, most, params.probe.validation_share)),
        test=_part(test, test.labels, evenly_spread(len(test), most)),
        params=params.probe,
        seed=params.seed,
    )


def _part(split: Split, labels: Labels, rows: Labels) -> tuple[Images, Labels]:
    return np.asarray(split.images[rows]), labels[rows]


def training_rows(labels: Labels, most: int, validation_share: float) -> Labels:
    """Rows of about `most` images, as many of each class as there are, but all where those make no task."""
    everything = np.arange(len(labels))
    if len(labels) <= most:
        return everything
    known, codes = np.unique(labels, return_inverse=True)
    each = max(LEAST_OF_A_CLASS, most // len(known))
    of_class = [np.flatnonzero(codes == code) for code in range(len(known))]
    rows = np.sort(np.concatenate([own[evenly_spread(len(own), each)] for own in of_class]))
    try:
        check_labels(known, codes[rows], validation_share, "")
    except UserError:
        return everything
    return rows


def prove(model: bytes, yardstick: TorchReference, *, resized: bool) -> Figures:
    """Measure a variant that takes raw images.

    The first image also goes through alone, so a model that only works on batches is found.

    Args:
        model: the ONNX file's bytes.
        yardstick: of the same encoder.
        resized: count the yardstick's images of other sizes in the worst figures too. They try the
            preprocessing, which all variants share; int8 is not calibrated for what such cuttings look like.

    Raises:
        InfoCLError: onnxruntime refuses the model.
    """
    images, expected = yardstick.images, yardstick.embeddings
    session = open_session(model, yardstick.threads)
    embed(session, images[:BATCH])
    start = time.perf_counter()
    found = embed(session, images)
    seconds = time.perf_counter() - start
    rounded = with_half_rounding(model)
    if rounded is not None:
        session = open_session(rounded, yardstick.threads)
        found = embed(session, images)
    alone = embed(session, images[:1])
    pairs = [(found, expected), (alone, expected[:1])]
    others = [(embed(session, odd), features) for odd, features in yardstick.resized]
    if resized:
        pairs += others
    absolute, relative, distance = worst(pairs)
    return Figures(
        max_abs_error=absolute,
        max_relative_error=relative,
        resized_error=worst(others)[1],
        max_cosine_distance=distance,
        neighbour_agreement=neighbour_agreement(found, expected),
        probe_accuracy=_probe_accuracy(model, yardstick.task),
        images_per_second=round(len(images) / seconds, 1),
    )


def worst(pairs: list[tuple[Features, Features]]) -> tuple[float, float, float]:
    """The worst figures of `compare` over pairs of found and expected embeddings; NaN is the worst."""
    absolute, relative, distance = np.max([compare(*pair) for pair in pairs], axis=0)
    return float(absolute), float(relative), float(distance)


def _probe_accuracy(model: bytes, task: ProbeTask | None) -> float | None:
    if task is None:
        return None
    session: Any = open_session(model, torch.get_num_threads())
    return float(task.judge(lambda pixels: embed(session, pixels))["accuracy"])


def shortfall(variant: str, figures: Figures, yardstick: TorchReference, params: ExportParams) -> str | None:
    """Why a variant must not be shipped, naming the first limit it breaks; None when it may be.

    NaN breaks every limit.
    """
    error, distance = figures.max_relative_error, figures.max_cosine_distance
    limits = getattr(params.max_relative_error, variant), getattr(params.max_cosine_distance, variant)
    least = getattr(params.min_neighbour_agreement, variant)
    if not error <= limits[0]:
        return (
            f"its embeddings differ from torch's by up to {error:.3g} (relative L2 error), more than "
            f"export.max_relative_error.{variant} {limits[0]:g}"
        )
    if not distance <= limits[1]:
        return (
            f"its embeddings differ from torch's by up to {distance:.3g} (1 - cosine), more than "
            f"export.max_cosine_distance.{variant} {limits[1]:g}"
        )
    if not math.isfinite(figures.resized_error):
        return "its embeddings of images of other sizes than the trained one are not finite"
    if not figures.neighbour_agreement >= least:
        return (
            f"its nearest neighbours are torch's for only {figures.neighbour_agreement:.1%} of the images, "
            f"less than export.min_neighbour_agreement.{variant} {least:g}"
        )
    if figures.probe_accuracy is None or yardstick.probe_accuracy is None:
        return None
    drop = yardstick.probe_accuracy - figures.probe_accuracy
    if not drop <= max(params.max_accuracy_drop, yardstick.one_image + ROUNDING):
        return (
            f"a probe on its features is right for {figures.probe_accuracy:.1%} of the test images, on "
            f"torch's for {yardstick.probe_accuracy:.1%}: more lost than export.max_accuracy_drop "
            f"{params.max_accuracy_drop:g}"
        )
    return None
