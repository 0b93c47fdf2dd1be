"""A real step of each objective and each regulariser, by one process or by several.

Run as `python -m tests.pretrain.parallel.gate FILE` in each process of a group; the first writes what it got.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from infocl.pretrain.parallel.process_group import ALONE, joined
from tests.pretrain.matrix import PARTS, build, pictures, plan_of

CPU = torch.device("cpu")


def one_step(objective, reg, changes, group=ALONE):
    """Loss, averaged gradients and the state after the step, by name."""
    learner, _ = build(objective, reg, **changes)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)  # Adam would blow up a rounding error's sign
    learner.distribute(group, CPU)
    module = learner if group.size == 1 else DistributedDataParallel(learner)
    view1, view2, labels = pictures()
    own = group.share(len(labels))
    noise = learner.draw(len(labels), torch.Generator().manual_seed(0))
    plan = plan_of(learner, group.rank, group.size)
    loss = module(view1[own], view2[own] if learner.views == 2 else None, noise, labels, plan)
    loss.value.backward()
    optimizer.step()
    learner.follow(learner.pull(0, 2))
    got = {"loss": loss.value.detach()}
    got |= {f"part.{name}": value.double() for name, value in loss.parts.items()}
    got |= {f"gradient.{name}": w.grad for name, w in learner.named_parameters() if w.grad is not None}
    return got | {f"state.{name}": value for name, value in learner.state_dict().items()}


def prefix_of(objective, reg, changes):
    return f"{objective}/{reg}/{'variant' if changes else 'shipped'}/"


def main(path):
    with joined(CPU) as group:
        everything = {}
        for objective, reg, changes in PARTS:
            got = one_step(objective, reg, changes, group)
            prefix = prefix_of(objective, reg, changes)
            everything |= {f"{prefix}{name}": value.clone() for name, value in got.items()}
        if group.first:
            save_file(everything, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
