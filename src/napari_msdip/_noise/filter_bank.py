"""Filters that users and microscopes apply, and what white noise looks like behind them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    gaussian_filter,
    generate_binary_structure,
    median_filter,
    shift,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FILTER_BLOCK", "HIGHEST", "Filters", "filters", "frequencies", "taper"]

Array = npt.NDArray[np.float64]

# Room for correlations, too, which are read off the same blocks.
FILTER_BLOCK = 16
# Frequencies from here on tell filters apart, as a share of the highest along an axis.
HIGHEST = 0.6
# Filters: Gaussian blurs, by their widths in pixels; splines of these degrees, at parts
# of a pixel, so many to a pixel, or between pixels throughout, at so many times the scale;
# along a line, as slow electronics do, sums of so many pixels or decays over so many; means
# and medians of the pixels in a window, and the mean of 3×3 pixels taken twice; weights of
# three pixels, and straight lines between pixels where there are twice as many.
_WIDTHS = np.append(0.0, np.arange(0.3, 1.71, 0.05))
_MOST_OBLONG = 0.45
_PARTS = {1: 40, 3: 20}
_SCALES = np.arange(0.8, 2.51, 0.05)
_SUMS = (2, 3)
_DECAYS = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
_WINDOWS = (
    generate_binary_structure(2, 1),
    np.ones((3, 3), bool),
    np.hypot(*np.mgrid[-2:3, -2:3]) < 2.5,
    np.ones((5, 5), bool),
)
_TWICE = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1])
_BINOMIAL = np.outer([1, 2, 1], [1, 2, 1])
_DOUBLED = np.outer([1, 3, 3, 1], [1, 3, 3, 1])
# The high frequencies of a doubled image are its lower ones again, by which quiet blocks
# are chosen: what share of the level they show.
_DOUBLED_SHARE = 0.84
# Side of the noise of which medians are taken to see how they correlate, and how steep the
# image is under it: root mean square, in its standard deviations per pixel. On slopes a
# median takes its pixels from a line.
_SIMULATED = 512
_SLOPES = (0.0, 0.54)
_SMOOTH = 6.0
_KERNEL_REACH = 12
_REACH = 8


@dataclass(frozen=True, eq=False)
class Filters:
    """Filters, the first of which leaves noise as it is.

    ``correlations`` ``(F, n, n)`` are the autocorrelations of white noise behind them, at
    lags down and across from 0 on, ``energies`` ``(F, H)`` its highest frequencies, and
    ``shares`` ``(F,)`` those of its level that quiet blocks show. The last are windows.
    """

    correlations: Array
    energies: Array
    shares: Array
    first_window: int

    def correlation(self, which: int) -> Array:
        """Return the autocorrelation ``(2r+1, 2r+1)`` behind one of the filters."""
        quarter = self.correlations[which, : _REACH + 1, : _REACH + 1]
        return np.pad(quarter, ((_REACH, 0), (_REACH, 0)), mode="reflect")


def frequencies() -> Array:
    """Frequencies of a folded spectrum, 1 the highest along an axis."""
    along = np.arange(FILTER_BLOCK // 2 + 1) / (FILTER_BLOCK // 2)
    return np.hypot.outer(along, along)


def taper() -> Array:
    """Let little of structure leak to frequencies where there is none."""
    weights: Array = np.blackman(FILTER_BLOCK + 2)[1:-1]
    weights /= np.linalg.norm(weights)
    return weights


@cache
def filters() -> Filters:
    """Return all filters that noise is compared with."""
    noise, image = _simulated()
    medians = [
        _median(window, noise, slope * image) for window in _WINDOWS for slope in _SLOPES
    ]
    windows = np.stack([*map(_mean, (*_WINDOWS, _TWICE)), *medians])
    squares = np.stack([*map(_mean, (_BINOMIAL, _DOUBLED))])
    correlations = np.concatenate([*_families(), squares, windows])
    first_window = len(correlations) - len(windows)
    shares = np.ones(len(correlations))
    shares[first_window - 1] = _DOUBLED_SHARE
    waves = _waves()
    energies = waves @ correlations @ waves.T
    high = np.maximum(energies[:, frequencies() >= HIGHEST], np.finfo(float).eps)
    return Filters(correlations, high, shares, first_window)


def _families() -> Iterator[Array]:
    """Yield the autocorrelations ``(F, n, n)`` behind filters of a kind."""
    blurs = np.stack([_autocorrelation(_gaussian(width)) for width in _WIDTHS])
    oblong = np.abs(np.subtract.outer(_WIDTHS, _WIDTHS))
    yield _products(blurs, np.argwhere(oblong < _MOST_OBLONG))
    for degree, parts in _PARTS.items():
        shifted = [_spline(degree, part / parts) for part in range(parts // 2 + 1)]
        lines = np.stack([_autocorrelation(kernel) for kernel in shifted])
        yield _products(lines, np.argwhere(np.ones((len(lines), len(lines)))))
        scaled = np.stack([_scaled(degree, scale) for scale in _SCALES])
        yield _products(scaled, np.repeat(np.arange(len(scaled)), 2).reshape(-1, 2))
    kernels = [*map(np.ones, (1, *_SUMS)), *map(_decay, _DECAYS)]
    lines = np.stack([_autocorrelation(kernel) for kernel in kernels])
    along = np.stack([np.arange(1, len(lines)), np.zeros(len(lines) - 1, np.intp)], axis=1)
    yield _products(lines, np.concatenate([along, along[:, ::-1]]))


def _products(lines: Array, pairs: npt.NDArray[np.intp]) -> Array:
    """Autocorrelations of filters that go down and across one after the other."""
    down, across = np.moveaxis(lines[pairs], 1, 0)
    both: Array = down[:, :, np.newaxis] * across[:, np.newaxis]
    return both


def _mean(weights: npt.NDArray[Any]) -> Array:
    rows, columns = weights.shape
    room = np.zeros((2 * FILTER_BLOCK,) * 2)
    room[:rows, :columns] = weights
    return _correlated(room)


def _simulated() -> tuple[Array, Array]:
    """Return white noise, and a smooth image with a slope of 1, root mean square."""
    noise, image = np.random.default_rng(0).standard_normal((2, _SIMULATED, _SIMULATED))
    image = gaussian_filter(image, _SMOOTH, mode="wrap")
    down, across = np.gradient(image)
    return noise, image / np.sqrt(np.mean(down**2 + across**2))


def _median(window: npt.NDArray[np.bool_], noise: Array, image: Array) -> Array:
    """Autocorrelation of medians of noise, which no kernel tells."""
    seen, clean = (
        median_filter(values, footprint=window, mode="wrap")
        for values in (image + noise, image)
    )
    correlation = _correlated(seen - clean)
    # Windows without a pixel in common have independent medians.
    correlation[_mean(window) < np.finfo(np.float32).eps] = 0
    return correlation


def _correlated(image: npt.NDArray[np.floating[Any]]) -> Array:
    """Autocorrelation at lags down and across, in a periodic image."""
    energies = np.square(np.abs(np.fft.rfft2(image)))
    products = np.fft.irfft2(energies, image.shape)[:FILTER_BLOCK, :FILTER_BLOCK]
    correlation: Array = products / products[0, 0]
    return correlation


def _decay(pixels: float) -> Array:
    decay: Array = np.exp(-np.arange(2 * _KERNEL_REACH) / pixels)
    return decay


def _gaussian(width: float) -> Array:
    places = np.arange(-_KERNEL_REACH, _KERNEL_REACH + 1)
    kernel: Array = (
        np.exp(-0.5 * np.square(places / width)) if width else 1.0 * (places == 0)
    )
    return kernel


def _spline(degree: int, part: float) -> Array:
    """Weights of pixels for a value at this part of a pixel from one of them."""
    impulse = np.zeros(2 * _KERNEL_REACH + 1)
    impulse[_KERNEL_REACH] = 1
    weights: Array = shift(impulse, part, order=degree)
    return weights


def _scaled(degree: int, scale: float) -> Array:
    """Autocorrelation, on average, of values that lie anywhere between pixels."""
    fine = _PARTS[1]
    kernel = np.stack([_spline(degree, -part / fine) for part in range(fine)], axis=1)
    whole = np.correlate(kernel.ravel(), kernel.ravel(), "full")[kernel.size - 1 :]
    lags = fine * np.arange(FILTER_BLOCK) / scale
    behind: Array = np.interp(lags, np.arange(len(whole)), whole / whole[0])
    return behind


def _autocorrelation(kernel: Array) -> Array:
    products = np.correlate(kernel, kernel, "full")[len(kernel) - 1 :][:FILTER_BLOCK]
    behind: Array = np.pad(products / products[0], (0, FILTER_BLOCK - len(products)))
    return behind


def _waves() -> Array:
    """Matrix ``(n/2+1, n)`` from autocorrelation to energy of windowed noise, on a line."""
    lags = np.arange(FILTER_BLOCK)
    weights = taper()
    overlaps = np.correlate(weights, weights, "full")[len(weights) - 1 :]
    overlaps[1:] *= 2
    orders = np.arange(FILTER_BLOCK // 2 + 1)
    waves: Array = overlaps * np.cos(2 * np.pi * np.outer(orders, lags) / FILTER_BLOCK)
    return waves
