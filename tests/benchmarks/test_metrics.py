from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.metrics import SSIM_SIDE, affine_psnr, block_bias, psnr, ssim


@pytest.fixture
def clean():
    return np.random.default_rng(1).uniform(0, 255, (128, 96))


def test_psnr_of_a_known_error(clean):
    assert psnr(clean + 25.5, clean, 255) == pytest.approx(20)


def test_psnr_of_unsigned_images_does_not_wrap():
    dark, bright = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert psnr(dark, bright, 255) == pytest.approx(0)
    assert psnr(dark, dark, 255) == math.inf


def test_affine_psnr_forgives_gain_and_offset_only(clean):
    assert affine_psnr(0.2 * clean + 90, clean, 255) > 200
    rough = clean + np.random.default_rng(2).normal(0, 25, clean.shape)
    assert psnr(rough, clean, 255) <= affine_psnr(rough, clean, 255) < 22


def test_affine_psnr_of_a_flat_estimate_is_that_of_the_mean(clean):
    flat = np.full_like(clean, 7)
    mean = np.full_like(clean, clean.mean())
    assert affine_psnr(flat, clean, 255) == pytest.approx(psnr(mean, clean, 255))


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)])
def test_ssim_is_one_for_equal_images_and_less_for_others(shape):
    image = np.random.default_rng(3).uniform(0, 255, shape)
    assert ssim(image, image, 255) == pytest.approx(1)
    assert ssim(image[::-1], image, 255) < 0.5


def test_ssim_takes_its_window_and_no_less():
    image = np.random.default_rng(3).uniform(0, 255, (SSIM_SIDE, SSIM_SIDE))
    assert ssim(image, image, 255) == pytest.approx(1)
    with pytest.raises(ValueError, match="win_size"):
        ssim(image[1:], image[1:], 255)


def test_block_bias_finds_the_one_shifted_block():
    noisy = np.full((128, 192), 100.0)
    estimate = noisy.copy()
    estimate[64:, 128:] += 6
    bias = block_bias(estimate, noisy)
    assert bias.worst == bias.worst_channel == pytest.approx(0.06)
    assert bias.mean == pytest.approx(0.06 / 6)
    assert bias.worst_shift == pytest.approx(6)


def test_block_bias_tells_whole_blocks_from_their_channels():
    noisy = np.full((64, 64, 3), 100.0)
    bias = block_bias(noisy + np.array([-10.0, 0, 10]), noisy)
    assert bias.worst == bias.mean == 0
    assert bias.worst_channel == pytest.approx(0.1)
    assert bias.worst_shift == pytest.approx(10)


def test_block_bias_does_not_see_noise_removed_within_blocks(clean):
    rough = clean + np.random.default_rng(4).normal(0, 25, clean.shape)
    assert block_bias(clean, rough).worst < 0.02


def test_block_bias_of_small_and_of_black_images():
    assert block_bias(np.full((20, 30), 3.0), np.full((20, 30), 2.0)).worst == 0.5
    black = block_bias(np.ones((64, 64)), np.zeros((64, 64)))
    assert (black.worst, black.mean, black.worst_shift) == (0, 0, 1)
