"""Measure the noise of an image in the flattest parts of it.

Variance by intensity, correlation between channels, and for each of the combinations of
channels that these leave independent (in a camera's picture brightness and two
differences of colour) its own variance and correlation between neighbouring pixels.
Where the noise is independent from pixel to pixel its third moment is measured, too.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_msdip._noise import levels, signs
from napari_msdip._noise.blocks import (
    BLOCKS_PER_BIN,
    LEVEL_BLOCK,
    Blocks,
    autocorrelation,
    cut_blocks,
    flattest,
    simulated_fields,
    simulated_variances,
)
from napari_msdip._noise.channels import (
    channel_covariance,
    mean_correlation,
    told_apart,
    white_channels,
)
from napari_msdip._noise.filter_bank import FILTER_BLOCK
from napari_msdip._noise.filtered import Filtered, filtered
from napari_msdip._noise.gains import local_gains
from napari_msdip._noise.insurance import (
    share_in_colour,
    share_in_gray,
    share_of_correlated,
    share_of_resampled,
)
from napari_msdip._noise.kind import (
    Evidence,
    Kind,
    is_clear_behind,
    kind_among_spots,
    kind_behind,
    kind_of_noise,
)
from napari_msdip._noise.model import NoiseModel, uncorrelated
from napari_msdip.noise import cautious_sigma, estimate_sigma
from napari_msdip.padding import padding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["measure_noise"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

# Real noise is correlated over one to three pixels; beyond, the estimate is noise.
_REACH = 4
_FLATTEST_SHARE = 0.25
# White noise this weak, by the image's range, is measured with caution where the flattest
# blocks are uneven, or slightly so without a crowd of spots within, or where it falls off
# like texture: that may pass for most of it, but hardly for more than two thirds.
_FAINT = 0.05
_UNEVEN_BLOCKS = 0.1
_SLIGHTLY_UNEVEN_BLOCKS = 0.05
_LEAST_CAUTIOUS = 1 / 3
# Unless it is soft structure that makes them uneven: that hardly passes for white noise.
_SMOOTH_WITHIN = 0.5
# Of noise that neighbours share to this degree hardly anything is in the highest
# frequencies, which then tell more of structure.
_SMOOTH = 0.6
# Crowded spots make blocks uneven within.
_CROWDED = 2.0


def measure_noise(planar: Planar, sigma: float) -> NoiseModel:
    """Measure the second moments of an image's noise in its flattest blocks.

    Parameters
    ----------
    planar : ndarray
        ``(C, Y, X)``.
    sigma : float
        Level of white noise in the image, in its units: the level, or what bounds it,
        unless blocks show that the noise is correlated or shared by channels.
    """
    side = min(FILTER_BLOCK, min(planar.shape[1:]) // 2)
    if side < LEVEL_BLOCK:
        return NoiseModel.white(len(planar), sigma, _REACH)
    padded = padding(planar)
    # First, as that takes much memory for a moment, and so do blocks as long as they live.
    whole = {
        "white": sigma,
        "highest": cautious_sigma(planar),
        "contrast": signs.contrast(planar, padded),
        "step": signs.step(planar),
    }
    wide, fine = (cut_blocks(planar, s, padded=padded) for s in (side, LEVEL_BLOCK))
    if min(len(wide.variances), len(fine.variances)) < BLOCKS_PER_BIN:
        return NoiseModel.white(len(planar), sigma, _REACH)
    first = _Sight.of(planar, whole, wide, fine)
    behind = filtered(wide, whole["step"], first.model.axes)
    if behind is not None and is_clear_behind(behind, first.evidence):
        return _behind_a_filter(behind, first, planar)
    kind, seen = _judged(first, planar, whole)
    if behind is not None:
        kind = kind_behind(behind, kind, seen.evidence)
        if kind is Kind.FILTERED:
            return _behind_a_filter(behind, seen, planar)
    if kind is Kind.WHITE and _is_compressed(seen.evidence, planar):
        kind = Kind.CORRELATED
    if kind is Kind.CORRELATED and seen.evidence.is_structure:
        kind, seen = Kind.WHITE, first
    if kind is Kind.CORRELATED:
        return _correlated(seen, planar, fine)
    if kind is Kind.WHITE:
        white = _white_by_intensity(seen, planar, fine)
        return dataclasses.replace(white, gains=local_gains(planar, white))
    return _resampled(seen, planar, fine)


@dataclass(frozen=True, eq=False)
class _Sight:
    """What blocks of an image show of its noise.

    Attributes
    ----------
    wide, fine : Blocks
        For correlations, and for levels.
    model : NoiseModel
        Correlations and levels by intensity.
    evidence : Evidence
        Of what kind the noise is.
    simulated : ndarray
        Variances, rising, that blocks show of noise correlated like the model's.
    is_calm : bool
        Whether these are the calmest ones only, whose level stands for all intensities.
    """

    wide: Blocks
    fine: Blocks
    model: NoiseModel
    evidence: Evidence
    simulated: Array
    is_calm: bool

    @classmethod
    def of(
        cls,
        planar: Planar,
        whole: Mapping[str, float],
        wide: Blocks,
        fine: Blocks,
        *,
        is_calm: bool = False,
    ) -> _Sight:
        """Look at blocks; ``whole`` is the part of the evidence that needs none."""
        model = _with_correlations(wide, whole["white"])
        simulated = simulated_variances(model)
        by_intensity = levels.with_levels(model, fine, simulated)
        levelled = by_intensity.levelled() if is_calm else by_intensity
        rise = signs.rise(by_intensity)
        evidence = Evidence(
            correlation=model.neighbour_correlation,
            anisotropy=model.anisotropy,
            level=levelled.overall(planar),
            excess=signs.excess(fine, simulated),
            unevenness=signs.unevenness(wide, model),
            roughness=signs.roughness(wide),
            skewness=rise * signs.skewness(fine, by_intensity.sigmas),
            rise=rise,
            bulge=signs.bulge(by_intensity),
            divergence=signs.divergence(fine),
            **whole,
        )
        return cls(wide, fine, levelled, evidence, simulated, is_calm)


def _judged(
    seen: _Sight, planar: Planar, whole: Mapping[str, float]
) -> tuple[Kind, _Sight]:
    """Return the kind of the noise, and the sight of the blocks that tell its level."""
    kind = kind_of_noise(seen.evidence, planar)
    doubtful = kind is Kind.CORRELATED and seen.evidence.is_networked
    pointed = seen.evidence.is_pointed
    if not (seen.evidence.is_spotted or doubtful or pointed):
        return kind, seen
    wide, fine = signs.calmest(seen.wide), signs.calmest(seen.fine)
    calm = _Sight.of(planar, whole, wide, fine, is_calm=True)
    kind = kind_among_spots(kind, calm.evidence, planar)
    return kind, calm if pointed or kind in (Kind.CORRELATED, Kind.RESAMPLED) else seen


def _is_compressed(evidence: Evidence, planar: Planar) -> bool:
    """Whether JPEG has emptied the high frequencies of noise that passes for white."""
    least = evidence.least_blockiness
    return math.isfinite(least) and signs.blockiness(planar) > least


def _with_correlations(blocks: Blocks, sigma: float) -> NoiseModel:
    """Model noise of this level, correlated as the flattest blocks are."""
    chosen = np.concatenate(flattest(blocks, _FLATTEST_SHARE))
    spread = np.sqrt(blocks.variances[chosen])
    unit = blocks.residuals[chosen] / spread[:, np.newaxis, np.newaxis]
    square = unit.reshape(*unit.shape[:2], blocks.side, blocks.side)
    return NoiseModel.separable(
        correlation=autocorrelation(square, _REACH),
        channels=channel_covariance(unit),
        intensities=np.array([0.0]),
        sigmas=np.array([sigma]),
    )


def _correlated(seen: _Sight, planar: Planar, blocks: Blocks) -> NoiseModel:
    apart = dataclasses.replace(
        told_apart(seen.model, planar),
        is_certain=False,
        noisy_share=share_of_correlated(seen.evidence),
    )
    simulated = simulated_variances(apart)
    found = levels.with_levels(apart, seen.fine, simulated)
    if seen.is_calm:
        return _beyond_the_calm(found, seen, blocks, simulated)
    sigmas = levels.bounded(found.intensities, found.sigmas)
    return dataclasses.replace(found, sigmas=sigmas)


def _beyond_the_calm(
    found: NoiseModel, seen: _Sight, blocks: Blocks, simulated: Array
) -> NoiseModel:
    """Carry what calm blocks show to the intensities of all."""
    evidence = seen.evidence
    if evidence.excess > _UNEVEN_BLOCKS or evidence.correlation > _SMOOTH:
        return found.levelled()
    most = levels.with_levels(found, blocks, simulated)
    fine = levels.with_fine_levels(found, blocks)
    return levels.carried(found, fine, most, seen.fine.means)


def _white_by_intensity(seen: _Sight, planar: Planar, blocks: Blocks) -> NoiseModel:
    evidence = seen.evidence
    doubtful = _may_be_texture(evidence)
    sigma = _with_caution(evidence) if doubtful else evidence.white
    channels, sigma = _channels_and_level(seen, planar, sigma)
    asymmetry = levels.asymmetry(seen.fine)
    fine = levels.with_fine_levels(seen.model, seen.fine)
    if seen.is_calm:
        fine = fine.levelled()
    line = levels.line_of_photons(fine, asymmetry)
    sigmas = levels.steadied(fine.sigmas) if line is None else line
    steady = dataclasses.replace(fine, sigmas=sigmas)
    # Both see texture as noise, each in other places.
    level = steady.overall(planar)
    sigma = float(np.clip(level, _LEAST_CAUTIOUS * sigma, sigma))
    noise = _scaled(steady, level, sigma, uncorrelated(_REACH), channels)
    if len(planar) == 1:
        share = share_in_gray(sigma, evidence)
    else:
        variety = signs.variety(blocks)
        shared = mean_correlation(channels)
        share = share_in_colour(sigma, evidence, variety, shared, doubtful=doubtful)
    return dataclasses.replace(noise, asymmetry=asymmetry, noisy_share=share)


def _resampled(seen: _Sight, planar: Planar, blocks: Blocks) -> NoiseModel:
    channels, sigma = _channels_and_level(seen, planar, seen.evidence.white)
    correlation = _unbiased(seen.model.correlation, seen.wide.side)
    level = seen.evidence.level
    if seen.is_calm:
        level = _beyond_the_calm(seen.model, seen, blocks, seen.simulated).overall(planar)
    fields = simulated_fields(NoiseModel.unit(correlation))
    white = sigma / _share_seen(estimate_sigma, fields)
    # Texture adds to the level of blocks; of skewed noise the estimator finds less.
    sigma = math.sqrt(level * white)
    # And it adds to both, but hardly to the highest frequencies.
    highest = seen.evidence.highest / _share_seen(_highest, fields)
    sigma = float(np.clip(highest, _LEAST_CAUTIOUS * sigma, sigma))
    share = 0.0
    if not seen.is_calm:
        odds = level / white if white else 1.0
        share = share_of_resampled(seen.evidence, odds, len(planar))
    fine = levels.with_fine_levels(seen.model, blocks)
    steady = dataclasses.replace(fine, sigmas=levels.steadied(fine.sigmas))
    noise = _scaled(steady, steady.overall(planar), sigma, correlation, channels)
    return dataclasses.replace(noise, asymmetry=levels.asymmetry(blocks), noisy_share=share)


def _behind_a_filter(found: Filtered, seen: _Sight, planar: Planar) -> NoiseModel:
    noise = NoiseModel.separable(
        correlation=found.correlation,
        channels=found.channels,
        intensities=found.intensities,
        sigmas=levels.steadied(found.sigmas),
    )
    if not found.is_noise:
        # Structure adds to both.
        scale = min(1.0, seen.evidence.level / noise.overall(planar))
        noise = dataclasses.replace(noise, sigmas=scale * noise.sigmas)
    return dataclasses.replace(noise, asymmetry=levels.asymmetry(seen.fine))


def _channels_and_level(seen: _Sight, planar: Planar, sigma: float) -> tuple[Array, float]:
    """Return the covariance between channels, and the level if they share noise."""
    if len(planar) > 1 and seen.evidence.has_even_blocks:
        return white_channels(seen.model, planar, sigma)
    return np.eye(len(planar)), sigma


def _scaled(
    model: NoiseModel, level: float, sigma: float, correlation: Array, channels: Array
) -> NoiseModel:
    """Model noise of level ``sigma`` that depends on the intensity as that of ``level``."""
    return NoiseModel.separable(
        correlation=correlation,
        channels=channels,
        intensities=model.intensities,
        sigmas=model.sigmas * (sigma / level if level else 1.0),
    )


def _unbiased(found: Array, side: int) -> Array:
    """Make up for what the trends of blocks have taken from a correlation.

    By as much as noise with this correlation loses in the same way. Repeating that would
    come nearer to the noise's own, but takes texture in the blocks for more and more.
    """
    shown = [
        cut_blocks(f, side).residuals for f in simulated_fields(NoiseModel.unit(found))
    ]
    blocks = np.concatenate(shown).reshape(-1, 1, side, side)
    corrected: Array = 2 * found - autocorrelation(blocks, _REACH)
    return corrected


def _share_seen(estimator: Callable[[Planar], float], fields: Planar) -> float:
    """Share of the level of ``(K, 1, Y, X)`` that an estimator for white noise finds."""
    return float(np.mean([estimator(field[0]) / field.std() for field in fields]))


def _highest(plane: Planar) -> float:
    return cautious_sigma(plane[np.newaxis])


def _may_be_texture(evidence: Evidence) -> bool:
    """Whether texture may have passed for white noise, or have added to it."""
    uneven = evidence.excess > _UNEVEN_BLOCKS or (
        evidence.excess > _SLIGHTLY_UNEVEN_BLOCKS and evidence.unevenness < _CROWDED
    )
    return evidence.falls_like_texture or (uneven and evidence.roughness > _SMOOTH_WITHIN)


def _with_caution(evidence: Evidence) -> float:
    """Return a level for faint white noise to which texture has added less."""
    sigma = evidence.white
    if sigma > _FAINT * evidence.contrast:
        return sigma
    return float(np.clip(evidence.highest, _LEAST_CAUTIOUS * sigma, sigma))
