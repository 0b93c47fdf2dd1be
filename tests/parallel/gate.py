"""Two real steps of every objective beside every regulariser, by one process or by several.

Run as `python -m tests.parallel.gate FILE` in each process of a world; the first writes what it got.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from infocl.parallel.world import ALONE, joined
from tests.matrix import PAIRS, build, pictures

CPU = torch.device("cpu")


def two_steps(objective, reg, world=ALONE):
    """Losses, averaged gradients of the first step, and the state after the second, by name."""
    learner, _ = build(objective, reg)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)  # Adam would blow up a rounding error's sign
    learner.distribute(world, CPU)
    module = learner if world.size == 1 else DistributedDataParallel(learner)
    view1, view2, labels = pictures()
    own = world.share(len(labels))
    got = {}
    for step in range(2):
        optimizer.zero_grad(set_to_none=True)
        loss = module(view1[own], view2[own], torch.Generator().manual_seed(step), labels)
        loss.value.backward()
        if step == 0:
            weights = learner.named_parameters()
            got |= {f"gradient.{name}": w.grad.clone() for name, w in weights if w.grad is not None}
        optimizer.step()
        learner.after_step(step, 2)
        got[f"loss.{step}"] = loss.value.detach()
        got |= {f"part.{step}.{name}": value.double() for name, value in loss.parts.items()}
    return got | {f"state.{name}": value for name, value in learner.state_dict().items()}


def main(path):
    with joined(CPU) as world:
        everything = {}
        for objective, reg in PAIRS:
            got = two_steps(objective, reg, world)
            everything |= {f"{objective}/{reg}/{name}": value.clone() for name, value in got.items()}
        if world.first:
            save_file(everything, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
