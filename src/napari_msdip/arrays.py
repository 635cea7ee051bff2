"""What is given as an image, as an array of real numbers, or why it is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_msdip.arguments import whole_number

__all__ = [
    "as_array",
    "check_not_empty",
    "checked_array",
    "checked_axis",
    "dtype_of",
    "without_labels",
]

Array = npt.NDArray[Any]

_FLOAT64 = np.dtype(np.float64)


def as_array(image: Any, name: str) -> Array:
    """Return an image as an array.

    Raises
    ------
    TypeError
        If it is none, if some of it is masked, which arrays do not keep, or if NumPy
        cannot read it.
    ValueError
        If its rows differ in length.
    """
    if hasattr(image, "__dask_graph__"):
        # Converted by NumPy, it would lose its mask.
        image = image.compute()
    try:
        array = np.asanyarray(image)
    except ValueError as error:
        raise ValueError(
            f"{name}: a {type(image).__name__} of unequal parts is no array; give rows of "
            "equal length"
        ) from error
    except (TypeError, RuntimeError) as error:
        # Tensors of a GPU, with a gradient or of a type of their own.
        raise TypeError(
            f"{name}: a {type(image).__name__} that NumPy cannot read ({error}); give a "
            "NumPy array"
        ) from error
    if not array.ndim and array.dtype.kind not in "biufc":
        # As the name of a file, the None of a reader that failed, or a whole Result.
        raise TypeError(
            f"{name}: a {type(image).__name__} is no image; give the pixels, such as "
            "tifffile.imread(path) or result.image"
        )
    if np.ma.is_masked(array):
        masked = np.count_nonzero(np.ma.getmaskarray(array))
        raise TypeError(
            f"{name}: {masked} of {array.size} pixels are masked; fill them first, for "
            "example with numpy.ma.filled, with a value like those around them"
        )
    return np.asarray(array)


def dtype_of(array: Any, name: str) -> np.dtype[Any]:
    """Return an array's dtype, or raise TypeError if it is none of NumPy's."""
    try:
        dtype: np.dtype[Any] = np.dtype(array.dtype)
    except TypeError as error:
        raise TypeError(
            f"{name}: dtype {array.dtype} of a {type(array).__name__} is none of NumPy's; "
            f"give a NumPy array, such as {name}.numpy() of a tensor"
        ) from error
    return dtype


def without_labels(array: Any) -> Any:
    """Return what an xarray.DataArray holds in memory or from dask.

    It transposes by names, and does not show which memory is its own. One that is still
    in a file stays as it is, as it would be read whole; so does any other array.
    """
    if not hasattr(array, "coords"):
        return array
    return array.data if array.chunks is not None or _is_in_memory(array) else array


def _is_in_memory(labelled: Any) -> bool:
    """Whether an xarray.DataArray gives the same memory each time that it is read."""
    corner = (slice(1),) * labelled.ndim
    return np.shares_memory(labelled[corner].values, labelled[corner].values)


def checked_array(
    image: Any, name: str, channel_axis: int | None
) -> tuple[Array, int | None]:
    """Return one image as an array and its channel axis, or say what is wrong with it.

    Parameters
    ----------
    image : array-like
        ``(Y, X)``, or three-dimensional with a channel axis, of any size.
    name : str
        The argument's name.
    channel_axis : int or None
        Position of the channels.

    Returns
    -------
    array : ndarray
        The image, of real numbers, all finite, at least one.
    channel_axis : int or None
        Not negative.

    Raises
    ------
    TypeError
        If the dtype is boolean, complex or not numeric, or the channel axis no integer.
    ValueError
        If rows differ in length, or the image is empty, has the wrong number of axes,
        lacks the channel axis, or holds values that are not finite.
    """
    array = as_array(image, name)
    _check_dtype(array.dtype, name)
    axis = checked_axis(channel_axis, array.shape, name)
    if axis is None and array.ndim != 2:
        raise ValueError(
            f"{name}: shape {array.shape} without channel_axis is not (Y, X); say which "
            "axis holds the channels (channel_axis=-1 for RGB), or go plane by plane, as "
            "denoise_stack does"
        )
    if axis is not None and array.ndim != 3:
        raise ValueError(
            f"{name}: shape {array.shape} with channel_axis={channel_axis} is not one "
            "image; give three axes: channels, Y and X"
        )
    check_not_empty(array.shape, name)
    _check_finite(array, name)
    return array, axis


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Raise TypeError unless an image's dtype is one of real numbers."""
    if dtype.kind not in "iuf":
        raise TypeError(
            f"{name}: dtype {dtype}; give integers or real floating-point numbers"
        )


def checked_axis(channel_axis: int | None, shape: tuple[int, ...], name: str) -> int | None:
    """Return the channel axis, not negative, of an image or a stack of this shape.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If there is no such axis.
    """
    if channel_axis is None:
        return None
    axis, n_axes = whole_number(channel_axis), len(shape)
    if axis is None:
        raise TypeError(f"channel_axis={channel_axis!r}: give a whole number or None")
    if not -n_axes <= axis < n_axes:
        raise ValueError(
            f"channel_axis={channel_axis}: {name} has shape {shape}; give a number from "
            f"{-n_axes} to {n_axes - 1} or None"
        )
    return axis % n_axes


def check_not_empty(shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError if an image or a stack holds nothing."""
    if 0 in shape:
        raise ValueError(f"{name}: shape {shape} holds no pixels; give at least one")


def _check_finite(array: Array, name: str) -> None:
    """Raise ValueError if values are not finite, and say how many."""
    if array.dtype.kind != "f":
        return
    if array.dtype.itemsize > _FLOAT64.itemsize:
        # What only a long double holds is infinite to all that follows.
        with np.errstate(over="ignore"):
            array = array.astype(_FLOAT64)
    finite = np.isfinite(array)
    if not finite.all():
        bad = array.size - np.count_nonzero(finite)
        raise ValueError(
            f"{name}: {bad} of {array.size} values are NaN or infinite; replace them "
            "first, for example with numpy.nan_to_num"
        )
