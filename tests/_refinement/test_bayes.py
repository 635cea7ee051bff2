"""Tests of non-local Bayes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tests.patches import SIGMA, clean, error, model, noise
from tests.samples import driven
from torch import Tensor

from napari_msdip._refinement import bayes
from napari_msdip._refinement.bayes import bayes_filter

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel


def filtered(
    noisy: Tensor,
    pilot: Tensor,
    known: NoiseModel | None = None,
    level: float = SIGMA,
    **settings: Any,
) -> Tensor:
    sigma = torch.full((1, 1, *noisy.shape[-2:]), level)
    known = model(noisy.shape[1]) if known is None else known
    steps = bayes_filter(noisy, pilot, sigma, known, **settings)
    result, shares = driven(steps)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return result


def test_what_all_patches_of_a_group_have_comes_back_with_their_mean() -> None:
    truth = clean((64, 72))
    weak = truth.mean() + 0.6 * (truth - truth.mean())
    result = filtered(truth + noise(truth.shape), weak, mean_share=1.0)
    assert error(result, truth) < 0.6 * error(weak, truth)


def test_less_noise_is_left_than_the_pilot_holds() -> None:
    truth = clean((64, 72))
    pilot = truth + 0.3 * noise(truth.shape, seed=1)
    result = filtered(truth + noise(truth.shape), pilot)
    assert error(result, truth) < 0.8 * error(pilot, truth)


def test_what_a_group_does_not_vary_in_is_not_taken_from_the_noise() -> None:
    truth = torch.full((1, 1, 48, 48), 0.4)
    result = filtered(truth + noise(truth.shape), truth)
    assert error(result, truth) < 0.02 * SIGMA


def test_the_mean_of_a_group_comes_from_the_noisy_image_by_its_share() -> None:
    truth = torch.full((1, 1, 48, 48), 0.4)
    result = filtered(truth + 0.06, truth, mean_share=1 / 3)
    torch.testing.assert_close(result, truth + 0.02, atol=1e-5, rtol=0)


def test_the_estimate_is_the_best_linear_one() -> None:
    rng = torch.Generator().manual_seed(1)
    known = torch.randn((2, 40, 6), generator=rng)
    known = known - known.mean(1, keepdim=True)
    seen = torch.randn((2, 40, 6), generator=rng)
    level = torch.tensor([0.3, 2.0])
    covariance = known.transpose(1, 2) @ known / 39
    inverse = torch.linalg.inv(covariance + level[:, None, None] * torch.eye(6))
    torch.testing.assert_close(
        bayes._projected(seen, known, level),
        seen @ inverse @ covariance,
        atol=1e-4,
        rtol=1e-4,
    )


def test_a_few_equal_spots_among_flat_patches_without_noise_stay() -> None:
    known = torch.zeros((1, 48, 25))
    known[:, :2] = 1
    found = bayes._projected(known, known, torch.zeros(1))
    torch.testing.assert_close(found, known, atol=1e-4, rtol=0)


def test_whitened_patches_of_noise_are_independent_with_variance_1() -> None:
    powers, axes = np.linalg.eigh(np.array([[1.2, 0.4], [0.4, 0.8]]))
    known = dataclasses.replace(model(2, 0.8), axes=axes.T, powers=powers)
    whitening = bayes._Whitening.of(known, 3, torch.device("cpu"))

    fields = known.fields((256, 256), 4, np.random.default_rng(0))
    combined = torch.cat([whitening.apart(torch.from_numpy(f[None])) for f in fields])
    patches = combined.unfold(2, 3, 1).unfold(3, 3, 1).transpose(0, 1).flatten(4)
    patches = patches.reshape(2, 1, -1, 9)
    rows = whitening.whitened(patches)

    found = rows[0].T @ rows[0] / rows.shape[1]
    torch.testing.assert_close(found, torch.eye(18), atol=0.03, rtol=0)
    torch.testing.assert_close(whitening.coloured(rows), patches, atol=1e-4, rtol=0)


def test_combinations_of_channels_come_back_as_channels() -> None:
    channels = np.array([[1.2, 0.4, 0.1], [0.4, 0.8, 0.3], [0.1, 0.3, 1.0]])
    known = dataclasses.replace(model(3), axes=np.linalg.eigh(channels)[1].T)
    whitening = bayes._Whitening.of(known, 3, torch.device("cpu"))
    image = clean((20, 24), channels=3)

    combined = whitening.apart(image)

    torch.testing.assert_close(whitening.together(combined), image)
    torch.testing.assert_close(combined.square().sum(1), image.square().sum(1))


def test_each_pass_goes_on_from_the_one_before() -> None:
    truth = clean((41, 50), channels=2)
    noisy, pilot = truth + noise(truth.shape), truth + 0.3 * noise(truth.shape, seed=1)
    once = filtered(noisy, pilot, guides=(0.25,))
    both = filtered(noisy, pilot, guides=(0.25, 0.0))
    assert torch.equal(both, filtered(noisy, once, guides=(0.0,)))
    assert not torch.equal(both, once)


def test_noise_that_is_correlated_goes_if_that_is_known() -> None:
    truth = clean((64, 64))
    known = model(spread=1.0)
    rng = np.random.default_rng(0)
    added = SIGMA * torch.from_numpy(known.fields((64, 64), 1, rng))
    pilot = truth + 0.3 * added
    aware = filtered(truth + added, pilot, known)
    unaware = filtered(truth + added, pilot)
    assert error(aware, truth) < 0.9 * error(unaware, truth)


def test_without_noise_the_image_stays() -> None:
    truth = clean((40, 40), channels=2)
    blurred = truth.mean() + 0.9 * (truth - truth.mean())
    result = filtered(truth, blurred, level=0.0, mean_share=1.0)
    assert error(result, truth) < 0.05 * error(blurred, truth)


def test_equal_patches_everywhere_leave_no_hole() -> None:
    flat = torch.full((1, 1, 40, 40), 0.5)
    for level in (0.0, SIGMA):
        torch.testing.assert_close(filtered(flat, flat, level=level), flat)
