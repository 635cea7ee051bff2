"""Tests of the refinement: filters of similar patches, one after the other."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from tests.patches import SIGMA, error
from tests.samples import driven
from torch import Tensor

from napari_msdip import refinement
from napari_msdip._noise.model import NoiseModel
from napari_msdip._refinement.collaborative import collaborative_filter
from napari_msdip.refinement import refined

WHITE = NoiseModel.separable(
    np.pad(np.ones((1, 1)), 4), np.eye(1), np.zeros(1), np.array([SIGMA])
)


def picture(name: str = "camera") -> Tensor:
    whole = getattr(data, name)()[100:180, 180:268]
    return torch.from_numpy(whole.astype(np.float32) / 255)[None, None]


def noisy_version(image: Tensor) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return image + SIGMA * torch.randn(image.shape, generator=rng)


def level(image: Tensor) -> Tensor:
    return torch.full((1, 1, *image.shape[-2:]), SIGMA)


def test_progress_rises_to_one() -> None:
    image = picture()
    noisy = noisy_version(image)
    _, shares = driven(refined(noisy, image, level(noisy), WHITE))
    assert shares == sorted(shares)
    assert abs(shares[-1] - 1) < 1e-9
    assert len(shares) > 3


@pytest.mark.parametrize("name", ["camera", "brick", "coins"])
def test_a_picture_comes_out_better_than_from_the_collaborative_filter(name: str) -> None:
    image = picture(name)
    noisy = noisy_version(image)
    pilot = torch.from_numpy(gaussian_filter(noisy.numpy(), (0, 0, 1, 1)))
    alone, _ = driven(collaborative_filter(noisy, pilot, level(noisy), WHITE))
    result, _ = driven(refined(noisy, pilot, level(noisy), WHITE))
    assert error(result, image) < 0.97 * error(alone, image)


def test_an_uncertain_level_brings_less_of_the_noisy_image_back() -> None:
    image = torch.full((1, 1, 48, 48), 0.5)
    noisy = noisy_version(image)
    uncertain = dataclasses.replace(WHITE, is_certain=False)
    certainly, carefully = (
        error(driven(refined(noisy, image, level(noisy), noise))[0], image)
        for noise in (WHITE, uncertain)
    )
    assert carefully < certainly


def test_of_noise_that_pixels_share_less_of_the_noisy_image_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = torch.full((1, 1, 48, 48), 0.5)
    line = 0.5 ** np.square(np.arange(-4.0, 5.0))
    shared = NoiseModel.separable(
        np.outer(line, line), np.eye(1), np.zeros(1), np.array([SIGMA])
    )
    fields = torch.from_numpy(shared.fields((48, 48), 1, np.random.default_rng(0)))
    noisy = image + SIGMA * fields
    carefully, certainly = (
        error(driven(refined(noisy, image, level(image), noise))[0], image)
        for noise in (dataclasses.replace(shared, is_certain=False), shared)
    )
    assert carefully < certainly < error(noisy[0], image) / 3
    monkeypatch.setattr(refinement, "_SHARED", refinement._CERTAIN)
    as_if_white = error(driven(refined(noisy, image, level(image), shared))[0], image)
    assert certainly < as_if_white


def test_the_more_the_level_has_grown_the_more_noise_goes() -> None:
    image = picture()
    noisy = noisy_version(image)
    pilot = torch.from_numpy(gaussian_filter(noisy.numpy(), (0, 0, 1, 1)))
    removed = []
    for growth in (1.0, 1.08, 1.2):
        noise = dataclasses.replace(WHITE, is_certain=False, growth=growth)
        result, _ = driven(refined(noisy, pilot, level(noisy), noise))
        removed.append(error(result, noisy))
    assert all(less < 0.99 * more for less, more in itertools.pairwise(removed))


@pytest.mark.parametrize("seed", [0, 2])
def test_a_smooth_pilot_does_not_get_noise_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clean = gaussian_filter((rng.random((96, 96)) < 0.003).astype(float), 8)
    clean /= clean.max()
    noisy = clean + rng.normal(0, 0.2, clean.shape)
    image, seen, pilot = (
        torch.from_numpy(each.astype(np.float32))[None, None]
        for each in (clean, noisy, gaussian_filter(noisy, 4))
    )
    noise = NoiseModel.white(1, 0.2, 4)
    result, _ = driven(refined(seen, pilot, torch.full_like(seen, 0.2), noise))
    assert error(result, image) < 0.92 * error(pilot, image)
