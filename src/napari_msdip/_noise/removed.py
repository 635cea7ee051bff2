"""Measure an image's noise again, on what a first fit has removed.

Flat blocks are few, in a camera's JPEG calmer than the rest, and where there are none,
texture passes for noise. Once there is a first result the whole image can be measured.
The error of the best possible estimate is uncorrelated with what it was estimated from
(the orthogonality principle of Wiener filtering), so for such a result the covariance
between the noisy image and the residual is that of the noise, structure or not. A real
result also removes a little structure, which that covariance counts twice over. Where
even the calmest blocks of a result are full of structure, the covariance of the residual
with itself, which counts it once, takes over.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from napari_msdip._noise.blocks import (
    LEVEL_BLOCK,
    cross_covariance,
    simulated_variances,
    spread_blocks,
)
from napari_msdip._noise.model import NoiseModel, uncorrelated

__all__ = ["measure_again"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

# Blocks wide enough for blotches, and how far those reach.
_BLOCK = 32
_LEAST_BLOCK = 16
_REACH = 10
_MOST_BLOCKS = 32
_MOST_LEVEL_BLOCKS = 128
_INTENSITY_BINS = 8
# The calmer half is measured, and scaled to what is removed from the whole.
_CALM = 0.5
_CALMEST = 0.15
# Spread of the result over that of the residual, in the calmest blocks, from which on
# the result is full of structure.
_STRUCTURED = 1.2
_LEAST_POWER = 1e-6


def measure_again(
    noise: NoiseModel, noisy: Planar, denoised: Planar, finest: Planar
) -> NoiseModel:
    """Measure the second moments of correlated noise by a first result.

    Parameters
    ----------
    noise : NoiseModel
        What was measured on the noisy image alone; its combinations of channels stay.
    noisy : ndarray
        ``(C, Y, X)`` noisy image.
    denoised : ndarray
        ``(C, Y, X)`` best result so far.
    finest : ndarray
        ``(C, Y, X)`` result of the finest scale by itself, in which more of the structure
        is left, and more of the noise.

    Returns
    -------
    NoiseModel
        Powers, correlations and levels by intensity as found, and how much the level has
        grown; ``noise`` itself where the image is too small to tell.
    """
    side = min(_BLOCK, min(noisy.shape[1:]) // 2)
    if side < _LEAST_BLOCK:
        return noise
    covariances = [
        _covariance(
            np.tensordot(axis, noisy, axes=1),
            np.tensordot(axis, denoised, axes=1),
            np.tensordot(axis, finest, axes=1),
            side,
        )
        for axis in noise.axes
    ]
    middle = len(covariances[0]) // 2
    variances = np.array([each[middle, middle] for each in covariances])
    if not variances.max() > 0:
        return noise
    correlations = np.stack([_normalised(each) for each in covariances])
    powers = np.array(
        [
            max(variance, 0.0) / _share_seen(correlation, side)
            for variance, correlation in zip(variances, correlations, strict=True)
        ]
    )
    powers = np.maximum(powers, _LEAST_POWER * powers.max())
    found = dataclasses.replace(
        noise, powers=powers / powers.mean(), correlations=correlations
    )
    level, before = float(np.sqrt(powers.mean())), noise.overall(noisy)
    growth = level / before if before > 0 else 1.0
    again = dataclasses.replace(found, growth=growth)
    return _with_levels(again, noisy, denoised, level)


def _covariance(noisy: Array, denoised: Array, finest: Array, side: int) -> Array:
    """Covariance by distance of the noise in one combination of channels."""
    seen, result, own = (
        spread_blocks(image[np.newaxis], side, _MOST_BLOCKS)[0][:, 0]
        for image in (noisy, denoised, finest)
    )
    removed, least = seen - result, seen - own
    order = np.argsort(_variances(result), kind="stable")
    calm = order[: max(1, int(_CALM * len(order)))]
    calmest = order[: max(1, int(_CALMEST * len(order)))]
    busy = _variances(result[calmest]).mean()
    quiet = _variances(removed[calmest]).mean()
    share = quiet**2 / max(quiet**2 + (busy / _STRUCTURED**2) ** 2, np.finfo(float).tiny)
    both = _scaled(seen, removed, calm, side)
    once = _scaled(least, least, calm, side)
    covariance: Array = share * both + (1 - share) * once
    return covariance


def _scaled(first: Array, second: Array, calm: npt.NDArray[np.intp], side: int) -> Array:
    """Covariance in calm blocks, scaled to the residual's variance in all of them."""
    shape = (-1, side, side)
    reach = min(_REACH, side // 3)
    near = cross_covariance(first[calm].reshape(shape), second[calm].reshape(shape), reach)
    quiet = _variances(second[calm]).mean()
    scale = _variances(second).mean() / quiet if quiet > 0 else 1.0
    scaled: Array = near * scale
    return scaled


def _variances(blocks: Array) -> Array:
    variances: Array = np.square(blocks).mean(axis=-1)
    return variances


def _normalised(covariance: Array) -> Array:
    """Return the correlation; that of white noise where there is hardly any noise."""
    middle = len(covariance) // 2
    variance = covariance[middle, middle]
    return covariance / variance if variance > 0 else uncorrelated(middle)


def _share_seen(correlation: Array, side: int) -> float:
    """Share of the variance of noise with this correlation that blocks show."""
    alike = NoiseModel.unit(correlation)
    return float(simulated_variances(alike, side, degree=1).mean())


def _with_levels(
    noise: NoiseModel, noisy: Planar, denoised: Planar, level: float
) -> NoiseModel:
    """Spread the level over the intensities as the residual has it."""
    removed, _ = spread_blocks(noisy - denoised, LEVEL_BLOCK, _MOST_LEVEL_BLOCKS)
    _, means = spread_blocks(denoised, LEVEL_BLOCK, _MOST_LEVEL_BLOCKS)
    variances = _variances(removed).mean(axis=1)
    groups = np.array_split(np.argsort(means, kind="stable"), _INTENSITY_BINS)
    levelled = dataclasses.replace(
        noise,
        intensities=np.array([means[group].mean() for group in groups]),
        sigmas=np.sqrt([variances[group].mean() for group in groups]),
    )
    overall = levelled.overall(noisy)
    scale = level / overall if overall > 0 else 1.0
    return dataclasses.replace(levelled, sigmas=levelled.sigmas * scale)
