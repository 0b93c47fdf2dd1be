"""Checkpoints without pickle: weights and optimiser tensors as safetensors, the rest as JSON."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from infocl.runtime.files import replacing, sha256_array
from infocl.runtime.text import counted, file_size

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a run came: steps done, and the rows of its history so far."""

    step: int
    rows: list[dict[str, float]]


class Checkpoints:
    """The checkpoint of one run, in a folder that carries the run's fingerprint.

    Another run's checkpoint lies elsewhere, so it is neither used nor overwritten.
    """

    def __init__(self, parent: Path, run: str) -> None:
        self.folder = parent / run[:16]
        self.run = run

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Replace the checkpoint atomically."""
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        scalars: dict[str, Any] = {}
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                name = f"optimizer.{index}.{key}"
                if isinstance(value, Tensor):
                    tensors[name] = value
                else:
                    scalars[name] = value
        metadata = {
            "run": self.run,
            "step": str(progress.step),
            "rows": json.dumps(progress.rows),
            "scalars": json.dumps(scalars),
        }
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        metadata["sha256"] = _sha256(contiguous, metadata)
        with replacing(self.folder / FILE) as temporary:
            temporary.write_bytes(save(contiguous, metadata))

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
        """Bring model and optimiser to where the run stopped; None when there is no checkpoint.

        A file that is damaged or belongs to another run is said to be so and set aside, since the
        run can start again without it.
        """
        path = self.folder / FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("run") != self.run:
                    raise ValueError("it belongs to a run with other params or data")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata.pop("sha256", None) != _sha256(tensors, metadata):
                raise ValueError("it is damaged: its content does not match its SHA-256")
            progress = Progress(int(metadata["step"]), json.loads(metadata["rows"]))
            scalars = json.loads(metadata["scalars"])
            _require_fit(model, tensors)
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            path.replace(path.with_suffix(".unusable"))
            reason = str(error).splitlines()[0]
            print(
                f"The checkpoint {path} cannot be used ({reason}); it was set aside and training starts "
                "from the beginning.",
                file=sys.stderr,
            )
            return None
        self._restore(model, optimizer, tensors, scalars)
        return progress

    @staticmethod
    def _restore(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        tensors: dict[str, Tensor],
        scalars: dict[str, Any],
    ) -> None:
        weights = {
            name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")
        }
        state: dict[int, dict[str, Any]] = {}
        for name, value in (tensors | scalars).items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        model.load_state_dict(weights)
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        _lay_out(optimizer)

    def remove(self) -> None:
        """Forget the checkpoint of a run that is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


def describe_others(parent: Path, own: Path) -> str | None:
    """One line on the checkpoints that other runs left in `parent`, with age and size; None without any."""
    found = []
    for folder in sorted(parent.glob("*/")):
        sizes = [file.stat().st_size for file in folder.iterdir()]
        if sizes and folder != own:
            days = (time.time() - folder.stat().st_mtime) / 86_400
            found.append(f"{folder} ({days:.1f} days old, {file_size(sum(sizes))})")
    if not found:
        return None
    named = f"{counted(len(found), 'checkpoint')}: {', '.join(found)}"
    return f"Other runs left {named}; delete what no run will continue."


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the strides of their weights: fused optimisers go through memory and read no strides."""
    for weight, state in optimizer.state.items():
        for key, value in state.items():
            if (
                isinstance(value, Tensor)
                and value.shape == weight.shape
                and value.stride() != weight.stride()
            ):
                state[key] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _sha256(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """One hash over all that a checkpoint holds: a flipped bit would continue to other weights."""
    sums = {name: sha256_array(tensor.numpy()) for name, tensor in tensors.items()}
    return hashlib.sha256(json.dumps([sums, dict(metadata)], sort_keys=True).encode()).hexdigest()


def _require_fit(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights of other names or shapes before any is loaded."""
    ours = {f"model.{name}": value.shape for name, value in model.state_dict().items()}
    stored = {name: value.shape for name, value in tensors.items() if name.startswith("model.")}
    if ours != stored:
        unlike = sorted(name for name in ours | stored if ours.get(name) != stored.get(name))
        raise ValueError(f"{unlike[0].removeprefix('model.')} does not fit the model")
