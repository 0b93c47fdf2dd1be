"""Fine-tuning a detector: SGD, warm-up, steps down, a checkpoint now and then."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infocl.config import Params
from infocl.config.detection import DetectionParams
from infocl.detection.annotated import AnnotatedImage, AnnotatedSet, Target
from infocl.encoder.numerics import derive_seed
from infocl.runtime.checkpoint import Checkpoints, Progress
from infocl.runtime.code import code_sha256
from infocl.runtime.errors import InfoCLError
from infocl.runtime.history import History
from infocl.runtime.progress import StepProgress

WEIGHTS, ORDER, STEP = 0, 1, 2  # purposes of derived seeds
WINDOWS = 200  # rows of history, at most
JUDGING = {"root", "test", "score_threshold", "max_detections"}  # params that no weight depends on
ROOMS = ("encoder", "detection")
Batch = list[tuple[Tensor, Target]]


def fingerprint(params: Params, data: AnnotatedSet, encoder_sha256: str) -> str:
    """A hash of everything that shapes the detector: params in force, code, encoder, annotations."""
    shaping = {
        "detection": params.detection.model_dump(exclude=JUDGING),
        "seed": params.seed,
        "precision": params.train.precision,
        "code": code_sha256(ROOMS),
        "torch": torch.__version__,
        "encoder": encoder_sha256,
        "classes": data.classes,
        "data": _sha256(data),
    }
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def _sha256(data: AnnotatedSet) -> str:
    """One hash over the annotations; of the pixels, only the names of their files."""
    digest = hashlib.sha256()
    for image in data.images:
        digest.update(f"{image.path.name} {image.masks}\n".encode())
        for part in (image.boxes, image.labels, image.ignored):
            digest.update(part.tobytes())
    return digest.hexdigest()


def learning_rate(step: int, params: DetectionParams) -> float:
    """The rate of a step, 0 to iterations - 1: linear from zero, then a tenth after each `decay_at`."""
    warm = min(1.0, (step + 1) / (params.warmup_iterations + 1))
    passed = sum(step >= share * params.iterations for share in params.decay_at)
    return params.lr * warm * 0.1**passed


def batch_of(data: AnnotatedSet, step: int, size: int, seed: int) -> list[AnnotatedImage]:
    """The images of one step: each comes once in every pass, in an order of the pass's own."""
    count = len(data.images)
    chosen = []
    for place in range(step * size, (step + 1) * size):
        order = np.random.default_rng(derive_seed(seed, ORDER, place // count)).permutation(count)
        chosen.append(data.images[order[place % count]])
    return chosen


def load_sample(image: AnnotatedImage, mirrored: bool) -> tuple[Tensor, Target]:
    """An image in [0, 1], float32 (3, H, W), and its target, mirrored or not."""
    pixels, target = image.load().float() / 255, image.target()
    if not mirrored:
        return pixels, target
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    target["boxes"] = torch.stack([image.width - x2, y1, image.width - x1, y2], dim=1)
    if "masks" in target:
        target["masks"] = target["masks"].flip(2)
    return pixels.flip(2), target


class Batches:
    """Decodes the next batch in threads while one is trained on."""

    def __init__(self, data: AnnotatedSet, params: Params, pool: ThreadPoolExecutor, first: int) -> None:
        self.data, self.params, self.pool = data, params, pool
        self._waiting = self._start(first)
        self._next = first + 1

    def _start(self, step: int) -> list[Any]:
        seed, detection = self.params.seed, self.params.detection
        images = batch_of(self.data, step, detection.batch_size, seed)
        draws = np.random.default_rng(derive_seed(seed, STEP, step)).uniform(size=len(images))
        flips = draws < detection.flip_p
        return [self.pool.submit(load_sample, *pair) for pair in zip(images, flips, strict=True)]

    def take(self) -> Batch:
        """The batch of the next step."""
        ready, self._waiting = self._waiting, self._start(self._next)
        self._next += 1
        return [future.result() for future in ready]


def train_detector(
    detector: nn.Module, data: AnnotatedSet, params: Params, device: torch.device, checkpoints: Checkpoints
) -> History:
    """Train from the last checkpoint, or from the start, to the end.

    Random draws (sides, sampled anchors and regions) are a function of seed and step, so that a run that
    was stopped ends as one that was not.

    Args:
        detector: on `device`; left in training mode.
        data: images that all have something to train on.
        params: the sections `detection`, `train` (precision, checkpoint_minutes) and `seed`.
        device: where to compute.
        checkpoints: of this run.

    Returns:
        The history, with at least one row.

    Raises:
        UserError: an image file is missing or corrupt.
        InfoCLError: the loss is no longer finite.
    """
    chosen = params.detection
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(
        learning, chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay
    )
    progress = checkpoints.load(detector, optimizer) or Progress(0, [])
    if progress.step:
        print(f"Continuing from step {progress.step} of {chosen.iterations}.", file=sys.stderr)
    history = History(progress.rows)
    window = math.ceil(chosen.iterations / WINDOWS)
    saved_at = time.monotonic()
    detector.train()
    bar = StepProgress("detect", chosen.iterations, done=progress.step, line_every=10 * window)
    with bar, ThreadPoolExecutor() as pool:
        batches = Batches(data, params, pool, progress.step)
        for step in range(progress.step, chosen.iterations):
            rate = learning_rate(step, chosen)
            torch.manual_seed(derive_seed(params.seed, STEP, step))
            history.add(_step(detector, optimizer, rate, batches.take(), device), chosen.batch_size)
            bar.advance()
            done = step + 1
            due = time.monotonic() - saved_at > 60 * params.train.checkpoint_minutes
            if done % window and done < chosen.iterations and not due:
                continue
            row = history.close(step=done, lr=rate)
            _check_health(row)
            bar.figures(f"loss {row['loss']:.4f} {row['images_per_second']:.1f} images/s")
            if due or done == chosen.iterations:  # judging what was learned takes long, too
                checkpoints.save(detector, optimizer, Progress(done, history.rows))
                saved_at = time.monotonic()
                history.skip_time()
    return history


def _step(
    detector: nn.Module, optimizer: torch.optim.Optimizer, rate: float, batch: Batch, device: torch.device
) -> dict[str, Tensor]:
    """One update; the loss and its parts."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    images = [pixels.to(device) for pixels, _ in batch]
    targets = [{name: value.to(device) for name, value in target.items()} for _, target in batch]
    parts: dict[str, Tensor] = detector(images, targets)
    loss = torch.stack(list(parts.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}


def _check_health(row: dict[str, float]) -> None:
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        raise InfoCLError(
            f"{', '.join(bad)} stopped being finite by step {row['step']:.0f}; the last good checkpoint was "
            "kept. Lower detection.lr, or raise detection.warmup_iterations or detection.batch_size"
        )
