"""Pretraining: resident images, views on the device, encoder, objective + weight * regulariser."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from infocl import __version__
from infocl.checkpoint import Checkpoints, Progress, fingerprint
from infocl.config import Params
from infocl.data.prepared import Prepared, load_prepared
from infocl.data.resident import ResidentImages
from infocl.device import choose_device, describe_device
from infocl.encoders import save_encoder
from infocl.errors import InfoCLError, UserError
from infocl.evaluate.feasible import check_source
from infocl.files import replacing_folder
from infocl.history import History
from infocl.layout import CHECKPOINTS, PREPARED, PRETRAIN
from infocl.learner import Learner
from infocl.numerics import derive_seed
from infocl.objectives import OBJECTIVES
from infocl.optim import build_optimizer, learning_rate, set_learning_rate
from infocl.pictures import write_reconstructions, write_view_sheet
from infocl.progress import StepProgress
from infocl.views import Views

WEIGHTS, VIEWS, NOISE = 0, 2, 3  # purposes of derived seeds; 1 is the batch order
WINDOWS_PER_EPOCH = 8  # rows of history per epoch
COLLAPSED = 0.005  # feature spread under which an encoder says the same of every image
GRACE_STEPS = 50  # steps before a small spread counts as collapse


@dataclass
class Run:
    """Everything that one pretraining run works with."""

    params: Params
    learner: Learner
    optimizer: torch.optim.Optimizer
    images: ResidentImages
    views: Views
    device: torch.device
    checkpoints: Checkpoints

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.params.train.epochs * self.images.batches_per_epoch


def pretrain(params: Params) -> dict[str, Any]:
    """Train an encoder on the prepared source data and write `models/pretrain/`.

    A run that was stopped continues from its checkpoint; on the CPU it ends with the same weights,
    bit for bit, as one that was not.

    Returns:
        The metrics of the stage.

    Raises:
        UserError: the data do not fit the params, or the device's memory does not suffice.
        InfoCLError: the loss is no longer finite, or the features collapsed.
    """
    prepared = load_prepared(PREPARED / params.data.name)
    _check_fit(params, prepared)
    try:
        run = _set_up(params, prepared)
        history = _train(run)
    except torch.OutOfMemoryError:
        raise UserError(
            f"the memory of {params.train.device} does not hold a batch of train.batch_size "
            f"{params.train.batch_size}; make it smaller"
        ) from None
    _write(run, history)
    run.checkpoints.remove()
    return _metrics(run, history)


def _check_fit(params: Params, prepared: Prepared) -> None:
    if prepared.image_size != params.data.image_size:
        raise UserError(
            f"{prepared.folder} holds images of {prepared.image_size} px but data.image_size is "
            f"{params.data.image_size}; run the prepare stage again (dvc repro prepare)"
        )
    if OBJECTIVES[params.objective.name].needs_labels and prepared.pretrain.labels is None:
        raise UserError(
            f"objective.name {params.objective.name} needs labels, but the images that {prepared.name} "
            "pretrains on have none; choose another objective or labelled data"
        )
    train, test = prepared.split("train"), prepared.split("test")
    share = params.probe.validation_share
    check_source(train.labels, test.labels, len(test), share, str(prepared.folder), prepared.classes)
    count = len(prepared.pretrain)
    if count < params.train.batch_size:
        raise UserError(
            f"train.batch_size {params.train.batch_size} is larger than the data set {prepared.name} "
            f"({count} images); make it smaller"
        )


def _set_up(params: Params, prepared: Prepared) -> Run:
    device = choose_device(params.train.device)
    split = prepared.pretrain
    about = {"images": split.images_sha256, "mean": prepared.mean, "std": prepared.std}
    torch.manual_seed(derive_seed(params.seed, WEIGHTS))
    learner = Learner(params, prepared.mean, prepared.std, len(prepared.classes or ()))
    learner.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if params.train.compile:
        learner.encoder.forward_levels = torch.compile(learner.encoder.forward_levels)  # type: ignore[method-assign]
    return Run(
        params,
        learner,
        build_optimizer(params.train.optimizer, learner.parameters()),
        ResidentImages(split.images, split.labels, params.train.batch_size, params.seed, device),
        Views(params.views, params.data.image_size).to(device),
        device,
        Checkpoints(CHECKPOINTS, fingerprint(params, about)),
    )


def _train(run: Run) -> History:
    progress = run.checkpoints.load(run.learner, run.optimizer) or Progress(0, [])
    if progress.step:
        print(f"Continuing from step {progress.step} of {run.total_steps}.", file=sys.stderr)
    history = History(progress.rows)
    per_epoch = run.images.batches_per_epoch
    window = max(1, per_epoch // WINDOWS_PER_EPOCH)
    saved_at = time.monotonic()
    run.learner.train()
    with StepProgress("pretrain", run.total_steps, done=progress.step, line_every=per_epoch) as bar:
        for step in range(progress.step, run.total_steps):
            _step(run, history, step)
            bar.advance()
            done = step + 1
            due = time.monotonic() - saved_at > 60 * run.params.train.checkpoint_minutes
            if done % per_epoch % window and done % per_epoch and not due:
                continue
            row = history.close(step=done, epoch=done / per_epoch, lr=_rate(run, step))
            _check_health(row)
            bar.figures(_figures(row))
            if done % per_epoch == 0 or due:
                run.checkpoints.save(run.learner, run.optimizer, Progress(done, history.rows))
                saved_at = time.monotonic()
                history.skip_time()
    return history


def _rate(run: Run, step: int) -> float:
    train = run.params.train
    return learning_rate(
        step,
        peak=train.optimizer.lr,
        schedule=train.schedule,
        steps_per_epoch=run.images.batches_per_epoch,
        total_steps=run.total_steps,
    )


def _step(run: Run, history: History, step: int) -> None:
    """One update; every random draw is a function of the seed and the step."""
    seed, device = run.params.seed, run.device
    images, labels = run.images.batch(step)
    view1, view2 = run.views(images, derive_seed(seed, VIEWS, step))
    noise = torch.Generator(device).manual_seed(derive_seed(seed, NOISE, step))
    set_learning_rate(run.optimizer, _rate(run, step))
    run.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=run.params.train.precision == "bf16"):
        loss = run.learner(view1, view2, noise, labels)
    loss.value.backward()
    run.optimizer.step()
    run.learner.after_step(step, run.total_steps)
    history.add({"loss": loss.value.detach(), **loss.parts}, len(view1))


def _check_health(row: dict[str, float]) -> None:
    kept = "the last good checkpoint was kept"
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        raise InfoCLError(
            f"{', '.join(bad)} stopped being finite by step {row['step']:.0f}; {kept}. "
            "Lower train.optimizer.lr or reg.weight, or set train.precision to fp32"
        )
    if row["feature_spread"] < COLLAPSED and row["step"] > GRACE_STEPS:
        raise InfoCLError(
            f"the features collapsed by step {row['step']:.0f} (spread {row['feature_spread']:.4f}): the "
            f"encoder says the same of every image; {kept}. Lower train.optimizer.lr or reg.weight"
        )


def _figures(row: dict[str, float]) -> str:
    return (
        f"epoch {row['epoch']:.1f} loss {row['loss']:.4f} objective {row['objective']:.4f} "
        f"regularizer {row['regularizer']:.4f} {row['images_per_second']:.0f} images/s"
    )


def _write(run: Run, history: History) -> None:
    params = run.params
    about = {
        "version": __version__,
        "objective": params.objective.name,
        "regularizer": params.reg.name,
        "reg_weight": params.reg.weight,
        "data": params.data.name,
        "image_size": params.data.image_size,
        "epochs": params.train.epochs,
        "seed": params.seed,
        "params_sha256": run.checkpoints.run,
        "git_revision": git_revision(),
    }
    sample = run.images.images[:: max(1, len(run.images.images) // 12)][:12]
    run.learner.eval()
    with replacing_folder(PRETRAIN) as folder:
        save_encoder(folder, run.learner.encoder, about)
        history.write(folder / "history.csv")
        write_view_sheet(folder / "views.png", run.views, sample, derive_seed(params.seed, VIEWS))
        write_reconstructions(folder / "reconstructions.png", run.learner, sample)


def git_revision() -> str | None:
    """The revision of the code in the current folder, with `-dirty` for changes; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _metrics(run: Run, history: History) -> dict[str, Any]:
    last = history.rows[-1]
    metrics = {
        "images_per_second": history.images_per_second(),
        "loss": last["loss"],
        "objective": last["objective"],
        "regularizer": last["regularizer"],
        "epochs": run.params.train.epochs,
        "steps": run.total_steps,
        "device": describe_device(run.device),
    }
    if run.device.type == "cuda":
        metrics["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated(run.device) / 2**20, 1)
    return metrics
