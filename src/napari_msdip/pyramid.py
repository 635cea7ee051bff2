"""The image pyramid: sizes of its levels, and resampling between them (section 3.2)."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F

from napari_msdip.devices import casting, is_proven

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
        ``(B, C, H, W)``.
    shape : tuple of int
        ``(height, width)`` wanted.

    Returns
    -------
    Tensor
        ``(B, C, height, width)``, same dtype.
    """
    if tuple(image.shape[-2:]) == shape:
        return image
    shrinks = shape[0] < image.shape[-2] or shape[1] < image.shape[-1]
    if is_proven(image.device):
        return _interpolated(image, shape, shrinks)
    down, across = (
        _weights(old, new, shrinks, image.device)
        for old, new in zip(image.shape[-2:], shape, strict=True)
    )
    with casting(image.device, "float32"):
        return down @ image @ across.T.contiguous()


def _interpolated(
    image: torch.Tensor, shape: tuple[int, int], shrinks: bool
) -> torch.Tensor:
    mode = "bilinear" if shrinks else "bicubic"
    return F.interpolate(image, shape, mode=mode, antialias=shrinks, align_corners=False)


# Two for each scale and direction.
@lru_cache(maxsize=64)
def _weights(old: int, new: int, shrinks: bool, device: torch.device) -> torch.Tensor:
    """Return ``(new, old)``: how much each old pixel of an axis counts in each new one.

    Older versions of PyTorch lack the gradients of antialiased resampling on MPS, or all
    of it; a product of matrices is the same, and everywhere.
    """
    unit = torch.eye(old, dtype=torch.float32)[None, None]
    return _interpolated(unit, (new, old), shrinks)[0, 0].to(device)
