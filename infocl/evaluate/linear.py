"""Linear probe: multinomial logistic regression whose strength is chosen without the test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.model_selection import train_test_split
from torch import Tensor

from infocl.config import ProbeParams
from infocl.evaluate.scaling import Scaling, fit_scaling

HISTORY = 30
TOLERANCE = 1e-6  # nats by unit of a preconditioned coordinate; accuracies stand still long before
LEAST_CURVATURE = 1e-9  # far above the rounding of a covariance in float64, so that it can be factorised


class LinearModel(NamedTuple):
    """A softmax classifier in float64: weight (C, D), bias (C,)."""

    weight: Tensor
    bias: Tensor
    converged: bool

    def predict(self, features: Tensor) -> Tensor:
        """The most probable class (N,) of standardised features (N, D)."""
        return F.linear(features, self.weight, self.bias).argmax(dim=1)


class L2Choice(NamedTuple):
    """The strength chosen on the validation split, and the model that was chosen with it."""

    l2: float
    validation_accuracy: float
    at_edge: bool
    model: LinearModel


class LinearProbe(NamedTuple):
    """A probe fitted on a whole training split."""

    scaling: Scaling
    model: LinearModel
    choice: L2Choice

    def predict(self, features: Tensor) -> Tensor:
        """The most probable class (N,) of unstandardised features (N, D)."""
        return self.model.predict(self.scaling(features))


def penalised_loss(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor, l2: float) -> Tensor:
    r"""The probe's objective; the bias is free of penalty.

    .. math:: \frac1N \sum_i -\log \mathrm{softmax}(W x_i + b)_{y_i} + \frac{\lambda}{2} \|W\|^2

    Of several labels, y (N, C), the loss is instead the sum of C binary cross-entropies,

    .. math:: \frac1N \sum_{i,c} \log(1 + e^{(1 - 2 y_{ic}) (W x_i + b)_c}) + \frac{\lambda}{2} \|W\|^2

    Args:
        weight: W, (C, D).
        bias: b, (C,).
        features: standardised, (N, D).
        labels: int64 (N,) in 0..C-1, or float64 (N, C) of 0 and 1.
        l2: lambda, above 0; scikit-learn's C is 1 / (N lambda).

    Returns:
        A scalar in nats, strictly convex in W.
    """
    logits = (
        weight @ features.T + bias[:, None]
    )  # (C, N): on the CPU its softmax takes a tenth of (N, C)'s time
    if labels.ndim == 2:
        each = F.binary_cross_entropy_with_logits(logits, labels.T, reduction="none")
        return 0.5 * l2 * weight.square().sum() + each.sum(dim=0).mean()
    right = logits.log_softmax(dim=0).gather(0, labels[None])
    return 0.5 * l2 * weight.square().sum() - right.mean()


class Problem(NamedTuple):
    """Standardised features, float64 (N, D), labels as in `penalised_loss`, and what a fit needs to know.

    Attributes:
        classes: C.
        covariance: of the features, (D, D).
    """

    features: Tensor
    labels: Tensor
    classes: int
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, classes: int) -> Problem:
        """The problem of these features, kept column by column as the loss reads them fastest, and labels."""
        by_column = features.T.contiguous().T
        return cls(by_column, labels, classes, features.T @ features / len(features))


def fit_linear(
    problem: Problem,
    l2: float,
    max_iterations: int,
    start: LinearModel | None = None,
    tolerance: float = TOLERANCE,
) -> LinearModel:
    r"""Minimise `penalised_loss` by full-batch L-BFGS with a strong Wolfe line search.

    L-BFGS works on V = W L with :math:`L L^T = \frac12 X^T X / N + \lambda I`, Böhning's bound on the
    curvature: the same optimum, on correlated features in a half (strong penalty) to a twentieth (weak)
    of the iterations. In float64: float32 stalls at gradients of 1e-5 to 1e-4, short of the optimum.

    Args:
        problem: the features and labels.
        l2: strength of the penalty.
        max_iterations: of L-BFGS.
        start: where to begin, for example the fit at a neighbouring strength; zero without it.
        tolerance: largest gradient entry by V and b that counts as zero.

    Returns:
        The model; `converged` is false when `max_iterations` ended the fit.

    Reference: Böhning, "Multinomial logistic regression algorithm", Annals of the Institute of
    Statistical Mathematics 1992.
    """
    features, labels, classes, covariance = problem
    factor = curvature_factor(covariance, l2)
    point = features.new_zeros(classes, features.shape[1]) if start is None else start.weight @ factor
    bias = features.new_zeros(classes) if start is None else start.bias.clone()
    parameters = [point.requires_grad_(), bias.requires_grad_()]

    # Inverted once, because a solve takes as long as the loss; any such matrix leads to the same optimum.
    inverse = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)

    def loss() -> Tensor:
        return penalised_loss(point @ inverse, bias, features, labels, l2)

    converged = minimise(loss, parameters, max_iterations, tolerance)
    return LinearModel((point @ inverse).detach(), bias.detach(), converged)


def minimise(
    loss: Callable[[], Tensor], parameters: list[Tensor], max_iterations: int, tolerance: float
) -> bool:
    """Minimise a scalar by L-BFGS with a strong Wolfe line search; whether it ended by the gradient."""
    optimizer = _lbfgs(parameters, max_iterations, tolerance)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value.detach()

    step: Callable[[Callable[[], Tensor]], Tensor] = optimizer.step
    step(closure)
    return bool(optimizer.state[parameters[0]]["n_iter"] < max_iterations)


def curvature_factor(covariance: Tensor, l2: float) -> Tensor:
    """The lower triangular L (..., D, D) of `fit_linear`, for any l2 above 0 and covariance (..., D, D)."""
    ridge = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor: Tensor = torch.linalg.cholesky(covariance / 2 + max(l2, LEAST_CURVATURE) * ridge)
    return factor


def _lbfgs(parameters: list[Tensor], max_iterations: int, tolerance: float) -> torch.optim.LBFGS:
    """L-BFGS that ends by the gradient or by `max_iterations`, not by the count of evaluations."""
    return torch.optim.LBFGS(
        parameters,
        max_iter=max_iterations,
        max_eval=25 * max_iterations,
        tolerance_grad=tolerance,
        tolerance_change=tolerance**2,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )


def choose_l2(
    features: Tensor, labels: npt.NDArray[np.int64], classes: int, params: ProbeParams, seed: int
) -> L2Choice:
    """Choose the strength by the accuracy on a stratified validation split of the training data.

    The strengths are fitted from strong to weak, each starting from the one before; of equally good
    ones the strongest is taken. The validation part takes no part in the standardisation.

    Args:
        features: unstandardised, (N, D).
        labels: (N,) in 0..classes-1, at least two of each class.
        classes: C, the number of classes.
        params: the grid, the validation share and the iterations.
        seed: of the split.
    """
    fit_rows, validation_rows = train_test_split(
        np.arange(len(labels)), test_size=params.validation_share, stratify=labels, random_state=seed
    )
    scaling = fit_scaling(features[fit_rows])
    targets = torch.from_numpy(labels).to(features.device)
    problem = Problem.of(scaling(features[fit_rows]), targets[fit_rows], classes)
    validation = scaling(features[validation_rows])
    strengths = sorted(params.l2, reverse=True)
    models: list[LinearModel] = []
    accuracies: list[float] = []
    for l2 in strengths:
        start = models[-1] if models else None
        models.append(fit_linear(problem, l2, params.max_iterations, start))
        accuracies.append(share_right(models[-1].predict(validation), targets[validation_rows]))
    best = int(np.argmax(accuracies))
    return L2Choice(strengths[best], accuracies[best], at_edge(accuracies, best), models[best])


def at_edge(accuracies: Sequence[float], best: int) -> bool:
    """Whether the best of a grid is at its end and better than its neighbour: a wider grid may do better."""
    if len(accuracies) == 1 or 0 < best < len(accuracies) - 1:
        return False
    neighbour = 1 if best == 0 else best - 1
    return accuracies[best] > accuracies[neighbour]


def share_right(predicted: Tensor, labels: Tensor) -> float:
    """Accuracy in 0..1."""
    return float((predicted == labels).double().mean())


def fit_probe(
    features: Tensor, labels: npt.NDArray[np.int64], classes: int, params: ProbeParams, seed: int
) -> LinearProbe:
    """Choose the strength, then fit all the training data with it; arguments as in `choose_l2`."""
    choice = choose_l2(features, labels, classes, params, seed)
    scaling = fit_scaling(features)
    targets = torch.from_numpy(labels).to(features.device)
    problem = Problem.of(scaling(features), targets, classes)
    model = fit_linear(problem, choice.l2, params.max_iterations, choice.model)
    return LinearProbe(scaling, model, choice)
