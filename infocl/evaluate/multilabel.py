"""Linear probe of several labels: logistic regressions whose strength is chosen without the test set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.model_selection import train_test_split
from torch import Tensor

from infocl.config import ProbeParams
from infocl.evaluate.bootstrap import Array, mean_average_precision
from infocl.evaluate.linear import LinearModel, Problem, at_edge, fit_linear
from infocl.evaluate.scaling import Scaling, fit_scaling

Marks = npt.NDArray[np.int64]  # (N, C): 1 where an image has a label


class LabelsProbe(NamedTuple):
    """Logistic regressions of standardised features, and how their common strength was chosen."""

    scaling: Scaling
    model: LinearModel
    l2: float
    validation_score: float
    at_edge: bool

    def scores(self, features: Tensor) -> Array:
        """The log-odds (N, C) of each label from unstandardised features (N, D)."""
        return logits(self.model, self.scaling(features))


def logits(model: LinearModel, features: Tensor) -> Array:
    """The log-odds (N, C) of standardised features (N, D)."""
    found: Array = F.linear(features, model.weight, model.bias).cpu().numpy()
    return found


def fit_labels(features: Tensor, marks: Marks, params: ProbeParams, seed: int) -> LabelsProbe:
    """Choose the strength by mean average precision on a random validation split, then fit all with it.

    Args:
        features: unstandardised, (N, D).
        marks: (N, C), of each label some images with and some without it.
        params: the grid, the validation share and the iterations.
        seed: of the split.
    """
    targets = torch.from_numpy(marks.astype(np.float64)).to(features.device)
    fit_rows, validation_rows = train_test_split(
        np.arange(len(marks)), test_size=params.validation_share, random_state=seed
    )
    scaling = fit_scaling(features[fit_rows])
    problem = Problem.of(features[fit_rows], targets[fit_rows], marks.shape[1], scaling)
    validation, alike = scaling(features[validation_rows]), np.ones((1, len(validation_rows)))
    strengths = sorted(params.l2, reverse=True)
    models: list[LinearModel] = []
    scores: list[float] = []
    for l2 in strengths:
        models.append(fit_linear(problem, l2, params.max_iterations, models[-1] if models else None))
        found = logits(models[-1], validation)
        scores.append(float(mean_average_precision(marks[validation_rows], found, alike)[0]))
    best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    scaling = fit_scaling(features)
    problem = Problem.of(features, targets, marks.shape[1], scaling)
    model = fit_linear(problem, strengths[best], params.max_iterations, models[best])
    return LabelsProbe(scaling, model, strengths[best], scores[best], at_edge(scores, best))
