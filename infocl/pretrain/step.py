"""One update of the weights: a function of tensors that lie on the device, which a CUDA graph can repeat."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from infocl.encoder.views import Views
from infocl.pretrain.batch import LossTerm, Noise
from infocl.pretrain.learner import Learner

WARM_UP = (
    3  # steps before a graph: cuDNN chooses its algorithms, a compiler works, the optimiser makes its state
)
Parts = dict[str, Tensor]


class Inputs(NamedTuple):
    """What a step is computed from; all that the host draws or looks up for it.

    Attributes:
        images: this process's, uint8 (b, H, W, 3).
        labels: of the whole batch, int64 (B,), where the data have them.
        plan: of `Views.plan`, for all views.
        noise: of `Learner.draw`.
        pull: of `Learner.pull`.
    """

    images: Tensor
    labels: Tensor | None
    plan: Tensor
    noise: Noise
    pull: Tensor | None


@dataclass
class Update:
    """Views, loss, gradients, and the moves of the weights and of a momentum target."""

    learner: Learner
    model: nn.Module  # the learner, in a wrapper that averages gradients where there are several processes
    optimizer: torch.optim.Optimizer
    views: Views
    bf16: bool

    def __call__(self, inputs: Inputs) -> Parts:
        """Move the weights once; the loss and its parts by name, scalars without gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(inputs)
        loss.value.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.learner.follow(inputs.pull)
        return {"loss": loss.value.detach(), **loss.parts}

    def loss(self, inputs: Inputs) -> LossTerm:
        """The loss of a step, with gradient."""
        views = self.views.make(inputs.images, inputs.plan)
        view1, view2 = views if len(views) == 2 else (*views, None)
        with torch.autocast(inputs.images.device.type, torch.bfloat16, enabled=self.bf16):
            loss: LossTerm = self.model(view1, view2, inputs.noise, inputs.labels, inputs.plan)
        return loss


class StaticUpdate:
    """The same update on inputs that keep their place in memory, after a few steps as one CUDA graph.

    The host then launches one graph instead of about a thousand kernels. Whatever a graph cannot hold ends
    in the update without one, which is said once.

    Args:
        update: to repeat.
        capture: whether to make a graph; without one every call runs the update itself.
    """

    def __init__(self, update: Update, *, capture: bool) -> None:
        self.update, self.capture = update, capture
        self._inputs: Inputs | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._parts: Parts = {}
        self._calls = 0

    def __call__(self, inputs: Inputs) -> Parts:
        """As `Update` does; what it returns is overwritten by the next call."""
        here = self._receive(inputs)
        self._calls += 1
        if self.capture and self._calls > WARM_UP and self._graph is None:
            self._record(here)
        if self._graph is not None:
            self._graph.replay()
            return self._parts
        with warnings.catch_warnings():  # of an optimiser that could be in a graph and is not yet
            warnings.filterwarnings("ignore", message=".*capturable=True")
            return self.update(here)

    def _receive(self, inputs: Inputs) -> Inputs:
        if self._inputs is None:
            self._inputs = tree_map_only(Tensor, torch.clone, inputs)
        else:
            for place, tensor in zip(_tensors(self._inputs), _tensors(inputs), strict=True):
                place.copy_(tensor, non_blocking=True)
        return self._inputs

    def _record(self, inputs: Inputs) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Threads that fetch images ahead may allocate in between.
            with torch.cuda.graph(
                graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
            ):
                self._parts = self.update(inputs)
        except RuntimeError as error:
            self.capture = False
            reason = str(error).splitlines()[0]
            print(f"Training goes on without a CUDA graph ({reason}).", file=sys.stderr)
            return
        self._graph = graph


def _tensors(inputs: Inputs) -> list[Tensor]:
    single = (inputs.images, inputs.labels, inputs.plan, inputs.pull)
    return [tensor for tensor in (*single, *inputs.noise) if tensor is not None]
