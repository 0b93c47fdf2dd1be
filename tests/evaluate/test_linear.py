"""The linear probe against scikit-learn, closed forms and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import in_fresh_process, peak_memory_mib
from infocl.evaluate import linear, scaling
from infocl.evaluate.linear import Problem, at_edge, choose_l2, fit_linear, fit_probe, penalised_loss
from infocl.evaluate.scaling import fit_scaling
from tests.evaluate.planted import GRID, blobs, probe_params
from tests.workspace import SHIPPED


def sklearn_fit(features, labels, l2):
    model = LogisticRegression(C=1 / (len(features) * l2), tol=1e-10, max_iter=10_000)
    return model.fit(features, labels)


def problem(images=400, **kind):
    features, labels = blobs(images, **kind)
    return torch.from_numpy(features), labels


def standardised(features, labels):
    return Problem.of(fit_scaling(features)(features), torch.from_numpy(labels), 3)


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_coefficients_are_those_of_scikit_learn(l2):
    features, labels = problem()
    ours = fit_linear(standardised(features, labels), l2, 1000, tolerance=1e-9)
    theirs = sklearn_fit(StandardScaler().fit_transform(features.double().numpy()), labels, l2)
    assert ours.converged
    np.testing.assert_allclose(ours.weight.numpy(), theirs.coef_, rtol=0, atol=2e-5)
    np.testing.assert_allclose(ours.bias.numpy(), theirs.intercept_, rtol=0, atol=2e-5)


def test_the_loss_is_the_written_one():
    draw = np.random.default_rng(0)
    weight, bias, features = draw.normal(size=(3, 4)), draw.normal(size=3), draw.normal(size=(5, 4))
    labels = np.array([0, 2, 1, 1, 0])
    expected = 0.0
    for x, y in zip(features, labels, strict=True):
        scores = [np.exp(weight[c] @ x + bias[c]) for c in range(3)]
        expected -= np.log(scores[y] / sum(scores)) / 5
    expected += 0.3 / 2 * sum(w**2 for w in weight.flatten())
    tensors = (torch.from_numpy(value) for value in (weight, bias, features, labels))
    assert penalised_loss(*tensors, 0.3).item() == pytest.approx(expected, rel=1e-12)


def test_a_warm_start_does_not_move_the_optimum():
    features, labels = problem()
    task = standardised(features, labels)
    far = fit_linear(task, 1e-6, 1000)
    warm = fit_linear(task, 1e-2, 1000, far, tolerance=1e-9)
    cold = fit_linear(task, 1e-2, 1000, tolerance=1e-9)
    torch.testing.assert_close(warm.weight, cold.weight, rtol=0, atol=1e-6)


def test_chunks_change_nothing(monkeypatch):
    """Five iterations of a fit, the standardisation and the answers, 19 rows a chunk and all at once."""
    features, labels = problem(300)
    targets = torch.from_numpy(labels)
    marks = F.one_hot(targets, 3).double()

    def found():
        scaled = fit_scaling(features)
        models = [fit_linear(Problem.of(features, given, 3, scaled), 0.01, 5) for given in (targets, marks)]
        answers = linear.predict(models[0], scaled, features)
        return [*scaled, scaled.single(features), answers, *models[0][:2], *models[1][:2]]

    whole = found()
    monkeypatch.setattr(linear, "CHUNK", 19 * 8 * 6 * 11)
    monkeypatch.setattr(scaling, "ENTRIES", 100)
    assert linear.rows_at_once(3, 8) == 19
    for one, other in zip(found(), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


ROWS, DIM, CLASSES = 60_000, 64, 100


def _added_mib(*sizes):
    """What a fit adds to the memory of a process, by the MiB of a chunk."""
    features = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(ROWS) % CLASSES
    added = []
    for size in sizes:
        linear.CHUNK = size << 20
        scaled = fit_scaling(features)
        added.append(
            peak_memory_mib(lambda s=scaled: fit_linear(Problem.of(features, labels, CLASSES, s), 0.01, 1))
        )
    return added


def test_a_fit_of_many_rows_takes_the_memory_of_its_chunks():
    """All rows at once take over 100 MiB; a first fit also counts what libraries set up once.

    Each is counted twice, because what the system took away before comes back while one runs, and what
    an allocator kept is not counted.
    """
    matrices = 2 * (linear.HISTORY + 5) * CLASSES * DIM * 8 / 2**20
    _, *twice = in_fresh_process(_added_mib, 1, 16, 16, 64, 64, 4096, 4096)
    slack = 16
    assert min(twice[:2]) < 16 + matrices + slack
    assert min(twice[2:4]) < 64 + matrices + slack
    assert max(twice[4:]) > 100


def test_a_fit_that_ends_early_says_so():
    features, labels = problem()
    assert not fit_linear(standardised(features, labels), 1e-6, 2).converged


def test_correlated_features_converge_within_the_shipped_iterations():
    """Forty features that are nearly the same eight, and one that is constant, at the weakest strengths."""
    features, labels = problem(600, spread=6.0)
    noise = torch.randn(600, 40, generator=torch.Generator().manual_seed(0))
    wide = torch.cat([features.repeat(1, 5) + 1e-3 * noise, torch.ones(600, 1)], dim=1)
    task = standardised(wide, labels)
    for l2 in (1e-6, 1e-4, 1e-2):
        model = fit_linear(task, l2, SHIPPED["probe"]["max_iterations"])
        assert model.converged
        weight, bias = model.weight.requires_grad_(), model.bias.requires_grad_()
        penalised_loss(weight, bias, task.features, task.labels, l2).backward()
        assert weight.grad.abs().max() < 1e-5


@pytest.mark.parametrize("l2", [1e-300, 1e6])
def test_absurd_strengths_give_finite_models(l2):
    features, labels = problem(100)
    model = fit_linear(
        standardised(torch.cat([features, features, torch.zeros(100, 2)], dim=1), labels), l2, 50
    )
    assert model.weight.isfinite().all()
    assert model.bias.isfinite().all()


def test_constant_features_leave_the_class_frequencies():
    """The bias is free of penalty, so its softmax is the share of each class."""
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    features = torch.full((100, 4), 0.1)
    probe = fit_probe(features, labels, 3, probe_params(), seed=0)
    torch.testing.assert_close(
        probe.model.bias.softmax(0), torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), rtol=0, atol=1e-5
    )
    assert (probe.model.weight == 0).all()


def test_predictions_do_not_depend_on_scale_or_shift_of_a_feature():
    features, labels = problem(600)
    features = features.double()
    scale = torch.tensor([1e3, 1, 1e-3, 1, 7, 1, 1, 1e3], dtype=torch.float64)
    shift = torch.tensor([0, 1e3, 0, -5, 0, 0, 1e3, 0], dtype=torch.float64)
    train, test = slice(400), slice(400, None)
    plain = fit_probe(features[train], labels[train], 3, probe_params(), seed=0)
    moved_features = features * scale + shift
    moved = fit_probe(moved_features[train], labels[train], 3, probe_params(), seed=0)
    assert plain.choice.l2 == moved.choice.l2
    assert torch.equal(plain.predict(features[test]), moved.predict(moved_features[test]))


def test_only_training_features_are_standardised_by():
    features, labels = problem(300)
    probe = fit_probe(features, labels, 3, probe_params(), seed=0)
    torch.testing.assert_close(probe.scaling.mean, features.double().mean(0))
    torch.testing.assert_close(probe.scaling.std, features.double().std(0, correction=0))


@pytest.mark.parametrize("kind", [{"dim": 60, "spread": 6.0}, {"dim": 8, "spread": 0.5}])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_strength_is_the_best_of_a_brute_force_search(kind, seed):
    features, labels = blobs(250, **kind)
    fit_rows, held = train_test_split(np.arange(250), test_size=0.2, stratify=labels, random_state=seed)
    scaler = StandardScaler().fit(features[fit_rows].astype(np.float64))
    accuracies = {}
    for l2 in GRID:
        model = sklearn_fit(scaler.transform(features[fit_rows].astype(np.float64)), labels[fit_rows], l2)
        accuracies[l2] = model.score(scaler.transform(features[held].astype(np.float64)), labels[held])
    best = max(accuracies.values())
    choice = choose_l2(
        torch.from_numpy(features), labels, 3, probe_params(l2=GRID, max_iterations=5000), seed=seed
    )
    assert choice.validation_score == pytest.approx(best)
    assert choice.l2 == max(l2 for l2, accuracy in accuracies.items() if accuracy == best)


def test_validation_images_do_not_shape_the_fit():
    """Images that are moved a thousandfold, but only where they validate, change no coefficient."""
    features, labels = problem(200)
    _, held = train_test_split(np.arange(200), test_size=0.2, stratify=labels, random_state=0)
    moved = features.clone()
    moved[torch.from_numpy(held)] *= 1e3
    params = probe_params(l2=[1e-2])
    plain, other = (choose_l2(images, labels, 3, params, seed=0) for images in (features, moved))
    assert torch.equal(plain.model.weight, other.model.weight)
    assert plain.validation_score != other.validation_score


def test_the_chosen_strength_is_fitted_to_all_training_images():
    features, labels = problem(250, dim=60, spread=6.0)
    probe = fit_probe(features, labels, 3, probe_params(), seed=0)
    scaled = StandardScaler().fit_transform(features.double().numpy())
    theirs = sklearn_fit(scaled, labels, probe.choice.l2)
    assert GRID[0] < probe.choice.l2
    np.testing.assert_allclose(probe.model.weight.numpy(), theirs.coef_, rtol=0, atol=1e-3)


def test_the_order_of_the_grid_does_not_matter():
    features, labels = problem(200, dim=30, spread=4.0)
    up = choose_l2(features, labels, 3, probe_params(l2=GRID), seed=0)
    down = choose_l2(features, labels, 3, probe_params(l2=GRID[::-1]), seed=0)
    assert (up.l2, up.validation_score, up.at_edge) == (down.l2, down.validation_score, down.at_edge)


@pytest.mark.parametrize(
    ("accuracies", "best", "expected"),
    [
        ([0.9], 0, False),
        ([0.9, 0.8, 0.7], 0, True),
        ([0.9, 0.9, 0.7], 0, False),
        ([0.7, 0.9, 0.8], 1, False),
        ([0.7, 0.8, 0.9], 2, True),
    ],
)
def test_the_edge_counts_when_its_neighbour_is_worse(accuracies, best, expected):
    assert at_edge(accuracies, best) is expected
