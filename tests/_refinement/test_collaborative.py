"""Tests of the collaborative filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.patches import SIGMA, clean, error, model, noise
from tests.samples import driven
from torch import Tensor

from napari_msdip._noise.model import NoiseModel
from napari_msdip._refinement.collaborative import collaborative_filter


def filtered(
    noisy: Tensor, pilot: Tensor, known: NoiseModel | None = None, **settings: float
) -> Tensor:
    sigma = torch.full((1, 1, *noisy.shape[-2:]), SIGMA)
    known = model(noisy.shape[1]) if known is None else known
    steps = collaborative_filter(noisy, pilot, sigma, known, **settings)
    result, shares = driven(steps)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return result


def test_texture_that_the_pilot_has_weakly_comes_back() -> None:
    truth = clean((64, 72))
    weak = truth.mean() + 0.6 * (truth - truth.mean())
    result = filtered(truth + noise(truth.shape), weak)
    assert error(result, truth) < 0.5 * error(weak, truth)
    assert error(result, truth) < 0.4 * SIGMA


def test_noise_goes_where_the_pilot_is_flat() -> None:
    truth = torch.full((1, 1, 48, 48), 0.4)
    result = filtered(truth + noise(truth.shape), truth)
    assert error(result, truth) < 0.1 * SIGMA


def test_the_mean_of_a_dark_flat_image_stays() -> None:
    truth = torch.full((1, 1, 48, 48), 0.01)
    noisy = truth + noise(truth.shape)
    result = filtered(noisy, truth)
    assert float(result.mean()) == pytest.approx(float(noisy.mean()), abs=2e-3)


def test_noise_that_is_correlated_goes_if_that_is_known() -> None:
    truth = torch.full((1, 1, 64, 64), 0.5)
    known = model(spread=1.0)
    rng = np.random.default_rng(0)
    added = SIGMA * torch.from_numpy(known.fields((64, 64), 1, rng))
    pilot = truth + 0.3 * added
    aware = filtered(truth + added, pilot, known)
    unaware = filtered(truth + added, pilot)
    assert error(aware, truth) < 0.8 * error(unaware, truth)


def test_texture_that_the_pilot_lacks_is_found() -> None:
    truth = clean((64, 72))
    flat = torch.full_like(truth, float(truth.mean()))
    result = filtered(truth + noise(truth.shape), flat)
    assert error(result, truth) < 0.6 * error(flat, truth)


def test_blotches_that_the_pilot_has_do_not_decide_what_is_alike() -> None:
    truth = torch.full((1, 1, 64, 64), 0.5)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    pilot = truth + 0.3 * SIGMA * torch.sin(0.5 * x) * torch.sin(0.4 * y)
    result = filtered(truth + noise(truth.shape), pilot)
    assert error(result, truth) < 0.8 * error(pilot, truth)


def test_channels_that_share_their_noise_are_told_apart() -> None:
    truth = clean((40, 44), channels=2)
    shared = noise(truth[:, :1].shape).expand(truth.shape)
    known = NoiseModel.separable(
        model().correlation, np.full((2, 2), 1.0), np.zeros(1), np.array([SIGMA])
    )
    result = filtered(truth + shared, truth, known)
    assert error(result, truth) < 0.5 * SIGMA


def test_equal_patches_everywhere_leave_no_hole() -> None:
    flat = torch.zeros((1, 1, 40, 40))
    result = filtered(flat, flat)
    torch.testing.assert_close(result, flat)
