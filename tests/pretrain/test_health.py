"""Which courses of a run count as collapsed or diverged, and which knob the message names."""

from __future__ import annotations

import pytest
import torch

from infocl.pretrain import health
from infocl.pretrain.learner import feature_spread
from infocl.runtime.errors import InfoCLError
from tests.pretrain.golden import curves
from tests.workspace import tiny_params


def test_a_loss_may_peak_and_come_back_but_not_stay_or_end_there():
    params = tiny_params(objective__simclr__temperature=0.01)

    def course(*losses):
        return [{"step": float(k), "feature_spread": 0.5, "loss": loss} for k, loss in enumerate(losses)]

    assert health.check(course(-1.0, 2.0), params, last=True)
    assert not health.check(course(-1.0, *[30.0] * 7), params, last=False), "no state for a checkpoint"
    assert health.check(course(-1.0, *[30.0] * 7, 1.0), params, last=False)
    hint = r"diverged from -1 to 30 .* Raise objective\.simclr\.temperature \(0\.01 now\)"
    with pytest.raises(InfoCLError, match=hint):
        health.check(course(-1.0, *[30.0] * 8), params, last=False)
    with pytest.raises(InfoCLError, match=hint):
        health.check(course(-1.0, 1.0, 30.0), params, last=True)


@pytest.mark.parametrize("name", curves.NAMES)
def test_no_kept_curve_counts_as_diverged(name):
    losses = curves.read()[name]
    assert not any(health.has_grown(losses[0], loss) for loss in losses)


def test_collapse_is_seen():
    healthy = {"step": 100.0, "feature_spread": 0.3, "loss": 1.0}
    params = tiny_params()
    health.check([healthy], params, last=False)
    with pytest.raises(InfoCLError, match="features collapsed by step 100"):
        health.check([healthy | {"feature_spread": 1e-4}], params, last=False)
    assert feature_spread(torch.ones(8, 4)).item() == pytest.approx(0, abs=1e-6)
    assert feature_spread(torch.eye(64)).item() == pytest.approx(1, abs=0.02)


def test_a_bound_at_its_ceiling_is_said_once_and_early():
    params = tiny_params(reg__name="lbe", train__epochs=10)

    def course(*bounds):
        names = health.BOUND, health.CEILING
        rows = [dict(zip(names, (bound, 5.55), strict=True)) for bound in bounds]
        return [row | {"epoch": 1.5 * number} for number, row in enumerate(rows)]

    message = health.saturation(course(4.60, 5.2, 5.54), params)
    assert message.startswith("The bound on I(z; v) is 5.54 of at most 5.55 nats after 3.0 of 10 epochs: ")
    assert "LBE acts as little more than noise on the features (knobs: reg.lbe in params.yaml)" in message
    assert health.saturation(course(4.60, 5.2), params) is None
    assert health.saturation(course(4.60, 5.54, 5.54), params) is None, "it was said before"
    assert health.saturation(course(4.6, 4.7, 4.8, 4.9, 5.54), params) is None, "it is late"
    assert health.saturation([{"epoch": 0.1, "loss": 1.0}], params) is None
