"""What is given as an image, and what is refused as none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import torch
from tests.samples import Labelled, LabelledFile

from napari_msdip import (
    assess,
    denoise,
    denoise_stack,
    ensemble,
    estimate_sigma,
    joint_bilateral_upsample,
)
from napari_msdip.arrays import without_labels
from napari_msdip.pixels import checked_image

if TYPE_CHECKING:
    from collections.abc import Callable


PIXELS = np.arange(600, dtype=np.float32).reshape(20, 30)


@pytest.mark.parametrize(
    "tensor", [torch.ones(20, 30, requires_grad=True), torch.ones(20, 30).bfloat16()]
)
def test_what_numpy_cannot_read_is_refused_by_its_name(tensor: Any) -> None:
    with pytest.raises(TypeError, match=r"image: a Tensor .* give a NumPy array"):
        checked_image(tensor, None)


def test_labels_are_taken_off_what_need_not_be_read_for_that() -> None:
    for held in (PIXELS, da.from_array(PIXELS)):
        assert without_labels(Labelled(held)) is held
    in_file = LabelledFile(PIXELS)
    for array in (in_file, PIXELS):
        assert without_labels(array) is array


def test_masked_pixels_are_no_picture() -> None:
    masked = np.ma.masked_equal(PIXELS, 7)
    with pytest.raises(TypeError, match=r"image: 1 of 600 pixels are masked.*filled"):
        checked_image(masked, None)
    with pytest.raises(TypeError, match="image: 1 of 600 pixels are masked"):
        checked_image(da.from_array(masked, asarray=False), None)
    array, _ = checked_image(np.ma.masked_less(PIXELS, -1), None)
    assert type(array) is np.ndarray


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 9), bool),
        np.zeros((9, 9), complex),
        np.zeros((9, 9), object),
        np.zeros((9, 9), "datetime64[s]"),
        np.full((9, 9), "x"),
        None,
        "image.tif",
    ],
    ids=["bool", "complex", "object", "dates", "text", "None", "a path"],
)
def test_what_is_no_number_is_a_type_error(image: Any) -> None:
    with pytest.raises(TypeError, match=r"^image"):
        checked_image(image, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_that_are_not_finite_are_counted(bad: float, dtype: str) -> None:
    image = np.zeros((9, 9), dtype)
    image[2, 3] = image[5, 5] = bad
    with pytest.raises(ValueError, match=r"^image.* 2 "):
        checked_image(image, None)


@pytest.mark.parametrize("shape", [(0, 9), (9, 0), (0, 0)])
def test_empty_is_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"^image: .* holds no pixels"):
        checked_image(np.zeros(shape), None)


def test_no_channels_at_all_is_empty() -> None:
    with pytest.raises(ValueError, match=r"^image: .* holds no pixels"):
        checked_image(np.zeros((9, 9, 0)), -1)


@pytest.mark.parametrize("shape", [(), (9,), (9, 9, 3), (2, 9, 9, 3)])
def test_without_channels_an_image_has_two_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^image.*channel_axis"):
        checked_image(np.zeros(shape), None)


@pytest.mark.parametrize("shape", [(9, 9), (2, 9, 9, 3)])
def test_with_channels_an_image_has_three_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^image.*channel_axis"):
        checked_image(np.zeros(shape), 0)


@pytest.mark.parametrize("axis", [3, -4, 17])
def test_channel_axis_is_one_of_the_axes(axis: int) -> None:
    with pytest.raises(ValueError, match=rf"^channel_axis={axis}"):
        checked_image(np.zeros((9, 9, 3)), axis)


@pytest.mark.parametrize("axis", ["last", 1.0, True, (0,)])
def test_channel_axis_is_a_whole_number(axis: Any) -> None:
    with pytest.raises(TypeError, match=r"^channel_axis="):
        checked_image(np.zeros((9, 9, 3)), axis)


def test_channel_axis_may_be_a_numpy_integer() -> None:
    assert checked_image(np.zeros((9, 9, 3)), np.int64(-1))[1].channel_axis == 2


TAKING_CHANNELS: dict[str, tuple[Callable[..., Any], str]] = {
    "denoise": (denoise, "image"),
    "denoise_stack": (denoise_stack, "stack"),
    "estimate_sigma": (estimate_sigma, "image"),
    "assess": (lambda image, **axis: assess(image, image, **axis), "noisy"),
    "joint_bilateral_upsample": (
        lambda image, **axis: joint_bilateral_upsample(image, image, **axis),
        "coarse",
    ),
    "ensemble": (lambda image, **axis: ensemble([image], **axis), r"scales\[0\]"),
}


@pytest.mark.parametrize("name", TAKING_CHANNELS)
@pytest.mark.parametrize(
    ("axis", "error"),
    [
        (True, TypeError),
        (np.True_, TypeError),
        (1.5, TypeError),
        ("1", TypeError),
        (7, ValueError),
        (-4, ValueError),
    ],
)
def test_a_bad_channel_axis_is_the_same_error_everywhere(
    name: str, axis: Any, error: type[Exception]
) -> None:
    function, _ = TAKING_CHANNELS[name]
    with pytest.raises(error, match=r"^channel_axis="):
        function(np.zeros((40, 40, 3)), channel_axis=axis)


# Three axes without channels are what a stack has.
@pytest.mark.parametrize("name", sorted(TAKING_CHANNELS.keys() - {"denoise_stack"}))
def test_three_axes_need_a_channel_axis_everywhere(name: str) -> None:
    function, argument = TAKING_CHANNELS[name]
    with pytest.raises(ValueError, match=rf"^{argument}: .*channel_axis"):
        function(np.zeros((40, 40, 3)), channel_axis=None)


@pytest.mark.parametrize("name", TAKING_CHANNELS)
def test_a_numpy_integer_is_a_channel_axis_everywhere(name: str) -> None:
    function, _ = TAKING_CHANNELS[name]
    function(np.zeros((40, 40, 3)), channel_axis=np.int64(-1))


def test_what_float64_cannot_hold_is_not_finite() -> None:
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("a long double is a double here")
    image = np.zeros((9, 9), np.longdouble)
    image[0, 0] = np.finfo(np.longdouble).max
    with pytest.raises(ValueError, match="image: 1 of 81 values"):
        checked_image(image, None)


@pytest.mark.parametrize("image", [[[1, 2], [3]], [[1, 2], 3]])
def test_rows_of_unequal_length_are_no_image(image: Any) -> None:
    with pytest.raises(ValueError, match=r"^image: .* rows of equal length"):
        checked_image(image, None)


@pytest.mark.parametrize("image", ["cells.tif", Path("cells.tif"), b"cells", None, {}])
def test_what_leads_to_pixels_is_no_image(image: Any) -> None:
    message = rf"^image: a {type(image).__name__} is no image; give the pixels"
    with pytest.raises(TypeError, match=message):
        checked_image(image, None)
