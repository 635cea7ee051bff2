"""Tests of the collaborative filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.patches import SIGMA, clean, error, finished, model, noise
from torch import Tensor

from napari_msdip import collaborative
from napari_msdip.collaborative import collaborative_filter
from napari_msdip.noise_model import NoiseModel


def filtered(
    noisy: Tensor, pilot: Tensor, known: NoiseModel | None = None, **settings: float
) -> Tensor:
    sigma = torch.full((1, 1, *noisy.shape[-2:]), SIGMA)
    known = model(noisy.shape[1]) if known is None else known
    steps = collaborative_filter(noisy, pilot, sigma, known, **settings)
    result, shares = finished(steps)
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


def test_more_noise_is_expected_more_is_removed() -> None:
    truth = clean((48, 48))
    noisy = truth + noise(truth.shape)
    gentle, strong = (
        error(filtered(noisy, truth, margin=margin), noisy) for margin in (0.2, 4.0)
    )
    assert gentle < strong


def test_without_a_share_no_noise_comes_back() -> None:
    truth = clean((40, 40))
    result = filtered(truth + noise(truth.shape), truth, share=0.0)
    assert error(result, truth) < 0.1 * SIGMA


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


def test_the_order_of_the_channels_does_not_matter() -> None:
    truth = clean((40, 44), channels=3)
    noisy = truth + noise(truth.shape)
    order = [2, 0, 1]
    turned = filtered(noisy[:, order], truth[:, order])
    # Rounding may tip a coefficient over the threshold.
    limit = 0.02 * SIGMA
    torch.testing.assert_close(turned, filtered(noisy, truth)[:, order], atol=limit, rtol=0)


def test_channels_that_share_their_noise_are_told_apart() -> None:
    truth = clean((40, 44), channels=2)
    shared = noise(truth[:, :1].shape).expand(truth.shape)
    known = NoiseModel.separable(
        model().correlation, np.full((2, 2), 1.0), np.zeros(1), np.array([SIGMA])
    )
    result = filtered(truth + shared, truth, known)
    assert error(result, truth) < 0.5 * SIGMA


@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (16, 16), (37, 53)])
def test_any_size_is_covered(shape: tuple[int, int]) -> None:
    truth = clean(shape, channels=2)
    noisy = truth + noise(truth.shape)
    result = filtered(noisy, truth)
    assert result.shape == truth.shape
    assert error(result, truth) < SIGMA


def test_equal_patches_everywhere_leave_no_hole() -> None:
    flat = torch.zeros((1, 1, 40, 40))
    result = filtered(flat, flat)
    torch.testing.assert_close(result, flat)


def test_working_in_strips_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = clean((60, 40))
    noisy = truth + noise(truth.shape)
    whole = filtered(noisy, truth)
    monkeypatch.setattr(collaborative, "_AT_ONCE", 1)
    torch.testing.assert_close(filtered(noisy, truth), whole)


def test_images_are_not_modified() -> None:
    truth = clean((32, 32))
    noisy = truth + noise(truth.shape)
    before = noisy.clone(), truth.clone()
    filtered(noisy, truth)
    assert torch.equal(noisy, before[0])
    assert torch.equal(truth, before[1])
