"""Changes of an image against other libraries and against plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchvision.transforms import functional as reference

from infocl.audit.factors import change, draw_amounts, wanted
from infocl.config.audit import Factor
from tests.workspace import SHIPPED

RANGES: dict[Factor, list[float]] = SHIPPED["audit"]["ranges"]
SIDE = 24


def pictures(count=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (count, 3, SIDE, SIDE)))


def ramp(count):
    """Images whose red is x and whose green is y, from -1 to 1 between the outer edges of the pixels."""
    along = (torch.arange(SIDE, dtype=torch.float64) + 0.5) * 2 / SIDE - 1
    x, y = along.expand(SIDE, SIDE), along[:, None].expand(SIDE, SIDE)
    return torch.stack([x, y, 0 * x]).expand(count, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("factor", "adjust"),
    [
        ("hue", reference.adjust_hue),
        ("brightness", reference.adjust_brightness),
        ("contrast", reference.adjust_contrast),
        ("saturation", reference.adjust_saturation),
    ],
)
def test_colours_change_as_in_torchvision(factor, adjust):
    images = pictures().float()
    amounts = draw_amounts(factor, RANGES[factor], 3, seed=1)
    expected = torch.stack([adjust(image, float(a)) for image, a in zip(images, amounts, strict=True)])
    tolerance = 0.003 if factor != "hue" else 1e-5  # luma of 0.2989, 0.587, 0.114 there
    torch.testing.assert_close(
        change(images, factor, amounts, RANGES[factor]), expected, rtol=0, atol=tolerance
    )


def test_blur_is_scipys_gaussian():
    amounts = torch.tensor([[0.01], [0.03], [0.06]], dtype=torch.float64)
    found = change(pictures(), "blur", amounts, [0.01, 0.06])
    for image, expected, share in zip(
        pictures().numpy(), found.numpy(), amounts.flatten().tolist(), strict=True
    ):
        blurred = gaussian_filter(image, (0, share * SIDE, share * SIDE), mode="mirror", radius=(0, 5, 5))
        np.testing.assert_allclose(expected, blurred, atol=1e-6)


def test_a_window_shows_the_part_that_was_drawn_and_never_leaves_the_image():
    """Place and size of the middle of the outer pixels, worked out for each factor by hand."""
    inner = 1 - 1 / SIDE
    for factor, amounts, expected in [
        ("position", [[0.2, -0.1]], lambda x, y: (0.6 * x - 0.4, 0.6 * y + 0.2)),
        ("scale", [[0.5]], lambda x, y: (0.5 * x, 0.5 * y)),
        ("aspect", [[2.0]], lambda x, y: (x, 0.5 * y)),
        ("aspect", [[0.5]], lambda x, y: (0.5 * x, y)),
        ("orientation", [[0.25]], lambda x, y: (-y / math.sqrt(2), x / math.sqrt(2))),
    ]:
        limits = {"position": [-0.2, 0.2], "aspect": [0.5, 2.0]}.get(factor, RANGES[factor])
        seen = change(ramp(1), factor, torch.tensor(amounts, dtype=torch.float64), limits)[0]
        for row, column, x, y in [(0, 0, -inner, -inner), (0, -1, inner, -inner), (-1, 0, -inner, inner)]:
            edge = 1 - 1 / SIDE  # beyond the middle of the outer pixel its colour goes on
            wanted_x, wanted_y = (min(edge, max(-edge, value)) for value in expected(x, y))
            assert float(seen[0, row, column]) == pytest.approx(wanted_x, abs=1e-9), factor
            assert float(seen[1, row, column]) == pytest.approx(wanted_y, abs=1e-9), factor


@pytest.mark.parametrize("factor", ["position", "scale", "aspect", "orientation"])
def test_no_border_is_seen_whatever_is_drawn(factor):
    """A frame of one pixel stays a frame: nothing outside the image, drawn or made up, is shown."""
    limits = RANGES[factor]
    seen = change(ramp(200), factor, draw_amounts(factor, limits, 200, seed=2).double(), limits)
    step = (seen[:, :, :, 1:] - seen[:, :, :, :-1]).abs().amax(dim=1)
    assert float(step[:, 1:-1, 1:-1].min()) > 0, "a made-up border has no slope"


def test_amounts_are_drawn_between_their_limits_and_told_as_the_readme_says():
    for factor, limits in RANGES.items():
        amounts = draw_amounts(factor, limits, 4000, seed=3)
        assert amounts.shape == (4000, 2 if factor == "position" else 1)
        assert limits[0] <= float(amounts.min()) < float(amounts.max()) <= limits[1] + 1e-6
        middle = math.sqrt(limits[0] * limits[1]) if factor == "aspect" else sum(limits) / 2
        assert float((amounts < middle).double().mean()) == pytest.approx(0.5, abs=0.03)
        assert torch.equal(amounts, draw_amounts(factor, limits, 4000, seed=3))
    turns = wanted("hue", torch.tensor([[0.0], [0.25], [-0.5], [0.5]]))
    expected = [[1, 0], [0, 1], [-1, 0], [-1, 0]]
    np.testing.assert_allclose(turns, expected, atol=1e-12, err_msg="both ends of a turn are the same")
    assert float(wanted("aspect", torch.tensor([[2.0]]))) == pytest.approx(math.log(2))
    assert float(wanted("scale", torch.tensor([[0.5]]))) == 0.5
