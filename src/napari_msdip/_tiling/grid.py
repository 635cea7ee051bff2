"""Where tiles lie, and how much each counts where they overlap.

Their weights fall off like a raised cosine towards a tile's edge, where a fit knows least,
and add up to one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Tile", "tile_grid"]

Array = npt.NDArray[Any]

_OVERLAP = 1 / 8
_LEAST_OVERLAP = 48
# Part of the overlap, at the very edge of a tile, that is thrown away: 16 pixels or
# more, as far as the error of a fit was seen to be raised.
_RIM = 1 / 3


@dataclass(frozen=True)
class Tile:
    """One tile of an image.

    Attributes
    ----------
    window : tuple of slice
        Where it lies, for Y and X.
    weights : tuple of ndarray
        Its weight along Y and along X, float32; the weight of a pixel is their
        product, and at every pixel the weights of all tiles add up to one.
    """

    window: tuple[slice, slice]
    weights: tuple[Array, Array]


def tile_grid(shape: tuple[int, int], side: int) -> list[Tile]:
    """Divide an image into overlapping tiles of equal size.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` in pixels.
    side : int
        Largest side of a tile in pixels.

    Returns
    -------
    list of Tile
        Row by row.
    """
    rows, columns = (_spans(size, side) for size in shape)
    return [Tile((y, x), (wy, wx)) for y, wy in rows for x, wx in columns]


def _spans(size: int, side: int) -> list[tuple[slice, Array]]:
    """Divide one axis; the spans come with weights that add up to one."""
    side = min(side, size)
    overlap = min(max(int(side * _OVERLAP), _LEAST_OVERLAP), side // 2)
    count = 1 if side == size else math.ceil((size - overlap) / (side - overlap))
    starts = np.linspace(0, size - side, count).round().astype(int)
    total = np.zeros(size)
    spans = []
    for start in starts:
        rise = _ramp(overlap) if start > 0 else np.ones(overlap)
        fall = _ramp(overlap)[::-1] if start + side < size else np.ones(overlap)
        weight = np.ones(side)
        weight[:overlap] *= rise
        weight[side - overlap :] *= fall
        spans.append((slice(int(start), int(start) + side), weight))
        total[start : start + side] += weight
    return [(span, (weight / total[span]).astype(np.float32)) for span, weight in spans]


def _ramp(overlap: int) -> Array:
    rim = int(overlap * _RIM)
    rise = np.sin(np.linspace(0, np.pi / 2, overlap - 2 * rim + 2)[1:-1]) ** 2
    # The tiniest weight keeps the sum positive where only rims overlap.
    return np.concatenate([np.full(rim, 1e-6), rise, np.ones(rim)])
