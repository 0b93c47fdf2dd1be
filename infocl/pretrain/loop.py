"""The training loop: one update per step, a row of history per window, a checkpoint per epoch."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from infocl.config import Params
from infocl.encoder.numerics import derive_seed
from infocl.encoder.views import Views
from infocl.pretrain.contention import Contention
from infocl.pretrain.health import check, saturation
from infocl.pretrain.learner import Learner
from infocl.pretrain.loading.storage import Images
from infocl.pretrain.optim import learning_rate, set_learning_rate
from infocl.pretrain.parallel.process_group import ProcessGroup
from infocl.pretrain.step import Inputs, StaticUpdate, Update
from infocl.runtime.checkpoint import Checkpoints, Progress, describe_others
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.history import History
from infocl.runtime.paths import CHECKPOINTS
from infocl.runtime.progress import StepProgress

VIEWS, NOISE = 2, 3  # purposes of derived seeds; 0 is the initial weights, 1 the batch order
WINDOWS_PER_EPOCH = 8  # rows of history per epoch


@dataclass
class Training:
    """Everything that one pretraining run works with."""

    params: Params
    out: Path  # the encoder's folder, whose name is that of the stage
    group: ProcessGroup
    learner: Learner
    optimizer: torch.optim.Optimizer
    update: Update | StaticUpdate
    images: Images
    views: Views
    device: torch.device
    checkpoints: Checkpoints

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.params.train.epochs * self.images.order.batches_per_epoch


def train(run: Training) -> History:
    """Train from the last checkpoint, or from the start, to the end.

    Returns:
        The history; empty in all processes but the first.

    Raises:
        InfoCLError: the loss is no longer finite or diverged, or the features collapsed.
    """
    progress = _resume(run)
    if progress.step and run.group.first:
        print(f"Continuing from step {progress.step} of {run.total_steps}.", file=sys.stderr)
    if run.group.first and (others := describe_others(CHECKPOINTS, run.checkpoints.folder)):
        print(others, file=sys.stderr)
    history = History(progress.rows)
    per_epoch = run.images.order.batches_per_epoch
    window = max(1, per_epoch // WINDOWS_PER_EPOCH)
    saved_at = time.monotonic()
    launcher, contention = os.getppid(), Contention(run.device)
    run.learner.train()
    with StepProgress(run.out.name, run.total_steps, done=progress.step, line_every=per_epoch) as bar:
        for step in range(progress.step, run.total_steps):
            _step(run, history, step)
            if run.group.size > 1 and os.getppid() != launcher:
                raise InfoCLError("the process that started this one ended; run again to continue")
            if not run.group.first:
                continue
            bar.advance()
            done = step + 1
            due = time.monotonic() - saved_at > 60 * run.params.train.checkpoint_minutes
            # The first step is a row of its own: the loss before any update is what later ones are held to.
            if done > 1 and done % per_epoch % window and done % per_epoch and not due:
                continue
            row = history.close(step=done, epoch=done / per_epoch, lr=_rate(run, step))
            sound = check(history.rows, run.params, last=done == run.total_steps)
            bar.figures(_figures(row))
            notices = contention.notice(row["images_per_second"]), saturation(history.rows, run.params)
            for message in filter(None, notices):
                bar.log(message)
            if sound and (done % per_epoch == 0 or due):
                run.checkpoints.save(run.learner, run.optimizer, Progress(done, history.rows))
                saved_at = time.monotonic()
                history.skip_time()
    return history


def _resume(run: Training) -> Progress:
    """The first process decides whether there is a checkpoint; all read it from the folder they share."""
    progress = run.checkpoints.load(run.learner, run.optimizer) if run.group.first else None
    step = run.group.agree(progress.step if progress else 0)
    if step and not run.group.first:
        progress = run.checkpoints.load(run.learner, run.optimizer)
        if progress is None or progress.step != step:
            raise UserError(
                f"process {run.group.rank} does not see the first one's checkpoint in {CHECKPOINTS}; "
                "let all machines share that folder"
            )
    return progress or Progress(0, [])


def _rate(run: Training, step: int) -> float:
    train = run.params.train
    return learning_rate(
        step,
        peak=train.optimizer.lr,
        schedule=train.schedule,
        steps_per_epoch=run.images.order.batches_per_epoch,
        total_steps=run.total_steps,
    )


def _step(run: Training, history: History, step: int) -> None:
    """One update."""
    inputs = _gather(run, step)
    set_learning_rate(run.optimizer, _rate(run, step))
    parts = run.update(inputs)
    if run.group.first:
        history.add(parts, run.params.train.batch_size)


def _gather(run: Training, step: int) -> Inputs:
    """What a step needs; every random draw is a function of the seed and the step."""
    seed = run.params.seed
    images, labels = run.images.batch(step)
    plan = run.views.plan(images, derive_seed(seed, VIEWS, step), run.group.rank, run.group.size)
    generator = torch.Generator(run.device).manual_seed(derive_seed(seed, NOISE, step))
    noise = run.learner.draw(run.params.train.batch_size, generator)
    return Inputs(images, labels, plan, noise, run.learner.pull(step, run.total_steps))


def _figures(row: dict[str, float]) -> str:
    return (
        f"epoch {row['epoch']:.1f} loss {row['loss']:.4f} objective {row['objective']:.4f} "
        f"regularizer {row['regularizer']:.4f} {row['images_per_second']:.0f} images/s"
    )
