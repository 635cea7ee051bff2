"""White noise that went through a filter with the image: which one, and how much noise.

Users smooth, despeckle, register, turn and scale their images, and so do microscopes'
programs. Hardly anything but noise is left at the highest frequencies then, and it falls
off there as white noise does behind the filter. Structure over white noise ends on a floor
instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import trim_mean

from napari_msdip._noise.blocks import Blocks, least
from napari_msdip._noise.filter_bank import (
    FILTER_BLOCK,
    HIGHEST,
    filters,
    frequencies,
    taper,
)
from napari_msdip._noise.model import NoiseModel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Filtered", "filtered"]

Array = npt.NDArray[np.float64]

# Frequencies by which blocks are chosen, as a share of the highest along an axis. Chance
# must not choose what is measured.
_LOWER = (0.2, 0.48)
_QUIET_SHARE = 0.2
_TRIMMED = 0.1
_MOST_CLIPPED = 0.5
_LEAST_BLOCKS = 40
# More, evenly spread, would only take memory.
_MOST_BLOCKS = 2**14
# Blocks that are transformed together, for the same reason.
_AT_ONCE = 256
# As a share of the strongest of the highest: what is weaker than this counts for little, as
# it has leaked from structure.
_LEAKED = 0.003
_REFINEMENTS = 5
# How far from the noise of a filter an image may be, and by how much farther if it is
# farther from white noise than cameras are; and how near to white noise: next to none that
# is this far from it is texture, of those nearer some are.
_MOST_MISFIT = 0.13
_FARTHER = 0.18
_CAMERAS_DEPARTURE = 1.0
_MOST_GROWTH = 1.35
_LESS_GROWTH = 1.2
_MOST_APART = 0.15
# Noise is the more uneven, the fewer frequencies a filter leaves: more by the departure.
_MOST_UNEVEN = (0.4, 0.06)
_BARELY = 0.05
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
        near = self.is_close or self.misfit < _most_misfit(self.departure)
        return self.is_shared and near

    @property
    def is_close(self) -> bool:
        """Whether it fits as well as any filter must, or far better than all others."""
        return self.misfit < _MOST_MISFIT or self.is_unmistakable

    @property
    def is_unmistakable(self) -> bool:
        """Whether noise looks like this behind a mean or median alone, structure never."""
        return self.misfit < _WINDOW_MISFIT * self.rival

    @property
    def is_likely(self) -> bool:
        """Whether noise went through the filter, or else texture looks like that."""
        even = self.unevenness < self._most_uneven
        apart = self.departure > _LEAST_DEPARTURE
        most = _MOST_GROWTH if self.is_close else _LESS_GROWTH
        return self.fits and self.growth < most and even and apart

    @property
    def is_barely_even(self) -> bool:
        """Whether blocks differ nearly as much as only texture's do."""
        return self.unevenness > self._most_uneven - _BARELY

    @property
    def _most_uneven(self) -> float:
        at_none, by_departure = _MOST_UNEVEN
        return at_none + by_departure * self.departure

    @property
    def is_clear(self) -> bool:
        """Whether texture hardly ever looks like that."""
        if self.is_unmistakable:
            return self.fits
        return self.is_likely and self.departure > _CLEAR_DEPARTURE


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
    few = kept[:: 1 + len(kept) // _MOST_BLOCKS]
    if len(few) < len(blocks.means):
        blocks = blocks.of(few)
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
    bank = filters()
    rounding = step**2 / 12 * float(np.mean(1 / levels))
    powers, misfits = _fitted(even.mean(axis=0), bank.energies, rounding)
    best = int(np.argmin(misfits))
    structure = np.sqrt(max(misfits[best] ** 2 - _most_misfit(misfits[0]) ** 2, 0.0))
    share = np.exp(_ADDED * structure) * bank.shares[best]
    return Filtered(
        correlation=bank.correlation(best),
        channels=_covariance(spectra[np.concatenate(groups)]),
        intensities=np.array([blocks.means[group].mean() for group in groups]),
        sigmas=np.sqrt(powers[best] * _usual(high, groups)) / share,
        misfit=float(misfits[best]),
        departure=float(misfits[0]),
        unevenness=float(even.mean(axis=1).std()),
        growth=float(np.median(beyond / levels)),
        rival=float(misfits[: bank.first_window].min()),
    )


def _most_misfit(departure: float) -> float:
    return _MOST_MISFIT + _FARTHER * max(departure - _CAMERAS_DEPARTURE, 0.0)


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
    window = np.outer(taper(), taper())
    spectra = np.empty((*cut.shape[:-1], FILTER_BLOCK // 2 + 1), np.complex128)
    for part in _parts(len(cut)):
        spectra[part] = np.fft.rfft2(cut[part] * window)
    return spectra


def _parts(count: int) -> list[slice]:
    """Divide blocks into as many as are looked at together."""
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _energies(spectra: npt.NDArray[np.complex128]) -> tuple[Array, Array]:
    """Return energies of blocks: ``(B,)`` at lower, ``(B, H)`` at the highest frequencies.

    Both directions along the diagonals together, the mean of all channels.
    """
    parts = (spectra[part] for part in _parts(len(spectra)))
    energies = np.concatenate([np.square(np.abs(each)).mean(axis=1) for each in parts])
    half = FILTER_BLOCK // 2
    folded = energies[:, : half + 1].copy()
    folded[:, 1:half] = (folded[:, 1:half] + energies[:, :half:-1]) / 2
    places = frequencies()
    lower = (places > _LOWER[0]) & (places < _LOWER[1])
    return folded[:, lower].mean(axis=1), folded[:, places >= HIGHEST]


def _covariance(spectra: npt.NDArray[np.complex128]) -> Array:
    """Return the covariance of channels at the highest frequencies, 1 on average."""
    half = FILTER_BLOCK // 2
    high = spectra[:, :, : half + 1][..., frequencies() >= HIGHEST]
    covariance: Array = np.einsum("bcf,bdf->cd", high, high.conj()).real
    covariance *= len(covariance) / np.trace(covariance)
    return covariance
