"""White noise that went through a filter with the image: which one, and how much noise.

Users smooth, despeckle, register, turn and scale their images, and so do microscopes'
programs. Hardly anything but noise is left at the highest frequencies then, and it falls
off there as white noise does behind the filter. Structure over white noise ends on a floor
instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import generate_binary_structure, median_filter, shift
from scipy.stats import trim_mean

from napari_msdip._noise.blocks import Blocks, least
from napari_msdip._noise.model import NoiseModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["FILTER_BLOCK", "Filtered", "filtered"]

Array = npt.NDArray[np.float64]

# Room for correlations, too, which are read off the same blocks.
FILTER_BLOCK = 16
# Frequencies, as a share of the highest along an axis: at which filters are told apart,
# and by which blocks are chosen. Chance must not choose what is measured.
_HIGHEST = 0.6
_LOWER = (0.2, 0.48)
_QUIET_SHARE = 0.2
_TRIMMED = 0.1
_MOST_CLIPPED = 0.5
_LEAST_BLOCKS = 40
# More, evenly spread, would only take memory.
_MOST_BLOCKS = 2**14
# As a share of the strongest of the highest: what is weaker than this counts for little, as
# it has leaked from structure.
_LEAKED = 0.003
# Filters: Gaussian blurs, by their widths in pixels; splines of these degrees, at parts
# of a pixel, so many to a pixel, or between pixels throughout, at so many times the scale;
# along a line, as slow electronics do, sums of so many pixels or decays over so many; means
# and medians of the pixels in a window, and the mean of 3×3 pixels taken twice.
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
# Side of the noise of which medians are taken to see how they correlate.
_SIMULATED = 512
_KERNEL_REACH = 12
_REACH = 8
_REFINEMENTS = 5
# How far from the noise of a filter an image may be, and how near to white noise: next to
# none that is this far from it is texture, of those nearer some are.
_MOST_MISFIT = 0.13
_MOST_GROWTH = 1.35
_MOST_APART = 0.15
# Noise is the more uneven, the fewer frequencies a filter leaves: more by the departure.
_MOST_UNEVEN = (0.4, 0.06)
_CLEAR_DEPARTURE = 0.4
# Nothing but means and medians falls and rises again like them: of the misfit of the
# nearest other filter.
_WINDOW_MISFIT = 0.55
# What structure adds to the level, as a logarithm, by the misfit that it makes.
_ADDED = 1.1
_LEAST_DEPARTURE = 0.3


@dataclass(frozen=True, eq=False)
class Filtered:
    """The filter behind which white noise is most like an image's, and that noise.

    Attributes
    ----------
    correlation : ndarray
        ``(2r+1, 2r+1)`` autocorrelation, 1 in the middle.
    channels : ndarray
        ``(C, C)`` covariance between channels, its diagonal 1 on average.
    intensities, sigmas : ndarray
        ``(K,)`` its standard deviation by local intensity, intensities rising.
    misfit : float
        Of the logarithms of energies at the highest frequencies, root mean square.
    departure : float
        The same if there were no filter.
    unevenness : float
        Spread of those energies from block to block, over their mean.
    growth : float
        Those energies in the next blocks, which have more at lower frequencies, over the
        quietest ones'. Noise has not, but structure has more of both.
    rival : float
        Misfit of the nearest filter that is no mean or median of the pixels in a window.
    is_shared : bool
        Whether no combination of channels speaks against the filter, which is asked if it
        fits all together.
    """

    correlation: Array
    channels: Array
    intensities: Array
    sigmas: Array
    misfit: float
    departure: float
    unevenness: float
    growth: float
    rival: float
    is_shared: bool = True

    @property
    def neighbours(self) -> float:
        """Mean correlation between pixels that share a side."""
        return NoiseModel.unit(self.correlation).neighbour_correlation

    @property
    def is_noise(self) -> bool:
        """Whether the highest frequencies hold hardly more than noise of any kind."""
        return self.growth < _MOST_GROWTH

    @property
    def fits(self) -> bool:
        """Whether noise behind the filter looks like this, or structure does."""
        near = self.misfit < _MOST_MISFIT or self.is_unmistakable
        return self.is_shared and near

    @property
    def is_unmistakable(self) -> bool:
        """Whether noise looks like this behind a mean or median alone, structure never."""
        return self.misfit < _WINDOW_MISFIT * self.rival

    @property
    def is_likely(self) -> bool:
        """Whether noise went through the filter, or else texture looks like that."""
        least, by_departure = _MOST_UNEVEN
        even = self.unevenness < least + by_departure * self.departure
        apart = self.departure > _LEAST_DEPARTURE
        return self.fits and self.is_noise and even and apart

    @property
    def is_clear(self) -> bool:
        """Whether texture hardly ever looks like that."""
        if self.is_unmistakable:
            return self.fits
        return self.is_likely and self.departure > _CLEAR_DEPARTURE


@dataclass(frozen=True, eq=False)
class _Filters:
    """Filters, the first of which leaves noise as it is.

    ``correlations`` ``(F, n, n)`` are the autocorrelations of white noise behind them, at
    lags down and across from 0 on, and ``energies`` ``(F, H)`` its highest frequencies.
    The last are windows.
    """

    correlations: Array
    energies: Array
    first_window: int

    def correlation(self, which: int) -> Array:
        """Return the autocorrelation ``(2r+1, 2r+1)`` behind one of the filters."""
        quarter = self.correlations[which, : _REACH + 1, : _REACH + 1]
        return np.pad(quarter, ((_REACH, 0), (_REACH, 0)), mode="reflect")


def filtered(blocks: Blocks, step: float, axes: Array) -> Filtered | None:
    """Find the filter that an image's noise went through.

    Parameters
    ----------
    blocks : Blocks
        Of 16×16 pixels.
    step : float
        Between neighbouring values, to which the image was rounded behind the filter.
    axes : ndarray
        ``(C, C)`` orthonormal rows: the combinations of channels whose noise is
        independent. That of a camera's colours is wider than that of its brightness.

    Returns
    -------
    Filtered or None
        None where blocks are too few to tell.
    """
    together = _nearest(blocks, step)
    if together is None or not together.fits or len(axes) == 1:
        return together
    apart = [_nearest(_combined(blocks, axis), step) for axis in axes]
    shared = [each.neighbours for each in apart if each is not None and each.is_noise]
    far = np.abs(np.subtract(shared, together.neighbours)) > _MOST_APART
    return replace(together, is_shared=not far.any())


def _combined(blocks: Blocks, axis: Array) -> Blocks:
    mixed = np.tensordot(blocks.residuals, axis, axes=(1, 0))
    return replace(blocks, residuals=mixed[:, np.newaxis])


def _nearest(blocks: Blocks, step: float) -> Filtered | None:
    kept = np.flatnonzero(blocks.clipped < _MOST_CLIPPED)
    blocks = blocks.of(kept[:: 1 + len(kept) // _MOST_BLOCKS])
    if blocks.side != FILTER_BLOCK or len(blocks.means) < _LEAST_BLOCKS:
        return None
    spectra = _spectra(blocks)
    low, high = _energies(spectra)
    halves = [np.array_split(group, 2) for group in least(blocks, low, 2 * _QUIET_SHARE)]
    groups, others = zip(*halves, strict=True)
    levels, beyond = (
        np.array([high[group].mean() for group in each]) for each in (groups, others)
    )
    if not levels.all():
        return None
    relative = [high[group] / level for group, level in zip(groups, levels, strict=True)]
    even = np.concatenate(relative)
    filters = _filters()
    rounding = step**2 / 12 * float(np.mean(1 / levels))
    powers, misfits = _fitted(even.mean(axis=0), filters.energies, rounding)
    best = int(np.argmin(misfits))
    structure = np.sqrt(max(misfits[best] ** 2 - _MOST_MISFIT**2, 0.0))
    return Filtered(
        correlation=filters.correlation(best),
        channels=_covariance(spectra[np.concatenate(groups)]),
        intensities=np.array([blocks.means[group].mean() for group in groups]),
        sigmas=np.exp(-_ADDED * structure) * np.sqrt(powers[best] * _usual(high, groups)),
        misfit=float(misfits[best]),
        departure=float(misfits[0]),
        unevenness=float(even.mean(axis=1).std()),
        growth=float(np.median(beyond / levels)),
        rival=float(misfits[: filters.first_window].min()),
    )


def _usual(high: Array, groups: Sequence[npt.NDArray[np.intp]]) -> Array:
    """Return the mean energy of each group, without the few that hold bright structure."""
    return np.array([trim_mean(high[group].mean(axis=1), _TRIMMED) for group in groups])


def _fitted(found: Array, energies: Array, rounding: float) -> tuple[Array, Array]:
    """Return the power that noise has behind each filter, and how badly it fits."""
    leaked = _LEAKED * found.max()
    powers = found.mean() / energies.mean(axis=1)
    for _ in range(_REFINEMENTS):
        expected = energies + (rounding + leaked) / powers[:, np.newaxis]
        misfits = np.log((found + leaked) / expected)
        powers = np.exp(misfits.mean(axis=1))
    return powers, misfits.std(axis=1)


def _spectra(blocks: Blocks) -> npt.NDArray[np.complex128]:
    """Return windowed spectra ``(B, C, n, n/2+1)`` of blocks."""
    cut = blocks.residuals.reshape(*blocks.residuals.shape[:2], FILTER_BLOCK, FILTER_BLOCK)
    spectra: npt.NDArray[np.complex128] = np.fft.rfft2(cut * np.outer(_window(), _window()))
    return spectra


def _energies(spectra: npt.NDArray[np.complex128]) -> tuple[Array, Array]:
    """Return energies of blocks: ``(B,)`` at lower, ``(B, H)`` at the highest frequencies.

    Both directions along the diagonals together, the mean of all channels.
    """
    energies = np.square(np.abs(spectra)).mean(axis=1)
    half = FILTER_BLOCK // 2
    folded = energies[:, : half + 1].copy()
    folded[:, 1:half] = (folded[:, 1:half] + energies[:, :half:-1]) / 2
    frequencies = _frequencies()
    lower = (frequencies > _LOWER[0]) & (frequencies < _LOWER[1])
    return folded[:, lower].mean(axis=1), folded[:, frequencies >= _HIGHEST]


def _covariance(spectra: npt.NDArray[np.complex128]) -> Array:
    """Return the covariance of channels at the highest frequencies, 1 on average."""
    half = FILTER_BLOCK // 2
    high = spectra[:, :, : half + 1][..., _frequencies() >= _HIGHEST]
    covariance: Array = np.einsum("bcf,bdf->cd", high, high.conj()).real
    covariance *= len(covariance) / np.trace(covariance)
    return covariance


def _frequencies() -> Array:
    """Frequencies of a folded spectrum, 1 the highest along an axis."""
    along = np.arange(FILTER_BLOCK // 2 + 1) / (FILTER_BLOCK // 2)
    return np.hypot.outer(along, along)


def _window() -> Array:
    """Let little of structure leak to frequencies where there is none."""
    window: Array = np.blackman(FILTER_BLOCK + 2)[1:-1]
    window /= np.linalg.norm(window)
    return window


@cache
def _filters() -> _Filters:
    windows = np.stack([*map(_mean, (*_WINDOWS, _TWICE)), *map(_median, _WINDOWS)])
    correlations = np.concatenate([*_families(), windows])
    waves = _waves()
    energies = waves @ correlations @ waves.T
    high = energies[:, _frequencies() >= _HIGHEST]
    first_window = len(correlations) - len(windows)
    return _Filters(correlations, np.maximum(high, np.finfo(float).eps), first_window)


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


def _median(window: npt.NDArray[np.bool_]) -> Array:
    """Autocorrelation of medians, which no kernel tells: of noise that is simulated."""
    white = np.random.default_rng(0).standard_normal((_SIMULATED,) * 2)
    correlation = _correlated(median_filter(white, footprint=window, mode="wrap"))
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
    window = _window()
    overlaps = np.correlate(window, window, "full")[len(window) - 1 :]
    overlaps[1:] *= 2
    frequencies = np.arange(FILTER_BLOCK // 2 + 1)
    waves: Array = overlaps * np.cos(2 * np.pi * np.outer(frequencies, lags) / FILTER_BLOCK)
    return waves
