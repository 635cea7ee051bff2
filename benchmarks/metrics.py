"""How close an estimate is to the clean image, and how true to the noisy one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SSIM_SIDE", "BlockBias", "affine_psnr", "block_bias", "psnr", "ssim"]

Array = npt.NDArray[Any]

SSIM_SIDE = 11
"""Pixels across the window of :func:`ssim`, the least that an image must have."""


def psnr(estimate: Array, clean: Array, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal images.

    Parameters
    ----------
    estimate, clean : ndarray
        Same shape and units.
    data_range : float
        Peak value, in the same units.
    """
    error = np.asarray(estimate, np.float64) - np.asarray(clean, np.float64)
    mean_square = float(np.mean(np.square(error)))
    if mean_square == 0:
        return float("inf")
    return float(10 * np.log10(data_range**2 / mean_square))


def affine_psnr(estimate: Array, clean: Array, data_range: float) -> float:
    """Return the PSNR after the best gain and offset, one pair for the whole image.

    For microscopy, where the units of the reference are another exposure's.
    """
    values = np.asarray(estimate, np.float64).ravel()
    target = np.asarray(clean, np.float64).ravel()
    centred = values - values.mean()
    variance = float(centred @ centred)
    gain = float(centred @ (target - target.mean())) / variance if variance else 0.0
    return psnr(target.mean() + gain * centred, target, data_range)


def ssim(estimate: Array, clean: Array, data_range: float) -> float:
    """Return the structural similarity with the settings of Wang et al. 2004.

    Gaussian window of 1.5 pixels; channels, the third axis, are averaged.
    """
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            np.asarray(clean, np.float64),
            np.asarray(estimate, np.float64),
            data_range=data_range,
            channel_axis=2 if np.ndim(clean) == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def block_bias(estimate: Array, noisy: Array, side: int = 64) -> BlockBias:
    """Compare the mean intensities of blocks before and after denoising.

    Parameters
    ----------
    estimate, noisy : ndarray
        (Y, X) or (Y, X, C).
    side : int
        Side of a block in pixels; rows and columns that fill no block are left
        out, and a smaller image is one block.
    """
    before, after = _block_means(noisy, side), _block_means(estimate, side)
    whole = _relative(before.mean(axis=-1), after.mean(axis=-1))
    channels = _relative(before, after)
    return BlockBias(
        worst=float(np.max(whole, initial=0)),
        mean=float(np.mean(whole)) if whole.size else 0.0,
        worst_channel=float(np.max(channels, initial=0)),
        worst_shift=float(np.abs(after - before).max()),
    )


@dataclass(frozen=True)
class BlockBias:
    """How far block means moved; see :func:`block_bias`.

    Attributes
    ----------
    worst, mean : float
        ``|after - before| / |before|`` of whole blocks, channels together.
    worst_channel : float
        The same, each channel of each block by itself. Where a channel is nearly
        black even rounding makes this large; ``worst_shift`` then tells more.
    worst_shift : float
        Largest ``|after - before|`` of a channel of a block, in image units.
    """

    worst: float
    mean: float
    worst_channel: float
    worst_shift: float


def _relative(before: Array, after: Array) -> Array:
    """Relative deviations, blocks of mean zero left out."""
    usable = before != 0
    return np.abs(after[usable] - before[usable]) / np.abs(before[usable])


def _block_means(image: Array, side: int) -> Array:
    """Return the means, (rows, columns, channels)."""
    values = np.asarray(image, np.float64)
    high, wide = (min(side, size) for size in values.shape[:2])
    rows, columns = values.shape[0] // high, values.shape[1] // wide
    cut = values[: rows * high, : columns * wide]
    blocks = cut.reshape(rows, high, columns, wide, -1)
    return np.asarray(blocks.mean(axis=(1, 3)))
