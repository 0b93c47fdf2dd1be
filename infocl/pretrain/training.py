"""Pretraining: uint8 images, views on the device, encoder, objective + weight * regulariser."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from infocl import __version__
from infocl.config import Params, TrainParams
from infocl.encoder.files import save_encoder
from infocl.encoder.numerics import derive_seed
from infocl.encoder.views import Views
from infocl.prepared.reader import Prepared, load_source
from infocl.prepared.tasks import check_source
from infocl.pretrain.fingerprint import fingerprint
from infocl.pretrain.learner import Learner
from infocl.pretrain.loading.storage import open_images
from infocl.pretrain.loop import VIEWS, Training, train
from infocl.pretrain.objectives import objective_class
from infocl.pretrain.optim import build_optimizer
from infocl.pretrain.parallel.process_group import ProcessGroup, joined, launched, own_device
from infocl.pretrain.samples import sample_views
from infocl.pretrain.step import StaticUpdate, Update
from infocl.runtime.checkpoint import Checkpoints
from infocl.runtime.device import choose_device, describe_device
from infocl.runtime.errors import RetryableError, UserError
from infocl.runtime.files import replacing_folder, write_array
from infocl.runtime.history import History
from infocl.runtime.paths import CHECKPOINTS, PRETRAIN

SAMPLE = 12  # images on the sheet of views
WEIGHTS = 0  # purpose of the derived seed of the initial weights


def pretrain(
    params: Params, confirm: Callable[[], object] = lambda: None, out: Path = PRETRAIN
) -> dict[str, Any] | None:
    """Train an encoder on the prepared source data and write the folder `out`.

    A run that was stopped continues from its checkpoint, on any number of devices; on the CPU, with the
    same number of them and of threads, it ends with the same weights, bit for bit, as one that was not.
    With `train.devices` above 1 the work is done by that many processes of this machine; a process that a
    launcher such as `torchrun` started is one of those that the launcher counts.

    Args:
        params: validated.
        confirm: called before the checkpoint is removed; what it raises leaves the training complete there.
        out: the encoder's folder, whose name is that of the stage.

    Returns:
        The metrics of the stage; None in a process that is not the one to report them.

    Raises:
        UserError: the data do not fit the params, or the device's memory does not suffice.
        InfoCLError: the loss is no longer finite or diverged, or the features collapsed.
    """
    prepared = load_source(params.data)
    _check_fit(params, prepared)
    if params.train.devices > 1 and not launched():
        from infocl.pretrain.parallel.launch import launch  # takes long to import and is seldom needed

        choose_device(params.train.device, params.train.devices)
        launch(params.train.devices)
        return None
    device = own_device(params.train.device)
    with joined(device) as group:
        return _pretrain(params, prepared, out, group, device, confirm)


def _pretrain(
    params: Params,
    prepared: Prepared,
    out: Path,
    group: ProcessGroup,
    device: torch.device,
    confirm: Callable[[], object],
) -> dict[str, Any] | None:
    if params.train.batch_size % group.size:
        raise group.once(
            UserError(
                f"train.batch_size {params.train.batch_size} is no multiple of the {group.size} processes "
                "that share it; change one of them"
            )
        )
    try:
        run = _set_up(params, prepared, out, group, device)
        with closing(run.images):
            return _train(run, confirm)
    except torch.OutOfMemoryError:
        raise RetryableError(
            f"the memory of {device} does not hold its share of a batch of train.batch_size "
            f"{params.train.batch_size}; make it smaller, or wait until others leave the device"
        ) from None


def _train(run: Training, confirm: Callable[[], object]) -> dict[str, Any] | None:
    with tuned(run.device):
        history = train(run)
    if not run.group.first:
        return None
    _write(run, history)
    confirm()
    run.checkpoints.remove()
    return _metrics(run, history)


def uses_graph(train: TrainParams, device: torch.device, group: ProcessGroup) -> bool:
    """Whether `train.cuda_graph` asks for a graph of the step, which `auto` does on a single GPU.

    Raises:
        UserError: it asks for one that cannot be.
    """
    possible = device.type == "cuda" and group.size == 1
    if train.cuda_graph is True and not possible:
        where = f"{group.size} processes" if group.size > 1 else describe_device(device)
        error = UserError(f"train.cuda_graph true needs a single CUDA device, not {where}; set it to auto")
        raise group.once(error)
    return possible and train.cuda_graph is not False


@contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """Train within it: on CUDA by the fastest kernels, on a stream of its own, which a graph can capture.

    float32 is never TF32 there. `train.precision: bf16` is the fast choice; losses and regularisers keep
    all their bits in both.
    """
    if device.type != "cuda":
        yield
        return
    before, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(before)
    with (
        torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False),
        torch.cuda.stream(stream),
    ):
        yield
    before.wait_stream(stream)


def _check_fit(params: Params, prepared: Prepared) -> None:
    name = prepared.pretrain_name
    if objective_class(params.objective.name).needs_labels and prepared.labels(name) is None:
        raise UserError(
            f"objective.name {params.objective.name} needs labels, but the images that {prepared.name} "
            "pretrains on have none; choose another objective or labelled data"
        )
    train_labels, test = prepared.labels("train"), prepared.split("test")
    share = params.probe.validation_share
    check_source(train_labels, test.labels, len(test), share, str(prepared.folder), prepared.classes)
    count = prepared.count(name)
    if count < params.train.batch_size:
        raise UserError(
            f"train.batch_size {params.train.batch_size} is larger than the data set {prepared.name} "
            f"({count} images); make it smaller"
        )


def _set_up(
    params: Params, prepared: Prepared, out: Path, group: ProcessGroup, device: torch.device
) -> Training:
    sha256 = prepared.images_sha256(prepared.pretrain_name)
    about = {"images": sha256, "mean": prepared.mean, "std": prepared.std}
    torch.manual_seed(derive_seed(params.seed, WEIGHTS))
    learner = Learner(params, prepared.mean, prepared.std, len(prepared.classes or ()))
    learner.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner.distribute(group, device)
    if params.train.compile and group.size == 1:
        learner.compile(fullgraph=True)
    elif params.train.compile:  # what processes exchange does not belong in the graph
        learner.encoder.forward_levels = torch.compile(learner.encoder.forward_levels)  # type: ignore[method-assign]
    graph = uses_graph(params.train, device, group)
    model = learner if group.size == 1 else DistributedDataParallel(learner)
    optimizer = build_optimizer(params.train.optimizer, learner.parameters(), graph=graph)
    views = Views(params.views, params.data.image_size, learner.views)
    update = Update(learner, model, optimizer, views, params.train.precision == "bf16")
    return Training(
        params,
        out,
        group,
        learner,
        optimizer,
        StaticUpdate(update, capture=True) if graph else update,
        open_images(params, prepared, group, device),
        views,
        device,
        Checkpoints(CHECKPOINTS, fingerprint(params, about)),
    )


def _write(run: Training, history: History) -> None:
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
    count = run.images.order.count
    sample = run.images.sample(range(0, count, max(1, count // SAMPLE))[:SAMPLE])
    run.learner.eval()
    with replacing_folder(run.out) as folder:
        save_encoder(folder, run.learner.encoder, about)
        history.write(folder / "history.csv")
        write_array(folder / "views.npy", sample_views(run.views, sample, derive_seed(params.seed, VIEWS)))


def git_revision() -> str | None:
    """The revision of the code in the current folder, with `-dirty` for changes; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _metrics(run: Training, history: History) -> dict[str, Any]:
    last = history.rows[-1]
    metrics = {
        "images_per_second": history.images_per_second(),
        "loss": last["loss"],
        "objective": last["objective"],
        "regularizer": last["regularizer"],
        "epochs": run.params.train.epochs,
        "steps": run.total_steps,
        "device": describe_device(run.device),
        "processes": run.group.size,
    }
    if run.device.type == "cuda":
        metrics["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated(run.device) / 2**20, 1)
    return metrics
