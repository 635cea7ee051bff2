"""Images as they come: checked, brought to planes and put back without a surprise."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from napari_msdip.pixels import (
    Layout,
    Normalisation,
    as_planar,
    checked_image,
    equalised,
    restored,
    result_dtype,
    whole_blocks,
)

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int64", "float32", "float64"]


def counted(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def there_and_back(image: Any, channel_axis: int | None) -> Any:
    array, layout = checked_image(image, channel_axis)
    return restored(as_planar(array, layout).astype(np.float64), layout)


@pytest.mark.parametrize("dtype", [*DTYPES, "float16", ">u2", "<f8"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((9, 11), None),
        ((3, 9, 11), 0),
        ((9, 3, 11), 1),
        ((9, 11, 3), 2),
        ((9, 11, 3), -1),
        ((1, 9, 11), -3),
        ((9, 11, 7), -1),
    ],
)
def test_images_come_back_as_they_were(
    shape: tuple[int, ...], axis: int | None, dtype: str
) -> None:
    image = counted(shape, dtype)
    back = there_and_back(image, axis)
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_planes_are_the_same_wherever_the_channels_are(axis: int) -> None:
    planes = counted((4, 9, 11))
    array, layout = checked_image(np.moveaxis(planes, 0, axis), axis)
    np.testing.assert_array_equal(as_planar(array, layout), planes)


def test_planes_are_a_copy_in_float32() -> None:
    image = counted((9, 11))
    array, layout = checked_image(image, None)

    planar = as_planar(array, layout)
    planar += 1

    assert planar.dtype == np.float32
    assert planar.shape == (1, 9, 11)
    np.testing.assert_array_equal(image, counted((9, 11)))


@pytest.mark.parametrize(
    ("dtype", "offset"), [("float64", 1e9), ("float64", -1e15), ("int64", 2**40)]
)
def test_a_huge_offset_costs_no_precision(dtype: str, offset: float) -> None:
    rng = np.random.default_rng(0)
    image = (rng.integers(0, 200, (9, 11)) + offset).astype(dtype)
    array, layout = checked_image(image, None)
    planar = as_planar(array, layout)
    np.testing.assert_array_equal(planar[0], image - image.min())
    np.testing.assert_array_equal(restored(planar.astype(np.float64), layout), image)


@pytest.mark.parametrize("axis", [0, -1])
def test_an_image_is_not_copied_to_be_checked(axis: int) -> None:
    plane = np.random.default_rng(0).integers(0, 2**40, (512, 512))
    constant = np.full_like(plane, -3)
    image = np.stack([plane, constant, plane[::-1]], axis=axis)
    tracemalloc.start()
    try:
        array, layout = checked_image(image, axis)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert array is image
    assert layout.offset == plane.min()
    assert peak < image.nbytes / 2


@pytest.mark.parametrize("span", [1e300, 1e18, 1e-18, 1e-300])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_spans_whose_squares_float32_cannot_hold_are_an_error(
    span: float, dtype: str
) -> None:
    image = np.zeros((9, 11), dtype)
    image[4, 4] = np.clip(span, np.finfo(dtype).tiny, np.finfo(dtype).max)
    with pytest.raises(ValueError, match="scale them first"):
        checked_image(image, None)


@pytest.mark.parametrize("span", [1e-15, 1e15])
def test_spans_of_any_sensible_unit_are_images(span: float) -> None:
    image = span * np.random.default_rng(0).random((9, 11))
    np.testing.assert_allclose(there_and_back(image, None), image, rtol=1e-6)


def test_lists_and_views_are_images() -> None:
    image = counted((20, 30))[::2, ::-2]
    np.testing.assert_array_equal(there_and_back(image, None), image)
    np.testing.assert_array_equal(there_and_back(image.tolist(), None), image)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32"])
def test_integers_are_rounded_and_clipped(dtype: str) -> None:
    limits = np.iinfo(dtype)
    layout = Layout(np.dtype(dtype), None)
    values = np.array([[[limits.min - 5.0, 1.4, 1.6, limits.max + 5.0]]])
    found = restored(values, layout)
    assert found.dtype == dtype
    assert found.tolist() == [[limits.min, 1, 2, limits.max]]


@pytest.mark.parametrize(("dtype", "far"), [("int64", 2**60), ("uint64", 2**63)])
def test_integers_that_become_the_same_number_are_refused(dtype: str, far: int) -> None:
    near = counted((20, 30)).astype(dtype)
    with pytest.raises(ValueError, match="subtract the smallest"):
        checked_image(near + np.array(far, dtype), None)
    checked_image(near + np.array(2**52, dtype), None)
    checked_image(near * np.array(2**40, dtype) + np.array(far, dtype), None)


def test_a_part_may_be_as_dark_as_it_likes() -> None:
    dark = (1e-20 * counted((20, 30))).astype(np.float32)
    with pytest.raises(ValueError, match="distance"):
        checked_image(dark, None)
    checked_image(dark, None, is_part=True)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_largest_integers_do_not_wrap_around(dtype: str) -> None:
    limits = np.iinfo(dtype)
    found = restored(np.array([[[-1e30, 0.0, 1e30]]]), Layout(np.dtype(dtype), None))
    assert found[0, 0] == limits.min
    assert found[0, 1] == 0
    assert limits.max - 2**12 < int(found[0, 2]) <= limits.max


def test_an_offset_costs_values_in_float32_no_digit() -> None:
    values = np.array([[[0.0, 1.0, 2.0]]], np.float32)
    layout = Layout(np.dtype("uint32"), None, offset=4_000_000_000.0)
    np.testing.assert_array_equal(
        restored(values, layout), [[4_000_000_000, 4_000_000_001, 4_000_000_002]]
    )


def test_small_floats_do_not_overflow() -> None:
    found = restored(np.array([[[-1e30, 0.5, 1e30]]]), Layout(np.dtype("float16"), None))
    np.testing.assert_array_equal(found, np.array([[-65504, 0.5, 65504]], np.float16))


def test_floats_are_neither_rounded_nor_clipped() -> None:
    values = np.array([[[-1.5, 0.25, 1e6]]])
    found = restored(values, Layout(np.dtype("float64"), None))
    np.testing.assert_array_equal(found, values[0])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
def test_float32_when_asked_for(dtype: str) -> None:
    found = restored(np.array([[[-3.25, 300.5]]]), Layout(np.dtype(dtype), None), "float32")
    assert found.dtype == np.float32
    assert found.tolist() == [[-3.25, 300.5]]


def test_too_few_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^image.*\(5, 90\)"):
        checked_image(np.zeros((5, 90)), None)
    # A channel axis is not a side.
    checked_image(np.zeros((90, 90, 2)), -1)


@pytest.mark.parametrize(
    ("shape", "axis", "better"),
    [((40, 40, 3), 0, -1), ((40, 40, 3), 1, -1), ((3, 40, 40), -1, 0), ((40, 3, 40), 0, 1)],
)
def test_the_right_channel_axis_is_suggested(
    shape: tuple[int, ...], axis: int, better: int
) -> None:
    message = rf"^image.* channel_axis={axis % 3}; give channel_axis={better}$"
    with pytest.raises(ValueError, match=message):
        checked_image(np.zeros(shape), axis)
    with pytest.raises(ValueError, match=r"8 px beside channel_axis=0$"):
        checked_image(np.zeros((3, 4, 5)), 0)


def test_looking_through_colours_takes_no_longer_wherever_they_lie() -> None:
    planes = np.random.default_rng(0).integers(0, 4000, (3, 1500, 1500)).astype("uint16")

    def seconds(axis: int) -> float:
        image = np.ascontiguousarray(np.moveaxis(planes, 0, axis))
        rounds = []
        for _ in range(5):
            start = time.process_time()
            checked_image(image, axis)
            rounds.append(time.process_time() - start)
        return min(rounds)

    assert seconds(2) < 10 * seconds(0)


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (1e-4, 2), (6e4, -3e4), (1, 1e4)])
def test_normalisation_goes_there_and_back(gain: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    planar = (offset + gain * rng.random((2, 30, 30))).astype(np.float32)

    normalisation = Normalisation.of(planar)
    normalised = normalisation.apply(planar)

    assert normalised.dtype == np.float32
    assert -0.1 < normalised.min() < 0.05
    assert 0.95 < normalised.max() < 1.1
    back = normalisation.invert(normalised)
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, planar, atol=1e-6 * max(gain, abs(offset)))


def test_a_few_bright_spots_do_not_squeeze_the_rest() -> None:
    planar = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    planar[0, 3, 3:6] = 1000
    normalised = Normalisation.of(planar).apply(planar)
    assert np.median(normalised) == pytest.approx(0.5, abs=0.05)
    assert normalised.max() > 500


@pytest.mark.parametrize("value", [0.0, -7.0, 1e5])
def test_constant_image_is_normalised_without_a_division_by_zero(value: float) -> None:
    planar = np.full((1, 9, 9), value, np.float32)
    normalisation = Normalisation.of(planar)
    assert normalisation.gain > 0
    np.testing.assert_array_equal(normalisation.invert(normalisation.apply(planar)), planar)


def test_nearly_constant_image_has_the_range_of_what_varies() -> None:
    planar = np.zeros((1, 64, 64), np.float32)
    planar[0, 5, 5] = 4.0
    assert Normalisation.of(planar).gain == 4.0


def test_channels_of_very_different_ranges_are_brought_to_one_and_back() -> None:
    rng = np.random.default_rng(0)
    image = np.stack([rng.normal(100, 10, (20, 24)), rng.normal(5, 1e-3, (20, 24))])
    array, layout = checked_image(image, 0)
    planar, known = equalised(as_planar(array, layout), layout)
    low, high = np.percentile(planar, (0.5, 99.5), axis=(1, 2))
    np.testing.assert_allclose(high - low, (high - low).max(), rtol=1e-4)
    np.testing.assert_allclose(restored(planar, known), image, rtol=1e-5)


def test_channels_that_are_alike_stay_as_they_are() -> None:
    planar = np.random.default_rng(0).normal(size=(3, 20, 24)).astype(np.float32)
    planar[1] *= 5
    layout = Layout(np.dtype("float32"), 0)
    found, known = equalised(planar, layout)
    assert found is planar
    assert known is layout


def test_no_value_is_too_far_from_the_rest() -> None:
    planar = np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32)
    normalisation = Normalisation.of(planar)
    np.testing.assert_array_equal(normalisation.within(planar), planar)
    planar[0, 5, 5], planar[0, 6, 6] = 1e6, -1e6
    inside = Normalisation.of(planar).within(planar)
    assert 90 < normalisation.apply(inside).max() < 110
    assert -110 < normalisation.apply(inside).min() < -90


def test_whole_blocks_leave_out_what_is_left_over() -> None:
    plane = counted((7, 11))
    blocks = whole_blocks(plane, 3)
    assert blocks.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(blocks[1, :, 2], plane[3:6, 6:9])


def test_a_result_has_the_type_of_its_image_unless_another_is_asked_for() -> None:
    assert result_dtype(">u2", "input") == np.dtype(">u2")
    assert result_dtype(np.dtype("float64"), "float32") == np.float32
