"""What generators work with turns back into the image that it came from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_msdip._run.units import Units
from napari_msdip.pixels import Normalisation, as_planar, checked_image


def units(
    image: Any, channel_axis: int | None = None, output_dtype: str = "input"
) -> Units:
    array, layout = checked_image(image, channel_axis)
    planar = as_planar(array, layout)
    return Units.of(planar, array, layout, Normalisation.of(planar), output_dtype)


def picture(dtype: str, *channels: int) -> Any:
    return np.random.default_rng(0).integers(3, 250, (16, 18, *channels)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize(("channels", "axis"), [((), None), ((3,), -1)])
def test_there_and_back(dtype: str, channels: tuple[int, ...], axis: int | None) -> None:
    image = picture(dtype, *channels)
    own = units(image, axis)
    back = own.restored(own.normalised("cpu"))
    assert back.dtype == image.dtype
    np.testing.assert_allclose(back, image, rtol=1e-5)


def test_normalised_values_are_of_order_one() -> None:
    values = units(picture("uint16") * 200).normalised("cpu")
    assert values.shape == (1, 1, 16, 18)
    assert -0.1 < float(values.min()) < float(values.max()) < 1.1


def test_a_pixel_far_beyond_the_rest_comes_back_untouched() -> None:
    image = picture("float32")
    image[5, 7] = 1e6
    own = units(image)
    assert own.planar.max() < 1e6
    back = own.restored(0 * own.normalised("cpu") + 0.5)
    assert back[5, 7] == pytest.approx(1e6, rel=0.05)
    assert np.ptp(np.delete(back.ravel(), 5 * 18 + 7)) == 0


def test_the_image_as_it_was_is_a_copy_with_all_its_digits() -> None:
    image = picture("float64") + 1e-9
    copy = units(image).as_it_was()
    np.testing.assert_array_equal(copy, image)
    assert not np.shares_memory(copy, image)
    assert units(image, output_dtype="float32").as_it_was().dtype == np.float32


def test_only_an_image_without_any_variation_is_constant() -> None:
    flat = np.stack([np.full((16, 18), 3.0), np.full((16, 18), 7.0)])
    assert units(flat, 0).is_constant
    assert not units(picture("uint8")).is_constant


@pytest.mark.parametrize("value", [0, 65535])
def test_padding_and_saturated_areas_stay_as_they_are(value: int) -> None:
    image = np.random.default_rng(0).integers(300, 500, (64, 60)).astype(np.uint16)
    image[:, :20] = image[30:50, 30:50] = value
    own = units(image)
    back = own.restored(own.normalised("cpu") + 0.1)
    kept = back == image
    assert kept[:, :20].all()
    assert kept[30:50, 30:50].all()
    assert not kept[image != value].any()


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint32", ">f8"])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_padding_keeps_digits_that_float32_has_not(dtype: str, axis: int | None) -> None:
    image = np.random.default_rng(0).normal(1e9, 1e8, (40, 40)).astype(dtype)
    padding = np.array(1_234_567_891, dtype)
    image[:, :20] = padding
    if axis is not None:
        image = np.stack([image, image[::-1]], axis)
    own = units(image, axis)
    back = own.restored(own.normalised("cpu") + 0.1)
    np.testing.assert_array_equal(back == padding, image == padding)


def test_each_channel_has_its_own_padding() -> None:
    image = np.random.default_rng(0).normal(5, 1, (2, 40, 40)).astype(np.float32)
    image[0, :, :20] = 0
    own = units(image, 0)
    back = own.restored(own.normalised("cpu") + 0.1)
    assert (back[0, :, :20] == 0).all()
    assert (back[1] != image[1]).all()


def test_few_photons_are_no_padding() -> None:
    dark = np.random.default_rng(0).poisson(0.1, (128, 128)).astype(np.uint8)
    assert units(dark).noiseless is None


def test_scales_of_a_padded_image_keep_their_size() -> None:
    image = picture("float32")
    image[:9] = 0
    own = units(image)
    assert own.noiseless is not None
    small = own.normalised("cpu")[..., ::2, ::2]
    assert own.restored(small).shape == (8, 9)
