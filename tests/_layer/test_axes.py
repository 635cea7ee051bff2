"""Axes: guessed from what napari knows, corrected by hand, and put back in place."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from tests.samples import Labelled, LabelledFile

from napari_msdip._layer.axes import guess_axes, parse_axes, transposed


@pytest.mark.parametrize(
    ("shape", "rgb", "labels", "displayed", "letters"),
    [
        ((8, 9), False, (), None, "YX"),
        ((3, 8, 9), False, (), None, "ZYX"),
        ((2, 3, 8, 9), False, (), None, "TZYX"),
        ((8, 9, 3), True, ("-2", "-1"), None, "YXC"),
        ((5, 8, 9, 3), True, (), None, "ZYXC"),
        ((2, 8, 9), False, ("c", "y", "x"), None, "CYX"),
        ((8, 9, 2), False, ("Y", "X", "Channel"), None, "YXC"),
        ((4, 8, 9), False, ("time", "row", "column"), None, "TYX"),
        ((8, 9, 4), False, ("y", "x", "z"), None, "YXZ"),
        ((4, 8, 9), False, (), (0, 2), "YZX"),
        ((4, 8, 9), False, ("z", "y", "x"), (0, 2), "ZYX"),
        ((4, 8, 9), False, ("z", "z", "z"), None, "ZYX"),
        ((2, 8, 9), False, ("c", "-2", "-1"), None, "CYX"),
        ((2, 8), False, ("c", "y"), None, "YX"),
        ((8, 9, 3), False, (), (1, 2), "YXC"),
        ((5, 8, 9, 1), False, (), None, "ZYXC"),
        ((8, 9, 3), False, (), (0, 1), "YXZ"),
        ((2, 9, 3), False, (), (1, 2), "ZYX"),
        ((8, 9, 5, 3), True, (), None, "ZYXC"),
    ],
)
def test_axes_are_guessed_from_the_layer(shape, rgb, labels, displayed, letters):
    axes = guess_axes(shape, rgb=rgb, labels=labels, displayed=displayed)
    assert axes.letters == letters
    assert axes.shape == shape


@pytest.mark.parametrize(
    ("letters", "rgb", "message"),
    [
        ("YX", False, "give 3 letters"),
        ("ZZX", False, "exactly one axis Y"),
        ("CYC", False, "exactly one axis X"),
        ("Y1X", False, "give 3 letters"),
        ("CYX", True, "the last axis of an RGB layer is C"),
    ],
)
def test_wrong_letters_are_refused_with_the_reason(letters, rgb, message):
    with pytest.raises(ValueError, match=message):
        parse_axes(letters, (3, 8, 9), rgb=rgb)


def test_letters_may_be_typed_in_lower_case():
    assert parse_axes(" zyx ", (3, 8, 9)).letters == "ZYX"


def test_axes_that_are_no_letters_are_named() -> None:
    with pytest.raises(TypeError, match=r"axes must be letters .* got 5"):
        parse_axes(5, (3, 8, 9))  # type: ignore[arg-type]


@pytest.mark.parametrize("letters", ["TZYX", "YTXZ", "XZTY", "TZXY"])
def test_restored_undoes_the_order(letters):
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    axes = parse_axes(letters, data.shape)
    planes = data.transpose(axes.order)
    assert planes.shape[:2] == axes.plane_shape
    np.testing.assert_array_equal(axes.restored(planes), data)


def test_channel_axis_is_where_the_engine_will_see_it():
    axes = parse_axes("ZCYX", (4, 2, 8, 9))
    moved = np.zeros(axes.shape).transpose(axes.order)
    assert moved.shape[axes.channel_axis] == 2
    assert axes.image_shape == (8, 9)
    assert axes.channels == 2


def test_planes_of_a_box_are_flat_indices_in_c_order():
    axes = parse_axes("TZYX", (3, 5, 8, 9))
    assert axes.planes(((1, 3), (2, 4))) == [7, 8, 12, 13]
    assert axes.planes(axes.whole()) == list(range(15))
    assert parse_axes("YX", (8, 9)).planes(()) == [0]


def labelled_dask(data):
    return Labelled(da.asarray(data))


@pytest.mark.parametrize(
    "wrap", [np.asarray, da.asarray, zarr.array, Labelled, LabelledFile, labelled_dask]
)
def test_any_array_is_transposed_without_reading_it_all(wrap):
    data = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    moved = transposed(wrap(data), parse_axes("YXZ", data.shape))
    assert moved.shape == (4, 2, 3)
    np.testing.assert_array_equal(np.asarray(moved[1]), data[..., 1])


def test_an_array_already_in_order_is_passed_through():
    data = zarr.array(np.zeros((2, 3)))
    assert transposed(data, parse_axes("YX", data.shape)) is data
