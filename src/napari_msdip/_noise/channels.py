"""How channels share their noise, and each combination of them its own."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_msdip._noise.blocks import autocorrelation, cut_blocks, simulated_variances
from napari_msdip._noise.model import NoiseModel
from napari_msdip.noise import cautious_sigma, estimate_sigma

__all__ = ["channel_covariance", "mean_correlation", "told_apart", "white_channels"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

# A combination of channels with less of the strongest one's variance holds little of the
# picture's detail, so that its noise shows in blocks wide enough for blotches.
_WEAK = 0.5
_LEAST_POWER = 1e-6
_LEAST_SURVEYED = 4
_HARDLY_CORRELATED = 0.3
# What channels share escapes the estimator that sees them all at once. Where they seem to
# have less than this share of what it finds, it is photons' noise that looks alike.
_LEAST_LEVEL = 0.9
# Where texture is weakest noise is hardly weaker than this share of what the estimator
# finds, unless that is texture.
_MOSTLY_NOISE = 0.85


@dataclass(frozen=True)
class _Survey:
    """Where the noise of one combination of channels is looked for.

    Blocks of ``side`` pixels less a trend of ``degree``, the flattest ``share`` of them,
    for correlations up to ``reach`` pixels.
    """

    side: int
    degree: int
    share: float
    reach: int


_NEAR = _Survey(side=16, degree=2, share=0.25, reach=8)
_WIDE = _Survey(side=32, degree=1, share=0.15, reach=10)


def told_apart(model: NoiseModel, planar: Planar) -> NoiseModel:
    """Measure the noise of each combination of channels by itself.

    A camera's picture has blotches of colour, several times as wide as the grain of its
    brightness, of which narrow blocks see nothing. Wide blocks are hardly ever flat in
    brightness, but mostly so in the differences of colour.
    """
    if len(planar) == 1:
        return model
    combinations = np.tensordot(model.axes, planar, axes=1)
    near = [_surveyed(each, _NEAR) for each in combinations]
    if any(each is None for each in near):
        return model
    found = [each for each in near if each is not None]
    strongest = max(variance for variance, _ in found)
    for n, (variance, _) in enumerate(found):
        if variance < _WEAK * strongest:
            wide = _surveyed(combinations[n], _WIDE)
            if wide is not None and wide[0] <= strongest:
                found[n] = wide
    powers = np.maximum([variance for variance, _ in found], _LEAST_POWER * strongest)
    return dataclasses.replace(
        model,
        powers=powers / powers.mean(),
        correlations=np.stack([_widened(each, _WIDE.reach) for _, each in found]),
    )


def _surveyed(combination: Array, survey: _Survey) -> tuple[float, Array] | None:
    """Return variance and autocorrelation of the noise, or None for want of blocks."""
    side = survey.side
    if min(combination.shape) < side:
        return None
    blocks = cut_blocks(combination[np.newaxis], side, survey.degree)
    count = int(survey.share * len(blocks.variances))
    if count < _LEAST_SURVEYED:
        return None
    chosen = np.argsort(blocks.variances, kind="stable")[:count]
    correlation = autocorrelation(
        blocks.residuals[chosen].reshape(-1, 1, side, side), survey.reach
    )
    simulated = simulated_variances(NoiseModel.unit(correlation), side, survey.degree)
    bias = simulated[: int(survey.share * len(simulated))].mean()
    return float(blocks.variances[chosen].mean() / bias), correlation


def _widened(correlation: Array, reach: int) -> Array:
    """Continue an autocorrelation by zeros."""
    return np.pad(correlation, reach - len(correlation) // 2)


def channel_covariance(unit: Array) -> Array:
    covariance = np.einsum("bcp,bdp->cd", unit, unit)
    normalised: Array = covariance / np.trace(covariance) * len(covariance)
    return normalised


def mean_correlation(covariance: Array) -> float:
    """Return the mean of how strongly pairs of channels correlate, 0 to 1.

    Channels without variance correlate with none.
    """
    return float(_correlations(covariance).mean())


def white_channels(model: NoiseModel, planar: Planar, sigma: float) -> tuple[Array, float]:
    """Return the covariance of white noise between channels, and its level.

    Structure in the flattest blocks is common to all channels, and looks like noise that
    is. So each combination of channels tells its own level, in frequencies where it has
    next to no structure. ``sigma`` was found in all channels at once, which noise that
    they share escapes; it stays where they share none.
    """
    combinations = np.tensordot(model.axes, planar, axes=1)
    found: Array = (model.axes.T * _white_variances(combinations)) @ model.axes
    level = math.sqrt(np.trace(found) / len(found))
    alike = bool((_correlations(found) > _HARDLY_CORRELATED).any())
    if alike and level > _LEAST_LEVEL * sigma:
        return found / level**2, level
    own = _white_variances(planar)
    return np.diag(own / own.mean()) if own.any() else np.eye(len(own)), sigma


def _correlations(covariance: Array) -> Array:
    """Return how strongly pairs of channels correlate, 0 if one is without variance."""
    spreads = np.sqrt(np.diag(covariance))
    most = np.maximum(np.outer(spreads, spreads), np.finfo(float).tiny)
    found: Array = (np.abs(covariance) / most)[~np.eye(len(covariance), dtype=bool)]
    return found


def _white_variances(planes: npt.NDArray[Any]) -> Array:
    """Variance of white noise in each of the planes ``(C, Y, X)``."""
    found = np.array([estimate_sigma(one) for one in planes])
    least = np.array([cautious_sigma(one[np.newaxis]) for one in planes])
    variances: Array = np.square(np.where(least < _MOSTLY_NOISE * found, least, found))
    return variances
