"""Images as they come and as the engine wants them: axes, ranges, dtypes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_msdip.arrays import checked_array
from napari_msdip.rounding import rounded

__all__ = [
    "SMALLEST_SIDE",
    "Layout",
    "Normalisation",
    "RedundantChannels",
    "as_image",
    "as_planar",
    "as_planes",
    "checked_image",
    "equalised",
    "restored",
    "result_dtype",
    "robust_range",
    "whole_blocks",
]

Array = npt.NDArray[Any]
Planar = npt.NDArray[np.float32]

SMALLEST_SIDE = 8
# In ranges of the image; from twice this on, the rest of it is denoised less well.
_FURTHEST = 100.0
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
# Channels whose ranges differ by less share one measure of their noise.
_ALIKE = 10.0
# Squares of what lies within have room in float32.
_SMALLEST_SPAN, _LARGEST_SPAN = 1e-17, 1e17
# Of float64, in which offsets are added and subtracted, within an image's range.
_LEAST_STEPS = 1000


@dataclass(frozen=True)
class Normalisation:
    """Affine map between an image's units and the engine's.

    ``normalised = (value - offset) / gain``.

    Attributes
    ----------
    offset, gain : float
        In the image's units; gain is positive.
    """

    offset: float
    gain: float

    @classmethod
    def of(cls, planar: Planar) -> Normalisation:
        """Find the map that brings all but the extreme values of an image to 0…1.

        Parameters
        ----------
        planar : ndarray
            ``(C, Y, X)`` in the image's units. A few bright spots may land far
            above 1, so that they do not squeeze the rest.
        """
        low, high = (float(v) for v in robust_range(planar))
        if high <= low:
            low, high = float(planar.min()), float(planar.max())
        return cls(offset=low, gain=(high - low) or 1.0)

    def within(self, planar: Planar) -> Planar:
        """Return values no further outside 0…1 than a generator bears.

        What is brighter, a hot pixel or a star in an empty field, would decide alone how
        batches are normalised, and all else would stay noisy.
        """
        furthest = _FURTHEST * self.gain
        return np.clip(planar, self.offset - furthest, self.offset + furthest)

    def apply(self, values: Planar) -> Planar:
        """Return values in the engine's units."""
        return ((values - self.offset) / self.gain).astype(np.float32, copy=False)

    def invert(self, values: Planar) -> npt.NDArray[np.float64]:
        """Return values in the image's units."""
        return values.astype(np.float64) * self.gain + self.offset


@dataclass(frozen=True)
class Layout:
    """How an image lies in memory, so that a result can be put back the same way.

    Attributes
    ----------
    dtype : numpy.dtype
        The image's dtype.
    channel_axis : int or None
        Position of its channels, not negative; None for gray.
    offset : float
        Taken from the values before they become float32, which would lose what
        lies beyond its seventh digit.
    maps : tuple of Normalisation
        For each channel to the range of the largest; none for channels that are alike.
    """

    dtype: np.dtype[Any]
    channel_axis: int | None
    offset: float = 0.0
    maps: tuple[Normalisation, ...] = ()

    @property
    def gains(self) -> npt.NDArray[np.float64]:
        """``(C,)`` or ``(1,)`` units of each channel that one unit of its planes is."""
        return np.array([each.gain for each in self.maps] or [1.0])


@dataclass(frozen=True, eq=False)
class RedundantChannels:
    """The channels of an image that are better left out than denoised.

    Those that are constant, and those that repeat another, as in a gray picture saved as
    RGB: noise that channels share entirely passes for structure in part.

    Attributes
    ----------
    channel_axis : int or None
        Position of the channels, not negative; None for gray.
    values : ndarray
        ``(C,)``: one value of every channel.
    varying : tuple of bool
        Which channels are not constant; where none is, all are taken for such.
    like : tuple of int
        For every channel the first one with the same pixels, which may be itself.
    ends : ndarray
        ``(2,)``: the least and the largest value of the channels that vary.
    """

    channel_axis: int | None
    values: Array
    varying: tuple[bool, ...]
    like: tuple[int, ...]
    ends: Array

    @classmethod
    def of(cls, array: Array, channel_axis: int | None) -> RedundantChannels:
        """Find the channels of an image that are constant or repeat another."""
        planes = as_planes(array, channel_axis)
        # One axis at a time: over both, NumPy takes tens of times as long where three
        # channels come last, and an image is looked through at every door that it passes.
        low, high = planes.min(axis=1).min(axis=1), planes.max(axis=1).max(axis=1)
        varying = low < high
        like = _first_alike(planes, low, high) if varying.any() else range(len(planes))
        varying |= not varying.any()
        values = planes[:, 0, 0].copy()
        ends = np.array([low[varying].min(), high[varying].max()])
        return cls(channel_axis, values, tuple(varying.tolist()), tuple(like), ends)

    @property
    def kept(self) -> tuple[bool, ...]:
        """Which channels are to be denoised."""
        channels = enumerate(zip(self.varying, self.like, strict=True))
        return tuple(varies and like == n for n, (varies, like) in channels)

    @property
    def found(self) -> bool:
        """Whether there is any to leave out."""
        return not all(self.kept)

    def left_out(self, array: Array) -> Array:
        """Return the image without them."""
        if not self.found:
            return array
        return np.compress(self.kept, array, axis=self.channel_axis)

    def put_back(self, array: Array) -> Array:
        """Return an image of any size without them, with them."""
        if self.channel_axis is None or not self.found:
            return array
        varying, kept = np.array(self.varying), np.array(self.kept)
        others = as_planes(array, self.channel_axis)
        planes = np.empty((len(varying), *others.shape[1:]), array.dtype)
        planes[kept] = others
        planes[varying] = planes[np.array(self.like)[varying]]
        constant = self.values[~varying].astype(array.dtype)
        planes[~varying] = constant[:, np.newaxis, np.newaxis]
        return as_image(planes, self.channel_axis)


def _first_alike(planes: Array, low: Array, high: Array) -> list[int]:
    """Return for every plane the number of the first one with the same pixels.

    ``low`` and ``high`` are their least and largest values, which hardly two share.
    """

    def repeats(number: int, other: int) -> bool:
        limits_alike = low[number] == low[other] and high[number] == high[other]
        # A row first, as a photograph's channels often share black and white.
        return (
            limits_alike
            and np.array_equal(planes[number, 0], planes[other, 0])
            and np.array_equal(planes[number], planes[other])
        )

    numbers = range(len(planes))
    return [next(n for n in numbers if n == own or repeats(own, n)) for own in numbers]


def robust_range(values: Array, axis: tuple[int, ...] | None = None) -> Array:
    """Return between which two values all but the darkest and brightest 0.5 % lie."""
    limits: Array = np.percentile(values, (0.5, 99.5), axis=axis)
    return limits


def as_planes(array: Array, channel_axis: int | None) -> Array:
    """Return a view ``(C, Y, X)`` of an image with its channels anywhere or none."""
    if channel_axis is None:
        return array[np.newaxis]
    return np.moveaxis(array, channel_axis, 0)


def as_image(planes: Array, channel_axis: int | None) -> Array:
    """Return planes ``(C, Y, X)`` as an image with its channels there or none."""
    if channel_axis is None:
        gray: Array = planes[0]
        return gray
    return np.ascontiguousarray(np.moveaxis(planes, 0, channel_axis))


def checked_image(
    image: Any, channel_axis: int | None, *, is_part: bool = False
) -> tuple[Array, Layout]:
    """Return an image that can be denoised as an array with its layout.

    Parameters and errors are those of :func:`checked_array`, to which an image whose
    sides are too short or whose range has no room in float32 adds a ValueError. The
    range of a part may be as small as it likes.
    """
    array, axis = checked_array(image, "image", channel_axis)
    sides = [side for index, side in enumerate(array.shape) if index != axis]
    if min(sides) < SMALLEST_SIDE:
        raise ValueError(
            f"image: shape {array.shape} is too small; Y and X must be at least "
            f"{SMALLEST_SIDE} px{_axis_hint(array.shape, axis)}"
        )
    ends = RedundantChannels.of(array, axis).ends
    if not is_part:
        _check_span(ends)
    return array, Layout(array.dtype, axis, _offset(ends))


def _axis_hint(shape: tuple[int, ...], axis: int | None) -> str:
    """Suggest where the channels may be, where another axis would do for them."""
    if axis is None:
        return ""
    hint = f" beside channel_axis={axis}"
    for other in (2, 0, 1):
        sides = [side for index, side in enumerate(shape) if index != other]
        if other != axis and min(sides) >= SMALLEST_SIDE:
            return f"{hint}; give channel_axis={-1 if other == 2 else other}"
    return hint


def _offset(ends: Array) -> float:
    """Smallest value of types wider than float32's digits; other types need none."""
    if ends.dtype.kind in "iu" and ends.dtype.itemsize < _FLOAT32.itemsize:
        return 0.0
    wide = ends.dtype.kind in "iu" or ends.dtype.itemsize > _FLOAT32.itemsize
    return float(ends[0]) if wide else 0.0


def _check_span(ends: Array) -> None:
    """Raise ValueError if the engine cannot tell an image's values apart, or hold them."""
    low, high = (float(end) for end in ends)
    if low < high and not _SMALLEST_SPAN <= high - low <= _LARGEST_SPAN:
        raise ValueError(
            f"image: values from {low:g} to {high:g}; their distance must lie between "
            f"{_SMALLEST_SPAN:g} and {_LARGEST_SPAN:g}: scale them first"
        )
    step = float(np.spacing(max(-low, high)))
    span = int(ends[1]) - int(ends[0]) if ends.dtype.kind in "iu" else 0
    if step > 1 and 0 < span < _LEAST_STEPS * step:
        raise ValueError(
            f"image: integers from {ends[0]} to {ends[1]}, which float64 cannot "
            "tell apart so far from 0; subtract the smallest first"
        )


def as_planar(array: Array, layout: Layout) -> Planar:
    """Return a new float32 array ``(C, Y, X)``, less the layout's offset."""
    planar = as_planes(array, layout.channel_axis)
    if layout.offset:
        planar = planar - np.float64(layout.offset)
    return np.array(planar, dtype=np.float32, order="C")


def equalised(planar: Planar, layout: Layout) -> tuple[Planar, Layout]:
    """Bring channels of very different ranges to that of the largest.

    All share one noise level by intensity, of which a weak one would get too much.

    Parameters
    ----------
    planar : ndarray
        ``(C, Y, X)``, no channel constant unless all are.
    layout : Layout
        Of the image.

    Returns
    -------
    planar : ndarray
        As given if the channels are alike.
    layout : Layout
        Knows the way back.
    """
    maps = [Normalisation.of(channel) for channel in planar]
    gains = [each.gain for each in maps]
    if max(gains) <= _ALIKE * min(gains):
        return planar, layout
    maps = [Normalisation(each.offset, each.gain / max(gains)) for each in maps]
    planar = np.stack([m.apply(channel) for m, channel in zip(maps, planar, strict=True)])
    return planar, replace(layout, maps=tuple(maps))


def result_dtype(dtype: npt.DTypeLike, output_dtype: str) -> np.dtype[Any]:
    """Return the dtype of the result of an image, as ``Options.output_dtype`` has it."""
    return _FLOAT32 if output_dtype == "float32" else np.dtype(dtype)


def restored(
    values: npt.NDArray[np.floating[Any]], layout: Layout, output_dtype: str = "input"
) -> Array:
    """Put a planar result back into an image's axis order and dtype.

    Parameters
    ----------
    values : ndarray
        ``(C, Y, X)`` in the image's units, less the layout's offset, equalised.
    layout : Layout
        Of the image.
    output_dtype : {"input", "float32"}
        ``input`` clips to what the dtype holds, and rounds for integers, so that local
        means stay.
    """
    dtype = result_dtype(layout.dtype, output_dtype)
    # In float32 an offset would take away the digits that it kept. One copy, which all
    # that follows changes, as a whole image may hardly leave room for another.
    values = values.astype(np.float64)
    for channel, mapping in zip(values, layout.maps, strict=False):
        channel[:] = mapping.invert(channel)
    values += layout.offset
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        # The largest 64-bit integers have no float of their own; stay below them.
        high = np.nextafter(float(limits.max), 0) if limits.bits > 53 else limits.max
        values = rounded(np.clip(values, limits.min, high, out=values))
    else:
        np.clip(values, np.finfo(dtype).min, np.finfo(dtype).max, out=values)
    # By the same name, so that the wide values are gone before axes are moved.
    values = values.astype(dtype)
    return as_image(values, layout.channel_axis)


def whole_blocks(plane: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Return square blocks of a plane ``(Y, X)``, as ``(rows, side, columns, side)``.

    What is left over at the far sides is in none.
    """
    rows, columns = (size // side for size in plane.shape)
    return plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
