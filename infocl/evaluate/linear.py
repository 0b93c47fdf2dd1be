"""Linear probe: multinomial logistic regression whose strength is chosen without the test set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from infocl.config import ProbeParams
from infocl.evaluate.bootstrap import mean_average_precision
from infocl.evaluate.scaling import Scaling, fit_scaling

HISTORY = 30
TOLERANCE = 1e-6  # nats by unit of a preconditioned coordinate; accuracies stand still long before
CHUNK = 512 << 20  # bytes that one evaluation of the loss takes beside the features
LEAST_CURVATURE = 1e-9  # far above the rounding of a covariance in float64, so that it can be factorised


class LinearModel(NamedTuple):
    """A softmax classifier, or logistic regressions of labels, in float64: weight (C, D), bias (C,)."""

    weight: Tensor
    bias: Tensor
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) of standardised features (N, D)."""
        return F.linear(features, self.weight, self.bias)


class L2Choice(NamedTuple):
    """The strength chosen on the validation split, and the model that was chosen with it."""

    l2: float
    validation_score: float
    at_edge: bool
    model: LinearModel


class LinearProbe(NamedTuple):
    """A probe fitted on a whole training split."""

    scaling: Scaling
    model: LinearModel
    choice: L2Choice

    def predict(self, features: Tensor) -> Tensor:
        """The most probable class (N,) of unstandardised features (N, D)."""
        return predict(self.model, self.scaling, features)


def predict(model: LinearModel, scaling: Scaling, features: Tensor) -> Tensor:
    """The most probable class (N,) of unstandardised features (N, D), a chunk of them after the other."""
    parts = torch.split(features, rows_at_once(*model.weight.shape))
    return torch.cat([model.logits(scaling(part)).argmax(dim=1) for part in parts])


def rows_at_once(classes: int, dim: int) -> int:
    """Rows whose float64 features and logits, with what a gradient keeps of them, take `CHUNK` bytes."""
    return max(1, CHUNK // (8 * 6 * (classes + dim)))


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
    return _penalty(weight, l2) + _data_loss(weight, bias, features, labels)


def _penalty(weight: Tensor, l2: float) -> Tensor:
    return 0.5 * l2 * weight.square().sum()


def _data_loss(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    logits = (
        weight @ features.T + bias[:, None]
    )  # (C, N): on the CPU its softmax takes a tenth of (N, C)'s time
    if labels.ndim == 2:
        each = F.binary_cross_entropy_with_logits(logits, labels.T, reduction="none")
        return each.sum(dim=0).mean()
    return -logits.log_softmax(dim=0).gather(0, labels[None]).mean()


class Problem(NamedTuple):
    """Features, labels as in `penalised_loss`, and what a fit needs to know.

    Attributes:
        features: (N, D); standardised, in float64 and column by column, as the loss reads them fastest,
            where one chunk holds them all, otherwise as they were given.
        labels: of each row.
        classes: C.
        covariance: of the standardised features, (D, D).
        scaling: what standardises a chunk; None where all are.
    """

    features: Tensor
    labels: Tensor
    classes: int
    covariance: Tensor
    scaling: Scaling | None = None

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, classes: int, scaling: Scaling | None = None) -> Problem:
        """The problem of these features (N, D), to be standardised where a scaling is given."""
        if len(features) <= rows_at_once(classes, features.shape[1]):
            scaled = features if scaling is None else scaling(features)
            by_column = scaled.T.contiguous().T
            return cls(by_column, labels, classes, scaled.T @ scaled / len(scaled))
        problem = cls(features, labels, classes, torch.empty(0), scaling)
        total = features.new_zeros((features.shape[1],) * 2, dtype=torch.float64)
        for part, _ in problem.chunks():
            rows = problem.scaled(part)
            total += rows.T @ rows
        return problem._replace(covariance=total / len(features))

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (n, D) and their labels, as many rows as `CHUNK` has room for."""
        rows = rows_at_once(self.classes, self.features.shape[1])
        yield from zip(torch.split(self.features, rows), torch.split(self.labels, rows), strict=True)

    def scaled(self, features: Tensor) -> Tensor:
        """A chunk, standardised."""
        return features if self.scaling is None else self.scaling(features)

    def data_loss(self, weight: Tensor, bias: Tensor) -> Tensor:
        """The loss without its penalty; of several chunks each is computed anew for its gradient."""
        chunks = list(self.chunks())
        if len(chunks) == 1:
            return _data_loss(weight, bias, *chunks[0])

        def of_chunk(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor) -> Tensor:
            share = len(features) / len(self.features)
            return share * _data_loss(weight, bias, self.scaled(features), labels)

        parts = [
            checkpoint(of_chunk, weight, bias, *chunk, use_reentrant=False, preserve_rng_state=False)
            for chunk in chunks
        ]
        return torch.stack(parts).sum()


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
    The loss is summed over chunks of rows. At its peak a fit takes, beside the features, `CHUNK` bytes and
    2 (`HISTORY` + 5) float64 matrices (C, D); `fit_scaling` before it 128 MiB.

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
    factor, classes = curvature_factor(problem.covariance, l2), problem.classes
    point = factor.new_zeros(classes, len(factor)) if start is None else start.weight @ factor
    bias = factor.new_zeros(classes) if start is None else start.bias.clone()
    parameters = [point.requires_grad_(), bias.requires_grad_()]

    # Inverted once, because a solve takes as long as the loss; any such matrix leads to the same optimum.
    inverse = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)

    def loss() -> Tensor:
        weight = point @ inverse
        return _penalty(weight, l2) + problem.data_loss(weight, bias)

    converged = minimise(loss, parameters, max_iterations, tolerance)
    return LinearModel((point @ inverse).detach(), bias.detach(), converged)


def minimise(
    loss: Callable[[], Tensor], parameters: list[Tensor], max_iterations: int, tolerance: float
) -> bool:
    """Minimise a scalar by L-BFGS with a strong Wolfe line search; whether it ended by the gradient.

    Otherwise it ended by `max_iterations`, never by the count of evaluations.
    """
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=max_iterations,
        max_eval=25 * max_iterations,
        tolerance_grad=tolerance,
        tolerance_change=tolerance**2,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

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


def choose_l2(
    features: Tensor, labels: npt.NDArray[Any], classes: int, params: ProbeParams, seed: int
) -> L2Choice:
    """Choose the strength by the score on a validation split of the training data.

    Classes are judged by accuracy, on a stratified split; several labels by mean average precision. The
    strengths are fitted from strong to weak, each starting from the one before; of equally good ones the
    strongest is taken. The validation part takes no part in the standardisation.

    Args:
        features: unstandardised, (N, D).
        labels: int64 (N,) in 0..classes-1, at least two of each class; or float64 (N, classes) of 0 and 1.
        classes: C, the number of classes or labels.
        params: the grid, the validation share and the iterations.
        seed: of the split.
    """
    fit_rows, validation_rows = train_test_split(
        np.arange(len(labels)),
        test_size=params.validation_share,
        stratify=labels if labels.ndim == 1 else None,
        random_state=seed,
    )
    scaling = fit_scaling(features[fit_rows])
    targets = torch.from_numpy(labels).to(features.device)
    problem = Problem.of(features[fit_rows], targets[fit_rows], classes, scaling)
    validation = features[validation_rows], targets[validation_rows]
    strengths = sorted(params.l2, reverse=True)
    models: list[LinearModel] = []
    scores: list[float] = []
    for l2 in strengths:
        start = models[-1] if models else None
        models.append(fit_linear(problem, l2, params.max_iterations, start))
        scores.append(_score(models[-1], scaling, *validation))
    best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    return L2Choice(strengths[best], scores[best], at_edge(scores, best), models[best])


def _score(model: LinearModel, scaling: Scaling, features: Tensor, labels: Tensor) -> float:
    if labels.ndim == 1:
        return float((predict(model, scaling, features) == labels).double().mean())
    found, truth = (part.cpu().numpy() for part in (model.logits(scaling(features)), labels))
    return float(mean_average_precision(truth, found, np.ones((1, len(truth))))[0])


def at_edge(accuracies: Sequence[float], best: int) -> bool:
    """Whether the best of a grid is at its end and better than its neighbour: a wider grid may do better."""
    if len(accuracies) == 1 or 0 < best < len(accuracies) - 1:
        return False
    neighbour = 1 if best == 0 else best - 1
    return accuracies[best] > accuracies[neighbour]


def fit_probe(
    features: Tensor, labels: npt.NDArray[Any], classes: int, params: ProbeParams, seed: int
) -> LinearProbe:
    """Choose the strength, then fit all the training data with it; arguments as in `choose_l2`."""
    choice = choose_l2(features, labels, classes, params, seed)
    scaling = fit_scaling(features)
    targets = torch.from_numpy(labels).to(features.device)
    problem = Problem.of(features, targets, classes, scaling)
    model = fit_linear(problem, choice.l2, params.max_iterations, choice.model)
    return LinearProbe(scaling, model, choice)
