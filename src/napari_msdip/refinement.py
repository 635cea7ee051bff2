"""Refine the fused image by what the noisy one repeats.

Two kinds of filters for groups of similar patches, each steered by what was found before
it: those of BM3D, which know what patches look like in general, then non-local Bayes,
which learns it from the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_msdip._refinement.bayes import bayes_filter
from napari_msdip._refinement.collaborative import collaborative_filter
from napari_msdip.steps import changed

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_msdip._noise.model import NoiseModel

__all__ = ["refined"]


@dataclass(frozen=True)
class _Reliance:
    """How far the filters rely on the noise's level.

    Attributes
    ----------
    share : float
        How far they go back to the noisy image.
    mean_share : float
        How much of that the mean of a group takes.
    bayes_share : float
        How much of the result is non-local Bayes'. The filters err differently.
    guides : tuple of float
        How much of the noisy image patches are compared by in each pass of non-local
        Bayes. Patches that are alike in it share their noise, those alike in a pilot its
        errors, so the better the pilot the less.
    """

    share: float
    mean_share: float
    bayes_share: float
    guides: tuple[float, ...]


_CERTAIN = _Reliance(share=1.0, mean_share=1 / 6, bayes_share=0.7, guides=(0.25, 0.0))
# Noise that pixels share passes for structure more easily than white noise does.
_SHARED = _Reliance(share=0.75, mean_share=0.0, bayes_share=0.7, guides=(0.25, 0.0))
_UNCERTAIN = _Reliance(share=0.5, mean_share=0.0, bayes_share=0.5, guides=(0.5, 0.5))
# Variance to expect, of what was measured, where that is uncertain: the more a second
# measurement found beyond the first, the more there is beyond the second. By how much the
# level grew.
_GROWTHS = (1.06, 1.1)
_MARGINS = (1.5, 3.5)
# Share of the work.
_COLLABORATIVE = 0.4


def refined(
    noisy: Tensor, pilot: Tensor, sigma: Tensor, noise: NoiseModel
) -> Generator[float, None, Tensor]:
    """Filter similar patches of the noisy image together, as a pilot tells.

    Parameters
    ----------
    noisy : Tensor
        ``(1, C, H, W)`` noisy image, normalised.
    pilot : Tensor
        ``(1, C, H, W)`` estimate of the clean image.
    sigma : Tensor
        ``(1, 1, H, W)`` noise level at each pixel.
    noise : NoiseModel
        Its correlations, and whether its level is certain.

    Yields
    ------
    float
        Finished share of the work.

    Returns
    -------
    Tensor
        ``(1, C, H, W)``.
    """
    reliance = _reliance(noise)
    share, margin = reliance.share, _margin(noise)
    steps = collaborative_filter(noisy, pilot, sigma, noise, share=share, margin=margin)
    first = yield from _part(steps, 0.0, _COLLABORATIVE)
    steps = bayes_filter(
        noisy,
        first,
        sigma,
        noise,
        share=share,
        margin=margin,
        mean_share=reliance.mean_share,
        guides=reliance.guides,
    )
    found = yield from _part(steps, _COLLABORATIVE, 1 - _COLLABORATIVE)
    return torch.lerp(first, found, reliance.bayes_share)


def _reliance(noise: NoiseModel) -> _Reliance:
    if not noise.is_certain:
        return _UNCERTAIN
    return _CERTAIN if noise.is_white else _SHARED


def _margin(noise: NoiseModel) -> float:
    """How much more variance to expect than was measured."""
    if noise.is_certain:
        return 1.0
    return float(np.interp(noise.growth, _GROWTHS, _MARGINS))


def _part(
    steps: Generator[float, None, Tensor], start: float, share: float
) -> Generator[float, None, Tensor]:
    """Run a filter, its progress as a part of all."""
    return (yield from changed(steps, lambda done: start + share * done))
