"""Where in an image white noise is stronger than its intensity tells.

Stitched tiles of different exposures, a flat field that was corrected, attenuation that was
made up for: there the level depends on the place. The flattest blocks, which all lie in the
calm part, see nothing of that; window by window the highest frequencies do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn
from scipy.ndimage import map_coordinates

from napari_msdip._noise.blocks import LEVEL_BLOCK

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel

__all__ = ["local_gains"]

Array = npt.NDArray[np.float64]
Planar = npt.NDArray[np.float32]

_STEP = LEVEL_BLOCK // 2
# Of blocks: bounds the memory whatever the image's size.
_ROWS_AT_ONCE = 64
# Blocks along a window, 52 pixels, and from one window to the next.
_WINDOW = 12
_APART = 4
# Sums of both frequencies in a block's cosine transform, from and up to: where the picture
# is, and two bands in which it is weak.
_LOW = (1, 5)
_MIDDLE = (6, 8)
_HIGH = (10, 15)
# Of a window's blocks, those with the least of the picture in them.
_CALM = 0.5
# How much stronger than expected the variance must be, how much so somewhere, and what the
# middle band of white noise may have of the highest's energy; texture has more.
_MORE = 1.5
_CLEARLY_MORE = 2.2
_AS_WHITE = (0.85, 1.2)
# And how much in the middle one of its blocks: hot pixels are in fewer than half.
_USUALLY_MORE = 1.0
# Texture passes for white noise in single windows. Where it does, most of the windows with
# more energy than expected do not, and few do.
_LEAST_SHARE = 0.75
_LEAST_WINDOWS = 12


def local_gains(planar: Planar, model: NoiseModel) -> Planar | None:
    """Return by what factor the noise level exceeds the one that the intensity tells.

    Parameters
    ----------
    planar : ndarray
        ``(C, Y, X)``.
    model : NoiseModel
        White noise, its level by intensity as measured on this image.

    Returns
    -------
    ndarray or None
        ``(Y, X)`` float32, 1 or more; None where the intensity tells all.
    """
    shape = planar.shape[1:]
    if min(shape) < _STEP * (_WINDOW + 1):
        return None
    excess, usual, slope = _surveyed(planar, model)
    more = (excess > _MORE) & (usual > _USUALLY_MORE)
    noisier = more & (slope > _AS_WHITE[0]) & (slope < _AS_WHITE[1])
    found = np.where(noisier, excess, 1.0)
    count = np.count_nonzero(noisier)
    wide = count >= max(_LEAST_WINDOWS, _LEAST_SHARE * np.count_nonzero(more))
    if not wide or found.max() < _CLEARLY_MORE:
        return None
    return np.sqrt(_spread_out(found, shape)).astype(np.float32)


def _surveyed(planar: Planar, model: NoiseModel) -> tuple[Array, Array, Array]:
    """Return each window's highest frequencies over what is expected, and how they fall.

    The first on average over its calm blocks, and in the middle one of them.
    """
    low, middle, high = _bands(planar)
    level = model.sigma_map(planar).astype(np.float64)
    expected = _blocks(np.square(level[0])).mean(axis=(2, 3))
    order = np.argsort(_windows(low), axis=-1, kind="stable")
    calm = order[..., : int(_CALM * order.shape[-1])]
    middle, high, expected = (
        np.take_along_axis(_windows(each), calm, axis=-1)
        for each in (middle, high, expected)
    )
    usual = np.median(high, axis=-1)
    middle, high, expected = (each.mean(axis=-1) for each in (middle, high, expected))
    return _ratio(high, expected), _ratio(usual, expected), _ratio(middle, high)


def _ratio(over: Array, under: Array) -> Array:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)


def _bands(planar: Planar) -> list[Array]:
    """Return the mean energy of each block, ``(rows, columns)``, in three bands."""
    order = np.add.outer(np.arange(LEVEL_BLOCK), np.arange(LEVEL_BLOCK))
    bands = [(order >= start) & (order < end) for start, end in (_LOW, _MIDDLE, _HIGH)]
    cut = [_blocks(plane) for plane in planar]
    energies = []
    for first in range(0, len(cut[0]), _ROWS_AT_ONCE):
        powers = np.mean([_powers(each[first : first + _ROWS_AT_ONCE]) for each in cut], 0)
        energies.append([powers[..., band].mean(axis=-1) for band in bands])
    return [np.concatenate(band) for band in zip(*energies, strict=True)]


def _powers(blocks: npt.NDArray[Any]) -> Array:
    """Return the energy of blocks by frequency."""
    powers: Array = np.square(dctn(blocks.astype(np.float64), axes=(2, 3), norm="ortho"))
    return powers


def _blocks(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Cut overlapping blocks ``(rows, columns, side, side)``."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (LEVEL_BLOCK,) * 2)
    return windows[::_STEP, ::_STEP]


def _windows(grid: Array) -> Array:
    """Gather what a grid holds for each window's blocks, ``(rows, columns, blocks)``."""
    windows = np.lib.stride_tricks.sliding_window_view(grid, (_WINDOW,) * 2)
    chosen = windows[np.ix_(*(_starts(size) for size in grid.shape))]
    return chosen.reshape(*chosen.shape[:2], -1)


def _starts(blocks: int) -> npt.NDArray[np.intp]:
    """Return the first block of each window along an axis; the last ends at the edge."""
    last = blocks - _WINDOW
    return np.append(np.arange(0, last, _APART), last)


def _spread_out(found: Array, shape: tuple[int, ...]) -> Array:
    """Interpolate between the middles of the windows."""
    places = []
    for size in shape:
        starts = _starts((size - LEVEL_BLOCK) // _STEP + 1)
        middles = _STEP * starts + (_STEP * (_WINDOW + 1) - 1) / 2
        places.append(np.interp(np.arange(size), middles, np.arange(len(middles))))
    grid = np.meshgrid(*places, indexing="ij")
    spread: Array = map_coordinates(found, grid, order=1, mode="nearest")
    return spread
