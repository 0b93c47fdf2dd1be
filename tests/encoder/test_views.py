"""Views: reproducible, independent, in range, and each operation's outputs against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as T
from kornia.augmentation.container.params import ParamItem
from scipy.stats import ks_2samp
from sklearn.datasets import load_sample_images
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional as TF

from infocl.config import ViewParams
from infocl.encoder.augment import Drawn, apply_plan
from infocl.encoder.views import Views, to_unit_range

PLAIN = {
    "crop_scale": [1.0, 1.0],
    "crop_ratio": [1.0, 1.0],
    "flip_p": 0.0,
    "jitter_p": 0.0,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.2,
    "grayscale_p": 0.0,
}


def views(size=32, **changes):
    return Views(ViewParams(**(PLAIN | changes)), size)


def photos(count=64, size=32, seed=0):
    photo = load_sample_images().images[0]
    generator = np.random.default_rng(seed)
    rows, columns = (generator.integers(0, side - size, count) for side in photo.shape[:2])
    grid = np.arange(size)
    return torch.from_numpy(photo[rows[:, None, None] + grid[:, None], columns[:, None, None] + grid])


CROPS = {"crop_scale": [0.08, 1.0], "crop_ratio": [0.75, 1.3333]}
OPERATIONS = ("brightness", "contrast", "saturation", "hue")
FULL = CROPS | {"flip_p": 0.5, "jitter_p": 0.8, "grayscale_p": 0.2}


def test_same_seed_same_views_and_the_global_state_is_left_alone():
    draw = views(**FULL)
    images = photos()
    state = torch.get_rng_state()
    first, again, other = draw(images, 1), draw(images, 1), draw(images, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1]), "the two views must differ"
    assert torch.equal(torch.get_rng_state(), state)


def test_shape_range_and_layout():
    for view in views(**FULL)(photos(5), 0):
        assert view.shape == (5, 3, 32, 32)
        assert view.dtype == torch.float32
        assert view.min() >= 0
        assert view.max() <= 1
        assert view.is_contiguous(memory_format=torch.channels_last)


def test_without_strength_a_view_is_the_image():
    images = photos()
    for view in views()(images, 0):
        torch.testing.assert_close(view, to_unit_range(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_so_many_views_of_an_image_as_asked_for_alike_in_parts(count):
    draw, images = Views(ViewParams(**(PLAIN | FULL)), 32, count), photos(4)
    whole = draw(images, 1)
    assert [len(view) for view in whole] == [4] * count
    parts = [draw(images[2 * part : 2 * part + 2], 1, part, 2) for part in range(2)]
    for view, *halves in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat(halves), view)


def test_a_batch_of_one():
    assert views(**FULL)(photos(1), 0)[0].shape == (1, 3, 32, 32)


def test_flip_and_greyscale_happen_as_often_as_asked():
    images = photos(2000)
    unit = to_unit_range(images)
    flipped = torch.isclose(views(flip_p=0.3)(images, 0)[0], unit.flip(3), atol=1e-4).flatten(1).all(1)
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.04)
    grey = views(grayscale_p=0.2)(images, 0)[0]
    is_grey = (grey - grey.mean(1, keepdim=True)).abs().flatten(1).amax(1) < 1e-5
    assert is_grey.float().mean().item() == pytest.approx(0.2, abs=0.04)
    weights = TF.rgb_to_grayscale(unit[is_grey], num_output_channels=3)
    torch.testing.assert_close(grey[is_grey], weights, rtol=0, atol=2e-3)


@pytest.mark.parametrize("which", ["brightness", "contrast", "saturation", "hue"])
def test_each_colour_operation_is_distributed_as_torchvisions(which):
    """Two-sample test of three statistics per view over the full range of one operation."""
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    strength = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}[which]
    images = photos(1).expand(1200, -1, -1, -1)
    ours = views(jitter_p=1.0, **(off | {which: strength}))(images, 0)[0]
    torch.manual_seed(0)
    jitter = T.ColorJitter(**(off | {which: strength}))
    theirs = torch.stack([jitter(image) for image in to_unit_range(images)])
    for statistic in (_brightness, _contrast, _redness):
        spread = statistic(theirs)
        if spread.std() > 1e-3:
            assert ks_2samp(statistic(ours), spread).pvalue > 1e-3


def test_crops_are_distributed_as_torchvisions():
    """On images whose pixels are their own coordinates, a view's means are the crop's centre."""
    size = 32
    line = torch.linspace(0, 255, size).byte()
    across, down = line.expand(size, size), line[:, None].expand(size, size)
    images = torch.stack([across, down, torch.zeros_like(down)], -1).expand(1500, -1, -1, -1)
    ours = views(**CROPS)(images, 0)[0]
    torch.manual_seed(0)
    crop = T.RandomResizedCrop(size, scale=(0.08, 1.0), ratio=(0.75, 1.3333), antialias=False)
    theirs = torch.stack([crop(image) for image in to_unit_range(images)])
    for channel in (0, 1):
        a, b = ours[:, channel].mean((1, 2)), theirs[:, channel].mean((1, 2))
        assert ks_2samp(a, b).pvalue > 1e-3, "where the crops lie"
        a, b = ours[:, channel].std((1, 2)), theirs[:, channel].std((1, 2))
        assert abs(a.mean() - b.mean()) < 0.02, "how large they are (align_corners differs by a pixel)"


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("kind", ["photographs", "few levels", "grey"])
def test_each_view_is_kornias_in_float64_in_the_order_drawn_for_it(size, kind):
    images, count, draw = photos(16, size), 32, views(size, **FULL)
    if kind == "few levels":
        images = images // 64 * 64  # ties of channels, where hue jumps
    if kind == "grey":
        images = images[..., :1].expand(-1, -1, -1, 3)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        drawn = draw.augment.forward_parameters(torch.Size((count, 3, size, size)))
        order = torch.rand(count, 4).argsort(1)
    assert len(order.unique(dim=0)) > 10
    both = to_unit_range(images).double().repeat(2, 1, 1, 1)
    for row, ours in enumerate(torch.cat(draw(images, 3))):
        expected = draw.augment(both[row : row + 1], params=[_one(item, row, order[row]) for item in drawn])
        torch.testing.assert_close(ours.double(), expected[0], rtol=0, atol=2e-5 * size / 32)


def test_a_plan_says_what_was_drawn():
    """As Kornia drew it, whatever the order of the colour operations; greyscale is no part of the jitter."""
    size, count, draw = 32, 400, views(**FULL)
    plan = draw.draw(count, size, size, 3).double()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        crop, flip, jitter, _ = (
            item.data for item in draw.augment.forward_parameters(torch.Size((count, 3, size, size)))
        )
    found = Drawn.of(plan, size)
    corners = crop["src"].double()
    torch.testing.assert_close(found.center, (corners.mean(1) + 0.5) / size, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.extent, (corners[:, 2] - corners[:, 0] + 1) / size, rtol=0, atol=1e-6)
    assert torch.equal(found.mirrored, flip["batch_prob"].double())
    for row in range(count):
        factors = [1.0, 1.0, 1.0, 0.0]
        if jitter["batch_prob"][row]:
            factors = [jitter[f"{name}_factor"][row].item() for name in OPERATIONS]
        assert found.color[row].tolist() == pytest.approx(factors, abs=1e-6)


def _one(drawn, row, order):
    """What Kornia drew for one of the views, in float64, with an order of its own."""
    kept = {
        name: order if name == "order" else value if name == "forward_input_shape" else value[row : row + 1]
        for name, value in drawn.data.items()
    }
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in kept.items()}
    return ParamItem(drawn.name, doubled)


def test_the_views_launch_less_than_half_of_what_kornia_does():
    class Launches(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += not function.is_view
            return function(*args, **(kwargs or {}))

    images, draw = photos(8), views(**FULL)
    plan = draw.draw(16, 32, 32, 0)
    drawn = draw.augment.forward_parameters(torch.Size((16, 3, 32, 32)))
    with Launches() as ours:
        apply_plan(images, plan, 32)
    with Launches() as kornias:
        draw.augment(to_unit_range(images).repeat(2, 1, 1, 1), params=drawn)
    assert ours.count < kornias.count / 2


def _brightness(images):
    return images.mean((1, 2, 3))


def _contrast(images):
    return images.std((1, 2, 3))


def _redness(images):
    return (images[:, 0] - images[:, 2]).mean((1, 2))
