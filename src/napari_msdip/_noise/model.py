"""The noise of an image: its second moments, and fresh noise that shares them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

__all__ = ["NoiseModel", "between_pixels", "uncorrelated"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

# Pixels over which the intensity that tells a pixel's level is smoothed: its own noise must
# not decide.
_SMOOTHING = 2.0
# The mean of both directions, to count as correlated over that distance.
_CLEARLY_CORRELATED = 0.15


@dataclass(frozen=True, eq=False)
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
    is_certain : bool
        Whether the level was measured where there is hardly anything but noise. That of
        a camera's correlated noise is not: mostly it comes out low.
    growth : float
        Level over that of the measurement before; 1 if it was measured once.
    noisy_share : float
        Share of the noisy image that a result had better keep, as what passes for noise
        this faint may be texture, or noise that the picture brought along.
    gains : ndarray or None
        ``(Y, X)`` factor on the level at each pixel of the image that was measured; None
        where the level depends on the intensity alone.
    """

    axes: Array
    powers: Array
    correlations: Array
    intensities: Array
    sigmas: Array
    asymmetry: float = 0.0
    is_certain: bool = True
    growth: float = 1.0
    noisy_share: float = 0.0
    gains: Planar | None = None

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

    @classmethod
    def white(cls, channels: int, sigma: float, reach: int) -> NoiseModel:
        """Model noise of one level, independent from pixel to pixel and channel."""
        return cls.separable(
            uncorrelated(reach), np.eye(channels), np.zeros(1), np.array([sigma])
        )

    @classmethod
    def unit(cls, correlation: Array) -> NoiseModel:
        """Model noise of one channel and of variance 1, correlated like this."""
        return cls.separable(correlation, np.eye(1), np.zeros(1), np.ones(1))

    def levelled(self) -> NoiseModel:
        """Return a model with the same level, root mean square, at all intensities."""
        level = math.sqrt(np.mean(np.square(self.sigmas)))
        return replace(self, sigmas=np.full_like(self.sigmas, level))

    def part(self, window: tuple[slice, slice]) -> NoiseModel:
        """Return the model of a part of the image, cut out along Y and X."""
        return self if self.gains is None else replace(self, gains=self.gains[window])

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
    def anisotropy(self) -> float:
        """How much more correlated pixels are along one axis than along the other."""
        correlation = self.correlation
        middle = len(correlation) // 2
        return abs(float(correlation[middle + 1, middle] - correlation[middle, middle + 1]))

    @property
    def is_white(self) -> bool:
        """Whether neighbouring pixels have independent noise."""
        return self.neighbour_correlation == 0

    @property
    def is_separable(self) -> bool:
        """Whether all combinations of channels are correlated alike between pixels."""
        return bool((self.correlations == self.correlations[0]).all())

    def reach(self) -> int:
        """Return the distance in pixels over which the noise is clearly correlated."""
        correlation = self.correlation
        middle = len(correlation) // 2
        along = correlation[middle, middle + 1 :] + correlation[middle + 1 :, middle]
        return int(np.count_nonzero(np.cumprod(along / 2 > _CLEARLY_CORRELATED)))

    def sigma_map(self, planar: Planar) -> Planar:
        """Return the noise level at each pixel of an image.

        Parameters
        ----------
        planar : ndarray
            ``(C, Y, X)``, of the size that was measured.

        Returns
        -------
        ndarray
            ``(1, Y, X)`` float32, in the image's units.
        """
        smooth = gaussian_filter(planar.mean(axis=0, dtype=np.float64), _SMOOTHING)
        variances: Array = np.interp(smooth, self.intensities, np.square(self.sigmas))
        variances += self._slope * np.clip(smooth - self.intensities[-1], 0, None)
        sigmas: Planar = np.sqrt(variances)[np.newaxis].astype(np.float32)
        return sigmas if self.gains is None else sigmas * self.gains

    def overall(self, planar: Planar) -> float:
        """Return the noise level of an image ``(C, Y, X)``, root mean square."""
        return float(np.sqrt(np.mean(np.square(self.sigma_map(planar)))))

    def unit_level(self, gains: Array) -> float:
        """Return what level 1 is, root mean square, where channels have these units."""
        return float(np.sqrt(np.mean(np.diag(self.channels) * np.square(gains))))

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
        spectra = np.maximum(np.fft.rfft2(wrapped).real, 0.0)
        amplitudes = np.sqrt(spectra * self.powers[:, np.newaxis, np.newaxis])
        drawn = np.empty((count, len(self.axes), *shape), np.float32)
        for field in drawn:
            white = rng.standard_normal(field.shape)
            coloured = np.fft.irfft2(np.fft.rfft2(white) * amplitudes, s=shape)
            field[...] = np.tensordot(self.axes.T, coloured, axes=1)
        spread = float(drawn.std(dtype=np.float64))
        if spread > 0:
            drawn /= spread
        return drawn


def uncorrelated(reach: int) -> Array:
    """Return the autocorrelation ``(2r+1, 2r+1)`` of white noise."""
    correlation = np.zeros((2 * reach + 1,) * 2)
    correlation[reach, reach] = 1.0
    return correlation


def _wrapped(correlation: Array, shape: tuple[int, int]) -> Array:
    """Lay a centred autocorrelation around the origin of a periodic field."""
    wrapped = np.zeros(shape)
    reach = len(correlation) // 2
    for row, dy in enumerate(range(-reach, reach + 1)):
        for column, dx in enumerate(range(-reach, reach + 1)):
            wrapped[dy % shape[0], dx % shape[1]] += correlation[row, column]
    return wrapped


def between_pixels(correlation: Array, side: int) -> Array:
    """Return how pixels of a patch are correlated, ``(side, side, side, side)``.

    Row and column of the one, then of the other; ``correlation`` is ``(2r+1, 2r+1)``, and
    pixels farther apart than its reach share nothing.
    """
    reach = len(correlation) // 2
    lags = np.subtract.outer(np.arange(side), np.arange(side))
    near = np.abs(lags) <= reach
    index = np.where(near, lags, 0) + reach
    between: Array = correlation[index[:, None, :, None], index[None, :, None, :]]
    return between * (near[:, None, :, None] & near[None, :, None, :])
