"""A few real steps of any objective beside any regulariser, on real images, with any dtype."""

from __future__ import annotations

import functools
import itertools

import torch

from infocl.encoder.views import Views
from infocl.pretrain.learner import Learner
from infocl.pretrain.objectives import OBJECTIVES
from infocl.pretrain.optim import build_optimizer
from infocl.pretrain.regularizers import REGULARIZERS
from tests.workspace import digit_images, tiny_params

# Each objective beside two regularisers and each regulariser beside two objectives, for what does not depend
# on the pair: the learner only adds the two.
COVERING = [
    (objective, list(REGULARIZERS)[(number + offset) % len(REGULARIZERS)])
    for number, objective in enumerate(OBJECTIVES)
    for offset in (0, 3)
]
PER_VIEW = {"train__batch_norm": "per_view"}
# One view for the control with labels, and BatchNorm that normalises each view by itself.
VARIANTS = [
    ("byol", "rc", PER_VIEW),
    ("barlow_twins", "mixed", PER_VIEW),  # a further batch, of images of one view
    ("mocov3", "mveb", PER_VIEW),
    ("simclr", "lbe", {"reg__lbe__critic": "pixels"}),
    ("supervised", "lbe", {"objective__supervised__views": 1}),
    ("supervised", "rc", {"objective__supervised__views": 1}),
]
CASES = [(objective, reg, {}) for objective, reg in COVERING] + VARIANTS
# Each objective and each regulariser at least once.
EACH = list(zip(OBJECTIVES, itertools.cycle(REGULARIZERS), strict=False))
# Each of them, and what else has code of its own.
PARTS = [(objective, reg, {}) for objective, reg in EACH] + VARIANTS
WEIGHTS = {"mib": 1e-4, "mveb": 0.01}  # of terms that at weight 1 drown the objective; others 1
NARROW = {  # not 1024, most of the time of these two
    "objective__barlow_twins__projector_out": 64,
    "objective__vicreg__projector_out": 64,
}
CLASSES = 10
IMAGES = 24


@functools.cache
def pictures():
    images, labels = digit_images(IMAGES, 16)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    brighter = (pixels * 1.2).clamp(max=1)
    return pixels, brighter.flip(-1), torch.from_numpy(labels)


def build(objective, reg, weight=None, seed=0, **changes):
    """A tiny learner in float64, with changes to its params."""
    params = tiny_params(
        objective__name=objective,
        reg__name=reg,
        reg__weight=float(WEIGHTS.get(reg, 1) if weight is None else weight),
        data__image_size=16,
        encoder__width=0.0625,
        train__optimizer__lr=0.002,
        **NARROW | changes,
    )
    torch.manual_seed(seed)
    learner = Learner(params, [0.2] * 3, [0.3] * 3, CLASSES).double()
    return learner, build_optimizer(params.train.optimizer, learner.parameters())


def plan_of(learner, part=0, parts=1):
    """What is drawn for a part of the fixed batch."""
    images = torch.empty(IMAGES // parts, 16, 16, 3, dtype=torch.uint8)
    return Views(tiny_params().views, 16, learner.views).plan(images, 0, part, parts).double()


def loss_of(learner, step):
    """The loss of the fixed batch with the noise of a step."""
    view1, view2, labels = pictures()
    noise = learner.draw(len(labels), torch.Generator().manual_seed(step))
    return learner(view1, view2 if learner.views == 2 else None, noise, labels, plan_of(learner))


def train(learner, optimizer, steps, total=40):
    """Losses of these steps on the fixed batch."""
    losses = []
    for step in steps:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(learner, step).value
        loss.backward()
        optimizer.step()
        learner.follow(learner.pull(step, total))
        losses.append(loss.item())
    return losses
