"""Tell whether what is alike in neighbouring pixels is noise or texture.

Fine texture looks correlated, and so do soft gradients under white noise. Four signs
tell noise from them: how much there is beyond what an estimator for white noise finds,
how it falls off towards the highest frequencies, how much is left there, and how even
the flattest parts of the image are. ``docs/noise-measurement.md`` says on which images
the limits were drawn.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_msdip.noise import estimate_sigma

if TYPE_CHECKING:
    from napari_msdip._noise.filtered import Filtered

__all__ = [
    "Evidence",
    "Kind",
    "is_clear_behind",
    "kind_among_spots",
    "kind_behind",
    "kind_of_noise",
]

Planar = npt.NDArray[np.float32]

# Strongly correlated and much stronger than white noise would be, without the outliers
# and patches of texture.
_SURELY_CORRELATED = 0.46
_LEVEL_RATIO = 2.5
_HIGHEST_RATIO = 3.0
_UNEVEN = 2.33
_SOMEWHAT_EVEN = 0.5
_SOMEWHAT_UNEVEN = 2.6
# Or somewhat stronger, and as even over the flattest blocks as noise alone.
_CORRELATED = 0.35
_EVEN_LEVEL_RATIO = 1.85
_EVEN_HIGHEST_RATIO = 2.2
_EVEN = 0.15
_EVEN_WITHIN = 2.0
# Where crowded spots make blocks uneven within, the noise must fall off towards the
# highest frequencies, as white noise never does.
_FALL = 1.3
# A camera's processing leaves next to no noise in the highest frequencies: little by the
# image's contrast, or no more than rounding. Where there is more, neighbours have as much
# in common as fine texture over white noise, unless blocks are as even as noise alone, the
# more so the less they are correlated.
_FLOOR = 0.0075
_LITTLE_BESIDE = 3.0
_NOISE_EXCESS = 0.15
_NOISE_UNEVENNESS = 1.45
_NOISE_CORRELATION = 0.46
_UNEVENNESS_BY_CORRELATION = 4.0
# Dense structure over white noise: levels rise with the intensity by so many times more
# than the highest frequencies do. Correlated noise has more of both where it is stronger.
_DIVERGING = 1.15
# Gratings and other regular patterns make blocks more alike, or values within less spread,
# than noise ever is.
_TOO_EVEN = -0.27
_TOO_EVEN_WITHIN = 0.8
# Sums of several pixels' noise are nearly symmetric, fields of spots are not. Where even
# the calmest blocks are skewed by this much, spots pass for correlated noise.
_SPOTTED = 0.2
_SPOTTED_ALL_OVER = 0.4
# Points, one or two pixels wide, in the flattest blocks: far from any noise within. They
# raise the level of every block that holds one.
_POINTED = 10.0
# Filaments: how steadily the level rises with them, how uneven blocks are among them, and
# how strong what they add is, as a share of the contrast. Or other dense structure, among
# which blocks are uneven.
_STEADY = 0.9
_NETWORKED = 1.4
_STRONG = 0.05
_DENSE = 0.2
# Texture makes white noise depart from white noise no farther than this; if there is little
# of it, not that far. Much that is rough is texture anyway.
_FAR_FROM_WHITE = 1.3
_NEAR_WHITE, _SOMEWHAT_DENSE = 0.38, 0.09
_ROUGH_TEXTURE, _VERY_DENSE = 0.65, 0.3
# Soft structure is nearly all trend, even within a block; noise is not. Nor is noise ever
# so many times as strong at middle intensities as at both ends, as edges are.
_SOFT = 0.28
_BULGING = 5.0
# Spots that optics have spread, over noise that is white: both estimates agree, far below
# the level, and blocks are not as even within as noise.
_SAME_FALL = 0.1
_FAR_ABOVE, _SPOTTY = 10.0, 1.25
_ABOVE, _LINED = 5.0, 1.5
_CLEAR_STEPS = 3.0
# Or correlated in the way of noise that was resampled: the more it falls off, the less it
# must be correlated, and the more even the blocks, over and within.
_RESAMPLED_CORRELATION = 15.0
_RESAMPLED_FALL = 8.0
_RESAMPLED_EXCESS = 14.0
_RESAMPLED_UNEVENNESS = 2.5
_RESAMPLED_LIMIT = 4.5
_LEAST_FALL = 0.25
# Unevenness over and within together, the first counted so many times. Above are textures,
# and noise whose level they hide.
_COUNTED = 3.0
_MOST_UNEVEN = 1.8
# Logarithm of level over highest that resampling makes of white noise, by correlation.
_LEVEL_BY_CORRELATION = (1.7, 5.0)
_LEVEL_UNEXPLAINED = 0.25
# Beyond what resampling makes of it at this correlation, the fall is texture's.
_FALL_BY_CORRELATION = 1.7
_FALL_UNEXPLAINED = 0.12
# Or along the lines of a scanner: correlated along one axis, and hardly along the other.
# What two or three pixels share is stronger than the highest frequencies by these factors.
_ALONG_LINES = 0.25
_ACROSS_LINES = 0.25
_STRONGER_BY_LINES = (1.9, 3.9)
# Structure where energies at lower and at the highest frequencies grow together in uneven
# blocks, and noise would be stronger, by the contrast, than a camera's ever is there.
_GROWING = 1.4
_STRONGER = 0.024
# How much farther apart pixels are across the borders of JPEG's blocks where that counts.
_SLIGHTLY_BLOCKY, _BLOCKY, _VERY_BLOCKY = 1.05, 1.12, 1.3
# What JPEG leaves of noise: so rough that it cannot be texture; or even and hardly
# correlated, with next to nothing in the frequencies that tell of white noise; or, in very
# blocky images, faint by the contrast.
_FAINT = 0.02
_HARDLY_CORRELATED = 0.42
_LITTLE_WHITE = 0.7
_RATHER_EVEN = 0.36
_ROUGH = 0.55
_VERY_ROUGH = 0.88


class Kind(enum.Enum):
    """Kinds of noise, by how neighbouring pixels share it.

    Resampled noise was white until pixels were averaged with their neighbours, as by
    registration, rotation, scaling or the slow electronics of a scanner. So weakly
    correlated, it is measured much like white noise; what is correlated more, is not. Where
    the highest frequencies tell the filter that noise went through, that is taken.
    """

    WHITE = "white"
    RESAMPLED = "resampled"
    FILTERED = "filtered"
    CORRELATED = "correlated"


@dataclass(frozen=True)
class Evidence:
    """What an image shows of its noise.

    Attributes
    ----------
    correlation : float
        Between pixels that share a side, in the flattest blocks.
    anisotropy : float
        How much more correlated they are along one axis than along the other.
    level : float
        Of noise with this correlation, in the image's units.
    white : float
        What the estimator for white noise finds, in the same units.
    highest : float
        Level of white noise in the highest frequencies; infinite where unknown.
    excess : float
        How far the flattest blocks differ, beyond what noise explains.
    unevenness : float
        How far they are from noise within; 1 is Gaussian noise.
    roughness : float
        Share of what they hold that no slow trend explains.
    skewness : float
        Of those where the level is high; positive if it rises towards the side of their
        tails, as bright spots, or dark holes, make it. 0 if chance explains it.
    rise : float
        How steadily the level rises with the intensity, from -1 to 1.
    bulge : float
        How many times as high it gets as at the lowest and highest intensity.
    divergence : float
        How many times as much levels differ between intensities as the highest frequencies
        of the same blocks do.
    contrast : float
        Between all but the darkest and brightest of the image's values.
    step : float
        Between neighbouring values that it has: 1 for integers.
    """

    correlation: float
    anisotropy: float
    level: float
    white: float
    highest: float
    excess: float
    unevenness: float
    roughness: float
    skewness: float
    rise: float
    bulge: float
    divergence: float
    contrast: float
    step: float

    @property
    def fall(self) -> float:
        """Logarithm of white over highest; 0 where either is unknown."""
        highest = _known(self.highest)
        return math.log(self.white / highest) if highest and self.white else 0.0

    @property
    def has_even_blocks(self) -> bool:
        """Whether the flattest blocks hardly differ more than noise alone makes them."""
        return self.excess < _EVEN

    @property
    def has_floor(self) -> bool:
        """Whether there is more noise in the highest frequencies than processing leaves."""
        return _known(self.highest) > max(_FLOOR * self.contrast, self.step)

    @property
    def is_structure(self) -> bool:
        """Whether blocks hold soft structure, or edges, rather than noise."""
        return self.roughness < _SOFT or self.bulge > _BULGING

    @property
    def is_spotted(self) -> bool:
        """Whether spots, or holes, add to what the blocks show."""
        return self.skewness > _SPOTTED

    @property
    def is_pointed(self) -> bool:
        """Whether single pixels stand out even in the flattest blocks."""
        return self.unevenness > _POINTED

    @property
    def is_networked(self) -> bool:
        """Whether filaments, bright or dark, or other tissue may add to what blocks show.

        Among many of them blocks are uneven, but not skewed.
        """
        steady = abs(self.rise) > _STEADY and self.unevenness > _NETWORKED
        dense = self.excess > _DENSE
        return (steady or dense) and self.level > _STRONG * self.contrast

    @property
    def least_blockiness(self) -> float:
        """How blocky a JPEG has to be for this to be noise that it compressed."""
        even = self.excess < _RATHER_EVEN and self.unevenness < _EVEN_WITHIN
        noisy = even and self.correlation < _HARDLY_CORRELATED
        if noisy and self.roughness > _VERY_ROUGH:
            return _SLIGHTLY_BLOCKY
        emptied = self.roughness > _ROUGH and self.white < _LITTLE_WHITE * self.level
        if noisy and emptied:
            return _BLOCKY
        return _VERY_BLOCKY if self.level < _FAINT * self.contrast else math.inf

    @property
    def rises_like_photons(self) -> bool:
        """Whether the level rises with the intensity as steadily as photons' noise."""
        return self.rise > _STEADY

    @property
    def falls_like_texture(self) -> bool:
        """Whether the level falls off more than noise so little correlated would."""
        explained = _FALL_BY_CORRELATION * self.correlation + _FALL_UNEXPLAINED
        return self.fall > max(_LEAST_FALL, explained)


def kind_of_noise(evidence: Evidence, planar: Planar) -> Kind:
    """Weigh the evidence of what kind an image's noise is.

    Parameters
    ----------
    evidence : Evidence
        What it shows.
    planar : ndarray
        ``(C, Y, X)``, the image itself.
    """
    if _is_pattern(evidence) or _is_dense(evidence):
        return Kind.WHITE
    correlated = _is_strong(evidence) or _is_even(evidence, planar)
    if correlated and not _is_structure_over_a_floor(evidence):
        return Kind.CORRELATED
    return Kind.RESAMPLED if _is_resampled(evidence) else Kind.WHITE


def kind_among_spots(kind: Kind, calm: Evidence, planar: Planar) -> Kind:
    """Weigh the evidence of an image with spots, which are not at all intensities.

    Parameters
    ----------
    kind : Kind
        What all blocks speak for.
    calm : Evidence
        What those show that vary least.
    planar : ndarray
        ``(C, Y, X)``, the image itself.
    """
    if kind not in (Kind.WHITE, Kind.CORRELATED):
        return kind
    if not calm.is_spotted:
        return kind_of_noise(calm, planar)
    return Kind.WHITE if calm.skewness > _SPOTTED_ALL_OVER else kind


def is_clear_behind(behind: Filtered, evidence: Evidence) -> bool:
    """Whether the highest frequencies alone tell the filter that noise went through.

    Parameters
    ----------
    behind : Filtered
        The filter that is nearest.
    evidence : Evidence
        What flat blocks show.
    """
    return behind.is_clear and not _is_texture_throughout(behind, evidence)


def kind_behind(behind: Filtered, kind: Kind, evidence: Evidence) -> Kind:
    """Weigh what the highest frequencies tell besides.

    Parameters
    ----------
    behind : Filtered
        The filter that is nearest.
    kind : Kind
        What flat blocks speak for.
    evidence : Evidence
        What these show.
    """
    if kind is Kind.CORRELATED:
        grows = behind.growth > _GROWING and not evidence.has_even_blocks
        if grows and evidence.level > _STRONGER * evidence.contrast:
            return Kind.WHITE
        # Even blocks tell more than a filter that hardly fits.
        vague = not (behind.is_noise or behind.is_close)
        told = behind.fits and not (vague and evidence.has_even_blocks)
        return Kind.FILTERED if told else kind
    photons = kind is Kind.WHITE and evidence.rises_like_photons
    likely = behind.is_likely and not _is_texture_throughout(behind, evidence)
    return Kind.FILTERED if likely and (kind is Kind.RESAMPLED or photons) else kind


def _is_texture_throughout(behind: Filtered, evidence: Evidence) -> bool:
    """Whether white noise may be all there is, as texture makes a filter of it."""
    if behind.is_unmistakable or behind.departure > _FAR_FROM_WHITE:
        return False
    near = behind.departure < _NEAR_WHITE and evidence.excess > _SOMEWHAT_DENSE
    rough = evidence.roughness > _ROUGH_TEXTURE and evidence.excess > _VERY_DENSE
    barely = behind.is_barely_even and evidence.excess > _DENSE
    return near or rough or barely


def _is_strong(evidence: Evidence) -> bool:
    even = evidence.excess < _SOMEWHAT_EVEN
    grainy = evidence.unevenness < (_SOMEWHAT_UNEVEN if even else _UNEVEN)
    much = _exceeds(evidence, _LEVEL_RATIO, _HIGHEST_RATIO)
    return evidence.correlation > _SURELY_CORRELATED and grainy and much


def _is_even(evidence: Evidence, planar: Planar) -> bool:
    if evidence.correlation <= _CORRELATED or not evidence.has_even_blocks:
        return False
    if not _exceeds(evidence, _EVEN_LEVEL_RATIO, _EVEN_HIGHEST_RATIO):
        return False
    if evidence.unevenness < _EVEN_WITHIN:
        return True
    return _channel_level(planar) > _FALL * _known(evidence.highest)


def _is_pattern(evidence: Evidence) -> bool:
    return evidence.excess < _TOO_EVEN or evidence.unevenness < _TOO_EVEN_WITHIN


def _is_dense(evidence: Evidence) -> bool:
    """Whether structure all over the image makes levels rise over white noise."""
    steady = evidence.has_floor and abs(evidence.rise) > _STEADY
    return steady and evidence.divergence > _DIVERGING


def _is_structure_over_a_floor(evidence: Evidence) -> bool:
    return _is_texture_over_a_floor(evidence) or _has_spots_over_a_floor(evidence)


def _has_spots_over_a_floor(evidence: Evidence) -> bool:
    highest = _known(evidence.highest)
    if highest <= evidence.step or abs(evidence.fall) >= _SAME_FALL:
        return False
    if evidence.level > _FAR_ABOVE * highest:
        return evidence.unevenness > _SPOTTY
    clearly = highest > _CLEAR_STEPS * evidence.step
    return clearly and evidence.level > _ABOVE * highest and evidence.unevenness > _LINED


def _is_texture_over_a_floor(evidence: Evidence) -> bool:
    if not evidence.has_floor:
        return False
    beyond = evidence.correlation - _NOISE_CORRELATION
    most = _NOISE_UNEVENNESS + _UNEVENNESS_BY_CORRELATION * min(beyond, 0.0)
    even = evidence.excess < _NOISE_EXCESS and evidence.unevenness < most
    return not even or evidence.level < _LITTLE_BESIDE * _known(evidence.highest)


def _is_resampled(evidence: Evidence) -> bool:
    if _COUNTED * evidence.excess + evidence.unevenness >= _MOST_UNEVEN:
        return False
    if _is_along_lines(evidence):
        return True
    if evidence.falls_like_texture or _is_too_strong(evidence):
        return False
    score = (
        _RESAMPLED_CORRELATION * evidence.correlation
        + _RESAMPLED_FALL * evidence.fall
        - _RESAMPLED_EXCESS * evidence.excess
        - _RESAMPLED_UNEVENNESS * math.log(max(evidence.unevenness, 1.0))
    )
    return evidence.fall > _LEAST_FALL and score > _RESAMPLED_LIMIT


def _is_along_lines(evidence: Evidence) -> bool:
    across = evidence.correlation - evidence.anisotropy / 2
    if evidence.anisotropy <= _ALONG_LINES or across >= _ACROSS_LINES:
        return False
    least, most = (factor * _known(evidence.highest) for factor in _STRONGER_BY_LINES)
    return least < evidence.level < (most or math.inf)


def _is_too_strong(evidence: Evidence) -> bool:
    """Whether the level is above what resampled noise so little correlated has."""
    highest = _known(evidence.highest)
    linear, square = _LEVEL_BY_CORRELATION
    explained = linear * evidence.correlation + square * evidence.correlation**2
    return evidence.level > highest * math.exp(explained + _LEVEL_UNEXPLAINED)


def _exceeds(evidence: Evidence, white: float, highest: float) -> bool:
    limit = max(white * evidence.white, highest * _known(evidence.highest))
    return evidence.level > limit


def _known(highest: float) -> float:
    return highest if math.isfinite(highest) else 0.0


def _channel_level(planar: Planar) -> float:
    """Level of white noise in the channels, each taken by itself."""
    levels = [estimate_sigma(channel) for channel in planar]
    return float(np.sqrt(np.mean(np.square(levels))))
