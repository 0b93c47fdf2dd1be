"""RC's error against the equation, and its decoder."""

from __future__ import annotations

import pytest
import torch

from infocl.encoder.decoder import Decoder
from infocl.encoder.network import Levels
from infocl.pretrain.batch import Batch, View
from infocl.pretrain.regularizers.base import Shapes
from infocl.pretrain.regularizers.rc import reconstruction_error
from tests.pretrain import oracles
from tests.pretrain.regularizers import views as common


def build(dim=16, size=32):
    return common.build("rc", Shapes((4, 8, dim), size))


def view(count=6, dim=16, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    levels = Levels(*(torch.randn(count, d, generator=generator) for d in (4, 8, dim)))
    return View(torch.randn(count, 3, size, size, generator=generator), levels, levels)


def test_equals_the_equation():
    generator = torch.Generator().manual_seed(0)
    decoded, pixels = (torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = oracles.reconstruction_error(decoded.numpy(), pixels.numpy())
    assert reconstruction_error(decoded, pixels).item() == pytest.approx(expected, rel=1e-12)
    assert reconstruction_error(pixels, pixels).item() == 0


def test_gradient_through_the_decoder():
    decoder = Decoder(3, 8, 8).double().eval()
    pixels = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    features = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: reconstruction_error(decoder(f), pixels), (features,))


def test_the_term_is_the_sum_over_views():
    rc = build().eval()
    view1, view2 = view(seed=1), view(seed=2)
    expected = sum(
        oracles.reconstruction_error(
            rc.decoder(v.clean.level4).detach().double().numpy(), v.pixels.double().numpy()
        )
        for v in (view1, view2)
    )
    assert rc(Batch(view1, view2)).value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("size", "start"), [(8, 4), (32, 4), (64, 4), (28, 7), (224, 7)])
def test_decoder_reaches_the_image_size(size, start):
    decoder = Decoder(16, 16, size)
    assert decoder(torch.randn(2, 16)).shape == (2, 3, size, size)
    assert decoder.first[0].out_features == 16 * start * start


def test_reads_the_clean_representation_not_the_noisy_one():
    rc = build().eval()
    quiet = view()
    loud = View(quiet.pixels, quiet.clean, Levels(*(x + 100 for x in quiet.levels)))
    assert torch.equal(rc(Batch(quiet, quiet)).value, rc(Batch(loud, loud)).value)


def test_a_decoder_learns_to_rebuild_what_its_features_hold():
    torch.manual_seed(0)
    rc = build(dim=12, size=8)
    target = view(count=8, dim=12, size=8)
    optimizer = torch.optim.Adam(rc.parameters(), 3e-3)
    first = rc(Batch(target, target)).value.item()
    for _ in range(150):
        optimizer.zero_grad()
        term = rc(Batch(target, target)).value
        term.backward()
        optimizer.step()
    assert term.item() < 0.5 * first


@pytest.mark.parametrize(("size", "channels"), [(28, 64), (32, 64), (56, 128), (64, 128), (224, 64)])
def test_the_decoder_starts_as_wide_as_the_released_one(size, channels):
    assert build(size=size).decoder.upward[0].in_channels == channels
    assert common.build("rc", Shapes((4, 8, 16), size), channels=24).decoder.upward[0].in_channels == 24
