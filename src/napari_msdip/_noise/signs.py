"""What blocks of noise show otherwise than those with texture or spots in them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, spearmanr

from napari_msdip._noise.blocks import (
    LEAST_LEVELS,
    LEVEL_SHARE,
    Blocks,
    cut_blocks,
    energies,
    flattest,
    highest,
    least,
    less_trend,
    simulated_fields,
)
from napari_msdip.pixels import robust_range

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel

__all__ = [
    "blockiness",
    "bulge",
    "calmest",
    "contrast",
    "divergence",
    "excess",
    "rise",
    "roughness",
    "skewness",
    "step",
    "unevenness",
    "variety",
]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

_MOST_VALUES = 2**16
_CELL = 4
# Share of the blocks, and degree of the trend, that tell soft structure from noise.
_SOFT_SHARE = 0.25
_SOFT_DEGREE = 4
_GAUSSIAN_KURTOSIS = 3.0
# Where spots raise the level, only this share of the intensities, that of the lowest
# levels, tells of the noise.
_CALMEST = 0.25
# The share of the intensities at either end of their levels.
_ENDS = 0.25
# Up to which share of clipped values blocks show how strong their noise is, how many of
# them must be there, how many are more than enough, and which quantiles of its strength are
# compared: the quiet half, as edges of colour are in the other.
_HARDLY_CLIPPED = 0.02
_ENOUGH = 64
_PLENTY = 2**14
_QUIET, _TYPICAL = 0.1, 0.5
# Of independent noise differences of channels hold twice the energy that channels do. Where
# they hold no more than this share of that, it is what rounding left, or edges of colour.
_LITTLE_IN_DIFFERENCES = 0.1
# What few blocks of such noise seldom exceed, times the root of their number.
_BY_CHANCE = 2.0
# Pixels from border to border of the blocks that JPEG compresses, how many there must be in
# a row, up to which quantile differences tell of noise rather than edges, and how many
# standard errors count.
_PERIOD = 8
_LEAST_PERIODS = 6
_WITHOUT_EDGES = 0.75
_SURELY = 4.5
# So many tell as much as all of a large image, and take no memory to speak of.
_MOST_PIXELS = 2**20
# Skewness by chance: independent values in a block of correlated noise, simulated, and how
# many standard errors count.
_INDEPENDENT = 20
_CLEARLY = 3.5


def contrast(planar: Planar, padded: npt.NDArray[np.bool_] | None = None) -> float:
    """Return how far apart all but the darkest and brightest values of an image are.

    But for those that are padded ``(C, Y, X)``, unless all are.
    """
    shown = planar if padded is None or padded.all() else planar[~padded]
    low, high = robust_range(shown)
    return float(high - low)


def step(planar: Planar) -> float:
    """Return the smallest difference between values of an image."""
    sample = planar.ravel()[:: 1 + planar.size // _MOST_VALUES]
    return float(np.diff(np.unique(sample)).min(initial=np.ptp(sample)))


def excess(blocks: Blocks, simulated: Array) -> float:
    """Return how far the flattest blocks differ, at the median intensity, beyond noise.

    ``simulated`` are the variances, rising, that blocks show of noise alone.
    """
    groups = flattest(blocks, 1.0)
    found = np.median([_spread(blocks.variances[group]) for group in groups])
    return float(found) - _spread(simulated)


def _spread(variances: Array) -> float:
    lowest, low = np.quantile(variances, (LEVEL_SHARE / 10, LEVEL_SHARE))
    return float(np.log(low / lowest))


def unevenness(blocks: Blocks, model: NoiseModel) -> float:
    """Return how far the flattest blocks are from noise inside; 1 is Gaussian noise.

    Texture, unlike noise, has outliers, and its energy is patchy within a block.
    """
    side = blocks.side
    chosen = np.concatenate(flattest(blocks, LEVEL_SHARE))
    patchiness = _patchiness(blocks.residuals[chosen], side)
    expected = np.mean(
        [
            _patchiness(cut_blocks(field, side).residuals, side)
            for field in simulated_fields(model)
        ]
    )
    unit = blocks.residuals[chosen] / np.sqrt(blocks.variances[chosen])[:, None, None]
    kurtosis = float(np.mean(unit**4) / np.mean(unit**2) ** 2)
    return float(kurtosis / _GAUSSIAN_KURTOSIS * patchiness / expected)


def roughness(blocks: Blocks) -> float:
    """Return the share of the flattest blocks' variance that no slow trend explains.

    Soft structure is nearly all trend, noise hardly, however many pixels share it.
    """
    chosen = blocks.residuals[np.concatenate(flattest(blocks, _SOFT_SHARE))]
    rest = less_trend(chosen, blocks.side, _SOFT_DEGREE)
    return float(np.square(rest).sum() / np.square(chosen).sum())


def _patchiness(residuals: Array, side: int) -> float:
    """Return the relative spread of energy between the cells of a block."""
    cells = side // _CELL
    cut = residuals[..., : (cells * _CELL) * side].reshape(
        *residuals.shape[:2], cells, _CELL, side
    )[..., : cells * _CELL]
    powers = np.square(cut).reshape(*cut.shape[:4], cells, _CELL).mean(axis=(1, 3, 5))
    powers = powers.reshape(len(powers), -1)
    return float(np.mean(powers.std(axis=1) / powers.mean(axis=1)))


def skewness(blocks: Blocks, sigmas: Array) -> float:
    """Return how skewed the blocks that tell the higher levels are; 0 by chance."""
    groups = flattest(blocks, LEVEL_SHARE)
    noisier = [groups[n] for n in np.argsort(sigmas, kind="stable")[len(groups) // 2 :]]
    skewed = float(np.mean([_third_moment(blocks.residuals[g]) for g in noisier]))
    values = _INDEPENDENT * sum(len(group) for group in noisier)
    return skewed if abs(skewed) > _CLEARLY * math.sqrt(6 / values) else 0.0


def _third_moment(residuals: Array) -> float:
    """Third moment of blocks ``(B, C, side²)`` in units of their spread.

    Of the mean of the channels: a dark one by itself is skewed where 0 cuts its noise off.
    """
    values = residuals.mean(axis=1)
    spread = math.sqrt(np.mean(np.square(values)))
    return float(np.mean((values / spread) ** 3)) if spread else 0.0


def rise(model: NoiseModel) -> float:
    """Return how steadily levels rise with the intensity, from -1 to 1."""
    curve = (model.intensities, model.sigmas)
    if len(model.sigmas) < LEAST_LEVELS or not all(np.ptp(values) for values in curve):
        return 0.0
    return float(spearmanr(*curve).statistic)


def bulge(model: NoiseModel) -> float:
    """Return how many times as high levels get between both ends as at these.

    Edges lie between dark and bright places, at intensities that nothing else may have.
    """
    ends = max(model.sigmas[0], model.sigmas[-1])
    return float(model.sigmas.max() / ends) if ends > 0 else 1.0


def divergence(blocks: Blocks) -> float:
    """Return how much more than their highest frequencies the flattest blocks grow.

    From the intensities with the lowest to those with the highest levels. What noise has
    at low and at high frequencies depends on the intensity alike; what structure adds to
    white noise is at low ones.
    """
    groups = flattest(blocks, LEVEL_SHARE)
    levels = np.array([blocks.variances[group].mean() for group in groups])
    _, high = energies(blocks.of(np.concatenate(groups)))
    ends = np.cumsum([len(group) for group in groups])[:-1]
    highest = np.array([part.mean() for part in np.split(high, ends)])
    order = np.argsort(levels, kind="stable")
    count = max(1, round(_ENDS * len(order)))
    lower, upper = order[:count], order[-count:]
    grown, explained = (
        values[upper].mean() / max(values[lower].mean(), np.finfo(float).tiny)
        for values in (levels, highest)
    )
    return math.sqrt(grown / explained) if explained > 0 else 1.0


def variety(blocks: Blocks) -> float:
    """Return how many times as far apart the noise of blocks surely is as by chance.

    Energies of the highest frequencies of differences of channels, which share texture:
    that of the typical block over that of the quietest, the difference that has most. What
    was added to a picture is the same everywhere; what it brought along, from a sensor, a
    scanner or a JPEG, is not. Of noise that channels share differences tell nothing.

    Parameters
    ----------
    blocks : Blocks
        All of an image of several channels.

    Returns
    -------
    float
        1 for noise that is the same everywhere, and if too few blocks, or differences with
        next to no noise, cannot tell.
    """
    kept = np.flatnonzero(blocks.clipped < _HARDLY_CLIPPED)
    if len(kept) < _ENOUGH:
        return 1.0
    blocks = blocks.of(kept[:: 1 + len(kept) // _PLENTY])
    count = np.count_nonzero(highest(blocks.side))
    by_chance = chi2.ppf(_TYPICAL, count) / chi2.ppf(_QUIET, count)
    least = _LITTLE_IN_DIFFERENCES * float(np.quantile(energies(blocks)[1], _QUIET))
    found = [_over_quiet(energies(each)[1], least) for each in _differences(blocks)]
    surely = max(found) / by_chance - _BY_CHANCE / math.sqrt(len(blocks.means))
    return float(max(surely, 1.0))


def _over_quiet(strengths: Array, least: float) -> float:
    """Return the typical strength over the quietest, or 0 if that is ``least`` or less."""
    quiet, typical = np.quantile(strengths, (_QUIET, _TYPICAL))
    return float(typical / quiet) if quiet > least else 0.0


def _differences(blocks: Blocks) -> list[Blocks]:
    """Return the second channel less the first, and the third less their mean."""
    residuals = blocks.residuals
    found = []
    for number in range(1, min(residuals.shape[1], 3)):
        others = residuals[:, :number].mean(axis=1, keepdims=True)
        difference = residuals[:, number : number + 1] - others
        found.append(replace(blocks, residuals=difference))
    return found


def calmest(blocks: Blocks) -> Blocks:
    """Return the blocks of those intensities at which the flattest vary least."""
    ranges = least(blocks, blocks.variances, 1.0)
    groups = flattest(blocks, LEVEL_SHARE)
    order = np.argsort([blocks.variances[g].mean() for g in groups], kind="stable")
    count = max(1, round(_CALMEST * len(ranges)))
    return blocks.of(np.concatenate([ranges[n] for n in order[:count]]))


def blockiness(planar: Planar) -> float:
    """Return how many times as far apart pixels are across the borders of JPEG's blocks.

    Than within them, along both axes at least; 1 if chance explains it.
    """
    sparse = 1 + planar[0].size // _MOST_PIXELS
    rows = planar[:, ::sparse].mean(axis=0, dtype=np.float64)
    columns = planar[:, :, ::sparse].mean(axis=0, dtype=np.float64)
    return min(_across_borders(rows), _across_borders(columns.T))


def _across_borders(image: Array) -> float:
    apart = np.abs(np.diff(image, axis=1))
    apart = np.minimum(apart, np.quantile(apart, _WITHOUT_EDGES)).mean(axis=0)
    count = len(apart) // _PERIOD
    if count < _LEAST_PERIODS:
        return 1.0
    periods = apart[: count * _PERIOD].reshape(count, _PERIOD)
    border = int(periods.mean(axis=0).argmax())
    across, within = periods[:, border], np.delete(periods, border, axis=1).mean(axis=1)
    beyond = across - within
    error = beyond.std(ddof=1) / math.sqrt(count)
    surely = beyond.mean() > _SURELY * error and within.mean() > 0
    return float(across.mean() / within.mean()) if surely else 1.0
