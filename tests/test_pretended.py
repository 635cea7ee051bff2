"""The pretended device: what would fail on a real one fails there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.pretended import DEVICE, StrayError, pretended_device
from tests.samples import check_that_no_compiler_is_loaded


def test_it_computes_what_the_cpu_does() -> None:
    with pretended_device() as calls:
        there = torch.tensor([1.0, -2.0, 3.0], device=DEVICE)
        assert there.device == DEVICE
        there[1:].add_(torch.ones(2, device=DEVICE)).mul_(torch.tensor(2.0))
        found = there.cpu().numpy()
        assert float(there.sum()) == found.sum()
    np.testing.assert_array_equal(found, [1, -2, 8])
    assert "aten.mul_.Tensor" in calls


def test_gradients_stay_there() -> None:
    with pretended_device():
        layer = torch.nn.Conv2d(1, 2, 3).to(DEVICE)
        layer(torch.rand((1, 1, 8, 8)).to(DEVICE)).sum().backward()
        gradient = layer.weight.grad
        assert gradient is not None
        assert gradient.device == DEVICE


def test_mixing_fails() -> None:
    with pretended_device():
        there, here = torch.ones(3).to(DEVICE), torch.ones(3)
        with pytest.raises(StrayError, match="mixes"):
            there + here
        with pytest.raises(StrayError, match="mixes"):
            here.add_(there)


def test_generators_of_the_cpu_fail() -> None:
    with pretended_device(), pytest.raises(StrayError, match="generator"):
        torch.rand(3, device=DEVICE, generator=torch.Generator())


def test_float64_fails() -> None:
    wide = torch.ones(3, dtype=torch.float64)
    with pretended_device():
        with pytest.raises(StrayError, match="float64"):
            wide.to(DEVICE)
        with pytest.raises(StrayError, match="float64"):
            torch.ones(3).to(DEVICE).double()
        assert wide.to(DEVICE, torch.float32).dtype == torch.float32


def test_it_imports_nothing_that_ends_a_process_with_a_window() -> None:
    check_that_no_compiler_is_loaded(
        "import torch\n"
        "from tests.pretended import DEVICE, pretended_device\n"
        "with pretended_device(): torch.ones(3, device=DEVICE).sum().item()"
    )
