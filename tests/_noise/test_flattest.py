"""Measured noise: its level, colour and channels, and fresh noise just like it."""

from __future__ import annotations

import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from benchmarks.drawings import filaments, nuclei, tissue
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter1d, zoom
from scipy.ndimage import shift as registered
from skimage import data
from tests.samples import (
    clean_picture,
    gravel,
    in_jpeg,
    in_photons,
    neighbour_correlation,
    rms,
)

from napari_msdip._noise.flattest import measure_noise
from napari_msdip.noise import estimate_sigma

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (192, 176)


def planar(noise: Any) -> Any:
    """Add noise (C, Y, X) to the picture."""
    clean = clean_picture(noise.shape[1:], len(noise)).transpose(2, 0, 1)
    return (clean + noise).astype(np.float32)


def white(sigma: float = 0.1, channels: int = 1, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return sigma * rng.standard_normal((channels, *SHAPE))


def correlated(width: float, sigma: float = 0.1, channels: int = 1, seed: int = 0) -> Any:
    noise = gaussian_filter(white(1.0, channels, seed), (0, width, width), mode="wrap")
    return sigma * noise / noise.std()


@pytest.mark.parametrize("sigma", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_is_found_white_at_the_level_given(sigma: float, channels: int) -> None:
    image = planar(white(sigma, channels))

    model = measure_noise(image, sigma)

    assert abs(model.neighbour_correlation) < 0.1
    assert model.reach() == 0
    assert float(np.median(model.sigma_map(image))) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("width", [0.7, 0.8, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_correlated_noise_is_measured_whatever_level_is_given(
    width: float, seed: int
) -> None:
    noise = correlated(width, seed=seed)
    image = planar(noise)

    model = measure_noise(image, 0.02)

    # The flattest blocks show too little of it, and the taper takes some more.
    expected = neighbour_correlation(noise)
    assert 0.7 * expected < model.neighbour_correlation < expected + 0.1
    assert model.reach() >= 1
    assert 0.08 < rms(model.sigma_map(image)) < 0.11


def test_reach_grows_with_the_correlation() -> None:
    reaches = [measure_noise(planar(correlated(w)), 0.02).reach() for w in (0.5, 0.9, 1.4)]
    assert reaches == sorted(reaches)
    assert reaches[-1] > reaches[0]


@pytest.mark.parametrize("gain", [1.0, 250.0])
@pytest.mark.parametrize("width", [0.0, 0.8])
def test_noise_that_grows_with_the_intensity(width: float, gain: float) -> None:
    clean = clean_picture(SHAPE)[np.newaxis]
    level = 0.02 + 0.12 * clean
    unit = correlated(width, 1.0) if width else white(1.0)
    image = (gain * (clean + level * unit)).astype(np.float32)

    seen = estimate_sigma(image, channel_axis=0) if width else gain * np.median(level)
    found = measure_noise(image, float(seen)).sigma_map(image) / gain

    dark, bright = clean < np.quantile(clean, 0.2), clean > np.quantile(clean, 0.8)
    assert found[bright].mean() > 1.6 * found[dark].mean()
    assert found[dark].mean() == pytest.approx(level[dark].mean(), rel=0.25)
    assert found[bright].mean() == pytest.approx(level[bright].mean(), rel=0.25)


def test_noise_shared_by_channels() -> None:
    common = white(0.1)
    own = white(0.02, 3, seed=1)

    shared = measure_noise(planar(common + own), 0.1).channels
    apart = measure_noise(planar(white(0.1, 3)), 0.1).channels

    beside = ~np.eye(3, dtype=bool)
    assert shared[beside].min() > 0.85
    assert np.abs(apart[beside]).max() < 0.15
    assert np.trace(shared) == pytest.approx(3)


def test_noise_shared_by_channels_is_found_where_it_escapes_the_estimator() -> None:
    picture = data.chelsea()[: SHAPE[0], : SHAPE[1]].astype(float).transpose(2, 0, 1)
    image = (picture + white(20.0)).astype(np.float32)
    model = measure_noise(image, 2.0)
    assert model.channels.min() > 0.8
    assert rms(model.sigma_map(image)) == pytest.approx(20.0, rel=0.1)


AXES = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def blotchy(shape: tuple[int, int] = SHAPE) -> Any:
    """Grain in the brightness, weaker and wider blotches in the differences of colour."""
    rng = np.random.default_rng(0)
    parts = []
    for width, sigma in ((0.7, 0.15), (2.5, 0.07), (2.5, 0.05)):
        field = gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
        parts.append(sigma * field / field.std())
    return np.tensordot(AXES.T, np.array(parts), axes=1)


def test_blotches_of_colour_are_told_from_the_grain_of_the_brightness() -> None:
    noise = blotchy()
    image = planar(noise)

    model = measure_noise(image, 0.02)

    assert not model.is_white
    order = np.argsort(model.powers)[::-1]
    assert abs(model.axes[order[0]] @ AXES[0]) > 0.95
    reach = len(model.correlations[0]) // 2
    afar = model.correlations[order, reach, reach + 4]
    assert abs(afar[0]) < 0.1
    assert afar[1:].min() > 0.2
    level = rms(model.sigma_map(image))
    for each, found in zip(model.axes, model.powers, strict=True):
        own = np.tensordot(each, noise, axes=1)
        assert level * math.sqrt(found) == pytest.approx(own.std(), rel=0.3)


def test_fresh_noise_has_the_blotches_of_the_images_own() -> None:
    noise = blotchy()
    image = planar(noise)

    model = measure_noise(image, 0.02)
    fresh = model.fields(SHAPE, 4, np.random.default_rng(1)) * model.sigma_map(image)

    for axis in AXES[1:]:
        made, own = (np.tensordot(axis, each, axes=(0, -3)) for each in (fresh, noise))
        wide = (gaussian_filter(made, (0, 4, 4)), gaussian_filter(own, 4))
        assert 0.5 < rms(wide[0]) / rms(wide[1]) < 1.4


def test_channels_of_equal_noise_are_measured_close_by() -> None:
    image = planar(correlated(0.8, channels=3))
    model = measure_noise(image, 0.02)
    reach = len(model.correlations[0]) // 2
    assert np.all(model.correlations[:, reach, reach + 9 :] == 0)
    assert model.powers.max() < 1.5 * model.powers.min()


@pytest.mark.parametrize(
    ("texture", "sigma"), [(data.gravel, 25.0), (data.grass, 25.0), (data.brick, 10.0)]
)
def test_texture_of_all_channels_is_not_their_noise(
    texture: Callable[[], Any], sigma: float
) -> None:
    picture = texture()[: SHAPE[0], : SHAPE[1]] * np.array([1.0, 0.9, 0.8])[:, None, None]
    image = (picture + white(sigma, 3)).astype(np.float32)
    channels = measure_noise(image, sigma).channels
    assert np.abs(channels[~np.eye(3, dtype=bool)]).max() < 0.05


@pytest.mark.parametrize("rise", [0.0, 1.0])
def test_only_a_clear_rise_with_the_intensity_counts(rise: float) -> None:
    clean = clean_picture(SHAPE)[np.newaxis]
    level = 0.05 * (1 + rise * clean)
    image = (clean + level * white(1.0)).astype(np.float32)
    sigma = float(np.sqrt(np.mean(np.square(level))))
    found = measure_noise(image, sigma).sigma_map(image)
    assert rms(found) == pytest.approx(sigma, rel=0.01)
    assert (np.ptp(found) > 0) == bool(rise)


@pytest.mark.parametrize("shared", [0.0, 0.15, 0.8])
def test_a_trace_of_structure_does_not_make_channels_noise_alike(shared: float) -> None:
    common, own = white(0.1 * math.sqrt(shared)), white(0.1 * math.sqrt(1 - shared), 3, 1)
    channels = measure_noise(planar(common + own), 0.1).channels
    beside = channels[~np.eye(3, dtype=bool)]
    if shared < 0.2:
        assert np.abs(beside).max() < 1e-12
    else:
        assert beside.min() > 0.6


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (17, 64), (8, 300), (31, 37)])
@pytest.mark.parametrize("channels", [1, 2])
def test_small_images_have_a_usable_model(shape: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((channels, *shape)).astype(np.float32)

    model = measure_noise(image, 1.0)

    level = model.sigma_map(image)
    assert level.shape == (1, *shape)
    assert 0.5 < level.min() <= level.max() < 2
    assert np.isfinite(model.fields(shape, 2, rng)).all()


@pytest.mark.parametrize("kind", ["constant", "half constant", "saturated"])
def test_areas_without_noise_do_no_harm(kind: str) -> None:
    image = planar(white(0.1))
    if kind == "constant":
        image[:] = 3.0
    elif kind == "half constant":
        image[:, :100] = 0.25
    else:
        image = np.clip(image, 0.3, 0.7)

    model = measure_noise(image, 0.1)

    assert np.isfinite(model.correlation).all()
    level = model.sigma_map(image)
    assert np.isfinite(level).all()
    assert float(level.max()) < 0.2
    assert float(level.max()) > 0.02


@pytest.mark.parametrize("value", [0.0, 100.0])
@pytest.mark.parametrize("shape", ["disc", "frame"])
def test_padding_changes_no_level(shape: str, value: float) -> None:
    clean = data.camera()[100:292, 150:342]
    noisy = clean + np.random.default_rng(2).normal(0, 15, clean.shape)
    rows, columns = np.mgrid[:192, :192]
    inside = {
        "disc": np.hypot(rows - 90, columns - 99) <= 80,
        "frame": np.maximum(abs(rows - 96), abs(columns - 96)) < 66,
    }[shape]
    image = np.where(inside, noisy, value).astype(np.float32)[np.newaxis]

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    assert model.overall(image) == pytest.approx(15, rel=0.06)
    assert model.noisy_share == 0


def test_measurement_is_deterministic_and_leaves_the_image_alone() -> None:
    image = planar(correlated(0.8, channels=2))
    before = image.copy()

    one, two = measure_noise(image, 0.1), measure_noise(image, 0.1)

    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(one.correlation, two.correlation)
    np.testing.assert_array_equal(one.sigmas, two.sigmas)


def crowded_spots(count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    spots = np.zeros((1, 192, 192))
    places = rng.integers(0, 192, (2, count))
    spots[0, *places] = rng.lognormal(0, 1, count)
    clean = gaussian_filter(spots, (0, 1.3, 1.3))
    return 20 + 200 * clean / clean.max()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [300, 1500])
def test_crowded_spots_do_not_make_white_noise_correlated(count: int, seed: int) -> None:
    clean = crowded_spots(count, seed)
    noise = np.random.default_rng(seed).normal(0, 4.5, clean.shape)
    image = (clean + noise).astype(np.float32)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    assert model.is_white
    assert rms(model.sigma_map(image)) == pytest.approx(4.5, rel=0.1)


@pytest.mark.parametrize(("count", "seed"), [(300, 0), (300, 1), (800, 2), (800, 3)])
def test_crowded_spots_do_not_hide_that_noise_was_resampled(count: int, seed: int) -> None:
    clean = crowded_spots(count, seed)
    noise = np.random.default_rng(seed).normal(0, 1, clean.shape)
    noise = gaussian_filter(noise, (0, 0.5, 0.5), mode="wrap")
    noise *= 3 / noise.std()
    image = (clean + noise).astype(np.float32)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    expected = neighbour_correlation(noise)
    assert model.neighbour_correlation == pytest.approx(expected, abs=0.1)
    assert rms(model.sigma_map(image)) == pytest.approx(3, rel=0.2)
    assert model.is_certain


def spots_in_correlated_noise(
    count: int, sigma: float, seed: int, width: float = 0.8
) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    spots = np.zeros((192, 192))
    spots[rng.integers(0, 192, count), rng.integers(0, 192, count)] = rng.exponential(
        size=count
    )
    spots = gaussian_filter(spots, 1.3)
    noise = gaussian_filter(rng.normal(size=spots.shape), width)
    picture = 20 + 200 * spots / np.quantile(spots, 0.999)
    image = (picture + sigma * noise / noise.std()).astype(np.float32)[np.newaxis]
    return picture, image


@pytest.mark.parametrize(("count", "seed"), [(300, 1), (700, 1), (1500, 2)])
@pytest.mark.parametrize("kind", ["spots", "holes"])
def test_spots_do_not_raise_the_level_of_correlated_noise_around_them(
    kind: str, count: int, seed: int
) -> None:
    picture, image = spots_in_correlated_noise(count, 10, seed)
    shown = image if kind == "spots" else 255 - image

    model = measure_noise(shown, estimate_sigma(shown, channel_axis=0))

    assert not model.is_white
    level = model.sigma_map(shown)[0]
    assert 8 < np.median(level) < 13
    assert level[picture > 100].mean() < 16


@pytest.mark.parametrize(
    ("count", "sigma", "width"), [(300, 4, 0.8), (300, 10, 1.2), (700, 10, 1.2)]
)
def test_spots_do_not_hide_that_the_noise_between_them_is_correlated(
    count: int, sigma: float, width: float
) -> None:
    _, image = spots_in_correlated_noise(count, sigma, 1, width)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    assert model.neighbour_correlation > 0.4
    assert 0.6 * sigma < model.overall(image) < 1.2 * sigma


def test_where_spots_are_all_over_nothing_passes_for_strong_noise() -> None:
    _, image = spots_in_correlated_noise(3000, 4, 2)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    assert model.overall(image) < 5


def network(count: int, width: float, seed: int = 2) -> Any:
    """Return filaments that cross each other, 0 to 1."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((160, 160))
    for _ in range(count):
        place, heading = rng.uniform(0, 160, 2), rng.uniform(0, 2 * np.pi)
        for _ in range(900):
            heading += rng.normal(0, 0.03)
            place = place + 0.25 * np.array([np.sin(heading), np.cos(heading)])
            row, column = np.round(place).astype(int)
            if 0 <= row < 160 and 0 <= column < 160:
                drawn[row, column] = 1
    wide = gaussian_filter(drawn, width)
    return wide / wide.max()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("count", "width", "sigma"), [(10, 2.2, 20), (10, 3.0, 20)])
def test_filaments_do_not_make_white_noise_correlated(
    count: int, width: float, sigma: float, sign: int
) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    image = (2000 + sign * 4000 * network(count, width) + noise).astype(np.float32)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert model.is_white
    assert model.overall(image) == pytest.approx(sigma, rel=0.1)


def test_calm_blocks_tell_of_white_noise_among_crossing_filaments() -> None:
    noise = np.random.default_rng(0).normal(0, 120, (1, 160, 160))
    image = (100 + 4000 * network(25, 1.6) + noise).astype(np.float32)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert model.overall(image) == pytest.approx(120, rel=0.1)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sigma", [6.0, 10.0])
def test_networks_without_a_gap_do_not_make_white_noise_correlated(
    seed: int, sigma: float
) -> None:
    drawn = [network(25, 0.8, seed=10 * seed + n) for n in range(8)]
    dense = np.sum(drawn, axis=0)
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    image = (200 * dense / dense.max() + noise).astype(np.float32)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert model.is_white
    assert model.overall(image) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("period", [6, 19, 32])
@pytest.mark.parametrize("kind", ["stripes", "rings", "plaid"])
def test_regular_patterns_do_not_make_white_noise_correlated(
    kind: str, period: int
) -> None:
    y, x = np.mgrid[-64:64, -64:64] * (2 * np.pi / period)
    patterns = {"stripes": np.sin(x), "rings": np.cos(np.hypot(y, x))}
    pattern = patterns.get(kind, (np.sin(x) + np.sin(y)) / 2)
    noise = np.random.default_rng(0).normal(0, 1, pattern.shape)
    image = (100 * pattern + noise).astype(np.float32)[np.newaxis]
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert model.is_white
    assert model.overall(image) < 1.5


@pytest.mark.parametrize(("sigma", "quality"), [(10, 75), (15, 75), (10, 60), (15, 50)])
def test_noise_in_a_jpeg_is_not_taken_for_what_is_left_of_it(
    sigma: float, quality: int
) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (192, 192))
    before = 60 + 120 * clean_picture(noise.shape)
    image = in_jpeg(before + noise, quality).astype(np.float32)

    model = measure_noise(image[np.newaxis], estimate_sigma(image))

    assert 0.7 < model.overall(image[np.newaxis]) / rms(image - before) < 1.1


def test_noise_of_the_sky_in_the_demo_is_found() -> None:
    picture = imagecodecs.imread(str(files("napari_msdip") / "data/hubble.png"))
    image = np.moveaxis(picture, 2, 0).astype(np.float32)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    # Three quarters of the picture are plain sky. What goes of it is correlated like this.
    sky = image[:, image.max(axis=0) < np.median(image) + 10]
    assert model.neighbour_correlation == pytest.approx(0.18, abs=0.08)
    assert rms(model.sigma_map(image)) == pytest.approx(rms(sky.std(axis=1)), rel=0.25)


@pytest.mark.parametrize("width", [0.5, 0.8])
@pytest.mark.parametrize("name", ["grass", "gravel"])
def test_texture_is_not_taken_for_noise_that_was_blurred_with_it(
    name: str, width: float
) -> None:
    clean = np.asarray(getattr(data, name)()[:192, :192], float)
    noise = np.random.default_rng(0).normal(0, 5, clean.shape)
    picture, image = (gaussian_filter(of, width) for of in (clean, clean + noise))
    planar = image[np.newaxis].astype(np.float32)

    model = measure_noise(planar, estimate_sigma(planar, channel_axis=0))

    assert model.overall(planar) < 2 * np.std(image - picture)


def test_texture_hardly_raises_the_level_of_faint_noise() -> None:
    image = gravel(2.0)
    sigma = estimate_sigma(image, channel_axis=0)
    model = measure_noise(image, sigma)
    assert sigma > 5
    assert model.is_white
    assert rms(model.sigma_map(image)) < 0.75 * sigma


@pytest.mark.parametrize("width", [3.0, 4.0, 6.0])
@pytest.mark.parametrize("sigma", [3.0, 6.0])
def test_soft_structure_is_no_texture_that_may_pass_for_noise(
    width: float, sigma: float
) -> None:
    rng = np.random.default_rng(0)
    soft = gaussian_filter(rng.normal(size=(160, 160)), width)
    image = 128 + 50 * soft / soft.std() + rng.normal(0, sigma, (1, 160, 160))
    noise = measure_noise(image.astype(np.float32), estimate_sigma(image, channel_axis=0))
    assert noise.noisy_share == 0
    assert noise.sigmas.mean() == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_texture_that_channels_share_is_not_noise_that_they_share(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (160, 160, 3))
    image = (data.coffee()[220:380, 220:380] + noise).astype(np.float32)
    channels_first = np.moveaxis(image, 2, 0)

    model = measure_noise(channels_first, estimate_sigma(image, channel_axis=2))

    np.testing.assert_array_equal(model.channels, np.diag(np.diag(model.channels)))
    assert model.overall(channels_first) < 1.25 * sigma


def test_photons_noise_in_colour_is_not_shared() -> None:
    clean = np.moveaxis(data.astronaut()[160:352, 160:352], 2, 0).astype(float)
    photon = 255 / 400
    image = np.random.default_rng(11).poisson(clean / photon) * photon
    image = image.astype(np.float32)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    np.testing.assert_array_equal(model.channels, np.diag(np.diag(model.channels)))
    assert model.overall(image) == pytest.approx(math.sqrt(clean.mean() * photon), rel=0.1)


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_texture_does_not_pass_for_resampled_noise(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    image = (data.coins()[:160, 224:] + noise).astype(np.float32)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert model.is_white
    assert rms(model.sigma_map(image)) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("sigma", [4.0, 10.0])
def test_texture_hardly_adds_to_the_level_of_resampled_noise(sigma: float) -> None:
    white = np.random.default_rng(0).normal(size=(160, 160))
    noise = registered(white, 0.3, order=1, mode="wrap")
    image = data.brick()[:160, -160:] + sigma * noise / noise.std()
    image = image[np.newaxis].astype(np.float32)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert not model.is_white
    assert rms(model.sigma_map(image)) == pytest.approx(sigma, rel=0.2)


def test_clear_noise_over_texture_keeps_its_level() -> None:
    image = gravel(25.0)
    sigma = estimate_sigma(image, channel_axis=0)
    level = rms(measure_noise(image, sigma).sigma_map(image))
    assert level == pytest.approx(25, rel=0.03)


@pytest.mark.parametrize("name", ["brick", "page", "immunohistochemistry"])
def test_fine_texture_over_white_noise_is_not_a_cameras_noise(name: str) -> None:
    picture = np.atleast_3d(getattr(data, name)())[:160, :160].mean(axis=2)
    noise = np.random.default_rng(0).normal(0, 2, (1, 160, 160))
    image = (picture + noise).astype(np.float32)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert model.is_white
    assert rms(model.sigma_map(image)) == pytest.approx(2, rel=0.5)


@pytest.mark.parametrize("name", ["brick", "coins", "camera", "page"])
def test_texture_does_not_make_the_level_depend_on_the_intensity(name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 15, (1, 160, 160))
    image = (getattr(data, name)()[:160, :160] + noise).astype(np.float32)
    level = measure_noise(image, 15.0).sigma_map(image)
    assert level.max() < 1.1 * level.min()


def test_saturation_may_lower_the_level_at_both_ends() -> None:
    ramp = np.linspace(-0.2, 1.2, 256)[np.newaxis, np.newaxis, :]
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 256, 256))
    image = np.clip(ramp + noise, 0, 1).astype(np.float32)
    level = measure_noise(image, 0.1).sigma_map(image)
    assert level[0, :, 128].min() > 1.2 * level[0, :, [20, -20]].max()


def test_faint_noise_without_texture_keeps_its_level() -> None:
    picture = 100 * clean_picture(SHAPE)[np.newaxis]
    image = (picture + white(1.0)).astype(np.float32)
    level = rms(measure_noise(image, 1.0).sigma_map(image))
    assert level == pytest.approx(1, rel=0.1)


def test_soft_gradients_do_not_make_white_noise_correlated() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    clean = np.sin(x / 4) * np.sin(y / 4)
    image = (0.3 * clean + white(0.1)).astype(np.float32)
    assert measure_noise(image, 0.1).is_white


@pytest.mark.parametrize(
    ("width", "sigma", "seed"), [(3, 1.0, 0), (6, 0.5, 1), (12, 0.1, 2)]
)
def test_soft_structure_under_faint_noise_is_not_noise(
    width: int, sigma: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(rng.normal(size=(128, 128)), width)
    soft = 200 * (soft - soft.min()) / np.ptp(soft)
    noisy = (soft + rng.normal(0, sigma, soft.shape)).astype(np.float32)[np.newaxis]
    found = measure_noise(noisy, estimate_sigma(noisy, channel_axis=0))
    assert found.is_white
    assert found.overall(noisy) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("share", [0.002, 0.01])
@pytest.mark.parametrize("width", [0.0, 0.4])
def test_points_do_not_raise_the_level_of_the_noise_around_them(
    share: float, width: float
) -> None:
    rng = np.random.default_rng(6)
    points = (rng.random((112, 112)) < share).astype(float)
    points = gaussian_filter(points, width) if width else points
    image = 20 + 200 * points / points.max() + rng.normal(0, 6, points.shape)
    image = image.astype(np.float32)[np.newaxis]
    found = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert 5 < found.overall(image) < 8


@pytest.mark.parametrize("clipped", [False, True])
def test_edges_of_a_checkerboard_are_not_noise(clipped: bool) -> None:
    board = data.checkerboard().astype(float)
    noisy = board + np.random.default_rng(0).normal(0, 2, board.shape)
    noisy = np.clip(noisy.round(), 0, 255) if clipped else noisy
    noisy = noisy.astype(np.float32)[np.newaxis]
    found = measure_noise(noisy, estimate_sigma(noisy, channel_axis=0))
    assert found.is_white
    assert 1 < found.overall(noisy) < 2.1


@pytest.mark.parametrize("photons", [0.5, 2.0, 10.0])
def test_asymmetry_is_the_value_of_a_photon(photons: float) -> None:
    counts = np.random.default_rng(0).poisson(photons * (1 + clean_picture(SHAPE)))
    image = 30.0 * counts[np.newaxis].astype(np.float32)
    model = measure_noise(image, float(30 * np.sqrt(photons)))
    assert model.asymmetry == pytest.approx(30, rel=0.25)


@pytest.mark.parametrize("width", [0.0, 0.8])
def test_gaussian_noise_has_no_asymmetry(width: float) -> None:
    image = planar(correlated(width) if width else white(0.1))
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    assert abs(model.asymmetry) < 0.02


@pytest.mark.parametrize("gain", [1e-3, 4.0, 1e4])
def test_measurement_follows_the_units(gain: float) -> None:
    image = planar(correlated(0.8))

    model = measure_noise(image, 0.1)
    scaled = measure_noise(gain * image, gain * 0.1)

    np.testing.assert_allclose(scaled.sigmas, gain * model.sigmas, rtol=1e-3)
    assert scaled.asymmetry == pytest.approx(gain * model.asymmetry, rel=1e-3)
    np.testing.assert_allclose(scaled.correlation, model.correlation, atol=1e-3)


@pytest.mark.parametrize("width", [0.0, 0.8])
def test_fresh_noise_has_the_moments_of_the_images_own(width: float) -> None:
    noise = correlated(width) if width else white()
    image = planar(noise)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    fresh = model.fields(SHAPE, 4, np.random.default_rng(1)) * model.sigma_map(image)

    assert 0.85 * rms(noise) < rms(fresh) < 1.1 * rms(noise)
    expected = neighbour_correlation(noise)
    assert 0.7 * expected - 0.05 < neighbour_correlation(fresh) < expected + 0.1


@pytest.mark.parametrize("width", [0.0, 0.8])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_noises_of_a_recorrupted_pair_are_uncorrelated(
    width: float, strength: float
) -> None:
    noise = correlated(width) if width else white()
    image = planar(noise)
    model = measure_noise(image, estimate_sigma(image, channel_axis=0))
    fresh = model.fields(SHAPE, 8, np.random.default_rng(1)) * model.sigma_map(image)

    shown = noise + strength * fresh
    asked = noise - fresh / strength

    for shift in ((0, 0), (0, 1), (1, 0)):
        moved = np.roll(asked, shift, axis=(-2, -1))
        together = float(np.mean(shown * moved)) / (rms(shown) * rms(asked))
        assert abs(together) < 0.15


@pytest.mark.parametrize("part", [0.2, 0.3])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_of_a_registered_image_is_found_with_its_correlation(
    part: float, channels: int
) -> None:
    noise = registered(white(1.0, channels), (0, part, part), order=1, mode="grid-wrap")
    noise *= 0.1 / noise.std()
    image = planar(noise)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    expected = neighbour_correlation(noise)
    assert model.neighbour_correlation == pytest.approx(expected, abs=0.1)
    assert rms(model.sigma_map(image)) == pytest.approx(0.1, rel=0.15)
    assert model.is_certain


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("length", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_along_the_lines_of_a_scanner_is_found(
    axis: int, length: int, channels: int
) -> None:
    noise = uniform_filter1d(white(1.0, channels), length, axis=1 + axis, mode="wrap")
    noise *= 0.1 / noise.std()
    image = planar(noise)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    middle = len(model.correlation) // 2
    near = model.correlation[middle + 1, middle], model.correlation[middle, middle + 1]
    assert near[axis] == pytest.approx(1 - 1 / length, abs=0.1)
    assert near[1 - axis] == pytest.approx(0, abs=0.1)
    assert model.anisotropy == pytest.approx(1 - 1 / length, abs=0.15)
    assert rms(model.sigma_map(image)) == pytest.approx(0.1, rel=0.15)
    assert model.is_certain


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3])
def test_noise_of_a_median_filtered_image_is_found(sigma: float) -> None:
    clean = planar(np.zeros((1, *SHAPE)))
    noisy = clean + white(sigma, seed=1)
    image = median_filter(noisy, (1, 3, 3)).astype(np.float32)

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    noise = image - clean
    expected = neighbour_correlation(noise)
    assert model.neighbour_correlation == pytest.approx(expected, abs=0.15)
    assert rms(model.sigma_map(image)) == pytest.approx(noise.std(), rel=0.25)


@pytest.mark.parametrize("photons", [30, 100, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_level_of_rare_bright_places_follows_the_photons(photons: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = gaussian_filter((rng.random(SHAPE) < 0.001).astype(float), 5)
    clean = 0.1 + 0.9 * cells / cells.max()
    image = (rng.poisson(clean * photons) / photons).astype(np.float32)[np.newaxis]

    level = measure_noise(image, estimate_sigma(image, channel_axis=0)).sigma_map(image)[0]

    expected = np.sqrt(clean / photons)
    for place in (clean < 0.15, clean > 0.5):
        assert rms(level[place]) == pytest.approx(rms(expected[place]), rel=0.15)


def test_clipping_is_not_taken_for_photons() -> None:
    ramp = np.linspace(0, 1, 256)[np.newaxis, np.newaxis, :] * np.ones((1, 256, 1))
    noise = np.random.default_rng(0).normal(0, 0.15, ramp.shape)
    image = np.clip(ramp + noise, 0, 1).astype(np.float32)
    level = measure_noise(image, 0.15).sigma_map(image)[0]
    for column in (64, 128, 192):
        assert level[:, column].mean() == pytest.approx(0.15, rel=0.15)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_of_blurred_photons_is_found_among_filaments(seed: int) -> None:
    clean, counts = in_photons(filaments, 20, seed)
    image = gaussian_filter(counts, 0.8)[np.newaxis]
    truth = np.std(image - gaussian_filter(clean, 0.8))

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    dim, bright = np.interp(
        np.quantile(clean, [0.1, 0.99]), model.intensities, model.sigmas
    )
    assert 0.7 < model.overall(image) / truth < 1.15
    assert bright > 2 * dim


@pytest.mark.parametrize("photons", [15, 60])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_of_scaled_photons_is_found_in_nuclei(photons: float, seed: int) -> None:
    truth, image = (
        zoom(of, 1.3, order=1)[np.newaxis, :192, :192]
        for of in in_photons(nuclei, photons, seed)
    )

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    assert 0.7 < model.overall(image) / np.std(image - truth) < 1.3


def test_texture_adds_little_to_the_noise_of_a_shifted_picture() -> None:
    clean = 1.0 * data.gravel()[160:352, 160:352]
    noisy = clean + np.random.default_rng(3).normal(0, 15, clean.shape)
    truth, image = (
        registered(of, 0.5, order=1, mode="reflect")[np.newaxis] for of in (clean, noisy)
    )

    model = measure_noise(image, estimate_sigma(image, channel_axis=0))

    assert 0.8 < model.overall(image) / np.std(image - truth) < 1.3
    assert model.neighbour_correlation == pytest.approx(0.5, abs=0.1)


def test_dense_tissue_is_not_all_taken_for_noise_of_blurred_photons() -> None:
    clean, counts = in_photons(tissue, 60, 0)
    image = gaussian_filter(counts, 0.8)[np.newaxis]
    truth = np.std(image - gaussian_filter(clean, 0.8))

    assert measure_noise(image, estimate_sigma(image, channel_axis=0)).overall(image) < (
        2 * truth
    )
