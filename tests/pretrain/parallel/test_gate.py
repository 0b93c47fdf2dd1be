"""Two processes with half of each batch each are one process with the whole of it, in float64."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.pretrain.matrix import PARTS
from tests.pretrain.parallel.gate import one_step, prefix_of
from tests.pretrain.parallel.processes import run_in_processes


@pytest.fixture(scope="session")
def by_two(tmp_path_factory):
    path = tmp_path_factory.mktemp("gate") / "two.safetensors"
    run_in_processes(2, "-m", "tests.pretrain.parallel.gate", str(path))
    return load_file(path)


@pytest.mark.parametrize(("objective", "reg", "changes"), PARTS)
def test_loss_gradient_and_update_are_those_of_one_process(by_two, objective, reg, changes):
    prefix = prefix_of(objective, reg, changes)
    two = {name.removeprefix(prefix): v for name, v in by_two.items() if name.startswith(prefix)}
    one = one_step(objective, reg, changes)
    assert two.keys() == one.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
