from __future__ import annotations

import time

import numpy as np
import pytest
from skimage import data
from skimage.restoration import estimate_sigma as wavelet_sigma
from skimage.transform import resize

from napari_msdip.noise import cautious_sigma, estimate_sigma

PHOTOGRAPHS = ["astronaut", "coffee", "chelsea", "rocket", "moon", "brick"]
TEXTURES = ["camera", "grass"]


def picture(name: str) -> np.ndarray:
    """One of the images that scikit-image ships, in floating point."""
    return getattr(data, name)().astype(np.float64)


def noisy(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


def axis_of(image: np.ndarray) -> int | None:
    return None if image.ndim == 2 else -1


def relative_error(image: np.ndarray, sigma: float) -> float:
    return abs(estimate_sigma(image, channel_axis=axis_of(image)) / sigma - 1)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return noisy(picture("astronaut")[:160, 100:260], 12.0)


@pytest.fixture(scope="module")
def gray(photograph) -> np.ndarray:
    return photograph[..., 1]


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_accuracy_on_photographs(name):
    image = picture(name)
    assert relative_error(noisy(image, 5.0), 5.0) < 0.12
    errors = [relative_error(noisy(image, sigma), sigma) for sigma in (10.0, 50.0)]
    assert max(errors) < 0.05
    assert np.mean(errors) < 0.015


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_accuracy_on_photographs_clipped_to_eight_bits(name):
    image = noisy(picture(name), 20.0).clip(0, 255).round().astype(np.uint8)
    assert relative_error(image, 20.0) < 0.05


@pytest.mark.parametrize("name", TEXTURES)
@pytest.mark.parametrize("sigma", [5.0, 15.0, 30.0])
def test_texture_is_mistaken_for_noise_less_than_by_wavelets(name, sigma):
    image = noisy(picture(name), sigma)
    assert relative_error(image, sigma) < abs(wavelet_sigma(image) / sigma - 1)


@pytest.mark.parametrize("name", ["gravel", "grass", "coins"])
def test_a_cautious_level_is_raised_less_by_texture(name):
    image = noisy(picture(name), 2.0)
    usual, cautious = estimate_sigma(image), cautious_sigma(image[np.newaxis])
    assert 0.95 * 2 < cautious < usual
    assert abs(cautious - 2) < 0.9 * abs(usual - 2)


@pytest.mark.parametrize("name", ["moon", "brick", "camera"])
@pytest.mark.parametrize("sigma", [2.0, 10.0, 25.0])
def test_a_cautious_level_is_right_where_there_are_flat_parts(name, sigma):
    assert cautious_sigma(noisy(picture(name), sigma)[np.newaxis]) == pytest.approx(
        sigma, rel=0.08
    )


@pytest.mark.parametrize("shape", [(1, 160, 160), (3, 160, 160), (2, 96, 300)])
def test_a_cautious_level_of_plain_noise(shape):
    plain = np.random.default_rng(0).normal(100, 7, shape)
    assert cautious_sigma(plain) == pytest.approx(7, rel=0.05)


def test_a_cautious_level_of_noise_that_grows_with_brightness():
    ramp = np.mgrid[:200, :200][1] / 200
    level = 0.02 + 0.1 * ramp
    image = ramp + level * np.random.default_rng(0).standard_normal(ramp.shape)
    mean = np.sqrt(np.mean(np.square(level)))
    assert cautious_sigma(image[np.newaxis]) == pytest.approx(mean, rel=0.1)


def test_too_few_patches_tell_no_cautious_level():
    assert cautious_sigma(np.random.default_rng(0).normal(0, 1, (1, 16, 16))) == np.inf


@pytest.mark.parametrize("shape", [(256, 256), (96, 200), (64, 64, 3), (200, 200, 4)])
def test_plain_noise(shape):
    image = noisy(np.zeros(shape), 3.0)
    assert relative_error(image, 3.0) < 0.04


@pytest.mark.parametrize("shape", [(16, 16), (24, 24), (32, 32), (16, 16, 3), (24, 24, 3)])
def test_small_images_are_unbiased(shape):
    levels = [
        estimate_sigma(
            noisy(np.zeros(shape), 3.0, seed), channel_axis=axis_of(np.zeros(shape))
        )
        for seed in range(40)
    ]
    assert abs(np.mean(levels) / 3.0 - 1) < 0.07
    assert np.std(levels) / 3.0 < 0.2


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 15])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 12, 500])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_any_size_gives_a_finite_level(height, width, channels):
    shape = (height, width) if channels is None else (height, width, channels)
    level = estimate_sigma(
        noisy(np.zeros(shape), 3.0), channel_axis=axis_of(np.zeros(shape))
    )
    assert isinstance(level, float)
    assert 0 <= level < 20


@pytest.mark.parametrize(("gain", "offset"), [(1e-3, 5.0), (257.0, -1e4), (1.0, 1e6)])
def test_units_carry_over(gray, gain, offset):
    expected = gain * estimate_sigma(gray)
    assert estimate_sigma(gain * gray + offset) == pytest.approx(expected, rel=1e-3)


def test_negative_of_an_image_is_as_noisy(gray):
    assert estimate_sigma(-gray) == pytest.approx(estimate_sigma(gray), rel=0.05)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_no_unit_is_too_small_or_too_large(gray, unit):
    expected = unit * estimate_sigma(gray)
    assert estimate_sigma(unit * gray) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_position_of_the_channels_is_irrelevant(photograph, axis):
    expected = estimate_sigma(photograph, channel_axis=2)
    assert estimate_sigma(np.moveaxis(photograph, 2, axis), channel_axis=axis) == expected


def test_order_of_the_channels_is_irrelevant(photograph):
    expected = estimate_sigma(photograph, channel_axis=2)
    reversed_ = estimate_sigma(photograph[..., ::-1], channel_axis=2)
    assert reversed_ == pytest.approx(expected, rel=1e-3)


def test_one_channel_is_gray(gray):
    assert estimate_sigma(gray[..., None], channel_axis=-1) == estimate_sigma(gray)


@pytest.mark.parametrize("copies", [2, 3, 6])
def test_gray_stored_in_several_channels_is_still_gray(gray, copies):
    image = np.stack([gray] * copies, axis=-1)
    assert estimate_sigma(image, channel_axis=-1) == estimate_sigma(gray)


def test_constant_channels_do_not_count(gray):
    image = np.stack([np.zeros_like(gray), gray, np.full_like(gray, 7.0)])
    assert estimate_sigma(image, channel_axis=0) == estimate_sigma(gray)


@pytest.mark.parametrize("levels", [(5.0, 10.0, 20.0), (2.0, 20.0, 20.0), (4.0, 400.0)])
def test_channels_of_different_noise_give_the_root_mean_square(levels):
    clean = picture("astronaut")[:256, :256, : len(levels)]
    image = noisy(clean, 1.0) + noisy(np.zeros(clean.shape), 1.0, seed=1) * levels
    expected = np.sqrt(np.mean(np.square(levels)) + 1)
    assert estimate_sigma(image, channel_axis=-1) == pytest.approx(expected, rel=0.05)


def test_many_channels_are_estimated():
    image = noisy(np.zeros((64, 64, 20)), 3.0)
    assert estimate_sigma(image, channel_axis=-1) == pytest.approx(3.0, rel=0.03)


def test_noise_that_grows_with_brightness_gives_the_root_mean_square():
    y, x = np.mgrid[:300, :300] / 300
    photons = 20 + 200 * np.exp(-20 * ((x - 0.5) ** 2 + (y - 0.4) ** 2))
    image = np.random.default_rng(0).poisson(photons)
    assert estimate_sigma(image) == pytest.approx(np.sqrt(photons.mean()), rel=0.03)


@pytest.mark.parametrize("shape", [(64, 64), (96, 96), (200, 150)])
@pytest.mark.parametrize("photons", [0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0, 2.0])
def test_few_photons_are_noise(shape, photons):
    image = np.random.default_rng(0).poisson(photons, shape).astype("u2")
    assert estimate_sigma(image) == pytest.approx(image.std(), rel=0.06)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("photons", [0.1, 0.7])
def test_a_picture_of_few_photons_has_the_noise_of_its_mean(name, photons):
    clean = picture(name) if picture(name).ndim == 2 else picture(name).mean(axis=-1)
    image = np.random.default_rng(0).poisson(clean * (photons / clean.mean()))
    assert estimate_sigma(image) == pytest.approx(np.sqrt(photons), rel=0.03)


def test_bright_spots_do_not_stand_for_an_image_of_few_photons():
    y, x = np.mgrid[:64, :64]
    rate = 0.1 + 4 * np.exp(-((y - 40) ** 2 + (x - 24) ** 2) / 150)
    image = np.random.default_rng(0).poisson(rate)
    assert estimate_sigma(image) == pytest.approx(np.sqrt(rate.mean()), rel=0.06)


@pytest.fixture
def narrow_spots():
    """Sixty spots 1.5 px wide and of height 1, on nothing."""
    y, x = np.mgrid[:160, :160]
    centres = np.random.default_rng(0).uniform(8, 152, (60, 2))
    return sum(np.exp(-((y - v) ** 2 + (x - u) ** 2) / 4.5) for v, u in centres)


@pytest.mark.parametrize("peak", [6, 20])
def test_narrow_spots_do_not_hide_few_photons(narrow_spots, peak):
    rate = 0.3 + peak * narrow_spots
    image = np.random.default_rng(0).poisson(rate)
    assert estimate_sigma(image) == pytest.approx(np.sqrt(rate.mean()), rel=0.1)


@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_narrow_spots_do_not_hide_noise_clipped_at_black(narrow_spots, sigma):
    clean = 80 * narrow_spots
    image = noisy(clean, sigma).clip(0, None).round()
    assert estimate_sigma(image) == pytest.approx((image - clean).std(), rel=0.15)


def test_a_background_clipped_at_black_is_as_noisy_as_what_is_left():
    image = noisy(np.full((96, 96), -9.0), 6.0).clip(0, None).round()
    assert np.mean(image == 0) > 0.9
    assert estimate_sigma(image) == pytest.approx(image.std(), rel=0.05)


@pytest.mark.parametrize("size", [12, 40, 128])
def test_a_mask_has_no_noise(size):
    y, x = np.mgrid[:size, :size] / size
    assert estimate_sigma((np.hypot(y - 0.5, x - 0.4) < 0.3).astype("u1")) < 0.01


def test_padding_and_masks_are_left_out(gray):
    expected = estimate_sigma(gray)
    padded = np.pad(gray, 100)
    padded[40:60] = 90.0
    assert estimate_sigma(padded) == pytest.approx(expected, rel=0.05)


def test_a_wide_mask_around_a_clipped_picture_is_left_out():
    image = noisy(picture("astronaut")[:160, 100:260, 1], 50.0).clip(0, 255).round()
    expected = estimate_sigma(image)
    assert estimate_sigma(np.pad(image, 120)) == pytest.approx(expected, rel=0.1)


def test_surroundings_of_a_round_field_of_view_are_left_out():
    y, x = np.mgrid[:512, :512]
    field = np.hypot(y - 256, x - 256) < 240
    image = np.where(field, noisy(picture("camera"), 12.0), 0)
    assert estimate_sigma(image) == pytest.approx(12.0, rel=0.05)


@pytest.mark.parametrize("share", [3e-4, 2.5e-3])
@pytest.mark.parametrize("value", [-4000.0, 600.0, 4095.0, 65535.0])
@pytest.mark.parametrize("name", ["flat", "camera"])
def test_defects_of_a_camera_are_left_out(name, value, share):
    clean = np.full((128, 128), 100.0) if name == "flat" else picture(name)[:128, :128]
    image = noisy(clean, 12.0)
    expected = estimate_sigma(image)
    rng = np.random.default_rng(1)
    places = rng.choice(image.size, int(share * image.size), replace=False)
    image.flat[places] = value
    assert estimate_sigma(image) == pytest.approx(expected, rel=0.05)
    assert cautious_sigma(image[np.newaxis]) == pytest.approx(12, rel=0.15)


def test_multiplied_photons_in_the_dark_are_no_defects():
    rng = np.random.default_rng(0)
    photons = np.maximum(rng.poisson(0.1, (256, 256)), 1e-9)
    image = rng.gamma(photons, 300.0) + rng.normal(0, 3, photons.shape)
    assert estimate_sigma(image) > 0.75 * image.std()


def test_saturated_areas_are_left_out():
    ramp = np.linspace(-200, 455, 400) * np.ones((300, 1))
    image = noisy(ramp, 15.0).clip(0, 255)
    assert estimate_sigma(image) == pytest.approx(15.0, rel=0.03)


@pytest.mark.parametrize("value", [0, 7, -1e300])
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (40, 30, 3)])
def test_constant_image_has_no_noise(shape, value):
    assert (
        estimate_sigma(np.full(shape, value), channel_axis=axis_of(np.zeros(shape))) == 0.0
    )


def test_smooth_picture_has_hardly_any_noise():
    y, x = np.mgrid[:128, :128] / 128
    assert estimate_sigma(np.sin(3 * x) + y**2) < 1e-4


def test_saturated_image_gives_a_finite_level():
    image = np.where(noisy(np.zeros((64, 64)), 1.0) > 0, 255, 0)
    assert np.isfinite(estimate_sigma(image))


@pytest.mark.parametrize("blur", [0.9, 0.5, 0.25])
def test_correlated_noise_gives_a_level_below_its_spread(blur):
    noise = resize(noisy(np.zeros((200, 200)), 10.0), (round(200 * blur),) * 2, order=1)
    noise = resize(noise, (160, 160), order=1)
    assert 0 < estimate_sigma(100 + noise) <= 1.03 * noise.std()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", ">i4", "u8", "f2", "f4", ">f8", "g"])
def test_any_real_dtype(gray, dtype):
    image = gray.clip(0, 255).astype(dtype)
    assert estimate_sigma(image) == pytest.approx(estimate_sigma(gray), rel=0.05)


def test_input_is_not_modified(photograph):
    before = photograph.copy()
    estimate_sigma(photograph, channel_axis=-1)
    np.testing.assert_array_equal(photograph, before)


def test_same_image_gives_the_same_level(gray):
    assert estimate_sigma(gray) == estimate_sigma(gray.copy())


@pytest.mark.parametrize(
    ("image", "axis", "error", "message"),
    [
        (np.zeros((4, 4), bool), None, TypeError, "image: dtype bool"),
        (np.zeros((4, 4), complex), None, TypeError, "image: dtype complex128"),
        (np.zeros((4, 4), object), None, TypeError, "image: dtype object"),
        ("image.tif", None, TypeError, "image: a str is no image"),
        ([[1, 2], [3]], None, ValueError, "^image: .* is no array"),
        (np.zeros((0, 4)), None, ValueError, r"image: shape \(0, 4\) holds no pixels"),
        (np.zeros(9), None, ValueError, r"image: shape \(9,\) without channel_axis"),
        (
            np.zeros((4, 4, 3)),
            None,
            ValueError,
            "image: .* without channel_axis .*channel_axis=-1",
        ),
        (np.zeros((4, 4)), 0, ValueError, "image: .* channel_axis=0 .* three axes"),
        (np.zeros((4, 4, 3)), 3, ValueError, "channel_axis=3: .* from -3 to 2"),
        (
            np.zeros((4, 4, 3)),
            -4,
            ValueError,
            "channel_axis=-4: .* from -3 to 2",
        ),
        (np.zeros((4, 4, 3)), 1.0, TypeError, "channel_axis=1.0: give a whole number"),
        (
            np.full((4, 4), np.nan),
            None,
            ValueError,
            "image: 16 of 16 values are NaN",
        ),
        (
            np.full((4, 4), -np.inf),
            None,
            ValueError,
            "image: 16 of 16 values are NaN",
        ),
    ],
)
def test_wrong_arguments_are_named(image, axis, error, message):
    with pytest.raises(error, match=message):
        estimate_sigma(image, channel_axis=axis)


def test_large_image_takes_under_a_second():
    image = noisy(np.zeros((2048, 2048), np.float32), 1.0).astype(np.float32)
    start = time.process_time()
    estimate_sigma(image)
    assert time.process_time() - start < 1.0
