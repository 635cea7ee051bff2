"""The image pyramid: sizes of its levels, and resampling between them (section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["resize", "scale_shapes"]


def scale_shapes(
    shape: tuple[int, int],
    *,
    factor: float = 0.8,
    min_size: int = 128,
    max_scales: int | None = None,
) -> tuple[tuple[int, int], ...]:
    """Sizes of the pyramid's levels, finest first.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    factor : float
        Size of a level relative to the next finer one (r in section 3.2).
    min_size : int
        No level but the finest has a short side below this many pixels.
    max_scales : int or None
        Upper limit on the number of levels.

    Returns
    -------
    tuple of (int, int)
        At least the image's own size; an image smaller than ``min_size`` has
        that one level only.
    """
    shapes = [shape]
    while max_scales is None or len(shapes) < max_scales:
        scale = factor ** len(shapes)
        coarser = (round(shape[0] * scale), round(shape[1] * scale))
        if min(coarser) < min_size:
            break
        shapes.append(coarser)
    return tuple(shapes)


def resize(image: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Resample to another size: antialiased when shrinking, bicubic when growing.

    Parameters
    ----------
    image : Tensor
        ``(1, C, H, W)``.
    shape : tuple of int
        ``(height, width)`` wanted.

    Returns
    -------
    Tensor
        ``(1, C, height, width)``, same dtype.
    """
    if tuple(image.shape[-2:]) == shape:
        return image
    shrinks = shape[0] < image.shape[-2] or shape[1] < image.shape[-1]
    mode = "bilinear" if shrinks else "bicubic"
    return F.interpolate(image, shape, mode=mode, antialias=shrinks, align_corners=False)
