"""Areas of one value, which hold no noise: padding of a stitched image, or saturated."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

__all__ = ["padding"]

Mask = npt.NDArray[np.bool_]

# Squares of one value, this wide, are padding or saturated: noise has none, nor have dark
# areas, from one photon in twenty pixels on. Nor has noise rows of one value, unless they
# are shorter.
_ONE_VALUE = 17


def padding(planar: npt.NDArray[Any]) -> Mask | None:
    """Return where an image ``(C, Y, X)`` has no noise; None if nowhere.

    That is where it has one value all around, and in rows and columns of one value at its
    edges, as shifts by a few pixels leave them.
    """
    window = (1, _ONE_VALUE, _ONE_VALUE)
    flat = minimum_filter(planar, window) == maximum_filter(planar, window)
    wide: Mask = maximum_filter(flat, window, mode="constant") if flat.any() else flat
    columns = _edges(planar.swapaxes(1, 2)).swapaxes(1, 2)
    found = wide | _edges(planar) | columns
    return found if found.any() else None


def _edges(planar: npt.NDArray[Any]) -> Mask:
    """Return which rows are of one value, from the first or from the last on."""
    if planar.shape[2] < _ONE_VALUE:
        return np.zeros(planar.shape, bool)
    even = (planar == planar[:, :, :1]).all(axis=2)
    first = np.logical_and.accumulate(even, axis=1)
    last = np.logical_and.accumulate(even[:, ::-1], axis=1)[:, ::-1]
    return np.broadcast_to((first | last)[:, :, np.newaxis], planar.shape)
