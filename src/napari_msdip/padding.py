"""Areas of one value, which hold no noise: padding of a stitched image, or saturated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy.ndimage import maximum_filter, minimum_filter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["padding"]

# Squares of one value, this wide, are padding or saturated: noise has none, nor have dark
# areas, from one photon in twenty pixels on.
_ONE_VALUE = 17


def padding(planar: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Return where an image ``(C, Y, X)`` has one value all around; None if nowhere."""
    window = (1, _ONE_VALUE, _ONE_VALUE)
    flat = minimum_filter(planar, window) == maximum_filter(planar, window)
    if not flat.any():
        return None
    wide: npt.NDArray[np.bool_] = maximum_filter(flat, window, mode="constant")
    return wide
