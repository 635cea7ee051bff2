"""How much of a noisy image to keep where what passes for its noise may be the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_msdip._noise.kind import Evidence

__all__ = [
    "MOST_AMONG_TEXTURE",
    "TOO_LITTLE_TO_KEEP",
    "share_in_colour",
    "share_in_gray",
    "share_of_correlated",
    "share_of_resampled",
    "signs_of_texture",
]

# In gray a linear score of signs tells, of which a logistic function is taken. For each
# sign its weight, and the values that it is confined to, as none beyond were met: fitted
# to crops under known noise by ``python -m benchmarks.insurance``.
MOST_AMONG_TEXTURE = 0.95
TOO_LITTLE_TO_KEEP = 0.1
_CONSTANT = -12.66
_WEIGHTS = {
    "level": (3.97, 0.0, 2.24),
    "white": (8.89, 0.0, 1.13),
    "highest": (-9.0, -0.31, 0.72),
    "excess": (2.91, -0.07, 1.13),
    "unevenness": (2.4, -0.13, 1.88),
    "roughness": (8.81, 0.38, 0.96),
    "divergence": (-3.48, -0.11, 1.76),
}
# Faint noise may be the picture's own unless the flattest blocks hold no more than that.
# Error and noise are nearly independent there, so that this much of the noisy image costs
# little where it is not: below the first of these shares of the contrast.
_NOISY_SHARE_OF_FAINTEST = 0.8
_FAINTEST = (0.018, 0.028)
_HIGHER_LEVELS_OF_BLOCKS = (1.25, 1.3)
# Neither stays where blocks are nearly all trend, as those of soft structure are.
_SOFT = (0.5, 0.6)
# What neighbours share, if little, beside highest frequencies that are nearly as strong, is
# the picture's own, under white noise: a camera's processing leaves less of those.
_HARDLY_CORRELATED = (0.4, 0.45)
_LITTLE_ABOVE_HIGHEST = (2.0, 2.4)
# Texture that channels share does not pass for noise this faint. But what a picture brought
# along does, which differs from place to place more than what came later: the more so, the
# less that is of both.
_VARIETY_OF_OWN = (1.0, 1.15, 1.25, 1.5)
_NOISY_SHARES_OF_OWN = (0.0, 0.6, 0.6, 0.85)
_FAINT_OF_OWN = (0.022, 0.03)
# As photons' noise does, too, somewhat less stays where it may be that.
_NOISY_SHARE_OF_CHANNELS = 0.25
_FAINTEST_OF_CHANNELS = (0.016, 0.022)
# Faint noise that channels share may be texture, or grain that the picture brought along,
# as what is added later is mostly each channel's own; unless blocks hold no more of it.
_SHARED = (0.2, 0.6)
_HIGHER_LEVELS_OF_SHARED = (1.13, 1.25)
# Where noise is not faint, somewhat less stays if the estimator for white noise finds so
# much more of it.
_NOISY_SHARE_AT_ODDS = 0.3
_AT_ODDS = (1.2, 1.4)
# And far more if it finds somewhat more, while the flattest blocks are uneven and hold a
# multiple: that is texture, and some of it passed for noise.
_NOISY_SHARE_OF_TEXTURE = 0.9
_SLIGHTLY_AT_ODDS = (1.05, 1.2)
_UNEVEN_BLOCKS = (0.1, 0.3)
_FAR_HIGHER_LEVELS_OF_BLOCKS = (2.0, 2.5)
# Of noise that was resampled the level is a guess where blocks are uneven within, or where
# they and the estimator for white noise disagree. Channels tell texture from it, though,
# and texture's level seldom rises with the intensity as photons' does.
_NOISY_SHARE_OF_RESAMPLED = 0.5
_FAINTEST_OF_RESAMPLED = (0.024, 0.036)
_UNEVEN_WITHIN = (1.05, 1.25)
_DISAGREEMENT = (1.06, 1.17)


def share_in_gray(sigma: float, evidence: Evidence) -> float:
    """Return the share of a noisy image of one channel that a result had better keep.

    Parameters
    ----------
    sigma : float
        Level of white noise that counts, in the image's units.
    evidence : Evidence
        What the flattest blocks show.

    Returns
    -------
    float
        0 to 0.95.
    """
    if not sigma:
        return 0.0
    score = _CONSTANT
    for name, value in signs_of_texture(sigma, evidence).items():
        weight, least, most = _WEIGHTS[name]
        score += weight * min(max(value, least), most)
    logistic = 1 / (1 + math.exp(-score))
    texture = (MOST_AMONG_TEXTURE + TOO_LITTLE_TO_KEEP) * logistic - TOO_LITTLE_TO_KEEP
    own = min(
        _rising(evidence.level / sigma, _HIGHER_LEVELS_OF_BLOCKS),
        _faintness(sigma, evidence),
    )
    share = max(texture, _NOISY_SHARE_OF_FAINTEST * own, 0.0)
    return share * _rising(evidence.roughness, _SOFT)


def signs_of_texture(sigma: float, evidence: Evidence) -> dict[str, float]:
    """Return what speaks for texture, or against it, where noise passes for white.

    Parameters
    ----------
    sigma : float
        Level of white noise that counts, above 0, in the image's units.
    evidence : Evidence
        What the flattest blocks show.

    Returns
    -------
    dict
        Values by name, of ratios their logarithms. None has units.
    """
    return {
        "level": _logarithm(evidence.level / sigma),
        "white": _logarithm(evidence.white / sigma),
        "highest": _logarithm(evidence.highest / sigma),
        "excess": evidence.excess,
        "unevenness": _logarithm(evidence.unevenness),
        "roughness": evidence.roughness,
        "divergence": _logarithm(evidence.divergence),
    }


def share_in_colour(
    sigma: float, evidence: Evidence, variety: float, shared: float, *, doubtful: bool
) -> float:
    """Return the share of a noisy image of several channels that a result had better keep.

    Parameters
    ----------
    sigma : float
        Level of white noise that counts, in the image's units.
    evidence : Evidence
        What the flattest blocks show.
    variety : float
        How far apart the noise of blocks is.
    shared : float
        How strongly the noise of channels correlates, 0 to 1.
    doubtful : bool
        Whether texture may have passed for white noise, or have added to it.

    Returns
    -------
    float
        0 to 0.9.
    """
    if not sigma:
        return 0.0
    if evidence.rises_like_photons:
        limits, most = _FAINTEST_OF_CHANNELS, _NOISY_SHARE_OF_CHANNELS
    else:
        limits = _FAINT_OF_OWN
        most = float(np.interp(variety, _VARIETY_OF_OWN, _NOISY_SHARES_OF_OWN))
    faint = most * (1 - _rising(sigma, limits, evidence.contrast))
    odds = evidence.white / sigma
    common = _NOISY_SHARE_OF_FAINTEST * min(
        _rising(shared, _SHARED),
        _rising(evidence.level / sigma, _HIGHER_LEVELS_OF_SHARED),
        _faintness(sigma, evidence),
    )
    at_odds = _NOISY_SHARE_AT_ODDS * _rising(odds, _AT_ODDS) if doubtful else 0.0
    texture = _NOISY_SHARE_OF_TEXTURE * min(
        _rising(odds, _SLIGHTLY_AT_ODDS),
        _rising(evidence.excess, _UNEVEN_BLOCKS),
        _rising(evidence.level / sigma, _FAR_HIGHER_LEVELS_OF_BLOCKS),
    )
    return max(faint, common, at_odds, texture)


def share_of_correlated(evidence: Evidence) -> float:
    """Return the share of a noisy image to keep whose noise neighbours share.

    Parameters
    ----------
    evidence : Evidence
        What the flattest blocks show.

    Returns
    -------
    float
        0 to 0.8.
    """
    if not evidence.highest or math.isinf(evidence.highest):
        return 0.0
    ratio = evidence.level / evidence.highest
    own = min(
        1 - _rising(evidence.correlation, _HARDLY_CORRELATED),
        1 - _rising(ratio, _LITTLE_ABOVE_HIGHEST),
        _faintness(evidence.level, evidence),
    )
    return _NOISY_SHARE_OF_FAINTEST * own


def share_of_resampled(evidence: Evidence, odds: float, channels: int) -> float:
    """Return the share of a noisy image to keep whose noise was resampled.

    Parameters
    ----------
    evidence : Evidence
        What the flattest blocks show.
    odds : float
        Level of the blocks over what the estimator for white noise finds of it.
    channels : int
        How many the image has.

    Returns
    -------
    float
        0 to 0.8.
    """
    if channels > 1 or evidence.rises_like_photons:
        return 0.0
    uneven = _rising(evidence.unevenness, _UNEVEN_WITHIN)
    disagreement = max(odds, 1 / odds) if odds else math.inf
    shares = _NOISY_SHARE_OF_FAINTEST, _NOISY_SHARE_OF_RESAMPLED
    limits = np.multiply(_FAINTEST_OF_RESAMPLED, evidence.contrast)
    most = float(np.interp(evidence.level, limits, shares))
    return most * max(uneven, _rising(disagreement, _DISAGREEMENT))


def _faintness(sigma: float, evidence: Evidence) -> float:
    """Return 1 where noise is so faint that it may be the picture's own, 0 where clear."""
    return 1 - _rising(sigma, _FAINTEST, evidence.contrast)


def _rising(value: float, limits: tuple[float, float], unit: float = 1.0) -> float:
    """Return 0 below the first of two limits, 1 above the second, a line between."""
    return float(np.interp(value, np.multiply(limits, unit), (0.0, 1.0)))


def _logarithm(ratio: float) -> float:
    """Return the logarithm of a ratio that may be 0 or infinite; it never is."""
    return math.log(min(max(ratio, 1e-3), 1e3))
