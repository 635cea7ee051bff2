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
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from napari_msdip.noise import cautious_sigma, estimate_sigma

__all__ = ["NoiseModel", "measure_noise"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

# Correlations need room; levels need blocks small enough to lie within flat areas.
_CORRELATION_BLOCK = 16
_LEVEL_BLOCK = 8
# Real noise is correlated over one to three pixels; beyond, the estimate is noise.
_REACH = 4
_INTENSITY_BINS = 8
_BLOCKS_PER_BIN = 12
_FLATTEST_SHARE = 0.25
_LEVEL_SHARE = 0.1
_SMOOTHING = 2.0
# Blocks whose surroundings are calm, less those that hold structure all the same.
_CALM_SHARE = 0.25
_PLAIN = 2.0
# Fine texture looks correlated too, and so do soft gradients under white noise. Noise is
# told from them by being correlated, and stronger than the estimator for white noise finds
# and than the highest frequencies show: strongly correlated and much stronger, without the
# outliers and patches of texture, or somewhat stronger, and as even over the flattest
# blocks as noise alone.
_SURELY_CORRELATED = 0.46
_LEVEL_RATIO = 2.5
_HIGHEST_RATIO = 3.0
_CORRELATED = 0.35
_EVEN_LEVEL_RATIO = 1.85
_EVEN_HIGHEST_RATIO = 2.2
_EVEN = 0.15
_EVEN_WITHIN = 2.0
# Where crowded spots make blocks uneven within, the noise must fall off towards the
# highest frequencies, as white noise never does.
_FALL = 1.3
_UNEVEN = 2.33
_SOMEWHAT_EVEN = 0.5
_SOMEWHAT_UNEVEN = 2.6
# White noise this weak, by the image's range, is measured with caution where the flattest
# blocks are uneven, or slightly so without a crowd of spots within: texture may pass for
# most of it, but hardly for more than two thirds.
_FAINT = 0.05
_ROBUST_RANGE = (0.5, 99.5)
_UNEVEN_BLOCKS = 0.1
_SLIGHTLY_UNEVEN_BLOCKS = 0.05
_LEAST_CAUTIOUS = 1 / 3
_CELL = 4
_GAUSSIAN_KURTOSIS = 3.0
_SIMULATED_SIDE = 128
_SIMULATIONS = 3
# A combination of channels with less of the strongest one's variance holds little of the
# picture's detail, so that its noise shows in blocks wide enough for blotches.
_WEAK = 0.5
_LEAST_POWER = 1e-6
_LEAST_SURVEYED = 4
_HARDLY_CORRELATED = 0.25
_HARDLY_RISING = 1.25


@dataclass(frozen=True)
class NoiseModel:
    """Second moments of an image's noise.

    Attributes
    ----------
    axes : ndarray
        ``(C, C)`` orthonormal rows: the combinations of channels whose noise is
        independent.
    powers : ndarray
        ``(C,)`` variance of each combination, 1 on average.
    correlations : ndarray
        ``(C, 2r+1, 2r+1)`` autocorrelation of each between pixels, 1 in the middle.
    intensities, sigmas : ndarray
        ``(K,)`` standard deviation of the noise by local intensity, in the
        image's units, intensities rising.
    asymmetry : float
        Third central moment over variance, in the image's units: 0 if symmetric; for
        photon noise the value of one photon, whatever the intensity.
    """

    axes: Array
    powers: Array
    correlations: Array
    intensities: Array
    sigmas: Array
    asymmetry: float = 0.0

    @classmethod
    def separable(
        cls, correlation: Array, channels: Array, intensities: Array, sigmas: Array
    ) -> NoiseModel:
        """Model noise that is correlated alike in all combinations of channels.

        Parameters
        ----------
        correlation : ndarray
            ``(2r+1, 2r+1)`` autocorrelation between pixels, 1 in the middle.
        channels : ndarray
            ``(C, C)`` covariance between channels, its diagonal 1 on average.
        intensities, sigmas : ndarray
            ``(K,)``, as of the model.
        """
        powers, vectors = np.linalg.eigh(channels)
        return cls(
            axes=vectors.T,
            powers=np.maximum(powers, 0.0),
            correlations=np.broadcast_to(correlation, (len(powers), *correlation.shape)),
            intensities=intensities,
            sigmas=sigmas,
        )

    @property
    def channels(self) -> Array:
        """``(C, C)`` covariance between channels, its diagonal 1 on average."""
        covariance: Array = (self.axes.T * self.powers) @ self.axes
        return covariance

    @property
    def correlation(self) -> Array:
        """``(2r+1, 2r+1)`` autocorrelation of the channels, on average."""
        mean: Array = np.average(self.correlations, axis=0, weights=self.powers)
        return mean

    @property
    def _slope(self) -> float:
        """Rise of the variance with the intensity, as of photons, above the last known."""
        rise = self.sigmas[-1] ** 2 - self.sigmas[0] ** 2
        run = self.intensities[-1] - self.intensities[0]
        return max(float(rise / run), 0.0) if run > 0 else 0.0

    @property
    def neighbour_correlation(self) -> float:
        """Mean correlation between pixels that share a side."""
        correlation = self.correlation
        middle = len(correlation) // 2
        near = correlation[middle + 1, middle] + correlation[middle, middle + 1]
        return float(near) / 2

    @property
    def is_white(self) -> bool:
        """Whether neighbouring pixels have independent noise."""
        return self.neighbour_correlation == 0

    def reach(self, threshold: float = 0.15) -> int:
        """Return the distance in pixels over which the noise is clearly correlated."""
        correlation = self.correlation
        middle = len(correlation) // 2
        along = correlation[middle, middle + 1 :] + correlation[middle + 1 :, middle]
        return int(np.count_nonzero(np.cumprod(along / 2 > threshold)))

    def sigma_map(self, planar: Planar) -> Planar:
        """Return the noise level at each pixel of an image.

        Parameters
        ----------
        planar : ndarray
            ``(C, Y, X)``.

        Returns
        -------
        ndarray
            ``(1, Y, X)`` float32, in the image's units.
        """
        smooth = gaussian_filter(planar.mean(axis=0, dtype=np.float64), _SMOOTHING)
        variances: Array = np.interp(smooth, self.intensities, np.square(self.sigmas))
        variances += self._slope * np.clip(smooth - self.intensities[-1], 0, None)
        sigmas: Planar = np.sqrt(variances)[np.newaxis].astype(np.float32)
        return sigmas

    def fields(
        self, shape: tuple[int, int], count: int, rng: np.random.Generator
    ) -> Planar:
        """Draw noise fields of unit variance with the measured correlations.

        Parameters
        ----------
        shape : tuple of int
            ``(Y, X)``; the fields are periodic, so they may be rolled.
        count : int
            How many.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray
            ``(count, C, Y, X)`` float32.
        """
        wrapped = np.stack([_wrapped(each, shape) for each in self.correlations])
        spectra = np.maximum(np.fft.fft2(wrapped).real, 0.0)
        amplitudes = np.sqrt(spectra * self.powers[:, np.newaxis, np.newaxis])
        drawn = np.empty((count, len(self.axes), *shape), np.float32)
        for field in drawn:
            white = rng.standard_normal(field.shape)
            coloured = np.fft.ifft2(np.fft.fft2(white) * amplitudes).real
            field[...] = np.tensordot(self.axes.T, coloured, axes=1)
        spread = float(drawn.std(dtype=np.float64))
        if spread > 0:
            drawn /= spread
        return drawn


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
    if side < _LEVEL_BLOCK:
        return _white(planar, sigma)
    blocks = _blocks(planar, side)
    if len(blocks.variances) < _BLOCKS_PER_BIN:
        return _white(planar, sigma)
    chosen = np.concatenate(_flattest(blocks, _FLATTEST_SHARE))
    spread = np.sqrt(blocks.variances[chosen])
    unit = blocks.residuals[chosen] / spread[:, np.newaxis, np.newaxis]
    model = NoiseModel.separable(
        correlation=_autocorrelation(unit.reshape(*unit.shape[:2], side, side), _REACH),
        channels=_channel_covariance(unit),
        intensities=np.array([0.0]),
        sigmas=np.array([sigma]),
    )
    return _levelled(model, planar, sigma, _unevenness(blocks, model, side))


def _levelled(
    model: NoiseModel, planar: Planar, sigma: float, unevenness: float
) -> NoiseModel:
    """Add the noise level by intensity, once it is clear what kind of noise it is."""
    blocks = _blocks(planar, _LEVEL_BLOCK)
    if len(blocks.variances) < _BLOCKS_PER_BIN:
        return model
    simulated = _simulated_variances(model)
    levelled = _with_levels(model, blocks, simulated)
    overall = _overall(levelled, planar)
    excess = _spread_of(blocks) - _spread(simulated)
    highest = cautious_sigma(planar)
    if _is_correlated(model, planar, overall, sigma, highest, excess, unevenness):
        apart = _told_apart(levelled, planar)
        return _with_levels(apart, blocks, _simulated_variances(apart))
    textured = excess > _SLIGHTLY_UNEVEN_BLOCKS and unevenness < _EVEN_WITHIN
    if textured or excess > _UNEVEN_BLOCKS:
        sigma = _with_caution(planar, sigma, highest)
    steady = dataclasses.replace(levelled, sigmas=_steadied(levelled.sigmas))
    white = NoiseModel.separable(
        correlation=_uncorrelated(),
        channels=_clear(model.channels) if excess < _EVEN else np.eye(len(planar)),
        intensities=steady.intensities,
        sigmas=steady.sigmas * (sigma / _overall(steady, planar)),
    )
    return dataclasses.replace(white, asymmetry=_asymmetry(blocks))


def _is_correlated(
    model: NoiseModel,
    planar: Planar,
    level: float,
    sigma: float,
    highest: float,
    excess: float,
    unevenness: float,
) -> bool:
    """Weigh the evidence that what is alike in neighbours is noise and not texture.

    ``highest`` is the level of white noise in the highest frequencies, infinite where
    unknown; ``excess`` tells how far the flattest blocks differ, beyond what noise
    explains, ``unevenness`` the same within them.
    """
    correlation = model.neighbour_correlation
    if correlation <= _CORRELATED:
        return False
    if not math.isfinite(highest):
        highest = 0.0
    grainy = unevenness < (_SOMEWHAT_UNEVEN if excess < _SOMEWHAT_EVEN else _UNEVEN)
    much = level > max(_LEVEL_RATIO * sigma, _HIGHEST_RATIO * highest)
    if correlation > _SURELY_CORRELATED and grainy and much:
        return True
    more = level > max(_EVEN_LEVEL_RATIO * sigma, _EVEN_HIGHEST_RATIO * highest)
    if excess >= _EVEN or not more:
        return False
    return unevenness < _EVEN_WITHIN or _channel_level(planar) > _FALL * highest


def _channel_level(planar: Planar) -> float:
    """Level of white noise in the channels, each taken by itself."""
    levels = [estimate_sigma(channel) for channel in planar]
    return float(np.sqrt(np.mean(np.square(levels))))


def _with_caution(planar: Planar, sigma: float, highest: float) -> float:
    """Return a level for faint white noise to which texture has added less."""
    low, high = np.percentile(planar, _ROBUST_RANGE)
    if sigma > _FAINT * (high - low):
        return sigma
    return float(np.clip(highest, _LEAST_CAUTIOUS * sigma, sigma))


def _overall(model: NoiseModel, planar: Planar) -> float:
    return float(np.sqrt(np.mean(np.square(model.sigma_map(planar)))))


def _steadied(sigmas: Array) -> Array:
    """Return levels without their scatter where they hardly depend on the intensity."""
    rising = sigmas.max() > _HARDLY_RISING * sigmas.min()
    return sigmas if rising else np.full_like(sigmas, sigmas.mean())


def _with_levels(model: NoiseModel, blocks: _Blocks, simulated: Array) -> NoiseModel:
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
    blocks = _blocks(combination[np.newaxis], side, survey.degree)
    count = int(survey.share * len(blocks.variances))
    if count < _LEAST_SURVEYED:
        return None
    chosen = np.argsort(blocks.variances, kind="stable")[:count]
    correlation = _autocorrelation(
        blocks.residuals[chosen].reshape(-1, 1, side, side), survey.reach
    )
    alike = NoiseModel.separable(correlation, np.eye(1), np.zeros(1), np.ones(1))
    simulated = _simulated_variances(alike, side, survey.degree)
    bias = simulated[: int(survey.share * len(simulated))].mean()
    return float(blocks.variances[chosen].mean() / bias), correlation


def _widened(correlation: Array, reach: int) -> Array:
    """Continue an autocorrelation by zeros."""
    return np.pad(correlation, reach - len(correlation) // 2)


def _asymmetry(blocks: _Blocks) -> float:
    """Return third moment over variance, the median over the intensity ranges.

    Blocks are chosen by how little their neighbours differ: the spread within a block
    says something of the noise in it, and choosing by that would cut its tails.
    """
    third = np.power(blocks.residuals, 3).mean(axis=(1, 2))
    ratios = []
    for group in _least(blocks, blocks.unrest, _CALM_SHARE):
        variances = blocks.variances[group]
        plain = group[variances < _PLAIN * np.median(variances)]
        ratios.append(third[plain].sum() / blocks.variances[plain].sum())
    return float(np.median(ratios))


def _unevenness(blocks: _Blocks, model: NoiseModel, side: int) -> float:
    """Return how far the flattest blocks are from noise inside; 1 is Gaussian noise.

    Texture, unlike noise, has outliers, and its energy is patchy within a block.
    """
    chosen = np.concatenate(_flattest(blocks, _LEVEL_SHARE))
    rng = np.random.default_rng(0)
    fields = model.fields((_SIMULATED_SIDE, _SIMULATED_SIDE), _SIMULATIONS, rng)
    patchiness = _patchiness(blocks.residuals[chosen], side)
    expected = np.mean([_patchiness(_blocks(f, side).residuals, side) for f in fields])
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


def _simulated_variances(
    model: NoiseModel, side: int = _LEVEL_BLOCK, degree: int | None = None
) -> Array:
    """Variances, rising, that blocks show of noise that has variance 1."""
    rng = np.random.default_rng(0)
    fields = model.fields((_SIMULATED_SIDE, _SIMULATED_SIDE), _SIMULATIONS, rng)
    found = [_blocks(field, side, degree).variances for field in fields]
    return np.sort(np.concatenate(found))


def _spread_of(blocks: _Blocks) -> float:
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


@dataclass(frozen=True)
class _Blocks:
    """Blocks of an image less their trend, those without any variation left out.

    ``residuals`` (B, C, side²), ``means`` (B,), ``variances`` (B,), ``unrest`` (B,): how
    far the means of the eight blocks around a block differ.
    """

    residuals: Array
    means: Array
    variances: Array
    unrest: Array


def _blocks(planar: npt.NDArray[Any], side: int, degree: int | None = None) -> _Blocks:
    """Cut overlapping blocks and subtract a trend of this degree.

    None takes planes in small blocks, paraboloids in larger ones.
    """
    if degree is None:
        degree = 2 if side > _LEVEL_BLOCK else 1
    windows = np.lib.stride_tricks.sliding_window_view(planar, (side, side), axis=(1, 2))
    step = side // 2
    grid = windows[:, ::step, ::step]
    unrest = _unrest(grid.mean(axis=(3, 4), dtype=np.float64), side // step)
    cut = grid.reshape(len(planar), -1, side * side)
    cut = cut.transpose(1, 0, 2).astype(np.float64)
    basis = _trend_basis(side, degree)
    residuals = cut - (cut @ basis) @ basis.T
    variances = np.square(residuals).mean(axis=(1, 2))
    span = float(np.ptp(planar))
    varied = variances > np.finfo(np.float32).eps * span**2
    means = cut.mean(axis=(1, 2))
    return _Blocks(residuals[varied], means[varied], variances[varied], unrest[varied])


def _unrest(means: Array, apart: int) -> Array:
    """Variance of the means ``(C, Y, X)`` of the blocks around each block, flat."""
    rows, columns = means.shape[1:]
    padded = np.pad(means, ((0, 0), (apart, apart), (apart, apart)), mode="symmetric")
    shifts = (0, apart, 2 * apart)
    around = [
        padded[:, y : y + rows, x : x + columns]
        for y in shifts
        for x in shifts
        if (y, x) != (apart, apart)
    ]
    return np.asarray(np.var(around, axis=0).sum(axis=0).ravel())


def _trend_basis(side: int, degree: int) -> Array:
    """Orthonormal polynomials over a block: a plane, of degree 2 a paraboloid."""
    line = np.linspace(-1.0, 1.0, side)
    y, x = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    terms = [np.ones_like(x), y, x]
    if degree > 1:
        terms += [y * y, x * x, x * y]
    basis: Array = np.linalg.qr(np.stack(terms, axis=1))[0]
    return basis


def _flattest(blocks: _Blocks, share: float) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the least varied blocks of each intensity range."""
    return _least(blocks, blocks.variances, share)


def _least(blocks: _Blocks, measure: Array, share: float) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the blocks of least measure in each intensity range."""
    count = len(blocks.means)
    bins = int(np.clip(count // _BLOCKS_PER_BIN, 1, _INTENSITY_BINS))
    groups = []
    for members in np.array_split(np.argsort(blocks.means, kind="stable"), bins):
        kept = max(3, int(share * len(members)))
        order = np.argsort(measure[members], kind="stable")
        groups.append(members[order[:kept]])
    return groups


def _autocorrelation(blocks: npt.NDArray[Any], farthest: int) -> Array:
    """Autocorrelation of blocks ``(B, C, n, n)``, tapered towards the farthest pixel."""
    side = blocks.shape[-1]
    size = (2 * side, 2 * side)
    power = np.zeros(size)
    for block in blocks:
        power += np.square(np.abs(np.fft.fft2(block, s=size))).sum(axis=0)
    overlap = np.square(np.abs(np.fft.fft2(np.ones((side, side)), s=size)))
    products = np.fft.ifft2(power).real / np.maximum(np.fft.ifft2(overlap).real, 0.5)
    reach = np.arange(-farthest, farthest + 1)
    near = products[np.ix_(reach, reach)]
    distance = np.hypot(reach[:, np.newaxis], reach)
    taper = np.sqrt(np.clip(1 - distance / (farthest + 1), 0, None))
    correlation: Array = taper * near / near[farthest, farthest]
    return correlation


def _channel_covariance(unit: Array) -> Array:
    covariance = np.einsum("bcp,bdp->cd", unit, unit)
    normalised: Array = covariance / np.trace(covariance) * len(covariance)
    return normalised


def _clear(channels: Array) -> Array:
    """Return a covariance of channels, or its diagonal if they are hardly correlated.

    A trace of structure in the flattest blocks is common to all channels.
    """
    spreads = np.sqrt(np.diag(channels))
    clearly = np.abs(channels) > _HARDLY_CORRELATED * np.outer(spreads, spreads)
    if clearly[~np.eye(len(channels), dtype=bool)].any():
        return channels
    return np.diag(np.diag(channels))


def _wrapped(correlation: Array, shape: tuple[int, int]) -> Array:
    """Lay a centred autocorrelation around the origin of a periodic field."""
    wrapped = np.zeros(shape)
    reach = len(correlation) // 2
    for row, dy in enumerate(range(-reach, reach + 1)):
        for column, dx in enumerate(range(-reach, reach + 1)):
            wrapped[dy % shape[0], dx % shape[1]] += correlation[row, column]
    return wrapped
