"""Fuse the results of all scales without blurring the edges of the finest.

Section 3.4 of the paper: joint bilateral upsampling (eq. 5; Kopf, Cohen, Lischinski and
Uyttendaele, "Joint Bilateral Upsampling", ACM Transactions on Graphics 26(3), 2007), and
the ensemble that averages the scales pair by pair with it, the finest last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from napari_msdip.arguments import number, whole_number
from napari_msdip.arrays import checked_array
from napari_msdip.pixels import as_image, as_planes, robust_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]

__all__ = ["ensemble", "joint_bilateral_upsample"]

# Of a kernel, in pixels or as a share of the guide's range.
_NARROWEST = 1e-6
_LEAST_ROBUST_SHARE: Final = 1e-6
# A pixel that resembles none around it still gets a weight, so that none divides by zero.
_LEAST_RANGE_EXPONENT: Final = -40.0
# The buffers of one band of rows should fit into a core's cache.
_BAND_PIXELS: Final = 2**14


def joint_bilateral_upsample(
    coarse: ArrayLike,
    guide: ArrayLike,
    *,
    channel_axis: int | None = None,
    sigma_spatial: float = 0.5,
    sigma_range: float = 0.1,
    window: int = 5,
) -> Array:
    """Enlarge an image to the size of another, along the edges of that other.

    Every pixel of the result is a weighted mean of the `window` × `window` coarse pixels
    around it. A coarse pixel counts the less, the further away it is and the more the
    guide at its place differs from the guide at the pixel (eq. 5 of the paper).

    Parameters
    ----------
    coarse : array_like
        The image to enlarge: (Y, X), or three-dimensional with channels along
        `channel_axis`. Integers or floating-point numbers of any range, finite. Either
        side may also be equal to the guide's, or larger.
    guide : array_like
        The image whose size and edges to take, of any range, finite; it has the axes of
        `coarse` in the same order, but may have another number of channels.
    channel_axis : int, optional
        The axis that holds the channels in both images; None if they have no such axis.
    sigma_spatial : float, optional
        Standard deviation of the spatial kernel, in pixels of `coarse`.
    sigma_range : float, optional
        Standard deviation of the range kernel, as a share of the guide's range (from the
        0.5th to the 99.5th percentile, of the channel where that is most), so that neither
        units nor the backgrounds of channels play a role. The paper's value is meant for
        images from 0 to 1. Distances between channels add up as squares.
    window : int, optional
        Side of the window in coarse pixels, odd.

    Returns
    -------
    numpy.ndarray
        The enlarged image in the units of `coarse`, with the height and width of `guide`;
        float32, or float64 if `coarse` or `guide` needs it (float64, integers above 16
        bit). It stays within the range of `coarse`, up to rounding; a constant image comes
        back exactly constant.

    Raises
    ------
    TypeError
        If an image does not hold real numbers, or another argument has the wrong type.
    ValueError
        If an image is empty, has another number of axes or holds NaN or infinity, if
        there is no axis `channel_axis`, if a standard deviation is not positive, or if
        `window` is not odd and positive.

    Notes
    -----
    The centres of the outermost pixels lie half a pixel inside the image at both sizes (as
    in ``torch.nn.functional.interpolate`` with ``align_corners=False``). Where a coarse
    pixel's centre falls between pixels of the guide, the guide is interpolated linearly.
    Beyond the border the outermost pixels repeat.

    References
    ----------
    Eq. 5 of the multi-scale deep image prior paper (Jiang, Zhang, Nie, Zhu and Zheng),
    after J. Kopf, M. F. Cohen, D. Lischinski and M. Uyttendaele, "Joint Bilateral
    Upsampling", ACM Transactions on Graphics 26(3), 2007.
    """
    kernel = _Kernel.checked(sigma_spatial, sigma_range, window)
    low, high = _checked_planes({"coarse": coarse, "guide": guide}, channel_axis)
    (low,), unit = _smaller([low])
    (high,), _ = _smaller([high])
    return as_image(_larger(_upsample(low, high, kernel), unit), channel_axis)


def ensemble(
    scales: Sequence[ArrayLike],
    *,
    channel_axis: int | None = None,
    sigma_spatial: float = 0.5,
    sigma_range: float = 0.1,
    window: int = 5,
    weights: Sequence[float] | None = None,
) -> Array:
    """Average the results of all scales into one image of the finest scale's size.

    From the coarsest on, each image is enlarged to the size of the next finer one by
    ``joint_bilateral_upsample``, which that finer one guides, and averaged with it
    (section 3.4 of the paper).

    Parameters
    ----------
    scales : sequence of array_like
        One or more images of the same scene, in the same units, the finest first: x_0 …
        x_N of the paper. Each is (Y, X), or three-dimensional with channels along
        `channel_axis`, of any size and range; all have the same number of channels.
    channel_axis : int, optional
        The axis that holds the channels in every image; None if they have no such axis.
    sigma_spatial, sigma_range, window : optional
        The kernels, see ``joint_bilateral_upsample``.
    weights : sequence of float, optional
        How much each scale counts in the result, the finest first; they need not add up
        to 1. None averages each pair plainly, as the paper does, so that the finest scale
        makes one half of the result, the next one quarter, and so on.

    Returns
    -------
    numpy.ndarray
        The average, in the images' units and in the shape of ``scales[0]``; float32, or
        float64 if one of the images needs it (float64, integers above 16 bit).

    Raises
    ------
    TypeError
        If an image does not hold real numbers, or another argument has the wrong type.
    ValueError
        If there is no image, if one is empty, has another number of axes or channels than
        it should or holds NaN or infinity, if there is no axis `channel_axis`, if a
        standard deviation is not positive, if `window` is not odd and positive, or if the
        weights are not one finite number a scale, none negative and one positive.

    References
    ----------
    Section 3.4 and eq. 5 of the multi-scale deep image prior paper (Jiang, Zhang, Nie, Zhu
    and Zheng).
    """
    kernel = _Kernel.checked(sigma_spatial, sigma_range, window)
    if not hasattr(scales, "__len__") or isinstance(scales, str):
        raise TypeError(
            f"scales must be a sequence of images, finest first, not a "
            f"{type(scales).__name__}"
        )
    if len(scales) == 0:
        raise ValueError("scales must hold at least one image, got none")
    shares = _finer_shares(weights, len(scales))
    named = {f"scales[{n}]": scale for n, scale in enumerate(scales)}
    planes = _checked_planes(named, channel_axis)
    for n, image in enumerate(planes):
        if len(image) != len(planes[0]):
            raise ValueError(
                f"scales[{n}] must have {len(planes[0])} channels like scales[0], got "
                f"{len(image)}"
            )
    planes, unit = _smaller(planes)
    fused = planes[-1]
    for finer, share in zip(planes[-2::-1], shares, strict=True):
        fused = _upsample(fused, finer, kernel)
        # This form leaves equal values exactly as they are.
        fused += share * (finer - fused)
    fused = fused.copy() if fused is planes[-1] else fused
    return as_image(_larger(fused, unit), channel_axis)


def _finer_shares(weights: Sequence[float] | None, n_scales: int) -> list[float]:
    """Return the finer image's share of each pair's average, the coarsest pair first."""
    if weights is None:
        return [0.5] * (n_scales - 1)
    if not hasattr(weights, "__iter__"):
        raise TypeError(f"weights must be a sequence of numbers or None, got {weights!r}")
    values = [number(weight, f"weights[{n}]") for n, weight in enumerate(weights)]
    if len(values) != n_scales:
        raise ValueError(
            f"weights must hold one number for each of the {n_scales} scales, got "
            f"{len(values)}"
        )
    if not all(math.isfinite(v) and v >= 0 for v in values) or not any(values):
        raise ValueError(
            f"weights must be finite, none negative and one positive, got {values}"
        )
    shares = []
    collected = values[-1]
    for value in values[-2::-1]:
        collected += value
        shares.append(value / collected if collected else 0.0)
    return shares


@dataclass(frozen=True, slots=True)
class _Kernel:
    sigma_spatial: float
    sigma_range: float
    radius: int

    @classmethod
    def checked(cls, sigma_spatial: float, sigma_range: float, window: int) -> Self:
        spatial = _positive(sigma_spatial, "sigma_spatial")
        ranged = _positive(sigma_range, "sigma_range")
        size = whole_number(window)
        if size is None:
            raise TypeError(f"window must be an integer, got {window!r}")
        if size < 1 or size % 2 == 0:
            raise ValueError(f"window must be odd and at least 1, got {size}")
        # Squares of smaller numbers have no room, and choose the same pixels.
        return cls(max(spatial, _NARROWEST), max(ranged, _NARROWEST), size // 2)


@dataclass(frozen=True, slots=True)
class _Axis:
    """The coarse neighbours of the fine pixels along one axis, (offset, fine pixel)."""

    neighbours: NDArray[np.intp]
    exponents: NDArray[np.float64]

    @classmethod
    def of(cls, n_coarse: int, n_fine: int, kernel: _Kernel) -> Self:
        position = (np.arange(n_fine) + 0.5) * (n_coarse / n_fine) - 0.5
        nearest = np.floor(position + 0.5)
        offsets = np.arange(-kernel.radius, kernel.radius + 1)[:, np.newaxis]
        distance = nearest + offsets - position
        exponents = -0.5 * np.square(distance / kernel.sigma_spatial)
        # Relative to the nearest neighbour no kernel, however narrow, vanishes altogether.
        exponents -= exponents.max(axis=0)
        neighbours = np.clip(nearest + offsets, 0, n_coarse - 1).astype(np.intp)
        return cls(neighbours, exponents)

    def part(self, pixels: slice) -> _Axis:
        return _Axis(self.neighbours[:, pixels], self.exponents[:, pixels])


def _upsample(coarse: Array, guide: Array, kernel: _Kernel) -> Array:
    height, width = guide.shape[1:]
    rows = _Axis.of(coarse.shape[1], height, kernel)
    columns = _Axis.of(coarse.shape[2], width, kernel)
    scaled = _scaled(guide, kernel.sigma_range)
    coarse_guide = _interpolated(scaled, coarse.shape[1], axis=1)
    coarse_guide = _interpolated(coarse_guide, coarse.shape[2], axis=2)
    # A constant image is then zero, and no rounding of the weights can change it.
    origin = coarse[:, :1, :1]
    centred = coarse - origin
    result = np.empty((len(coarse), height, width), dtype=guide.dtype)
    step = max(1, _BAND_PIXELS // width)
    for start in range(0, height, step):
        band = slice(start, start + step)
        result[:, band] = _weighted_mean(
            centred, coarse_guide, scaled[:, band], rows.part(band), columns
        )
    result += origin
    return result


def _weighted_mean(
    coarse: Array, coarse_guide: Array, guide: Array, rows: _Axis, columns: _Axis
) -> Array:
    """Return eq. 5 for some rows of the fine image."""
    dtype = guide.dtype
    total = np.zeros((len(coarse), *guide.shape[1:]), dtype=dtype)
    weights = np.zeros(guide.shape[1:], dtype=dtype)
    weight, difference = np.empty_like(weights), np.empty_like(guide)
    values = np.empty_like(total)
    row_factors = np.exp(rows.exponents).astype(dtype)[:, :, np.newaxis]
    column_factors = np.exp(columns.exponents).astype(dtype)
    for i, row_factor in zip(rows.neighbours, row_factors, strict=True):
        value_rows, guide_rows = coarse[:, i], coarse_guide[:, i]
        for j, column_factor in zip(columns.neighbours, column_factors, strict=True):
            np.take(guide_rows, j, axis=2, out=difference, mode="clip")
            difference -= guide
            np.einsum("cyx,cyx->yx", difference, difference, out=weight)
            np.negative(weight, out=weight)
            np.maximum(weight, _LEAST_RANGE_EXPONENT, out=weight)
            np.exp(weight, out=weight)
            weight *= row_factor
            weight *= column_factor
            weights += weight
            np.take(value_rows, j, axis=2, out=values, mode="clip")
            values *= weight
            total += values
    total /= weights
    return total


def _scaled(guide: Array, sigma_range: float) -> Array:
    """Return the guide such that squared distances are exponents of the range kernel."""
    # Only differences count; smaller numbers have them with more digits.
    scaled = guide - guide[:, :1, :1]
    full = np.ptp(guide, axis=(1, 2)).max()
    if full > 0:
        scaled /= full
        low, high = robust_range(scaled, axis=(1, 2))
        robust = (high - low).max()
        # An almost constant image with a few other pixels has no robust range to go by.
        span = robust if robust > _LEAST_ROBUST_SHARE else 1.0
        scaled *= guide.dtype.type(math.sqrt(0.5) / (sigma_range * span))
    return scaled


def _interpolated(planes: Array, size: int, axis: int) -> Array:
    """Return the planes at the centres of the pixels that an axis of another size has."""
    n_old = planes.shape[axis]
    position = np.clip((np.arange(size) + 0.5) * (n_old / size) - 0.5, 0, n_old - 1)
    lower = position.astype(np.intp)
    upper = np.minimum(lower + 1, n_old - 1)
    share = (position - lower).astype(planes.dtype).reshape((-1, 1) if axis == 1 else (-1,))
    below = planes.take(lower, axis=axis)
    result: Array = below + share * (planes.take(upper, axis=axis) - below)
    return result


def _positive(value: float, name: str) -> float:
    given = number(value, name)
    if not (math.isfinite(given) and given > 0):
        raise ValueError(f"{name} must be finite and greater than 0, got {value}")
    return given


def _checked_planes(
    images: Mapping[str, ArrayLike], channel_axis: int | None
) -> list[Array]:
    """Return images, by their arguments' names, as planes of one dtype that holds all."""
    planes = [
        as_planes(*checked_array(image, name, channel_axis))
        for name, image in images.items()
    ]
    single = all(np.can_cast(each.dtype, np.float32) for each in planes)
    dtype = np.float32 if single else np.float64
    return [np.ascontiguousarray(each, dtype=dtype) for each in planes]


def _smaller(planes: list[Array]) -> tuple[list[Array], float]:
    """Return images whose sums and differences are finite, and their unit.

    The unit is a power of two, so that next to the largest values none changes.
    """
    limit = 2.0 ** (np.finfo(planes[0].dtype).maxexp // 2)
    if all(np.abs(plane).max() <= limit for plane in planes):
        return planes, 1.0
    return [plane / plane.dtype.type(limit) for plane in planes], limit


def _larger(planes: Array, unit: float) -> Array:
    """Return an image in its own unit; rounding takes none beyond its dtype's range."""
    if unit == 1.0:
        return planes
    largest = np.finfo(planes.dtype).max
    unit = planes.dtype.type(unit)
    return np.clip(planes, -largest / unit, largest / unit) * unit
