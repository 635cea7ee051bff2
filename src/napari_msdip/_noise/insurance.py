"""How much of a noisy image to keep where what passes for its noise may be the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_msdip._noise.kind import Evidence

__all__ = ["share_of_resampled", "share_to_keep"]

# Where white noise is faint, even a cautious level may be mostly texture. Error and noise
# are nearly independent then, so that this much of the noisy image costs little where the
# level is right, and saves much where it is not: below the first of these shares of the
# range.
_NOISY_SHARE_OF_FAINTEST = 0.4
_FAINTEST = (0.018, 0.028)
# Somewhat less where noise is not faint, but the estimator for white noise finds so many
# times as much, or somewhat more while the flattest blocks are very uneven.
_NOISY_SHARE_AT_ODDS = 0.3
_AT_ODDS = (1.2, 1.4)
_SLIGHTLY_AT_ODDS = (1.05, 1.1)
_VERY_UNEVEN_BLOCKS = (0.2, 0.45)
# Where texture fills even the flattest blocks, which then hold several times the level, are
# as correlated as texture and yet rough and uneven, the level is a guess at any strength.
_NOISY_SHARE_AMONG_TEXTURE = 0.7
_MORE_IF_ALL_SPEAK_FOR_TEXTURE = 0.15
_LEVELS_OF_BLOCKS = (1.4, 1.8)
_TEXTURE_CORRELATION = (0.36, 0.44)
_TEXTURE_ROUGHNESS = (0.66, 0.72)
_TEXTURE_EXCESS = (0.06, 0.14)
# Or where levels and the highest frequencies differ alike between intensities; somewhat
# less alike, if blocks are so uneven that noise explains neither, or both are strongest
# where it is dark, as noise seldom is. Not where noise is strong: texture matters little.
_HIGHER_LEVELS_OF_BLOCKS = (1.25, 1.4)
_DIVERGENCE = (1.0, 1.08)
_LESS_ALIKE = 0.05
_DENSE_EXCESS = (0.16, 0.24)
_STRONGEST_IN_THE_DARK = (0.7, 0.88)
_STRONG = (0.065, 0.08)
# Faint noise that a picture of one channel brought along: blocks hold more than the
# estimator for white noise finds, though neighbours share hardly any of it. So they do of
# photons' noise, and of structure, which the highest frequencies do not hold.
_OWN_LEVELS_OF_BLOCKS = (1.15, 1.25)
_OWN_CORRELATION = (0.1, 0.16)
_OWN_DIVERGENCE = (1.1, 1.25)
_OWN_SHARE_OF_RANGE = (0.022, 0.027)
# Texture that channels share does not pass for noise this faint. But what a picture brought
# along does, which differs from place to place more than what came later: the more so, the
# less that is of both.
_VARIETY_OF_OWN = (1.0, 1.15, 1.25, 1.5)
_NOISY_SHARES_OF_OWN = (0.0, 0.6, 0.6, 0.85)
_FAINT_OF_OWN = (0.022, 0.03)
# As photons' noise does, too, somewhat less stays where it may be that.
_NOISY_SHARE_OF_CHANNELS = 0.25
_FAINTEST_OF_CHANNELS = (0.016, 0.022)
# Of noise that was resampled the level is a guess where blocks are uneven within, or where
# they and the estimator for white noise disagree. Channels tell texture from it, though,
# and texture's level seldom rises with the intensity as photons' does.
_NOISY_SHARE_OF_RESAMPLED = 0.5
_UNEVEN_WITHIN = (1.05, 1.25)
_DISAGREEMENT = (1.06, 1.17)


def share_to_keep(
    sigma: float, evidence: Evidence, variety: float | None, *, doubtful: bool
) -> float:
    """Return the share of the noisy image that a result had better keep.

    Parameters
    ----------
    sigma : float
        Level of white noise that counts, in the image's units.
    evidence : Evidence
        What the flattest blocks show.
    variety : float or None
        How far apart the noise of blocks is; None if the image has one channel.
    doubtful : bool
        Whether texture may have passed for white noise, or have added to it.

    Returns
    -------
    float
        0 to 0.85.
    """
    if variety is None:
        limits, most = _FAINTEST, _NOISY_SHARE_OF_FAINTEST if doubtful else 0.0
    elif evidence.rises_like_photons:
        limits, most = _FAINTEST_OF_CHANNELS, _NOISY_SHARE_OF_CHANNELS
    else:
        limits = _FAINT_OF_OWN
        most = float(np.interp(variety, _VARIETY_OF_OWN, _NOISY_SHARES_OF_OWN))
    faint = most * (1 - _rising(sigma, limits, evidence.contrast))
    at_odds = _at_odds(sigma, evidence) if doubtful else 0.0
    if variety is not None:
        return max(faint, at_odds)
    return max(faint, at_odds, _among_texture(sigma, evidence), _own(sigma, evidence))


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
        0 to 0.5.
    """
    if channels > 1 or evidence.rises_like_photons:
        return 0.0
    uneven = _rising(evidence.unevenness, _UNEVEN_WITHIN)
    disagreement = max(odds, 1 / odds) if odds else math.inf
    return _NOISY_SHARE_OF_RESAMPLED * max(uneven, _rising(disagreement, _DISAGREEMENT))


def _at_odds(sigma: float, evidence: Evidence) -> float:
    odds = evidence.white / sigma if sigma else 1.0
    uneven = min(
        _rising(odds, _SLIGHTLY_AT_ODDS), _rising(evidence.excess, _VERY_UNEVEN_BLOCKS)
    )
    return _NOISY_SHARE_AT_ODDS * max(uneven, _rising(odds, _AT_ODDS))


def _among_texture(sigma: float, evidence: Evidence) -> float:
    levels_of_blocks = evidence.level / sigma if sigma else 0.0
    correlated = min(
        _rising(levels_of_blocks, _LEVELS_OF_BLOCKS),
        _rising(evidence.correlation, _TEXTURE_CORRELATION),
        _rising(evidence.excess, _TEXTURE_EXCESS),
    )
    dense_or_dark = max(
        _rising(evidence.excess, _DENSE_EXCESS),
        _rising(-evidence.rise, _STRONGEST_IN_THE_DARK),
    )
    alike = min(
        _rising(levels_of_blocks, _HIGHER_LEVELS_OF_BLOCKS),
        1 - _rising(evidence.divergence - _LESS_ALIKE * dense_or_dark, _DIVERGENCE),
        1 - _rising(sigma, _STRONG, evidence.contrast),
    )
    rough = _rising(evidence.roughness, _TEXTURE_ROUGHNESS)
    one, both = min(max(correlated, alike), rough), min(correlated, alike, rough)
    return _NOISY_SHARE_AMONG_TEXTURE * one + _MORE_IF_ALL_SPEAK_FOR_TEXTURE * both


def _own(sigma: float, evidence: Evidence) -> float:
    if evidence.rises_like_photons or not sigma:
        return 0.0
    return _NOISY_SHARE_AMONG_TEXTURE * min(
        _rising(evidence.level / sigma, _OWN_LEVELS_OF_BLOCKS),
        1 - _rising(evidence.correlation, _OWN_CORRELATION),
        1 - _rising(evidence.divergence, _OWN_DIVERGENCE),
        1 - _rising(sigma, _OWN_SHARE_OF_RANGE, evidence.contrast),
    )


def _rising(value: float, limits: tuple[float, float], unit: float = 1.0) -> float:
    """Return 0 below the first of two limits, 1 above the second, a line between."""
    return float(np.interp(value, np.multiply(limits, unit), (0.0, 1.0)))
