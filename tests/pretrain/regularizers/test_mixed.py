"""Mixed samples: the error against the equation, and how images are mixed and encoded."""

from __future__ import annotations

import pytest
import torch

from infocl.encoder.network import Levels
from infocl.pretrain.regularizers.mixed import mixed_correlation_error
from tests.pretrain import oracles_regularizers as oracles
from tests.pretrain.regularizers.views import batch, build, pair

ORDER = torch.tensor([3, 0, 5, 1, 4, 2])
SHARE = torch.tensor(0.3, dtype=torch.float64)


def embeddings():
    z1, z2 = pair()
    return z1, z2, pair(seed=1)[0]


def test_equals_the_equation():
    matrices = embeddings()
    expected = oracles.mixed_correlation_error(*(z.tolist() for z in matrices), ORDER.tolist(), 0.3)
    assert mixed_correlation_error(*matrices, ORDER, SHARE).item() == pytest.approx(expected, rel=1e-11)


def test_gradient():
    matrices = [z.requires_grad_() for z in embeddings()]
    assert torch.autograd.gradcheck(
        lambda *z: mixed_correlation_error(*z, ORDER, SHARE), matrices, nondet_tol=1e-12
    )


def test_limits():
    z1, z2, _ = embeddings()
    everything, nothing = torch.tensor(1.0), torch.tensor(0.0)
    assert mixed_correlation_error(z1, z2, z1, ORDER, everything).item() == 0
    assert mixed_correlation_error(z1, z2, z2[ORDER], ORDER, nothing).item() == pytest.approx(0, abs=1e-24)
    assert mixed_correlation_error(z1, z2, z2, ORDER, everything).item() > 0.01
    assert mixed_correlation_error(z1, z2, z2, ORDER, nothing).item() > 0.01, "the order counts"


def test_a_linear_embedding_of_uncorrelated_views_needs_no_correction():
    """Mixing embeddings shrinks their deviation to sqrt(a^2 + (1 - a)^2), which standardising undoes."""
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(20_000, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    order = torch.randperm(20_000, generator=generator)
    shrunk = (SHARE**2 + (1 - SHARE) ** 2).sqrt()
    error = mixed_correlation_error(z1, z2, SHARE * z1 + (1 - SHARE) * z2[order], order, SHARE)
    expected = 3 * (SHARE / shrunk - SHARE) ** 2  # with view 1, on the diagonal; with view 2 there is nothing
    assert error.item() == pytest.approx(expected.item(), abs=5e-3)


def test_unchanged_by_scale_and_offset_of_every_dimension():
    matrices = embeddings()
    scale, offset = torch.rand(5, dtype=torch.float64) + 20, torch.randn(5, dtype=torch.float64)
    expected = mixed_correlation_error(*(20 * z for z in matrices), ORDER, SHARE)
    moved = [z * scale + offset for z in matrices]
    torch.testing.assert_close(mixed_correlation_error(*moved, ORDER, SHARE), expected, rtol=1e-4, atol=0)


def test_a_constant_dimension_counts_as_zero():
    matrices = [torch.cat([z, torch.ones(6, 1, dtype=torch.float64)], dim=1) for z in embeddings()]
    expected = mixed_correlation_error(*embeddings(), ORDER, SHARE)
    torch.testing.assert_close(mixed_correlation_error(*matrices, ORDER, SHARE), expected)


class Recorder:
    """A linear encoder that keeps what it was given."""

    def __call__(self, pixels):
        self.pixels = pixels
        features = pixels.flatten(1)[:, :32].double()
        return Levels(features, features, features)


def test_images_are_mixed_and_seen_by_encoder_and_projector():
    mixed, encode = build("mixed", scale=0.5), Recorder()
    views = batch(
        mixed,
        encode=encode,
        embed=lambda h: h[:, :4].tanh(),
        noise=mixed.draw(24, torch.Generator().manual_seed(7), torch.zeros(())),
    )
    term = mixed(views)
    drawn = torch.Generator().manual_seed(7)
    share, order = torch.rand((), generator=drawn), torch.randperm(12, generator=drawn)
    blend = share * views.view1.pixels + (1 - share) * views.view2.pixels[order]
    assert torch.equal(encode.pixels, blend)
    z1, z2 = (v.features[:, :4].tanh() for v in (views.view1, views.view2))
    embedded = encode(blend).level4[:, :4].tanh()
    expected = 0.5 * mixed_correlation_error(z1, z2, embedded, order, share)
    torch.testing.assert_close(term.value, expected)


def test_refuses_what_it_cannot_work_with():
    z1, z2, blend = embeddings()
    with pytest.raises(ValueError, match="share one shape"):
        mixed_correlation_error(z1, z2, blend[:-1], ORDER, SHARE)
    mixed = build("mixed")
    with pytest.raises(ValueError, match="need the encoder"):
        mixed(batch(mixed))
