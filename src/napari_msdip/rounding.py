"""Whole numbers that keep the mean of every small area."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["rounded"]

Array = npt.NDArray[np.floating[Any]]

_SIDE = 8
# Pixels that are this much closer to the next whole number go first all the same if
# the pattern says so: it spreads them, where the nearest alone would form patches.
_SPREAD = 0.25


def rounded(values: Array) -> Array:
    """Round to whole numbers, up or down so that the mean of every block stays.

    Rounded to the nearest number a dim, smooth background moves as a whole, by up to
    half a count: the intensity of an area changes, and flickers from frame to frame
    where it lies between two counts. Here as few pixels as possible in each block of 8
    by 8 go to their second nearest whole number, so that the sum of the block is that of
    its values to within half a count. The order among similar pixels is that of ordered
    dither (Bayer, "An optimum method for two-level rendition of continuous-tone
    pictures", IEEE International Conference on Communications, 1973).

    Parameters
    ----------
    values : ndarray
        ``(C, Y, X)``, finite.

    Returns
    -------
    ndarray
        Of the same shape and dtype; each value is that whole number just above or just
        below what it was. Whole numbers stay.
    """
    whole = np.rint(values)
    pattern = _SPREAD * _ordered_dither(_SIDE)
    for top in range(0, values.shape[1], _SIDE):
        rows = slice(top, top + _SIDE)
        whole[:, rows] += _owed(values[:, rows] - whole[:, rows], pattern)
    return whole


def _owed(lost: Array, pattern: Array) -> Array:
    """Return what to add to a row of blocks, -1, 0 or 1, given what rounding took."""
    channels, height, width = lost.shape
    fill = (0, -height % _SIDE), (0, -width % _SIDE)
    blocks = np.pad(lost, ((0, 0), *fill)).reshape(channels, _SIDE, -1, _SIDE)
    flat = blocks.swapaxes(1, 2).reshape(channels, -1, _SIDE**2)
    debt = np.rint(flat.sum(-1, keepdims=True))
    sign = np.sign(debt)
    nearness = np.where(sign * flat > 0, sign * flat + pattern.ravel(), -np.inf)
    rank = np.argsort(np.argsort(-nearness, axis=-1), axis=-1)
    steps = sign * (rank < np.abs(debt))
    rows = steps.reshape(channels, -1, _SIDE, _SIDE).swapaxes(1, 2)
    paid: Array = rows.reshape(channels, _SIDE, -1)[:, :height, :width]
    return paid


def _ordered_dither(side: int) -> Array:
    """Thresholds from -1/2 to 1/2, neighbours far apart; ``side`` is a power of two."""
    order = np.zeros((1, 1))
    while len(order) < side:
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return (order + 0.5) / order.size - 0.5
