"""Fresh noise like the image's own: what a generator sees and is asked for each step.

A generator that is shown the noisy image plus noise and asked for the noisy image
minus noise cannot do better than to return the clean image, as long as the added
noise has the second moments of the image's own (Pang, Zheng, Quan and Ji,
"Recorrupted-to-Recorrupted", CVPR 2021). Those moments are measured here, in the
flattest parts of the one image there is: variance by intensity, correlation between
channels, and for each of the combinations of channels that these leave independent (in
a camera's picture brightness and two differences of colour) its own variance and
correlation between neighbouring pixels. Nothing is assumed about their form.

Where the noise is independent from pixel to pixel its third moment is matched, too.
Noise and an independent copy of it can change places, so given their sum the mean of
their difference is zero whatever their distribution: with copies of skewed noise, as
few photons make it, the argument holds exactly, not for Gaussian noise alone.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr, theilslopes

from napari_msdip.blocks import (
    LEVEL_BLOCK,
    Blocks,
    autocorrelation,
    cut_blocks,
    energies,
    simulated_fields,
    simulated_variances,
)
from napari_msdip.evidence import (
    Evidence,
    Kind,
    fall_in_channels,
    kind_among_spots,
    kind_of_noise,
)
from napari_msdip.noise import cautious_sigma, estimate_sigma
from napari_msdip.noise_model import NoiseModel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["measure_noise"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

# Correlations need room.
_CORRELATION_BLOCK = 16
# Real noise is correlated over one to three pixels; beyond, the estimate is noise.
_REACH = 4
_INTENSITY_BINS = 8
_BLOCKS_PER_BIN = 12
_FLATTEST_SHARE = 0.25
_LEVEL_SHARE = 0.1
# Blocks whose surroundings are calm, less those that hold structure all the same.
_CALM_SHARE = 0.25
_PLAIN = 2.0
# White noise this weak, by the image's range, is measured with caution where the flattest
# blocks are uneven, or slightly so without a crowd of spots within, or where it falls off
# like texture: that may pass for most of it, but hardly for more than two thirds.
_FAINT = 0.05
_ROBUST_RANGE = (0.5, 99.5)
_MOST_VALUES = 2**16
_UNEVEN_BLOCKS = 0.1
_SLIGHTLY_UNEVEN_BLOCKS = 0.05
_LEAST_CAUTIOUS = 1 / 3
# Below these shares of the range even that may be mostly texture. Error and noise are
# nearly independent then, so that this much of the noisy image costs little where the
# level is right, and saves much where it is not.
_FAINTEST = (0.015, 0.03)
_NOISY_SHARE = 0.3
# Crowded spots make blocks uneven within.
_CROWDED = 2.0
# Where the flattest blocks differ no more than this beyond what noise explains, hardly
# anything but noise is in them.
_EVEN = 0.15
_CELL = 4
_GAUSSIAN_KURTOSIS = 3.0
# A combination of channels with less of the strongest one's variance holds little of the
# picture's detail, so that its noise shows in blocks wide enough for blotches.
_WEAK = 0.5
_LEAST_POWER = 1e-6
_LEAST_SURVEYED = 4
_HARDLY_CORRELATED = 0.3
# Between neighbours in blurred noise, simulated: by the fall of its level towards the
# highest frequencies. Beyond what is seen of resampled noise the line ends.
_CORRELATION_BY_FALL = (0.72, -0.03)
_MOST_BLURRED = 0.6
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
# Where spots raise the level, only this share of the intensities, that of the lowest
# levels, tells of the noise.
_CALMEST = 0.25
# Skewness by chance: independent values in a block of correlated noise, simulated, and how
# many standard errors count.
_INDEPENDENT = 20
_CLEARLY = 3.5


def measure_noise(planar: Planar, sigma: float) -> NoiseModel:
    """Measure the second moments of an image's noise in its flattest blocks.

    Parameters
    ----------
    planar : ndarray
        ``(C, Y, X)``.
    sigma : float
        Level of white noise in the image, in its units; taken unless the flat
        blocks agree that there is much more noise, and that it is correlated.
    """
    side = min(_CORRELATION_BLOCK, min(planar.shape[1:]) // 2)
    if side < LEVEL_BLOCK:
        return _white(planar, sigma)
    wide, fine = cut_blocks(planar, side), cut_blocks(planar, LEVEL_BLOCK)
    if min(len(wide.variances), len(fine.variances)) < _BLOCKS_PER_BIN:
        return _white(planar, sigma)
    whole = {
        "white": sigma,
        "highest": cautious_sigma(planar),
        "contrast": _contrast(planar),
        "step": _step(planar),
    }
    seen = _Sight.of(planar, whole, wide, fine)
    kind = kind_of_noise(seen.evidence, planar)
    if seen.evidence.is_spotted:
        calm = _Sight.of(planar, whole, _calmest(wide), _calmest(fine), is_calm=True)
        kind = kind_among_spots(kind, calm.evidence, planar)
        if kind in (Kind.CORRELATED, Kind.RESAMPLED):
            seen = calm
    if kind is Kind.CORRELATED:
        return _correlated(seen, planar)
    if kind is Kind.WHITE:
        return _white_by_intensity(seen, planar)
    return _resampled(kind, seen, planar, fine)


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
    is_calm : bool
        Whether these are the calmest ones only, whose level stands for all intensities.
    """

    wide: Blocks
    fine: Blocks
    model: NoiseModel
    evidence: Evidence
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
        by_intensity = _with_levels(model, fine, simulated)
        levelled = _levelled(by_intensity) if is_calm else by_intensity
        evidence = Evidence(
            correlation=model.neighbour_correlation,
            anisotropy=model.anisotropy,
            level=levelled.overall(planar),
            excess=_spread_of(fine) - _spread(simulated),
            unevenness=_unevenness(wide, model),
            skewness=_rise(by_intensity) * _skewness(fine, by_intensity.sigmas),
            **whole,
        )
        return cls(wide, fine, levelled, evidence, is_calm)


def _with_correlations(blocks: Blocks, sigma: float) -> NoiseModel:
    """Model noise of this level, correlated as the flattest blocks are."""
    chosen = np.concatenate(_flattest(blocks, _FLATTEST_SHARE))
    spread = np.sqrt(blocks.variances[chosen])
    unit = blocks.residuals[chosen] / spread[:, np.newaxis, np.newaxis]
    square = unit.reshape(*unit.shape[:2], blocks.side, blocks.side)
    return NoiseModel.separable(
        correlation=autocorrelation(square, _REACH),
        channels=_channel_covariance(unit),
        intensities=np.array([0.0]),
        sigmas=np.array([sigma]),
    )


def _levelled(model: NoiseModel) -> NoiseModel:
    """Give noise the same level at all intensities."""
    level = math.sqrt(np.mean(np.square(model.sigmas)))
    return dataclasses.replace(model, sigmas=np.full_like(model.sigmas, level))


def _correlated(seen: _Sight, planar: Planar) -> NoiseModel:
    apart = dataclasses.replace(_told_apart(seen.model, planar), is_certain=False)
    found = _with_levels(apart, seen.fine, simulated_variances(apart))
    if seen.is_calm:
        return _levelled(found)
    bounded = _bounded(found.intensities, found.sigmas)
    return dataclasses.replace(found, sigmas=bounded)


def _white_by_intensity(seen: _Sight, planar: Planar) -> NoiseModel:
    evidence = seen.evidence
    doubtful = _may_be_texture(evidence)
    sigma = _with_caution(evidence) if doubtful else evidence.white
    channels, sigma = _channels_and_level(seen, planar, sigma)
    asymmetry = _asymmetry(seen.fine)
    fine = _with_fine_levels(seen.model, seen.fine)
    line = _line_of_photons(fine, asymmetry)
    sigmas = _steadied(fine.sigmas) if line is None else line
    steady = dataclasses.replace(fine, sigmas=sigmas)
    # Both see texture as noise, each in other places.
    level = steady.overall(planar)
    sigma = float(np.clip(level, _LEAST_CAUTIOUS * sigma, sigma))
    noise = _scaled(steady, planar, sigma, _uncorrelated(), channels)
    # Texture that channels share does not pass for noise.
    insured = doubtful and len(planar) == 1
    share = _insurance(sigma, evidence.contrast) if insured else 0.0
    return dataclasses.replace(noise, asymmetry=asymmetry, noisy_share=share)


def _resampled(kind: Kind, seen: _Sight, planar: Planar, blocks: Blocks) -> NoiseModel:
    channels, sigma = _channels_and_level(seen, planar, seen.evidence.white)
    if kind is Kind.RESAMPLED:
        correlation = _unbiased(seen.model.correlation, seen.wide.side)
        # Texture adds to the level of blocks; of skewed noise the estimator finds less.
        sigma = math.sqrt(seen.evidence.level * sigma / _seen_as_white(correlation))
    else:
        correlation = _blurred(fall_in_channels(seen.evidence.highest, planar))
        sigma /= _seen_as_white(correlation)
    fine = _with_fine_levels(seen.model, blocks)
    steady = dataclasses.replace(fine, sigmas=_steadied(fine.sigmas))
    noise = _scaled(steady, planar, sigma, correlation, channels)
    return dataclasses.replace(noise, asymmetry=_asymmetry(blocks))


def _channels_and_level(seen: _Sight, planar: Planar, sigma: float) -> tuple[Array, float]:
    """Return the covariance between channels, and the level if they share noise."""
    if len(planar) > 1 and seen.evidence.excess < _EVEN:
        return _white_channels(seen.model, planar, sigma)
    return np.eye(len(planar)), sigma


def _scaled(
    levels: NoiseModel, planar: Planar, sigma: float, correlation: Array, channels: Array
) -> NoiseModel:
    """Model noise of this overall level that depends on the intensity as given."""
    level = levels.overall(planar)
    return NoiseModel.separable(
        correlation=correlation,
        channels=channels,
        intensities=levels.intensities,
        sigmas=levels.sigmas * (sigma / level if level else 1.0),
    )


def _unbiased(found: Array, side: int) -> Array:
    """Make up for what the trends of blocks have taken from a correlation.

    By as much as noise with this correlation loses in the same way. Repeating that would
    come nearer to the noise's own, but takes texture in the blocks for more and more.
    """
    shown = [cut_blocks(f, side).residuals for f in simulated_fields(_alike(found))]
    blocks = np.concatenate(shown).reshape(-1, 1, side, side)
    corrected: Array = 2 * found - autocorrelation(blocks, _REACH)
    return corrected


def _blurred(fall: float) -> Array:
    """Return the correlation of white noise that a Gaussian blur made fall off so much."""
    slope, start = _CORRELATION_BY_FALL
    neighbours = min(slope * fall + start, _MOST_BLURRED)
    squares = np.square(np.arange(-_REACH, _REACH + 1.0))
    correlation: Array = neighbours ** np.add.outer(squares, squares)
    return correlation


def _seen_as_white(correlation: Array) -> float:
    """Share of the level of noise that the estimator for white noise finds."""
    fields = simulated_fields(_alike(correlation))
    return float(np.mean([estimate_sigma(field[0]) / field.std() for field in fields]))


def _alike(correlation: Array) -> NoiseModel:
    """Model noise of one channel and of variance 1."""
    return NoiseModel.separable(correlation, np.eye(1), np.zeros(1), np.ones(1))


def _may_be_texture(evidence: Evidence) -> bool:
    """Whether texture may have passed for white noise, or have added to it."""
    return (
        evidence.excess > _UNEVEN_BLOCKS
        or (evidence.excess > _SLIGHTLY_UNEVEN_BLOCKS and evidence.unevenness < _CROWDED)
        or evidence.falls_like_texture
    )


def _with_caution(evidence: Evidence) -> float:
    """Return a level for faint white noise to which texture has added less."""
    sigma = evidence.white
    if sigma > _FAINT * evidence.contrast:
        return sigma
    return float(np.clip(evidence.highest, _LEAST_CAUTIOUS * sigma, sigma))


def _insurance(sigma: float, contrast: float) -> float:
    """Return the share of the noisy image to keep where its noise may be texture."""
    return float(np.interp(sigma, np.multiply(_FAINTEST, contrast), (_NOISY_SHARE, 0.0)))


def _contrast(planar: Planar) -> float:
    low, high = np.percentile(planar, _ROBUST_RANGE)
    return float(high - low)


def _step(planar: Planar) -> float:
    """Return the smallest difference between values of an image."""
    sample = planar.ravel()[:: 1 + planar.size // _MOST_VALUES]
    return float(np.diff(np.unique(sample)).min(initial=np.ptp(sample)))


def _with_fine_levels(model: NoiseModel, blocks: Blocks) -> NoiseModel:
    """Read how the level depends on the intensity off the highest frequencies.

    Texture is weak there, and as blocks are chosen by the other frequencies, so is what
    chance chooses. It only ever adds: where there is more of it at some intensities than
    at darker and brighter ones, that is not noise.
    """
    low, high = energies(blocks, LEVEL_BLOCK)
    groups = _least(blocks, low, _LEVEL_SHARE)
    intensities = np.array([blocks.means[g].mean() for g in groups])
    variances = np.array([high[g].mean() for g in groups])
    unclipped = np.array([blocks.clipped[g].mean() < _CLIPPED for g in groups])
    unclipped |= ~unclipped.any()
    least = _convex(intensities[unclipped], variances[unclipped])
    most = _MOST_CONCAVE * np.interp(intensities, intensities[unclipped], least)
    sigmas = np.sqrt(np.minimum(variances, most))
    return dataclasses.replace(model, intensities=intensities, sigmas=sigmas)


def _line_of_photons(model: NoiseModel, photon: float) -> Array | None:
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


def _steadied(sigmas: Array) -> Array:
    """Return levels without their scatter where they hardly depend on the intensity."""
    rising = sigmas.max() > _HARDLY_RISING * sigmas.min()
    return sigmas if rising else np.full_like(sigmas, sigmas.mean())


def _with_levels(model: NoiseModel, blocks: Blocks, simulated: Array) -> NoiseModel:
    """Read the noise level by intensity off the flattest blocks.

    ``simulated`` are the variances, rising, that blocks show of noise of variance 1.
    """
    bias = simulated[: int(_LEVEL_SHARE * len(simulated))].mean()
    groups = _flattest(blocks, _LEVEL_SHARE)
    return dataclasses.replace(
        model,
        intensities=np.array([blocks.means[g].mean() for g in groups]),
        sigmas=np.sqrt([blocks.variances[g].mean() / bias for g in groups]),
    )


def _bounded(intensities: Array, sigmas: Array) -> Array:
    """Keep what bright structure adds out of levels that else lie on a line.

    The variance of what a sensor sees rises no faster than with the intensity. Where it
    does not follow a line in darker blocks either, as in a JPEG, they tell nothing.
    """
    count = round(_DARKER * len(sigmas))
    if count < _LEAST_SURVEYED:
        return sigmas
    variances = np.square(sigmas)
    slope, start, *_ = theilslopes(variances[:count], intensities[:count])
    line = variances[:count].mean() if slope < 0 else start + slope * intensities
    misfit = np.broadcast_to(line, len(sigmas))[:count] / variances[:count] - 1
    if np.sqrt(np.mean(np.square(misfit))) > _MOST_MISFIT:
        return sigmas
    bounded: Array = np.sqrt(np.minimum(variances, _MOST_ABOVE * line))
    return bounded


def _calmest(blocks: Blocks) -> Blocks:
    """Return the blocks of those intensities at which the flattest vary least."""
    ranges = _least(blocks, blocks.variances, 1.0)
    flattest = _flattest(blocks, _LEVEL_SHARE)
    order = np.argsort([blocks.variances[g].mean() for g in flattest], kind="stable")
    count = max(1, round(_CALMEST * len(ranges)))
    return blocks.of(np.concatenate([ranges[n] for n in order[:count]]))


def _skewness(blocks: Blocks, sigmas: Array) -> float:
    """Return how skewed the blocks that tell the higher levels are; 0 by chance."""
    groups = _flattest(blocks, _LEVEL_SHARE)
    noisier = [groups[n] for n in np.argsort(sigmas, kind="stable")[len(groups) // 2 :]]
    skewed = float(np.mean([_third_moment(blocks.residuals[g]) for g in noisier]))
    values = _INDEPENDENT * sum(len(group) for group in noisier)
    return skewed if abs(skewed) > _CLEARLY * math.sqrt(6 / values) else 0.0


def _rise(model: NoiseModel) -> float:
    """Return how steadily levels rise with the intensity, from -1 to 1."""
    if len(model.sigmas) < _LEAST_SURVEYED or not np.ptp(model.sigmas):
        return 0.0
    return float(spearmanr(model.intensities, model.sigmas).statistic)


def _third_moment(residuals: Array) -> float:
    """Third moment of blocks ``(B, C, side²)`` in units of their spread.

    Of the mean of the channels: a dark one by itself is skewed where 0 cuts its noise off.
    """
    values = residuals.mean(axis=1)
    spread = math.sqrt(np.mean(np.square(values)))
    return float(np.mean((values / spread) ** 3)) if spread else 0.0


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


def _told_apart(model: NoiseModel, planar: Planar) -> NoiseModel:
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
    simulated = simulated_variances(_alike(correlation), side, survey.degree)
    bias = simulated[: int(survey.share * len(simulated))].mean()
    return float(blocks.variances[chosen].mean() / bias), correlation


def _widened(correlation: Array, reach: int) -> Array:
    """Continue an autocorrelation by zeros."""
    return np.pad(correlation, reach - len(correlation) // 2)


def _asymmetry(blocks: Blocks) -> float:
    """Return third moment over variance, the median over the intensity ranges.

    Blocks are chosen by how little their neighbours differ: the spread within a block
    says something of the noise in it, and choosing by that would cut its tails.
    """
    third = (np.square(blocks.residuals) * blocks.residuals).mean(axis=(1, 2))
    ratios = []
    for group in _least(blocks, blocks.unrest, _CALM_SHARE):
        variances = blocks.variances[group]
        plain = group[variances < _PLAIN * np.median(variances)]
        ratios.append(third[plain].sum() / blocks.variances[plain].sum())
    return float(np.median(ratios))


def _unevenness(blocks: Blocks, model: NoiseModel) -> float:
    """Return how far the flattest blocks are from noise inside; 1 is Gaussian noise.

    Texture, unlike noise, has outliers, and its energy is patchy within a block.
    """
    side = blocks.side
    chosen = np.concatenate(_flattest(blocks, _LEVEL_SHARE))
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


def _patchiness(residuals: Array, side: int) -> float:
    """Return the relative spread of energy between the cells of a block."""
    cells = side // _CELL
    cut = residuals[..., : (cells * _CELL) * side].reshape(
        *residuals.shape[:2], cells, _CELL, side
    )[..., : cells * _CELL]
    energies = np.square(cut).reshape(*cut.shape[:4], cells, _CELL).mean(axis=(1, 3, 5))
    energies = energies.reshape(len(energies), -1)
    return float(np.mean(energies.std(axis=1) / energies.mean(axis=1)))


def _spread_of(blocks: Blocks) -> float:
    """Return how far apart the flattest blocks' variances are, at the median intensity."""
    groups = _flattest(blocks, 1.0)
    return float(np.median([_spread(blocks.variances[group]) for group in groups]))


def _spread(variances: Array) -> float:
    flattest, flat = np.quantile(variances, (_LEVEL_SHARE / 10, _LEVEL_SHARE))
    return float(np.log(flat / flattest))


def _white(planar: Planar, sigma: float) -> NoiseModel:
    return NoiseModel.separable(
        correlation=_uncorrelated(),
        channels=np.eye(len(planar)),
        intensities=np.array([0.0]),
        sigmas=np.array([sigma]),
    )


def _uncorrelated() -> Array:
    correlation = np.zeros((2 * _REACH + 1,) * 2)
    correlation[_REACH, _REACH] = 1.0
    return correlation


def _flattest(blocks: Blocks, share: float) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the least varied blocks of each intensity range."""
    return _least(blocks, blocks.variances, share)


def _least(blocks: Blocks, measure: Array, share: float) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the blocks of least measure in each intensity range."""
    count = len(blocks.means)
    bins = int(np.clip(count // _BLOCKS_PER_BIN, 1, _INTENSITY_BINS))
    groups = []
    for members in np.array_split(np.argsort(blocks.means, kind="stable"), bins):
        kept = max(3, int(share * len(members)))
        order = np.argsort(measure[members], kind="stable")
        groups.append(members[order[:kept]])
    return groups


def _channel_covariance(unit: Array) -> Array:
    covariance = np.einsum("bcp,bdp->cd", unit, unit)
    normalised: Array = covariance / np.trace(covariance) * len(covariance)
    return normalised


def _white_channels(model: NoiseModel, planar: Planar, sigma: float) -> tuple[Array, float]:
    """Return the covariance of white noise between channels, and its level.

    Structure in the flattest blocks is common to all channels, and looks like noise that
    is. So each combination of channels tells its own level, in frequencies where it has
    next to no structure. ``sigma`` was found in all channels at once, which noise that
    they share escapes; it stays where they share none.
    """
    combinations = np.tensordot(model.axes, planar, axes=1)
    found: Array = (model.axes.T * _white_variances(combinations)) @ model.axes
    spreads = np.sqrt(np.diag(found))
    clearly = np.abs(found) > _HARDLY_CORRELATED * np.outer(spreads, spreads)
    shared = bool(clearly[~np.eye(len(found), dtype=bool)].any())
    if not shared:
        found = np.diag(_white_variances(planar))
    mean = float(np.trace(found)) / len(found)
    if mean == 0:
        return np.eye(len(found)), sigma
    return found / mean, math.sqrt(mean) if shared else sigma


def _white_variances(planes: npt.NDArray[Any]) -> Array:
    """Variance of white noise in each of the planes ``(C, Y, X)``."""
    variances: Array = np.square([estimate_sigma(one) for one in planes])
    return variances
