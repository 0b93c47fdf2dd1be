"""What a retrained encoder must hold against the one in service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infocl.runtime.schema import Model, Probability

Ratio = Annotated[float, Field(gt=0, le=1000)]
Lead = Annotated[float, Field(ge=-1, le=1)]


class GateParams(Model):
    """Thresholds of the gate; accuracies are shares in 0..1, ratios are new against in service."""

    min_lead: Lead
    max_mean_drop: Probability
    max_task_drop: Probability
    floors: dict[str, Probability]
    max_size_ratio: Ratio
    max_latency_ratio: Ratio
