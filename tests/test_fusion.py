from __future__ import annotations

import math
import time

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from napari_msdip.fusion import ensemble, joint_bilateral_upsample

SIZES = [
    ((8, 8), (10, 10)),
    ((7, 11), (13, 17)),
    ((5, 5), (5, 5)),
    ((1, 3), (4, 2)),
    ((9, 9), (4, 6)),
]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape)


def equation_5(coarse, guide, sigma_spatial, sigma_range, window):
    """Eq. 5, pixel by pixel, for a gray guide whose range is one."""

    def at(image, y, x):
        y, x = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
        upper = image[top, left] + (x - left) * (image[top, right] - image[top, left])
        lower = image[bottom, left] + (x - left) * (
            image[bottom, right] - image[bottom, left]
        )
        return upper + (y - top) * (lower - upper)

    ratio = np.divide(coarse.shape, guide.shape)
    result = np.zeros(guide.shape)
    for p_up in np.ndindex(guide.shape):
        p = (np.array(p_up) + 0.5) * ratio - 0.5
        total = weights = 0.0
        for offset in np.ndindex(window, window):
            q = np.floor(p + 0.5) + offset - window // 2
            q_in = np.clip(q, 0, np.array(coarse.shape) - 1).astype(int)
            q_up = (q_in + 0.5) / ratio - 0.5
            f = math.exp(-np.sum((p - q) ** 2) / (2 * sigma_spatial**2))
            g = math.exp(-((guide[p_up] - at(guide, *q_up)) ** 2) / (2 * sigma_range**2))
            total += coarse[tuple(q_in)] * f * g
            weights += f * g
        result[p_up] = total / weights
    return result


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_is_equation_5(small, large):
    coarse, guide = noise(*small), noise(*large, seed=1)
    low, high = np.percentile(guide, (0.5, 99.5))
    guide = (guide - low) / (high - low)
    result = joint_bilateral_upsample(
        coarse, guide, sigma_spatial=0.7, sigma_range=0.2, window=3
    )
    np.testing.assert_allclose(result, equation_5(coarse, guide, 0.7, 0.2, 3), rtol=1e-9)


@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 65535.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_image_comes_back_exactly_constant(small, large, value, dtype):
    coarse = np.full(small, value, dtype)
    result = joint_bilateral_upsample(coarse, noise(*large).astype(dtype))
    assert result.shape == large
    assert (result == coarse[0, 0]).all()


def test_each_channel_of_a_constant_colour_stays_constant():
    coarse = np.broadcast_to(np.array([0.1, 0.7, 0.3]), (6, 6, 3))
    result = joint_bilateral_upsample(coarse, noise(9, 9, 3), channel_axis=-1)
    np.testing.assert_array_equal(result, np.broadcast_to(coarse[0, 0], (9, 9, 3)))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_position_of_the_channels_is_irrelevant(axis):
    coarse, guide = noise(6, 7, 3), noise(9, 10, 3, seed=1)
    expected = joint_bilateral_upsample(coarse, guide, channel_axis=2)
    moved = joint_bilateral_upsample(
        np.moveaxis(coarse, 2, axis), np.moveaxis(guide, 2, axis), channel_axis=axis
    )
    np.testing.assert_array_equal(np.moveaxis(moved, axis, 2), expected)


def test_one_channel_is_gray():
    coarse, guide = noise(6, 7), noise(9, 10, seed=1)
    result = joint_bilateral_upsample(coarse[None], guide[None], channel_axis=0)
    np.testing.assert_array_equal(result[0], joint_bilateral_upsample(coarse, guide))


def test_units_of_the_image_carry_over_and_those_of_the_guide_are_irrelevant():
    coarse, guide = noise(6, 7), noise(9, 10, seed=1)
    expected = joint_bilateral_upsample(coarse, guide)
    result = joint_bilateral_upsample(300 * coarse - 20, 1000 * guide + 5)
    np.testing.assert_allclose(result, 300 * expected - 20, rtol=1e-10)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_mirrored_images_give_the_mirrored_result(channels):
    axis = -1 if channels else None
    coarse, guide = noise(6, 7, *channels), noise(10, 11, *channels, seed=1)
    result = joint_bilateral_upsample(
        coarse[::-1, ::-1], guide[::-1, ::-1], channel_axis=axis
    )
    expected = joint_bilateral_upsample(coarse, guide, channel_axis=axis)
    np.testing.assert_allclose(result[::-1, ::-1], expected, rtol=1e-12)


def test_corner_of_the_guide_changes_nothing_far_away():
    # With zeros and ones only, one pixel leaves the percentiles as they are.
    coarse, guide = noise(20, 20, 3), np.round(noise(40, 40, 3, seed=1))
    guide[0, 0] = 0
    expected = joint_bilateral_upsample(coarse, guide, channel_axis=-1)
    guide[0, 0] = (1, 0, 0)
    result = joint_bilateral_upsample(coarse, guide, channel_axis=-1)
    np.testing.assert_allclose(result[10:], expected[10:], rtol=1e-12)


def test_backgrounds_of_the_guides_channels_are_irrelevant():
    coarse, guide = noise(6, 7, 2), noise(9, 10, 2, seed=1)
    expected = joint_bilateral_upsample(coarse, guide, channel_axis=-1)
    result = joint_bilateral_upsample(coarse, guide + np.array([0, 50]), channel_axis=-1)
    np.testing.assert_allclose(result, expected, rtol=1e-10)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_one_pixel_window_repeats_the_nearest_pixel(factor):
    coarse = noise(5, 4)
    result = joint_bilateral_upsample(coarse, noise(5 * factor, 4 * factor), window=1)
    expected = coarse.repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_result_stays_within_the_range_of_the_coarse_image():
    coarse = noise(8, 8)
    result = joint_bilateral_upsample(coarse, noise(20, 20, seed=1))
    assert coarse.min() - 1e-12 <= result.min() <= result.max() <= coarse.max() + 1e-12


@pytest.mark.parametrize("ratio", [0.8, 0.5, 0.3])
def test_edge_of_the_guide_stays_an_edge(ratio):
    y, x = np.mgrid[:64, :64]
    sharp = np.where(x + 0.4 * y > 45, 0.9, 0.2)
    coarse = resize(sharp, (round(64 * ratio),) * 2, anti_aliasing=True)
    guide = sharp + 0.02 * (noise(64, 64) - 0.5)
    ours = np.abs(joint_bilateral_upsample(coarse, guide) - sharp).mean()
    bicubic = np.abs(resize(coarse, sharp.shape, order=3) - sharp).mean()
    assert ours < 0.6 * bicubic


def test_edge_that_only_the_coarse_image_has_is_not_sharpened():
    coarse = np.tile(np.repeat([0.0, 1.0], 8), (16, 1))
    flat = joint_bilateral_upsample(coarse, np.zeros((32, 32)))
    assert 0.0 < flat[16, 15] < 0.5 < flat[16, 16] < 1.0


@pytest.mark.parametrize("spot", [5.0, 1e6, 1e30])
def test_pixel_that_resembles_none_of_its_surroundings_is_interpolated(spot):
    coarse, guide = np.ones((10, 10), np.float32), np.zeros((20, 20), np.float32)
    coarse[5, 5] = 2.0
    guide[10, 10] = spot
    result = joint_bilateral_upsample(coarse, guide)
    assert np.isfinite(result).all()
    assert 1.0 < result[10, 10] < 2.0


@pytest.mark.parametrize("sigma", [1e-155, 1e-40, 1e-3, 1e3])
def test_extreme_kernels_stay_finite(sigma):
    coarse, guide = noise(6, 6).astype(np.float32), noise(9, 9).astype(np.float32)
    result = joint_bilateral_upsample(coarse, guide, sigma_spatial=sigma, sigma_range=sigma)
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.uint16, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (">f4", np.float32),
        (np.int32, np.float64),
        (np.uint64, np.float64),
        (np.float64, np.float64),
    ],
)
def test_dtype_of_the_result(dtype, expected):
    image = (100 * noise(6, 6)).astype(dtype)
    assert joint_bilateral_upsample(image, image).dtype == expected
    assert ensemble([image, image]).dtype == expected
    assert ensemble([image]).dtype == expected


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", [1, 5, 15])
def test_the_largest_numbers_that_there_are_stay_finite(dtype, window):
    largest = np.finfo(dtype).max
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (8, 8)).astype(dtype)
    image[0, 0], image[4, 4] = 1, -1
    guide = rng.uniform(-1, 1, (16, 16)).astype(dtype)
    for one, other in ((largest, 1), (1, largest), (largest, largest)):
        found = joint_bilateral_upsample(one * image, other * guide, window=window)
        expected = joint_bilateral_upsample(image, guide, window=window)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found / one, expected, atol=1e-5)
    found = ensemble([largest * guide, largest * image], window=window)
    expected = ensemble([guide, image], window=window)
    np.testing.assert_allclose(found / largest, expected, atol=1e-5)


def test_inputs_are_not_modified():
    scales = [noise(12, 12, 3).astype(np.float32), noise(9, 9, 3).astype(np.float32)]
    before = [scale.copy() for scale in scales]
    joint_bilateral_upsample(scales[1], scales[0], channel_axis=-1)
    fused = ensemble(scales, channel_axis=-1)
    alone = ensemble(scales[:1], channel_axis=-1)
    fused[:] = alone[:] = -1
    for scale, copy in zip(scales, before, strict=True):
        np.testing.assert_array_equal(scale, copy)


def test_ensemble_averages_pair_by_pair_with_the_finest_last():
    x0, x1, x2 = noise(12, 12), noise(9, 10, seed=1), noise(7, 8, seed=2)
    pair = (joint_bilateral_upsample(x2, x1, window=3) + x1) / 2
    expected = (joint_bilateral_upsample(pair, x0, window=3) + x0) / 2
    np.testing.assert_allclose(ensemble([x0, x1, x2], window=3), expected, rtol=1e-12)


def test_weights_one_half_one_quarter_one_quarter_are_the_plain_average():
    scales = [noise(12, 12), noise(9, 10, seed=1), noise(7, 8, seed=2)]
    np.testing.assert_allclose(
        ensemble(scales, weights=[2, 1, 1]), ensemble(scales), rtol=1e-12
    )


def test_weights_are_the_shares_of_the_result():
    scales = [np.full((12, 12), 1.0), np.full((9, 9), 10.0), np.full((7, 7), 100.0)]
    result = ensemble(scales, weights=[0.5, 0.3, 0.2])
    np.testing.assert_allclose(result, 0.5 * 1 + 0.3 * 10 + 0.2 * 100, rtol=1e-12)


def test_scales_without_weight_have_no_say():
    scales = [noise(12, 12), noise(9, 9, seed=1), noise(7, 7, seed=2)]
    np.testing.assert_allclose(ensemble(scales, weights=[1, 0, 0]), scales[0], rtol=1e-12)
    np.testing.assert_allclose(
        ensemble(scales, weights=[0, 1, 0]),
        joint_bilateral_upsample(scales[1], scales[0]),
        rtol=1e-12,
    )


def test_ensemble_of_constants_is_constant():
    scales = [np.full((size, size), 0.1) for size in (12, 9, 7)]
    assert (ensemble(scales) == 0.1).all()
    assert (ensemble(scales, weights=[0.2, 0.3, 0.7]) == 0.1).all()


def test_ensemble_of_noisy_scales_is_less_noisy_than_the_finest():
    clean = data.astronaut()[100:228, 150:278].astype(np.float64) / 255
    rng = np.random.default_rng(0)
    scales = []
    for size in (128, 102, 82):
        scale = resize(clean, (size, size), anti_aliasing=True)
        scales.append(scale + rng.normal(0, 0.03, scale.shape))
    errors = [
        np.square(x - clean).mean() for x in (scales[0], ensemble(scales, channel_axis=-1))
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"coarse": np.zeros((0, 4))}, ValueError, r"coarse: .*\(0, 4\)"),
        (
            {"coarse": np.full((4, 4), np.nan)},
            ValueError,
            "coarse: 16 of 16 values are NaN",
        ),
        ({"guide": np.full((4, 4), np.inf)}, ValueError, "guide: 16 of 16 values are NaN"),
        (
            {"guide": np.zeros((4, 4, 3))},
            ValueError,
            r"guide: shape \(4, 4, 3\) without channel_axis",
        ),
        ({"coarse": np.zeros((4, 4), bool)}, TypeError, "coarse: dtype bool"),
        ({"coarse": np.zeros((4, 4), complex)}, TypeError, "coarse: dtype complex128"),
        ({"guide": np.zeros((4, 4), object)}, TypeError, "guide: dtype object"),
        ({"channel_axis": 0}, ValueError, "coarse: .* channel_axis=0 .* three axes"),
        ({"sigma_spatial": 0}, ValueError, "sigma_spatial .* 0"),
        ({"sigma_range": math.nan}, ValueError, "sigma_range .* nan"),
        ({"sigma_range": "x"}, TypeError, "sigma_range must be a number, got 'x'"),
        ({"sigma_range": np.ones(2)}, TypeError, "sigma_range must be a number, got array"),
        ({"sigma_spatial": None}, TypeError, "sigma_spatial must be a number, got None"),
        ({"guide": [[1, 2], [3]]}, ValueError, "^guide: .* is no array"),
        ({"window": 4}, ValueError, "window must be odd .* 4"),
        ({"window": -1}, ValueError, "window must be odd .* -1"),
        ({"window": 2.5}, TypeError, "window must be an integer, got 2.5"),
        ({"window": True}, TypeError, "window must be an integer, got True"),
        ({"sigma_spatial": True}, TypeError, "sigma_spatial must be a number, got True"),
        ({"sigma_range": np.True_}, TypeError, "sigma_range must be a number, got .*True"),
        ({"sigma_range": 10**400}, ValueError, "sigma_range must be finite"),
    ],
)
def test_wrong_arguments_are_named(changes, error, message):
    arguments = {"coarse": np.zeros((4, 4)), "guide": np.zeros((4, 4))} | changes
    with pytest.raises(error, match=message):
        joint_bilateral_upsample(
            arguments.pop("coarse"), arguments.pop("guide"), **arguments
        )


@pytest.mark.parametrize("axis", [3, -4])
def test_channel_axis_out_of_range_is_named(axis):
    image = np.zeros((4, 4, 3))
    with pytest.raises(ValueError, match=f"channel_axis={axis}: .* from -3 to 2"):
        joint_bilateral_upsample(image, image, channel_axis=axis)


@pytest.mark.parametrize(
    ("scales", "options", "message"),
    [
        ([], {}, "scales must hold at least one image"),
        ([np.zeros((4, 4)), np.zeros(4)], {}, r"scales\[1\]: shape \(4,\)"),
        (
            [np.zeros((4, 4, 3)), np.zeros((3, 3, 2))],
            {"channel_axis": -1},
            r"scales\[1\] must have 3 channels .* got 2",
        ),
        (
            [np.zeros((4, 4))],
            {"weights": [1, 2]},
            "weights must hold one .* 1 scales, got 2",
        ),
        ([np.zeros((4, 4))], {"weights": [0]}, "weights must be finite"),
        ([np.zeros((4, 4))] * 2, {"weights": [-1, 2]}, "weights must be finite"),
        ([np.zeros((4, 4))] * 2, {"weights": [math.inf, 2]}, "weights must be finite"),
    ],
)
def test_wrong_scales_and_weights_are_named(scales, options, message):
    with pytest.raises(ValueError, match=message):
        ensemble(scales, **options)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (5, "weights must be a sequence of numbers or None, got 5"),
        ("12", r"weights\[0\] must be a number, got '1'"),
        ([1, "x"], r"weights\[1\] must be a number, got 'x'"),
        ([True, 1], r"weights\[0\] must be a number, got True"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(weights, message):
    with pytest.raises(TypeError, match=message):
        ensemble([np.zeros((4, 4))] * 2, weights=weights)


def test_scales_that_are_no_sequence_are_refused():
    with pytest.raises(TypeError, match="scales must be a sequence"):
        ensemble(3)


def test_large_colour_image_takes_well_under_a_second():
    guide = data.astronaut()
    coarse = resize(guide, (410, 410), anti_aliasing=True).astype(np.float32)
    start = time.process_time()
    joint_bilateral_upsample(coarse, guide, channel_axis=-1)
    assert time.process_time() - start < 0.8
