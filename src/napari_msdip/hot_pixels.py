"""Single pixels that stand out from all around them, as a camera's defects do."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_msdip._noise.flattest import measure_noise
from napari_msdip.noise import estimate_sigma

__all__ = ["without_hot_pixels"]

Planar = npt.NDArray[np.float32]
Plane = npt.NDArray[np.float32]

# Noise is hardly ever this many times its level.
_FAR = 6.0
# Share of its height that the four pixels beside a spot have if it was seen through
# optics: 0.25 or more, down to a full width of 1.4 pixels at half the height.
_ISOLATED = 0.2

# Standard deviation of Gaussian values over the mean of their sizes.
_GAUSSIAN = math.sqrt(math.pi / 2)
_WINDOW = 15

_NEIGHBOURS = np.ones((3, 3), bool)
_NEIGHBOURS[1, 1] = False
_SURROUNDINGS = np.ones((5, 5), bool)
_SURROUNDINGS[1:4, 1:4] = False
_BESIDE = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4


def without_hot_pixels(planar: Planar) -> Planar:
    """Replace pixels that differ from all around them by far more than noise can.

    Bright ones and dark ones, each channel by itself. What light makes is never so
    small: optics spread a point over its neighbours, and there it is left alone.

    Parameters
    ----------
    planar : ndarray
        ``(C, Y, X)``, finite.

    Returns
    -------
    ndarray
        A copy, in which the median of its eight neighbours takes a hot pixel's place.
    """
    return np.stack([_without(plane) for plane in planar])


def _without(plane: Plane) -> Plane:
    around = ndimage.median_filter(plane, footprint=_SURROUNDINGS, mode="mirror")
    height = plane - around
    beside = ndimage.convolve(plane, _BESIDE, mode="mirror") - around
    model = measure_noise(plane[np.newaxis], estimate_sigma(plane))
    # On the surroundings, as a hot pixel must not raise its own limit.
    level = model.sigma_map(around[np.newaxis])[0]
    # In texture many pixels stand out, whatever the noise.
    usual = _GAUSSIAN * ndimage.uniform_filter(np.abs(height), _WINDOW, mode="mirror")
    limit = _FAR * np.maximum(level, usual)
    # A photon more is seldom: few come at once more often than a bell curve tells.
    skewed = limit + _FAR**2 / 4 * max(model.asymmetry, 0.0)
    far = np.where(height > 0, height > skewed, -height > limit)
    isolated = beside * np.sign(height) < _ISOLATED * np.abs(height)
    neighbours = ndimage.median_filter(plane, footprint=_NEIGHBOURS, mode="mirror")
    return np.where(far & isolated, neighbours, plane)
