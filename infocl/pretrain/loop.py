"""The training loop: one update per step, a row of history per window, a checkpoint per epoch."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from infocl.config import Params
from infocl.encoder.numerics import derive_seed
from infocl.encoder.views import Views
from infocl.pretrain.batch import LossTerm
from infocl.pretrain.contention import Contention
from infocl.pretrain.health import check, saturation
from infocl.pretrain.learner import Learner
from infocl.pretrain.loading.storage import Images
from infocl.pretrain.optim import learning_rate, set_learning_rate
from infocl.pretrain.parallel.process_group import ProcessGroup
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
    model: nn.Module  # the learner, in a wrapper that averages gradients where there are several processes
    optimizer: torch.optim.Optimizer
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
    loss = _loss(run, step)
    set_learning_rate(run.optimizer, _rate(run, step))
    run.optimizer.zero_grad(set_to_none=True)
    loss.value.backward()  # type: ignore[no-untyped-call]
    run.optimizer.step()
    run.learner.after_step(step, run.total_steps)
    if run.group.first:
        history.add({"loss": loss.value.detach(), **loss.parts}, run.params.train.batch_size)


def _loss(run: Training, step: int) -> LossTerm:
    """The loss of a step's batch; every random draw is a function of the seed and the step."""
    seed, device = run.params.seed, run.device
    images, labels = run.images.batch(step)
    views = run.views(images, derive_seed(seed, VIEWS, step), run.group.rank, run.group.size)
    view1, view2 = views if len(views) == 2 else (*views, None)
    generator = torch.Generator(device).manual_seed(derive_seed(seed, NOISE, step))
    noise = run.learner.draw(run.params.train.batch_size, generator)
    with torch.autocast(device.type, torch.bfloat16, enabled=run.params.train.precision == "bf16"):
        loss: LossTerm = run.model(view1, view2, noise, labels)
    return loss


def _figures(row: dict[str, float]) -> str:
    return (
        f"epoch {row['epoch']:.1f} loss {row['loss']:.4f} objective {row['objective']:.4f} "
        f"regularizer {row['regularizer']:.4f} {row['images_per_second']:.0f} images/s"
    )
