"""Fuse the scales of a run into one image (eq. 5), as far as each can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_msdip.fusion import ensemble, joint_bilateral_upsample
from napari_msdip.pyramid import resize
from napari_msdip.trust import Candidate, Trust, guarded, weigh, with_local_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_msdip._fit.noise_bank import NoiseBank
    from napari_msdip._noise.model import NoiseModel
    from napari_msdip.events import ScaleResult
    from napari_msdip.generator import Generator
    from napari_msdip.plan import Plan

__all__ = ["Fitted", "averaged", "fused"]

Array = npt.NDArray[Any]
Planar = npt.NDArray[np.float32]

# Factors on the measured variance of the noise; see docs/method.md.
# Of the risk, which does not see the noise that a fit has memorised.
_RISK_MARGIN = 1.2
# Of the guard: flat blocks show too little of a camera's noise, and what they miss must not
# be taken for structure and brought back.
_CERTAIN_MARGIN = 1.15
_UNCERTAIN_MARGIN = 1.7


@dataclass(frozen=True, eq=False)
class Fitted:
    """A finished scale inside the engine; its network where the fusion needs it."""

    image: Tensor
    result: ScaleResult
    network: Generator | None


def fused(
    scales: Sequence[Fitted],
    noisy: Tensor,
    sigma: Tensor,
    bank: NoiseBank | None,
    noise: NoiseModel,
    plan: Plan,
) -> Tensor:
    """Fuse scales into one image.

    Parameters
    ----------
    scales : sequence of Fitted
        Finest first.
    noisy : Tensor
        ``(1, C, H, W)`` noisy image, normalised.
    sigma : Tensor
        ``(1, 1, H, W)`` noise level at each pixel.
    bank : NoiseBank or None
        Noise like the image's own, by which the scales are weighed; None for the plain
        averages of the paper.
    noise : NoiseModel
        What is known of the noise.
    plan : Plan
        Concrete settings.

    Returns
    -------
    Tensor
        ``(1, C, H, W)``, on the CPU.
    """
    options = plan.options
    scales = scales if options.ensemble else scales[:1]
    noisy_here, sigma_here = noisy.cpu(), sigma.cpu()
    if bank is None:
        mean = averaged(scales)
        if not options.guard:
            return mean
        margin = _CERTAIN_MARGIN if noise.is_certain else _UNCERTAIN_MARGIN
        return guarded(mean, noisy_here, sigma_here, margin=margin)
    trust = _trust(scales, noisy, bank, noise, plan)
    mixed = _mixed([_to_numpy(scale.image) for scale in scales], trust.coarser)
    image = torch.lerp(noisy_here, mixed, trust.denoised.cpu())
    return with_local_means(
        image,
        noisy_here,
        sigma_here,
        is_white=noise.is_white,
        asymmetry=bank.asymmetry,
    )


def averaged(scales: Sequence[Fitted]) -> Tensor:
    """Fuse scales, finest first, by the paper's plain averages of pairs."""
    if len(scales) == 1:
        return scales[0].image.float().cpu()
    images = [_to_numpy(scale.image) for scale in scales]
    return torch.from_numpy(ensemble(images, channel_axis=0))[None]


def _trust(
    scales: Sequence[Fitted],
    noisy: Tensor,
    bank: NoiseBank,
    noise: NoiseModel,
    plan: Plan,
) -> Trust:
    candidates = [
        Candidate(scale.image, scale.network)
        for scale in scales
        if scale.network is not None
    ]
    return weigh(
        candidates,
        noisy,
        bank,
        torch.Generator().manual_seed(plan.seed),
        recorruption=plan.options.recorruption,
        margin=_RISK_MARGIN,
        keeps_noisy=noise.is_certain and plan.options.guard,
        symmetries=plan.options.symmetries,
        precision=plan.precision,
    )


def _mixed(images: list[Planar], shares: list[Tensor]) -> Tensor:
    """Mix results, finest first, each scale taking its share from the coarser ones."""
    blend: Array = images[-1]
    for image, share in zip(reversed(images[:-1]), reversed(shares), strict=True):
        enlarged = joint_bilateral_upsample(blend, image, channel_axis=0)
        here = resize(share, (image.shape[1], image.shape[2]))[0].cpu().numpy()
        blend = image + here * (enlarged - image)
    return torch.from_numpy(blend)[None]


def _to_numpy(image: Tensor) -> Planar:
    planar: Planar = image[0].float().cpu().numpy()
    return planar
