"""Whether a run still learns: finite figures, features that differ, a loss that does not run away."""

from __future__ import annotations

import math
from collections.abc import Sequence

from infocl.config import Params
from infocl.config.titles import regularizer_title
from infocl.runtime.errors import InfoCLError

Row = dict[str, float]

BOUND, CEILING = "regularizer_mi_bound_nats", "regularizer_mi_ceiling_nats"  # of the rows, where there is one
COLLAPSED = 0.005  # feature spread under which an encoder gives the same features for every image
GRACE_STEPS = 50  # steps before a small spread counts as collapse
GROWTH = 10.0  # sound runs of every objective beside every regulariser stay below 1, lost ones pass 19
PATIENCE = 8  # rows, about an epoch, in which the loss may come back from a peak
TEMPERATURE = 0.1  # the smallest that is published for SimCLR, DCL and MoCo v3
SATURATED = 0.98  # share of its ceiling from which on a bound has little left to be raised
RATES = {"adam": 1e-3, "adamw": 1e-3, "sgd": 0.1, "lars": 1.0}  # usual at batches of some hundred images


def check(rows: Sequence[Row], params: Params, *, last: bool) -> bool:
    """Judge a run by its rows of history so far.

    Args:
        rows: of the whole run; the first one is of a step or window at the start.
        params: of the run, from which the hint names the likely cause.
        last: whether the run is at its end, where a loss cannot come back.

    Returns:
        Whether the state is worth a checkpoint; False while the loss is far above the first one.

    Raises:
        InfoCLError: a figure is not finite, the features collapsed, or the loss diverged.
    """
    row = rows[-1]
    hint = f"the last good checkpoint was kept. {_hint(params)}"
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        raise InfoCLError(f"{', '.join(bad)} stopped being finite by step {row['step']:.0f}; {hint}")
    if row["feature_spread"] < COLLAPSED and row["step"] > GRACE_STEPS:
        raise InfoCLError(
            f"the features collapsed by step {row['step']:.0f} (spread {row['feature_spread']:.4f}): the "
            f"encoder gives the same features for every image; {hint}"
        )
    patience = 1 if last else PATIENCE
    grown = [has_grown(rows[0]["loss"], each["loss"]) for each in rows[-patience:]]
    if all(grown) and len(grown) == patience:
        raise InfoCLError(
            f"the loss diverged from {rows[0]['loss']:.4g} to {row['loss']:.4g} by step {row['step']:.0f}; "
            f"{hint}"
        )
    return not grown[-1]


def saturation(rows: Sequence[Row], params: Params) -> str | None:
    """What to tell the user once the bound that a regulariser raises reaches its ceiling early in the run.

    Args:
        rows: of the whole run; the last one is new.
        params: of the run.

    Returns:
        None for a regulariser without a bound, where the bound is below, was there before, or is late.
    """
    reached = [row for row in rows if _share_of_ceiling(row) >= SATURATED]
    row = rows[-1]
    if reached != [row] or row["epoch"] > params.train.epochs / 2:
        return None
    name = params.reg.name
    return (
        f"The bound on I(z; v) is {row[BOUND]:.2f} of at most {row[CEILING]:.2f} nats after "
        f"{row['epoch']:.1f} of {params.train.epochs} epochs: it can hardly rise further, so from here on "
        f"{regularizer_title(name)} acts as little more than noise on the features (knobs: reg.{name} in "
        "params.yaml)"
    )


def _share_of_ceiling(row: Row) -> float:
    return row[BOUND] / row[CEILING] if row.get(CEILING) else 0.0


def has_grown(first: float, loss: float) -> bool:
    """Whether a loss is far above the first one, by a measure for losses of any sign and of any size.

    The 1 is for losses that begin near zero; all are a few nats, or sums that are larger.
    """
    return loss - first > GROWTH * (abs(first) + 1)


def _hint(params: Params) -> str:
    """The knob that is furthest beyond its usual values; the learning rate where none is."""
    optimizer, name = params.train.optimizer, params.objective.name
    beyond = {f"Lower train.optimizer.lr ({optimizer.lr:g} now)": optimizer.lr / RATES[optimizer.name]}
    if (usual := params.reg.own.usual_weight) is not None:
        beyond[f"Lower reg.weight ({params.reg.weight:g} now)"] = params.reg.weight / usual
    temperature = getattr(params.objective.own, "temperature", None)
    if temperature:
        beyond[f"Raise objective.{name}.temperature ({temperature:g} now)"] = TEMPERATURE / temperature
    return max(beyond, key=beyond.__getitem__)
