"""Blocks of an image less their trend, and what they show of its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel

__all__ = [
    "BLOCKS_PER_BIN",
    "LEAST_LEVELS",
    "LEVEL_BLOCK",
    "LEVEL_SHARE",
    "Blocks",
    "autocorrelation",
    "cross_covariance",
    "cut_blocks",
    "energies",
    "flattest",
    "highest",
    "least",
    "less_trend",
    "simulated_fields",
    "simulated_variances",
    "spread_blocks",
]

Array = npt.NDArray[np.float64]

# Levels need blocks small enough to lie within flat areas, and the flattest of those.
LEVEL_BLOCK = 8
LEVEL_SHARE = 0.1
BLOCKS_PER_BIN = 12
# Fewer levels say nothing of how they depend on the intensity.
LEAST_LEVELS = 4
_INTENSITY_BINS = 8
_SIMULATED_SIDE = 128
_SIMULATIONS = 3
# Texture is weakest in the corner of the cosine transform of a block, where both
# frequencies are high: from this share of their highest sum on.
_HIGHEST = 0.7
# Of the variance of the median block.
_LEAST_OF_TYPICAL = 0.01
# Blocks that are transformed together: bounds the memory whatever the image's size.
_AT_ONCE = 256
# Of all blocks, for the same reason; those of 4096×4096 pixels are still all cut.
_MOST_VALUES = 2**26


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of an image less their trend, those without any variation left out.

    ``residuals`` (B, C, side²), ``means`` (B,), ``variances`` (B,), ``unrest`` (B,): how
    far the means of the eight blocks around a block differ, ``clipped`` (B,): the share of
    values that are the image's darkest or brightest.
    """

    residuals: Array
    means: Array
    variances: Array
    unrest: Array
    clipped: Array

    @property
    def side(self) -> int:
        """Of a block, in pixels."""
        return math.isqrt(self.residuals.shape[-1])

    def of(self, which: npt.NDArray[np.intp]) -> Blocks:
        """Return some of the blocks."""
        found = (self.residuals, self.means, self.variances, self.unrest, self.clipped)
        return Blocks(*(each[which] for each in found))


def cut_blocks(
    planar: npt.NDArray[Any],
    side: int,
    degree: int | None = None,
    padded: npt.NDArray[np.bool_] | None = None,
) -> Blocks:
    """Cut overlapping blocks and subtract a trend of this degree.

    None takes planes in small blocks, paraboloids in larger ones. Of a very large image
    as many as tell enough, evenly spread. Blocks that touch what is padded ``(C, Y, X)``
    are left out if enough others are there: half of one has half of the noise.
    """
    if degree is None:
        degree = 2 if side > LEVEL_BLOCK else 1
    windows = np.lib.stride_tricks.sliding_window_view(planar, (side, side), axis=(1, 2))
    step = side // 2
    grid = windows[:, ::step, ::step]
    unrest = _unrest(grid.mean(axis=(3, 4), dtype=np.float64), side // step)
    whole: npt.NDArray[np.bool_] = np.ones(unrest.shape, bool)
    if padded is not None:
        covered = np.lib.stride_tricks.sliding_window_view(padded.any(axis=0), (side, side))
        whole = np.logical_not(covered[::step, ::step].any(axis=(2, 3)))
    if grid.size > _MOST_VALUES:
        share = math.sqrt(_MOST_VALUES / grid.size)
        down, across = (_evenly(n, int(share * n)) for n in unrest.shape)
        unrest, grid = unrest[down[:, np.newaxis], across], grid[:, down][:, :, across]
        whole = whole[down[:, np.newaxis], across]
    cut = grid.reshape(len(planar), -1, side * side)
    cut = cut.transpose(1, 0, 2).astype(np.float64)
    residuals = less_trend(cut, side, degree)
    variances = np.square(residuals).mean(axis=(1, 2))
    varied = _are_varied(variances, float(np.ptp(planar)))
    if np.count_nonzero(varied & whole.ravel()) >= BLOCKS_PER_BIN:
        varied &= whole.ravel()
    means = cut.mean(axis=(1, 2))
    ends = [end(axis=(1, 2))[:, np.newaxis] for end in (planar.min, planar.max)]
    clipped = np.mean((cut == ends[0]) | (cut == ends[1]), axis=(1, 2))
    found = Blocks(residuals, means, variances, unrest.ravel(), clipped)
    return found if varied.all() else found.of(np.flatnonzero(varied))


def _are_varied(variances: Array, span: float) -> npt.NDArray[np.bool_]:
    """Tell the blocks that vary from those that are one value but for chance.

    By the span of the values, unless a spot so bright that others look alike beside it
    makes that too wide: no noise is that much weaker than most of an image's.
    """
    rounding = float(np.finfo(np.float32).eps)
    above_rounding = variances[variances > (rounding * span) ** 2]
    typical = float(np.median(above_rounding)) if above_rounding.size else 0.0
    varied: npt.NDArray[np.bool_] = variances > max(
        (rounding * span) ** 2, min(rounding * span**2, _LEAST_OF_TYPICAL * typical)
    )
    return varied


def energies(blocks: Blocks) -> tuple[Array, Array]:
    """Return the mean energy ``(B,)`` of blocks below, and in, the highest frequencies."""
    side = blocks.side
    cut = blocks.residuals.reshape(*blocks.residuals.shape[:2], side, side)
    powers = np.square(dctn(cut, axes=(2, 3), norm="ortho")).mean(axis=1)
    high = highest(side)
    return powers[:, ~high].mean(axis=1), powers[:, high].mean(axis=1)


def highest(side: int) -> npt.NDArray[np.bool_]:
    """Return which frequencies of the cosine transform of a block are the highest."""
    order = np.add.outer(np.arange(side), np.arange(side))
    found: npt.NDArray[np.bool_] = order >= _HIGHEST * order.max()
    return found


def flattest(blocks: Blocks, share: float) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the least varied blocks of each intensity range."""
    return least(blocks, blocks.variances, share)


def least(blocks: Blocks, measure: Array, share: float) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the blocks of least measure in each intensity range."""
    count = len(blocks.means)
    bins = int(np.clip(count // BLOCKS_PER_BIN, 1, _INTENSITY_BINS))
    groups = []
    for members in np.array_split(np.argsort(blocks.means, kind="stable"), bins):
        kept = max(3, int(share * len(members)))
        order = np.argsort(measure[members], kind="stable")
        groups.append(members[order[:kept]])
    return groups


def _unrest(means: Array, apart: int) -> Array:
    """Variance ``(Y, X)`` of the means ``(C, Y, X)`` of the blocks around each block."""
    rows, columns = means.shape[1:]
    padded = np.pad(means, ((0, 0), (apart, apart), (apart, apart)), mode="symmetric")
    shifts = (0, apart, 2 * apart)
    around = [
        padded[:, y : y + rows, x : x + columns]
        for y in shifts
        for x in shifts
        if (y, x) != (apart, apart)
    ]
    return np.asarray(np.var(around, axis=0).sum(axis=0))


def _evenly(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most so many of a number of places, evenly spread, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(most, count), dtype=np.intp))


def spread_blocks(planar: npt.NDArray[Any], side: int, most: int) -> tuple[Array, Array]:
    """Cut blocks less a plane ``(B, C, side²)``, and tell their means ``(B,)``.

    At most so many along each axis, evenly spread: the same ones of any image of this
    size, those without variation included.
    """
    windows = np.lib.stride_tricks.sliding_window_view(planar, (side, side), axis=(1, 2))
    down, across = (
        _evenly(count, min(most, 1 + 4 * count // side)) for count in windows.shape[1:3]
    )
    cut = windows[:, down[:, np.newaxis], across].reshape(len(planar), -1, side * side)
    cut = cut.transpose(1, 0, 2).astype(np.float64)
    return less_trend(cut, side, degree=1), cut.mean(axis=(1, 2))


def less_trend(cut: Array, side: int, degree: int) -> Array:
    """Subtract from blocks ``(…, side²)`` the trend of this degree that fits best."""
    basis = _trend_basis(side, degree)
    less: Array = cut - (cut @ basis) @ basis.T
    return less


def _trend_basis(side: int, degree: int) -> Array:
    """Orthonormal polynomials over a block: of degree 1 a plane, of 2 a paraboloid."""
    line = np.linspace(-1.0, 1.0, side)
    y, x = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    terms = [y**n * x**m for n in range(degree + 1) for m in range(degree + 1 - n)]
    basis: Array = np.linalg.qr(np.stack(terms, axis=1))[0]
    return basis


def autocorrelation(blocks: npt.NDArray[Any], farthest: int) -> Array:
    """Autocorrelation of blocks ``(B, C, n, n)``, tapered towards the farthest pixel."""
    flat = blocks.reshape(-1, *blocks.shape[2:])
    covariance = cross_covariance(flat, flat, farthest)
    correlation: Array = covariance / covariance[farthest, farthest]
    return correlation


def cross_covariance(
    first: npt.NDArray[Any], second: npt.NDArray[Any], farthest: int
) -> Array:
    """Covariance by distance between blocks ``(B, n, n)``, tapered, in both directions."""
    side = first.shape[-1]
    size = (2 * side, 2 * side)
    power = np.zeros((2 * side, side + 1))
    for start in range(0, len(first), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        spectra = np.fft.rfft2(first[part], s=size)
        others = spectra if second is first else np.fft.rfft2(second[part], s=size)
        power += (spectra * others.conj()).real.sum(axis=0)
    overlap = np.square(np.abs(np.fft.rfft2(np.ones((side, side)), s=size)))
    pairs = np.maximum(np.fft.irfft2(overlap, s=size), 0.5)
    products = np.fft.irfft2(power, s=size) / pairs
    reach = np.arange(-farthest, farthest + 1)
    near = products[np.ix_(reach, reach)] / len(first)
    distance = np.hypot(reach[:, np.newaxis], reach)
    taper = np.sqrt(np.clip(1 - distance / (farthest + 1), 0, None))
    covariance: Array = taper * near
    return covariance


def simulated_fields(model: NoiseModel) -> npt.NDArray[np.float32]:
    """Fields ``(K, C, Y, X)`` of noise of variance 1, always the same."""
    rng = np.random.default_rng(0)
    return model.fields((_SIMULATED_SIDE, _SIMULATED_SIDE), _SIMULATIONS, rng)


def simulated_variances(
    model: NoiseModel, side: int = LEVEL_BLOCK, degree: int | None = None
) -> Array:
    """Variances, rising, that blocks show of noise that has variance 1."""
    found = [cut_blocks(field, side, degree).variances for field in simulated_fields(model)]
    return np.sort(np.concatenate(found))
