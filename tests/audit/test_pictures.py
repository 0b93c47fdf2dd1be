"""What is left of an image: planted features whose content is known."""

from __future__ import annotations

import numpy as np
import torch

from infocl.audit.pictures import nearest, rebuild


def test_what_the_features_tell_is_rebuilt_and_what_they_do_not_is_the_mean():
    colours = torch.rand(256, 3, generator=torch.Generator().manual_seed(0))
    images = colours[:, :, None, None].expand(-1, -1, 32, 32)
    told = torch.cat([colours, torch.randn(256, 5, generator=torch.Generator().manual_seed(1))], 1)
    untold = told.roll(1, 0)
    for features, knows in ((told, True), (untold, False)):
        rebuilt = rebuild(features[:200], images[:200], features[200:], steps=80, seed=0)
        assert rebuilt.shape == (56, 3, 32, 32)
        assert 0 <= float(rebuilt.min()) <= float(rebuilt.max()) <= 1
        error = (rebuilt.mean((2, 3)) - colours[200:]).square().mean()
        assert (float(error / colours.var()) < 0.1) == knows
    again = rebuild(untold[:200], images[:200], untold[200:], steps=80, seed=0)
    assert torch.equal(again, rebuilt)


def test_neighbours_are_those_of_a_plain_loop():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[:, 0] *= 100
    rows = np.array([0, 7, 39])
    scaled = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    for row, found in zip(rows, nearest(features, rows), strict=True):
        cosines = [
            float(scaled[row] @ each / np.linalg.norm(scaled[row]) / np.linalg.norm(each)) for each in scaled
        ]
        others = [int(each) for each in np.argsort(cosines)[::-1] if each != row]
        assert found.tolist() == [row, *others[:5]]
    assert nearest(features[:3], np.array([1])).shape == (1, 3)
