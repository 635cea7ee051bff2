"""How far each scale can be trusted at each pixel, without ground truth.

Averaging with a coarser result pays where it has less noise left and costs where it
lacks detail; taking a denoised pixel for the noisy one pays where more noise than
structure was removed. Stein's unbiased risk estimate tells which: the squared distance from
the noisy image, plus twice the covariance between a result and the noise. That
covariance is measured by adding noise like the image's own and watching how much of
it comes through (Ramani, Blu and Unser, "Monte-Carlo SURE", IEEE Transactions on
Image Processing 17(9), 2008, for noise that need not be white).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_msdip._fit.symmetry import SYMMETRIES, turned, turned_back
from napari_msdip.devices import casting, memory_format
from napari_msdip.pyramid import resize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_msdip._fit.noise_bank import NoiseBank

__all__ = ["Candidate", "Trust", "guarded", "weigh", "with_local_means"]

# Draws of noise by which a covariance is told: each passes through every generator, and is
# averaged over a disc besides.
_DRAWS = 8
# Radius in pixels over which the risk is averaged: wide enough to tell, narrow
# enough to follow edges.
_RADIUS = 6
# The same for the decision to keep noisy pixels.
_CALM_RADIUS = 12
# Local means: as smooth as a Gaussian of 12 pixels, of 20 for noise that is correlated,
# which takes more pixels to average out.
_MEAN_RADIUS = 14
_CORRELATED_MEAN_RADIUS = 24
# Side in pixels of the blocks in which intensity is conserved: large enough for noise to
# average out, small enough for what is measured over an area.
_BLOCK = 64
_OUTLIER = 4.0
# In photons: where they are fewer than one in sixteen pixels, each stands out that far, but
# all the intensity there is comes in them.
_FEW_PHOTONS = 2.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """The result of one scale and what made it.

    Attributes
    ----------
    image : Tensor
        ``(1, C, h, w)``, normalised.
    generate : callable
        The fitted generator, from a noisy image of this size to a result.
    """

    image: Tensor
    generate: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Trust:
    """What to mix, place by place.

    Attributes
    ----------
    coarser : list of Tensor
        For each scale but the coarsest, finest first, ``(1, 1, H, W)``: the share of
        the coarser results, from 0 (this scale alone) to 1 (the coarser ones alone).
    denoised : Tensor
        ``(1, 1, H, W)``: the share of the fused result, from 0 (the noisy image
        stays) to 1.
    """

    coarser: list[Tensor]
    denoised: Tensor


def weigh(
    candidates: Sequence[Candidate],
    noisy: Tensor,
    noise: NoiseBank,
    rng: torch.Generator,
    *,
    recorruption: float,
    margin: float,
    keeps_noisy: bool,
    symmetries: bool,
    precision: str,
) -> Trust:
    """Weigh the scales against each other, and their fusion against the noisy image.

    Parameters
    ----------
    candidates : sequence of Candidate
        Finest first.
    noisy : Tensor
        ``(1, C, H, W)`` noisy image at the finest scale, normalised.
    noise : NoiseBank
        Noise like the image's own at the finest scale.
    rng : torch.Generator
        Source of randomness.
    recorruption : float
        How many times its own noise the generators saw on top of the image.
    margin : float
        Factor on the noise's variance; above 1 where that is measured too low.
    keeps_noisy : bool
        Whether to weigh the noisy image in; not where the noise level cannot be relied
        on, because too low a level would bring the noise back.
    symmetries : bool
        Whether the generators saw the image turned and mirrored, too.
    precision : {"float32", "bfloat16"}
        Of the generators.
    """
    with torch.no_grad():
        covariances = _noise_covariances(
            candidates, noisy, noise, rng, recorruption, symmetries, precision
        )
        size = (noisy.shape[-2], noisy.shape[-1])
        blend = resize(candidates[-1].image, size)
        through = covariances[-1] * margin
        shares: list[Tensor] = []
        for candidate, covariance in zip(
            reversed(candidates[:-1]), reversed(covariances[:-1]), strict=True
        ):
            image, own = resize(candidate.image, size), covariance * margin
            share = _best_share(image, blend, noisy, own - through)
            shares.insert(0, share)
            blend = torch.lerp(image, blend, share)
            through = torch.lerp(own, through, share)
        denoised = torch.ones_like(noise.sigma)
        if keeps_noisy:
            variance = noise.sigma.square().expand_as(noisy) * margin
            denoised = _best_share(noisy, blend, noisy, variance - through)
            # Chance makes noise look like structure here and there; a few noisy blobs
            # in a clean sky are worse than what they would save.
            denoised = _smoothed(denoised, _CALM_RADIUS)
    return Trust(coarser=shares, denoised=denoised)


def _noise_covariances(
    candidates: Sequence[Candidate],
    noisy: Tensor,
    noise: NoiseBank,
    rng: torch.Generator,
    recorruption: float,
    symmetries: bool,
    precision: str,
) -> list[Tensor]:
    """Covariance of each result with the noise, pixel by pixel, at the finest size."""
    size = (noisy.shape[-2], noisy.shape[-1])
    sums = [torch.zeros_like(noisy) for _ in candidates]
    for _ in range(_DRAWS):
        drawn = noise.draw(rng)
        corrupted = noisy + recorruption * drawn
        turn = int(torch.randint(SYMMETRIES, (1,), generator=rng)) if symmetries else 0
        for total, candidate in zip(sums, candidates, strict=True):
            own_size = (candidate.image.shape[-2], candidate.image.shape[-1])
            shown = turned(resize(corrupted, own_size), turn)
            shown = shown.contiguous(memory_format=memory_format(shown.device))
            with casting(shown.device, precision):
                found = candidate.generate(shown)
            output = turned_back(found.float(), turn)
            total.addcmul_(drawn, resize(output, size), value=1 / (_DRAWS * recorruption))
    return sums


def _best_share(image: Tensor, blend: Tensor, noisy: Tensor, rid: Tensor) -> Tensor:
    """Minimise the local risk of ``image + share * (blend - image)`` over the share.

    ``rid`` is how much less covariance with the noise the blend has than the image.
    """
    difference = blend - image
    gain = (noisy - image) * difference + rid
    size = _smoothed(difference.square().sum(1, keepdim=True))
    share = _smoothed(gain.sum(1, keepdim=True)) / size.clamp_min(1e-12)
    return share.clamp(0, 1)


def _smoothed(values: Tensor, radius: int = _RADIUS) -> Tensor:
    """Average over a neighbourhood, twice, so that its border leaves no trace."""
    height, width = values.shape[-2:]
    radius = min(radius, height - 1, width - 1)
    for _ in range(2):
        padded = F.pad(values, (radius,) * 4, mode="reflect")
        rows = F.avg_pool2d(padded, (2 * radius + 1, 1), stride=1)
        values = F.avg_pool2d(rows, (1, 2 * radius + 1), stride=1)
    return values


def guarded(image: Tensor, noisy: Tensor, sigma: Tensor, *, margin: float) -> Tensor:
    """Go back to the noisy image where more than noise was removed.

    If a result's error is independent of the noise, what was removed has the variances of
    both, and of all mixtures with the noisy image the one with the least error takes the
    result's share as the noise's share of that sum. A result that has memorised noise
    removes less, and is left alone. For results whose risk cannot be estimated.

    Parameters
    ----------
    image, noisy : Tensor
        ``(1, C, H, W)`` denoised and noisy image.
    sigma : Tensor
        ``(1, 1, H, W)`` noise level.
    margin : float
        Factor on the noise's variance; above 1 where that is measured too low.
    """
    removed = _smoothed((noisy - image).square().mean(1, keepdim=True), _CALM_RADIUS)
    explained = _smoothed(margin * sigma.square(), _CALM_RADIUS)
    share = (explained / removed.clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(noisy, image, share)


def with_local_means(
    image: Tensor,
    noisy: Tensor,
    sigma: Tensor,
    *,
    is_white: bool,
    asymmetry: float = 0.0,
) -> Tensor:
    """Give an image the local mean intensities of the noisy one.

    Over many pixels noise averages out, so there the noisy image is right: intensities
    that are measured over an area stay what they were. Smoothed residuals are added back,
    then what is left of the mean of each whole block, counted from the top left corner,
    so that sums over blocks are conserved.

    Parameters
    ----------
    image, noisy : Tensor
        ``(1, C, H, W)`` denoised and noisy image.
    sigma : Tensor
        ``(1, 1, H, W)`` noise level; residuals beyond a few of it are structure that
        would leave a halo, and count no more than that.
    is_white : bool
        Whether the noise is independent from pixel to pixel.
    asymmetry : float
        Third moment of the noise over its variance, which is what one photon adds.
    """
    usual = _OUTLIER * sigma
    low, high = (usual.clamp_min(_FEW_PHOTONS * sign * asymmetry) for sign in (-1, 1))
    radius = _MEAN_RADIUS if is_white else _CORRELATED_MEAN_RADIUS
    image = image + _smoothed(_residual(image, noisy, low, high), radius)
    return image + _block_field(_residual(image, noisy, low, high))


def _residual(image: Tensor, noisy: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return what was removed, at any pixel no more than these limits."""
    return torch.minimum(torch.maximum(noisy - image, -low), high)


def _block_field(values: Tensor) -> Tensor:
    """Return the smooth field that has the means of the values over all whole blocks.

    It is linear between the centres of blocks and constant beyond the outermost.
    """
    (down, rows), (across, columns) = (
        tuple(matrix.to(values) for matrix in _blocks(length))
        for length in values.shape[-2:]
    )
    field: Tensor = down @ (rows @ values @ columns.T) @ across.T
    return field


def _blocks(length: int) -> tuple[Tensor, Tensor]:
    """Return ``(length, n)`` that makes a field of n means, and ``(n, length)``, the means.

    Both along one axis. A length of less than a block is one block.
    """
    count, side = max(length // _BLOCK, 1), min(length, _BLOCK)
    means = torch.eye(count, dtype=torch.float32).repeat_interleave(side, dim=1) / side
    means = F.pad(means, (0, length - count * side))
    pixels = torch.arange(length, dtype=torch.float32)
    position = ((pixels + 0.5) / side - 0.5).clamp(0, count - 1)
    hats = (1 - (position[:, None] - torch.arange(count)).abs()).clamp_min(0)
    return hats @ torch.linalg.inv(means @ hats), means
