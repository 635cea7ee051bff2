"""The verdict: good denoisers pass, each deliberate mistake is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage import data, restoration
from tests.samples import clean_picture

from napari_msdip.quality import QualityReport, Verdict, assess

SIGMA = 15.0


@pytest.fixture(scope="module")
def clean() -> Any:
    return data.camera()[100:292, 150:342].astype(float)


@pytest.fixture(scope="module")
def noisy(clean: Any) -> Any:
    return clean + np.random.default_rng(0).normal(size=clean.shape) * SIGMA


@pytest.fixture(scope="module")
def good(noisy: Any) -> Any:
    return restoration.denoise_nl_means(
        noisy, patch_size=5, patch_distance=5, h=0.6 * SIGMA, sigma=SIGMA
    )


def test_the_clean_image_and_a_good_denoiser_are_safe(
    clean: Any, noisy: Any, good: Any
) -> None:
    assert assess(noisy, clean).verdict is Verdict.SAFE
    assert assess(noisy, good).verdict is Verdict.SAFE


def test_noise_that_a_filter_has_spread_is_judged_though_hardly_any_of_it_looks_white(
    clean: Any, noisy: Any
) -> None:
    spread, filtered = (ndimage.uniform_filter(image, 3) for image in (noisy, clean))
    half = (spread + filtered) / 2

    good, bad = assess(spread, filtered), assess(spread, half)

    assert good.noise_before < 0.004 * np.ptp(clean)
    assert good.verdict is Verdict.SAFE
    assert "hardly any noise" not in good.reason
    assert bad.verdict is Verdict.NOISE_REMAINS


@pytest.mark.parametrize(
    ("gain", "offset"), [(1.0, 1e8), (1e-25, 0.0), (1e25, 0.0), (1e40, 0.0), (1e-160, 0.0)]
)
def test_the_verdict_follows_the_units(
    noisy: Any, good: Any, gain: float, offset: float
) -> None:
    expected = assess(noisy, good)
    found = assess(gain * noisy + offset, gain * good + offset)
    assert found.verdict is expected.verdict
    assert found.noise_before == pytest.approx(gain * expected.noise_before, rel=1e-4)
    assert found.removed_excess == pytest.approx(expected.removed_excess, rel=1e-4)


def test_a_weak_channel_is_judged_like_a_strong_one(noisy: Any, good: Any) -> None:
    weak = np.array([1.0, 1e-4])[:, np.newaxis, np.newaxis]
    alike = assess(np.stack([noisy] * 2), np.stack([good] * 2), channel_axis=0)
    found = assess(weak * noisy, weak * good, channel_axis=0)
    assert found.verdict is alike.verdict
    assert found.removed_excess == pytest.approx(alike.removed_excess, rel=0.1)


def test_blurring_removes_structure(noisy: Any) -> None:
    for sigma in (1.5, 4.0):
        report = assess(noisy, ndimage.gaussian_filter(noisy, sigma))
        assert report.verdict is Verdict.STRUCTURE_REMOVED
        assert report.edge_excess > 1.2
        assert report.correlation_excess > 0.01


def test_blurring_away_texture_is_noticed() -> None:
    texture = data.gravel()[:192, :192].astype(float)
    noisy = texture + np.random.default_rng(5).normal(size=texture.shape) * 10
    report = assess(noisy, ndimage.gaussian_filter(noisy, 4))
    assert report.verdict is Verdict.STRUCTURE_REMOVED


def test_identity_and_half_measures_leave_noise(noisy: Any, good: Any) -> None:
    identity = assess(noisy, noisy.copy())
    assert identity.verdict is Verdict.NOISE_REMAINS
    assert identity.noise_left == pytest.approx(1)
    half = assess(noisy, (noisy + good) / 2)
    assert half.verdict is Verdict.NOISE_REMAINS
    assert half.noise_left == pytest.approx(0.5, abs=0.1)


def test_offset_gain_and_gamma_shift_intensity(noisy: Any, good: Any) -> None:
    gamma = 255 * (np.clip(good, 0, 255) / 255) ** 0.85
    for shifted in (good + 10, good * 1.1, gamma):
        assert assess(noisy, shifted).verdict is Verdict.INTENSITY_SHIFTED
    assert assess(noisy, good + 10).mean_shift == pytest.approx(-10, abs=1)


def test_a_shift_in_one_corner_is_found(noisy: Any, good: Any) -> None:
    shifted = good.copy()
    shifted[:64, :64] += 15
    assert assess(noisy, shifted).verdict is Verdict.INTENSITY_SHIFTED


def test_correlated_noise_is_no_reproach(clean: Any) -> None:
    field = np.random.default_rng(1).normal(size=clean.shape)
    field = ndimage.gaussian_filter(field, 1.0)
    noisy = clean + SIGMA * field / field.std()
    assert assess(noisy, clean).verdict is Verdict.SAFE
    assert assess(noisy, noisy).verdict is Verdict.NOISE_REMAINS


def test_shot_noise_is_no_reproach(clean: Any) -> None:
    noisy = np.random.default_rng(2).poisson(clean / 6) * 6.0
    assert assess(noisy, clean).verdict is Verdict.SAFE


def test_texture_is_not_taken_for_noise() -> None:
    texture = data.grass()[:192, :192].astype(float)
    noisy = texture + np.random.default_rng(3).normal(size=texture.shape) * 10
    assert assess(noisy, texture).verdict is Verdict.SAFE


def test_a_nearly_clean_image_may_be_left_alone(clean: Any) -> None:
    smooth = ndimage.gaussian_filter(clean, 3)
    noisy = smooth + np.random.default_rng(4).normal(size=smooth.shape) * 0.05
    report = assess(noisy, noisy)
    assert report.verdict is Verdict.SAFE
    assert "hardly any noise" in report.reason


def test_units_do_not_matter(noisy: Any, good: Any) -> None:
    report = assess(noisy, good)
    scaled = assess(noisy * 1e-3 + 7, good * 1e-3 + 7)
    assert scaled.verdict is report.verdict
    assert scaled.edge_excess == pytest.approx(report.edge_excess, rel=1e-3)
    assert scaled.block_shift == pytest.approx(report.block_shift, abs=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_worst_channel_decides(noisy: Any, good: Any, axis: int) -> None:
    before = np.stack([noisy] * 3, axis)
    after = np.stack([good, noisy, good], axis)
    report = assess(before, after, channel_axis=axis)
    assert report.verdict is Verdict.NOISE_REMAINS


@pytest.mark.parametrize("alpha", ["opaque", "a disc", "a half"])
def test_a_channel_without_noise_has_no_say(noisy: Any, good: Any, alpha: str) -> None:
    y, x = np.indices(noisy.shape)
    mask = {"opaque": y >= 0, "a disc": np.hypot(y - 90, x - 99) < 60, "a half": x < 96}
    plane = 255.0 * mask[alpha]
    alone = assess(noisy, good)
    report = assess(np.stack([noisy, plane]), np.stack([good, plane]), channel_axis=0)
    assert report.verdict is Verdict.SAFE
    assert report.noise_before == alone.noise_before
    assert report.noise_left == alone.noise_left


def test_numbers_of_a_mask_that_was_moved_are_of_no_monstrous_size() -> None:
    mask = np.zeros((64, 64))
    mask[:, :32] = 255
    moved = mask.copy()
    moved[::5, 31:33] = 128
    report = assess(mask, moved)
    assert report.verdict is Verdict.STRUCTURE_REMOVED
    assert all(abs(value) < 1e3 for value in report.numbers.values())


def halves(clean: Any) -> Any:
    """Add noise that is four times as strong on the right."""
    levels = np.where(np.arange(clean.shape[1]) < clean.shape[1] // 2, 4.0, 16.0)
    return clean + levels * np.random.default_rng(6).normal(size=clean.shape)


def test_noise_left_in_one_part_is_seen() -> None:
    smooth = 255 * clean_picture((160, 160))
    noisy = halves(smooth)
    half_done = noisy.copy()
    half_done[:, :90] = smooth[:, :90]
    assert assess(noisy, half_done).verdict is Verdict.NOISE_REMAINS


def test_noise_that_differs_from_place_to_place_is_no_reproach() -> None:
    smooth = 255 * clean_picture((160, 160))
    report = assess(halves(smooth), smooth)
    assert report.verdict is Verdict.SAFE
    assert report.removed_excess == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64)), np.random.default_rng(0).normal(size=(20, 400))]
)
def test_nothing_to_judge(image: Any) -> None:
    report = assess(image, image)
    assert report.verdict is Verdict.UNDECIDED
    assert all(math.isnan(value) for value in report.numbers.values())


def test_nothing_to_judge_in_channels_that_are_each_constant() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 1] = 7

    assert assess(image, image, channel_axis=-1).verdict is Verdict.UNDECIDED


def test_integers_and_masked_areas(noisy: Any, good: Any) -> None:
    before, after = (np.clip(image, 0, 255).astype("uint8") for image in (noisy, good))
    before[:, :60] = after[:, :60] = 0
    report = assess(before, after)
    assert isinstance(report, QualityReport)
    assert report.verdict is Verdict.SAFE


def seen(shape: tuple[int, int], through: str) -> Any:
    """Return what of an image is no padding."""
    y, x = np.indices(shape)
    return {
        "a part": x >= 40,
        "a window": (abs(y - 90) < 35) & (abs(x - 99) < 35),
        "a turned frame": abs(y - 90) + abs(x - 99) < 80,
    }[through]


@pytest.mark.parametrize("through", ["a part", "a window", "a turned frame"])
@pytest.mark.parametrize("value", [0.0, 300.0])
def test_padding_is_no_flat_part_without_noise(
    clean: Any, noisy: Any, through: str, value: float
) -> None:
    shown = seen(clean.shape, through)
    found = assess(np.where(shown, noisy, value), np.where(shown, clean, value))
    assert found.verdict is Verdict.SAFE
    assert found.edge_excess == pytest.approx(1, abs=0.2)
    assert found.removed_excess == pytest.approx(1, abs=0.4)


@pytest.mark.parametrize("through", ["a window", "a turned frame"])
def test_padding_hides_no_structure_that_was_removed(noisy: Any, through: str) -> None:
    shown = seen(noisy.shape, through)
    blurred = ndimage.gaussian_filter(noisy, 3)
    found = assess(np.where(shown, noisy, 0), np.where(shown, blurred, 0))
    assert found.verdict is Verdict.STRUCTURE_REMOVED
    assert found.removed_excess > 1.45


def test_a_bright_channel_does_not_hide_what_is_left_in_a_dim_one() -> None:
    bright, dim = 6000 * clean_picture((160, 160)), 150 * clean_picture((160, 160))
    noise = SIGMA * np.random.default_rng(0).normal(size=(2, 160, 160))
    before = np.stack([bright, dim]) + noise
    after = np.stack([bright, dim + noise[1]])
    assert assess(before, after, channel_axis=0).verdict is Verdict.NOISE_REMAINS


@pytest.mark.parametrize("down", [1, -1])
@pytest.mark.parametrize("across", [1, -1])
def test_a_shift_of_intensity_at_any_margin_is_seen(down: int, across: int) -> None:
    clean = 1000 * clean_picture((126, 126))
    noisy = clean + 60 * np.random.default_rng(0).normal(size=clean.shape)
    shift = np.zeros_like(clean)
    shift[70:, 70:] = 80
    shifted = clean + ndimage.gaussian_filter(shift, 6)[::down, ::across]
    assert assess(noisy, clean).verdict is Verdict.SAFE
    assert assess(noisy, shifted).verdict is Verdict.INTENSITY_SHIFTED


@pytest.mark.parametrize(
    ("noisy", "denoised", "channel_axis", "match"),
    [
        (np.zeros((64, 64)), np.zeros((64, 63)), None, "shape"),
        (np.zeros((3, 64, 64)), np.zeros((3, 64, 64)), None, "channel_axis"),
        (np.full((64, 64), np.nan), np.zeros((64, 64)), None, "noisy"),
        (np.zeros((64, 64)), [[1, 2], [3]], None, "^denoised: .* is no array"),
    ],
)
def test_wrong_images_are_refused(
    noisy: Any, denoised: Any, channel_axis: int | None, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        assess(noisy, denoised, channel_axis=channel_axis)


@pytest.mark.parametrize("dtype", [bool, complex, object])
def test_what_is_no_real_number_is_refused(dtype: type) -> None:
    image = np.zeros((64, 64))
    with pytest.raises(TypeError, match="denoised"):
        assess(image, image.astype(dtype))


@pytest.mark.parametrize(("axis", "error"), [(3, ValueError), (1.5, TypeError)])
def test_wrong_channel_axis_is_named(axis: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="channel_axis"):
        assess(np.zeros((3, 64, 64)), np.zeros((3, 64, 64)), channel_axis=axis)


def test_hot_pixels_that_were_meant_to_go_are_no_structure(noisy: Any, good: Any) -> None:
    y, x = (8 * each + 4 for each in np.divmod(np.arange(0, 500, 7), 24))
    defective = noisy.copy()
    defective[y, x] += 40 * SIGMA

    expected = assess(noisy, good)
    judged = assess(defective, good, hot_pixels_removed=True)

    assert assess(defective, good).verdict is Verdict.STRUCTURE_REMOVED
    assert judged.verdict is Verdict.SAFE
    assert judged.removed_excess == pytest.approx(expected.removed_excess, rel=0.05)


def test_an_image_of_nothing_but_hot_pixels_is_judged() -> None:
    image = np.zeros((64, 64))
    image[20, 30] = 1.0
    report = assess(image, np.zeros_like(image), hot_pixels_removed=True)
    assert report.verdict is Verdict.SAFE
    assert assess(image, image, hot_pixels_removed=True).verdict is not Verdict.SAFE
