"""Estimate the noise level of a single image.

The method is that of Chen, Zhu and Heng, "An Efficient Statistical Method for Image Noise
Level Estimation", ICCV 2015: the covariance of small patches has a few large eigenvalues,
which hold the picture, and many nearly equal ones, which hold the noise. Which patches are
read, and how channels, clipped values and small samples are dealt with, goes beyond that
paper; ``docs/noise-estimator.md`` records the reasons and the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from napari_msdip.arrays import checked_array
from napari_msdip.pixels import as_planes, whole_blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Planes = NDArray[np.float32]

__all__ = ["cautious_sigma", "estimate_sigma"]

# docs/noise-estimator.md has the experiments behind these numbers.
_PATCH_SIDES: Final = (8, 6, 5, 4, 3)
_MAX_PATCHES: Final = 2**16
_FLATTEST_SHARE: Final = 0.5
_BRIGHTNESS_CLASSES: Final = 64
_MIN_PATCHES_PER_BRIGHTNESS: Final = 16
# Patches per dimension of their covariance, below which its eigenvalues tell too little.
_MIN_SAMPLING: Final = 10
_MIN_SAMPLING_PER_CLASS: Final = 50
_NOISE_CLASSES: Final = 8
_TEXTURE_EXCESS: Final = 1.04
# Of a cautious estimate: fewer, flatter patches, and their highest frequencies alone.
_CAUTIOUS_SHARE: Final = 0.1
_CORNER: Final = 0.85
_MIN_CLIPPED_SHARE: Final = 1e-3
_MAX_CLIPPED_SHARE: Final = 0.25
_MAX_STACKED_CHANNELS: Final = 4
_MIN_PLATEAU: Final = 0.3
# Of the patches that could be chosen: counts of a few photons pass for clipped at 0 but in
# patches that are bright by chance.
_MIN_CHOSEN: Final = 0.8
_MIN_TIES: Final = 0.05
_BLOCK_SIDE: Final = 8
_MIN_BLOCKS_PER_CLASS: Final = 16
_SAME: Final = 1e-6
_DEPENDENT_CHANNELS: Final = 1e-9
_TINY: Final = 1e-12
# Ranges of the eight pixels around, about 11 levels of Gaussian noise, beyond which a
# pixel is a defect: noise hardly ever goes there, and optics let no light be so small.
_FAR: Final = 4
_MOST_DEFECTS: Final = 3e-3
_AROUND: Final = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def estimate_sigma(image: ArrayLike, *, channel_axis: int | None = None) -> float:
    """Estimate the standard deviation of the noise in one image.

    The noise is taken to be independent from pixel to pixel; its strength may vary with
    the brightness (as shot noise does), and the root mean square over the image is then
    returned. Saturated areas and exactly constant ones (masks, padding) are left out, and
    so are a few single pixels that are far from all around them, as a camera's defects are.

    Parameters
    ----------
    image : array_like
        (Y, X), or three-dimensional with the channels along `channel_axis`. Any integer
        or floating-point dtype, any value range, any size from one pixel up.
    channel_axis : int, optional
        The axis that holds the channels; None for a single-channel image.

    Returns
    -------
    float
        The noise level in the units of `image`, finite and not negative; with channels,
        the root mean square over those that are not constant. A constant image has 0.0.

    Raises
    ------
    TypeError
        If `image` does not hold real numbers (boolean, complex and object arrays do not),
        or `channel_axis` is not an integer.
    ValueError
        If `image` is empty, has another number of axes, holds NaN or infinity, or has no
        axis `channel_axis`.

    Notes
    -----
    Noise that is correlated between pixels (demosaicing, JPEG, blur, camera processing)
    has no level in this sense: what is returned is about the part of it that changes
    from pixel to pixel, and less than the noise's standard deviation.

    Three fallbacks. Where the channels together show no common noise level they are
    estimated one by one. Where fewer patches are usable than the statistics need (an
    image below about 14 by 14, one almost wholly saturated) the level is the median
    absolute second difference, scaled to the standard deviation that Gaussian noise
    would have. Where few distinct differences occur, as in counts of less than about one
    photon a pixel, their median says little, and the level is the nugget of the
    variogram: the mean square difference of pixels as it would be at no distance. As
    narrow spots hide it, the level is at least that of the mean square second differences
    in blocks, which depends on the brightness along the highest straight line below them.

    References
    ----------
    G. Chen, F. Zhu and P. A. Heng, "An Efficient Statistical Method for Image Noise Level
    Estimation", ICCV 2015, pp. 477-485. For the nugget: G. Matheron, "Principles of
    Geostatistics", Economic Geology 58(8), 1963, pp. 1246-1266.
    """
    planes = _checked(image, channel_axis)
    planes = planes[planes.min(axis=(1, 2)) < planes.max(axis=(1, 2))]
    if len(planes) == 0:
        return 0.0
    # Divided by its peak, no finite channel overflows or vanishes when squared.
    peaks = np.abs(planes).max(axis=(1, 2), keepdims=True)
    planes /= peaks
    for plane in planes:
        _replace_defects(plane)
    planes -= planes.mean(axis=(1, 2), keepdims=True)
    spreads = planes.std(axis=(1, 2), keepdims=True)
    planes /= spreads
    levels = _noise_levels(planes.astype(np.float32))
    units = np.ravel(spreads * (peaks / peaks.max()))
    return float(np.sqrt(np.mean(np.square(levels * units))) * peaks.max())


def cautious_sigma(planar: ArrayLike) -> float:
    """Estimate the level of white noise from where texture is weakest.

    That is in the highest frequencies of the flattest tenth of the patches, and there in
    the brightness that has the least of it, as far as noise may depend on brightness.
    White noise is the same there as anywhere, and texture next to nothing; but so is noise
    that is correlated between pixels, however slightly.

    Parameters
    ----------
    planar : array_like
        (C, Y, X), otherwise as of :func:`estimate_sigma`.

    Returns
    -------
    float
        The noise level; infinite where patches are too few to tell.
    """
    planes = _checked(planar, 0)
    for plane in planes:
        _replace_defects(plane)
    centred = planes - planes.mean(axis=(1, 2), keepdims=True)
    for side in _PATCH_SIDES:
        sample = _Sample.of(centred.astype(np.float32), side, _CAUTIOUS_SHARE)
        if sample is not None:
            order = _orders(side)
            corner = order[_is_high_frequency(side)] >= _CORNER * order.max()
            energies = np.square(sample.coefficients[:, corner]).mean(axis=(0, 1))
            parts = np.array_split(np.arange(sample.count), _NOISE_CLASSES)
            brightness = np.array([sample.brightness[part].mean() for part in parts])
            variances = np.array([energies[part].mean() for part in parts])
            line = _supporting_line(brightness, variances)
            return math.sqrt(max(float(line.mean()), 0.0))
    return math.inf


def _checked(image: ArrayLike, channel_axis: int | None) -> Floats:
    planes = as_planes(*checked_array(image, "image", channel_axis))
    return planes.astype(np.float64, order="C")


def _replace_defects(plane: Floats) -> None:
    """Replace single pixels that are so far from all around that no noise is.

    They would make the brightest patches noisy beyond measure, and the line of noise that
    grows with brightness so steep that all others seem noisy too.
    """
    lowest = plane.min()
    # Half the memory, and digits enough to tell what is far.
    values = (plane - lowest).astype(np.float32)
    low = minimum_filter(values, footprint=_AROUND, mode="mirror")
    high = maximum_filter(values, footprint=_AROUND, mode="mirror")
    usual = high - low
    # Where all around are equal, as in the dark between a few photons, they tell nothing.
    np.maximum(usual, np.median(usual), out=usual)
    far = np.maximum(values - high, low - values) > _FAR * usual
    far &= usual > 0
    # More than a few are noise: photons in the dark, multiplied before they are read.
    if 0 < np.count_nonzero(far) <= _MOST_DEFECTS * plane.size:
        plane[far] = lowest + low[far] + (high[far] - low[far]) / 2


def _noise_levels(planes: Planes) -> Floats:
    if len(planes) <= _MAX_STACKED_CHANNELS:
        fit = _fit(planes)
        if fit is not None and (len(planes) == 1 or fit.plateau >= _MIN_PLATEAU):
            return fit.levels
    if len(planes) == 1:
        return np.array([_difference_level(planes[0])])
    return np.concatenate([_noise_levels(plane[np.newaxis]) for plane in planes])


@dataclass(frozen=True, slots=True)
class _Fit:
    """Noise level of each channel, and the share of eigenvalues that agree on it."""

    levels: Floats
    plateau: float


def _fit(planes: Planes) -> _Fit | None:
    for side in _PATCH_SIDES:
        sample = _Sample.of(planes, side)
        if sample is not None:
            return _fit_sample(sample)
    return None


def _fit_sample(sample: _Sample) -> _Fit:
    covariances, brightness = sample.covariances()
    n_channels = len(sample.coefficients)
    weights = _relative_levels(covariances.mean(axis=0), n_channels)
    if weights is None:
        return _Fit(np.zeros(n_channels), plateau=0.0)
    scale = np.repeat(weights, sample.dimensions // n_channels)
    covariances = covariances / np.outer(scale, scale)
    per_class = sample.count // len(covariances)
    variances = np.array([_white_variance(c, per_class)[0] for c in covariances])
    used, correction = _untextured(brightness, variances)
    variance, plateau = _white_variance(
        covariances[used].mean(axis=0), per_class * int(np.count_nonzero(used))
    )
    return _Fit(weights * np.sqrt(variance * correction), plateau)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Patches with little texture, in the order of their brightness."""

    coefficients: NDArray[np.float32]  # (channel, high frequency, patch)
    brightness: Floats

    @property
    def dimensions(self) -> int:
        return math.prod(self.coefficients.shape[:2])

    @property
    def count(self) -> int:
        return len(self.brightness)

    @classmethod
    def of(cls, planes: Planes, side: int, share: float = _FLATTEST_SHARE) -> Self | None:
        """Return a sample of the planes' patches, or None if too few can be used."""
        high = _is_high_frequency(side)
        least = _MIN_SAMPLING * len(planes) * int(np.count_nonzero(high))
        positions = _positions(planes.shape[1:], side)
        if len(positions) * share < least:
            return None
        basis = _cosine_basis(side)
        patches = _gather(planes, positions, side)
        low = basis[~high] @ patches
        brightness = low[:, 0].mean(axis=0, dtype=np.float64)
        # Chosen by low frequencies alone, the patches keep all noise at the high ones.
        texture = np.square(low[:, 1:]).sum(axis=(0, 1))
        clipped = _clipped_shares(planes, positions, side)
        usable = np.flatnonzero(~_has_constant_part(patches, side))
        chosen, gains = _choose(usable, brightness, texture, clipped, share)
        if len(chosen) < least:
            return None
        if len(chosen) < _MIN_CHOSEN * share * len(usable) and _holds_counts(planes):
            return None
        coefficients = (basis[high] @ patches[:, :, chosen]) * gains[:, np.newaxis]
        return cls(coefficients, brightness[chosen])

    def covariances(self) -> tuple[NDArray[np.float64], Floats]:
        """Return the covariance and the mean brightness of each brightness class."""
        n_classes = self.count // (_MIN_SAMPLING_PER_CLASS * self.dimensions)
        n_classes = min(max(n_classes, 1), _NOISE_CLASSES)
        parts = np.array_split(np.arange(self.count), n_classes)
        covariances = []
        for part in parts:
            rows = self.coefficients[:, :, part].reshape(self.dimensions, -1)
            # Single precision would drown faint noise in the rounding of strong edges.
            rows = rows.astype(np.float64)
            rows -= rows.mean(axis=1, keepdims=True)
            covariances.append(rows @ rows.T / len(part))
        return np.array(covariances), np.array([self.brightness[p].mean() for p in parts])


def _positions(shape: tuple[int, ...], side: int) -> NDArray[np.intp]:
    """Return the flat indices of the first pixels of evenly spread patches."""
    height, width = shape
    rows, columns = max(height - side + 1, 0), max(width - side + 1, 0)
    step = max(1, rows * columns // _MAX_PATCHES)
    # With a common divisor the patches would line up in columns.
    while columns > 1 and np.gcd(step, columns) != 1:
        step += 1
    index = np.arange(0, rows * columns, step)
    return index // max(columns, 1) * width + index % max(columns, 1)


def _gather(planes: Planes, positions: NDArray[np.intp], side: int) -> Planes:
    """Return patches as an array of (channel, pixel of the patch, patch)."""
    within = np.add.outer(np.arange(side) * planes.shape[2], np.arange(side)).ravel()
    return planes.reshape(len(planes), -1)[:, within[:, np.newaxis] + positions]


def _cosine_basis(side: int) -> Planes:
    """Return the two-dimensional cosine transform as a matrix, one row a frequency."""
    index = np.arange(side)
    rows = np.sqrt(2 / side) * np.cos(np.pi / side * np.outer(index, index + 0.5))
    rows[0] = np.sqrt(1 / side)
    return np.kron(rows, rows).astype(np.float32)


def _is_high_frequency(side: int) -> NDArray[np.bool_]:
    return _orders(side) > (side - 1) // 2


def _orders(side: int) -> NDArray[np.intp]:
    """Return the sum of both frequencies of each coefficient of a patch."""
    return np.add.outer(np.arange(side), np.arange(side)).ravel()


def _has_constant_part(patches: Planes, side: int) -> NDArray[np.bool_]:
    """Tell which patches reach so far into a mask or padding that noise is missing."""
    blocks = patches.reshape(len(patches), side, side, -1)
    half, strip = (side + 1) // 2, (side + 3) // 4
    constant = np.zeros(blocks.shape[-1], dtype=bool)
    for height, width in ((half, half), (strip, side), (side, strip)):
        for y in {0, side - height}:
            for x in {0, side - width}:
                part = blocks[:, y : y + height, x : x + width]
                constant |= (part == part[:, :1, :1]).all(axis=(1, 2)).any(axis=0)
    return constant


def _clipped_shares(planes: Planes, positions: NDArray[np.intp], side: int) -> Floats:
    """Return which share of each channel's pixels is clipped, (channel, patch)."""
    clipped = np.array([_is_clipped(plane) for plane in planes])
    if not clipped.any():
        return np.zeros((len(planes), len(positions)))
    shares: Floats = _gather(clipped.astype(np.float32), positions, side).mean(
        axis=1, dtype=np.float64
    )
    return shares


def _is_clipped(plane: Planes) -> NDArray[np.bool_]:
    clipped = np.zeros(plane.shape, dtype=bool)
    for values in (plane, -plane):
        extreme = values == values.min()
        n_extreme = np.count_nonzero(extreme)
        if _MIN_CLIPPED_SHARE * plane.size < n_extreme < plane.size:
            inner = values[~extreme]
            # A histogram that was not cut off gets thinner towards its end.
            if n_extreme > np.count_nonzero(inner == inner.min()):
                clipped |= extreme
    return clipped


def _choose(
    usable: NDArray[np.intp],
    brightness: Floats,
    texture: Planes,
    clipped: Floats,
    share: float,
) -> tuple[NDArray[np.intp], Planes]:
    """Return the flattest of the usable patches, by classes of brightness, and their gains.

    The flattest of all would be the darkest ones where noise grows with brightness, so
    every class of brightness gives the same share of its own.
    """
    usable = usable[np.argsort(brightness[usable], kind="stable")]
    n_classes = min(_BRIGHTNESS_CLASSES, len(usable) // _MIN_PATCHES_PER_BRIGHTNESS)
    chosen = [np.empty(0, dtype=np.intp)]
    gains = [np.empty((len(clipped), 0))]
    for members in np.array_split(usable, max(n_classes, 1)):
        n_kept = math.ceil(share * len(members))
        kept = members[np.argsort(texture[members], kind="stable")[:n_kept]]
        # Judged as a class: single patches free of clipping hold untypical noise.
        shares = clipped[:, kept].sum(axis=1) / max(n_kept, 1)
        if shares.max() <= _MAX_CLIPPED_SHARE:
            chosen.append(kept)
            gain = np.array([[_clipping_gain(share)] for share in shares])
            gains.append(np.tile(gain, n_kept))
    return np.concatenate(chosen), np.concatenate(gains, axis=1).astype(np.float32)


def _clipping_gain(share: float) -> float:
    """Return by how much clipping this share of Gaussian noise has shrunk its spread."""
    if share == 0.0:
        return 1.0
    normal = NormalDist()
    limit = normal.inv_cdf(share)
    density = normal.pdf(limit)
    mean = density + limit * share
    square = 1 - share + limit * density + limit**2 * share
    return float((square - mean**2) ** -0.5)


def _relative_levels(covariance: Floats, n_channels: int) -> Floats | None:
    """Return an upper bound of each channel's noise level, or None if there is none.

    What a coefficient has in common with no other, in any channel, is at least its
    noise. Channels that depend on each other linearly leave no such rest.
    """
    if n_channels == 1:
        return np.ones(1)
    size = len(covariance) // n_channels
    blocks = covariance.reshape(n_channels, size, n_channels, size)
    shared = np.einsum("ikjk->ij", blocks)
    spread = np.sqrt(np.diag(shared))
    if not spread.all():
        return None
    correlation = np.linalg.eigvalsh(shared / np.outer(spread, spread))
    if correlation[0] < _DEPENDENT_CHANNELS * correlation[-1]:
        return None
    values, vectors = np.linalg.eigh(covariance)
    precision = np.square(vectors) @ (1 / np.maximum(values, _TINY * values[-1]))
    rest: Floats = np.quantile(1 / precision.reshape(n_channels, size), 0.25, axis=1)
    return np.sqrt(rest)


def _white_variance(covariance: Floats, count: int) -> tuple[float, float]:
    """Return the noise variance, and the share of eigenvalues that agree on it.

    Chen et al. 2015, algorithm 1: without the eigenvalues of the picture the mean of the
    rest is their median. Equality is never exact, so the mean only has to fall below.
    """
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    n_left = np.arange(1, len(eigenvalues) + 1)
    means = np.cumsum(eigenvalues) / n_left
    medians = (eigenvalues[(n_left - 1) // 2] + eigenvalues[n_left // 2]) / 2
    agreeing = int(np.flatnonzero(means <= medians)[-1])
    # Few patches spread the eigenvalues of plain noise, and skew them to the low side.
    bias = 1 - len(eigenvalues) / count
    return float(means[agreeing]) / bias**2, float(n_left[agreeing] / len(n_left))


def _untextured(brightness: Floats, variances: Floats) -> tuple[NDArray[np.bool_], float]:
    """Return the classes without texture, and what the others change in the mean noise.

    Noise grows about linearly with brightness or not at all, and texture only adds to
    it: the noise is the straight line that no class falls below and that is the highest
    at the mean brightness. Classes well above it are textured.
    """
    line = _supporting_line(brightness, variances)
    if line.mean() <= 0:
        return np.ones(len(variances), dtype=bool), 1.0
    used = variances <= _TEXTURE_EXCESS * line
    return used, float(line.mean() / line[used].mean())


def _supporting_line(x: Floats, y: Floats) -> Floats:
    """Return the line under all points, at their x, that is the highest at their mean."""
    centre = float(np.clip(x.mean(), x[0], x[-1]))
    best = np.full(len(y), np.inf)
    for i in np.flatnonzero(x <= centre):
        for j in np.flatnonzero(x >= centre):
            slope = (y[j] - y[i]) / (x[j] - x[i]) if x[j] > x[i] else 0.0
            line = y[i] + slope * (x - x[i])
            if line.mean() < best.mean():
                best = line
    return best


def _difference_level(plane: Planes) -> float:
    """Return the noise level from second differences, for what is too small for patches."""
    differences = _second_differences(plane)
    if min(plane.shape) > 2 and _has_ties(differences):
        return max(_nugget_level(plane), _level_by_brightness(plane, differences))
    return float(np.median(differences)) / NormalDist().inv_cdf(0.75)


def _second_differences(plane: Planes) -> Floats:
    """Return their sizes, scaled to the spread of plain noise."""
    values = plane.astype(np.float64)
    for axis, size in enumerate(plane.shape):
        order = min(size - 1, 2)
        values = np.diff(values, n=order, axis=axis) / np.sqrt(math.comb(2 * order, order))
    return np.abs(values)


def _holds_counts(planes: Planes) -> bool:
    """Tell whether a channel varies in few steps, constant areas such as a mask aside."""
    sizes = [_second_differences(plane) for plane in planes]
    return any(_has_ties(size[size > _SAME * size.max()]) for size in sizes)


def _has_ties(differences: Floats) -> bool:
    """Tell whether so many differences are equal that their median moves in leaps."""
    if differences.size == 0:
        return False
    apart = np.abs(differences - np.median(differences))
    return bool(np.mean(apart <= _SAME * differences.max()) > _MIN_TIES)


def _nugget_level(plane: Planes) -> float:
    """Return the noise level from the variogram, continued to no distance.

    A straight line through the first two distances is what hard edges have, such as a
    mask's, so that these do not count as noise.
    """
    values = plane.astype(np.float64)
    nuggets = []
    for lines in (values, values.T):
        near, far = (np.mean(np.square(lines[n:] - lines[:-n])) / 2 for n in (1, 2))
        nuggets.append(2 * near - far)
    return math.sqrt(max(float(np.mean(nuggets)), 0.0))


def _level_by_brightness(plane: Planes, differences: Floats) -> float:
    """Return the noise level from second differences, by the brightness around them.

    Spots add to them, but only where they are bright. The line under few blocks would be
    too low by chance alone, so that of small planes nothing is told.
    """
    energies = _means_of_blocks(np.square(differences))
    if len(energies) < _NOISE_CLASSES * _MIN_BLOCKS_PER_CLASS:
        return 0.0
    brightness = _means_of_blocks(plane.astype(np.float64)[1:-1, 1:-1])
    order = np.argsort(brightness, kind="stable")
    means = [
        np.array([values[part].mean() for part in np.array_split(order, _NOISE_CLASSES)])
        for values in (brightness, energies)
    ]
    return math.sqrt(max(float(_supporting_line(*means).mean()), 0.0))


def _means_of_blocks(values: Floats) -> Floats:
    means: Floats = whole_blocks(values, _BLOCK_SIDE).mean(axis=(1, 3)).ravel()
    return means
