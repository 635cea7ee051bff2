"""How strong the noise is at which intensity, by an image's flattest blocks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import theilslopes

from napari_msdip._noise.blocks import (
    LEAST_LEVELS,
    LEVEL_SHARE,
    Blocks,
    energies,
    flattest,
    least,
)

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel

__all__ = [
    "asymmetry",
    "bounded",
    "carried",
    "line_of_photons",
    "steadied",
    "with_fine_levels",
    "with_levels",
]

Array = npt.NDArray[np.float64]

# Blocks whose surroundings are calm, less those that hold structure all the same.
_CALM_SHARE = 0.25
_PLAIN = 2.0
_HARDLY_RISING = 1.25
# How far the variance may rise above a convex curve of the intensity, as it does towards
# saturation. Where more values than this are clipped, they say nothing of the rest.
_MOST_CONCAVE = 1.5
_CLIPPED = 0.02
# Photons: how clearly the variance must rise by their value, how far its own rise may be
# from that, and how well a straight line must fit.
_CLEAR_RISE = 0.15
_RISE_OF_A_PHOTON = (0.6, 1.25)
_MOST_MISFIT = 0.12
# Correlated noise: what share of the blocks, the darker ones, tells the line of its
# variance, and how far brighter ones may lie above it. They hold what is bright.
_DARKER = 5 / 8
_MOST_ABOVE = 1.2


def with_levels(model: NoiseModel, blocks: Blocks, simulated: Array) -> NoiseModel:
    """Read the noise level by intensity off the flattest blocks.

    ``simulated`` are the variances, rising, that blocks show of noise of variance 1.
    """
    bias = simulated[: int(LEVEL_SHARE * len(simulated))].mean()
    groups = flattest(blocks, LEVEL_SHARE)
    return dataclasses.replace(
        model,
        intensities=np.array([blocks.means[g].mean() for g in groups]),
        sigmas=np.sqrt([blocks.variances[g].mean() / bias for g in groups]),
    )


def with_fine_levels(model: NoiseModel, blocks: Blocks) -> NoiseModel:
    """Read how the level depends on the intensity off the highest frequencies.

    Texture is weak there, and as blocks are chosen by the other frequencies, so is what
    chance chooses. It only ever adds: where there is more of it at some intensities than
    at darker and brighter ones, that is not noise.
    """
    low, high = energies(blocks)
    groups = least(blocks, low, LEVEL_SHARE)
    intensities = np.array([blocks.means[g].mean() for g in groups])
    variances = np.array([high[g].mean() for g in groups])
    unclipped = np.array([blocks.clipped[g].mean() < _CLIPPED for g in groups])
    unclipped |= ~unclipped.any()
    convex = _convex(intensities[unclipped], variances[unclipped])
    most = _MOST_CONCAVE * np.interp(intensities, intensities[unclipped], convex)
    sigmas = np.sqrt(np.minimum(variances, most))
    return dataclasses.replace(model, intensities=intensities, sigmas=sigmas)


def line_of_photons(model: NoiseModel, photon: float) -> Array | None:
    """Return levels whose variance rises in a straight line, if those are photons.

    The asymmetry of their noise is the value of a photon, and so is the rise: two
    measurements of one number. Where they agree, the line says more of bright and rare
    intensities than their own few blocks.
    """
    x = model.intensities - model.intensities.mean()
    variances = np.square(model.sigmas)
    if photon * np.ptp(x) <= _CLEAR_RISE * variances.mean():
        return None
    low, high = (share * photon for share in _RISE_OF_A_PHOTON)
    line: Array = variances.mean() + np.clip(x @ variances / (x @ x), low, high) * x
    if line.min() <= 0:
        return None
    misfit = float(np.sqrt(np.mean(np.square(variances / line - 1))))
    return np.sqrt(line) if misfit < _MOST_MISFIT else None


def _convex(x: Array, y: Array) -> Array:
    """Return the highest convex curve under all points, at their rising x."""
    corners: list[tuple[float, float]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(corners) > 1 and not _bends_up(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    over, under = np.transpose(corners)
    curve: Array = np.interp(x, over, under)
    return curve


def _bends_up(
    first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]
) -> bool:
    rise, run = middle[1] - first[1], middle[0] - first[0]
    return rise * (last[0] - middle[0]) < (last[1] - middle[1]) * run


def steadied(sigmas: Array) -> Array:
    """Return levels without their scatter where they hardly depend on the intensity."""
    rising = sigmas.max() > _HARDLY_RISING * sigmas.min()
    return sigmas if rising else np.full_like(sigmas, sigmas.mean())


def bounded(intensities: Array, sigmas: Array) -> Array:
    """Keep what bright structure adds out of levels that else lie on a line.

    The variance of what a sensor sees rises no faster than with the intensity. Where it
    does not follow a line in darker blocks either, as in a JPEG, they tell nothing.
    """
    count = round(_DARKER * len(sigmas))
    if count < LEAST_LEVELS:
        return sigmas
    variances = np.square(sigmas)
    slope, start, *_ = theilslopes(variances[:count], intensities[:count])
    line = variances[:count].mean() if slope < 0 else start + slope * intensities
    misfit = np.broadcast_to(line, len(sigmas))[:count] / variances[:count] - 1
    if np.sqrt(np.mean(np.square(misfit))) > _MOST_MISFIT:
        return sigmas
    kept: Array = np.sqrt(np.minimum(variances, _MOST_ABOVE * line))
    return kept


def carried(
    calm: NoiseModel, fine: NoiseModel, most: NoiseModel, means: Array
) -> NoiseModel:
    """Carry the level of calm blocks to other intensities, as photons' noise rises there.

    Parameters
    ----------
    calm : NoiseModel
        What they show, at their own intensities.
    fine : NoiseModel
        How the highest frequencies depend on the intensity, which hold little structure.
    most : NoiseModel
        What all blocks show, structure included.
    means : ndarray
        ``(B,)`` intensities of the calm blocks.
    """
    shape = steadied(fine.sigmas)
    there = np.interp(means, fine.intensities, shape)
    if not there.any():
        return calm.levelled()
    scale = np.sqrt(np.mean(np.square(calm.sigmas)) / np.mean(np.square(there)))
    limit = np.interp(fine.intensities, most.intensities, most.sigmas)
    sigmas = np.minimum(scale * shape, limit)
    return dataclasses.replace(calm, intensities=fine.intensities, sigmas=sigmas)


def asymmetry(blocks: Blocks) -> float:
    """Return third moment over variance, the median over the intensity ranges.

    Blocks are chosen by how little their neighbours differ: the spread within a block
    says something of the noise in it, and choosing by that would cut its tails.
    """
    third = (np.square(blocks.residuals) * blocks.residuals).mean(axis=(1, 2))
    ratios = []
    for group in least(blocks, blocks.unrest, _CALM_SHARE):
        variances = blocks.variances[group]
        plain = group[variances < _PLAIN * np.median(variances)]
        ratios.append(third[plain].sum() / blocks.variances[plain].sum())
    return float(np.median(ratios))
