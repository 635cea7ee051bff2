"""Filter similar patches together, steered by a result that is there already.

A generator sees some tens of pixels around each pixel. What an image repeats further
away, and fine structure that a short fit has left in the residual, is found by the
collaborative filters of BM3D (Dabov, Foi, Katkovnik and Egiazarian, "Image denoising by
sparse 3-D transform-domain collaborative filtering", IEEE Transactions on Image
Processing 16(8), 2007), with the fused image as a pilot; that a network's result gains
from it was shown by Cruz, Foi, Katkovnik and Egiazarian, "Nonlocality-reinforced
convolutional neural networks for image denoising", IEEE Signal Processing Letters
25(8), 2018. Fused image and thresholded groups err differently, so the pilot of the
Wiener filter is half of each. The noise may be correlated (Mäkinen, Azzari and Foi,
"Collaborative filtering of correlated noise", IEEE Transactions on Image Processing 29,
2020) and its level may differ from place to place: it is the one that was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_msdip._noise.model import between_pixels
from napari_msdip._refinement.similar import PatchGrid

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_msdip._noise.model import NoiseModel

__all__ = ["collaborative_filter"]

Array = npt.NDArray[np.float64]

_PATCH = 8
_STEP = 4
_SEARCH = 15
_GROUP = 16
_KAISER = 2.0
# Patches that are alike in the pilot share its errors, those in the noisy image their
# noise; in the mean of both there is less of either.
_GUIDE = 0.5
# Coefficients this many times the noise are structure.
_THRESHOLD = 3.0
# A pilot shrinks what it holds: against less than all the noise the gains are better.
_PILOTED = 0.8
# How much of the pilot is what thresholding has found.
_FOUND = 0.5
# Shares of the work.
_MATCHING, _FILTERING = 0.5, 0.25
# Texture that passes for noise makes channels look more alike than their noise is.
_LEAST_CHANNEL_VARIANCE = 0.2
_LEAST_VARIANCE = 1e-3
_EPSILON = 1e-12


def collaborative_filter(
    noisy: Tensor,
    pilot: Tensor,
    sigma: Tensor,
    noise: NoiseModel,
    *,
    share: float = 1.0,
    margin: float = 1.0,
) -> Generator[float, None, Tensor]:
    """Filter groups of similar patches: threshold, then Wiener gains.

    Parameters
    ----------
    noisy : Tensor
        ``(1, C, H, W)`` noisy image, normalised.
    pilot : Tensor
        ``(1, C, H, W)`` estimate of the clean image.
    sigma : Tensor
        ``(1, 1, H, W)`` noise level at each pixel.
    noise : NoiseModel
        Correlations between pixels and between channels.
    share : float
        What is filtered lies this far on the way from the pilot (0) to the noisy
        image (1).
    margin : float
        Factor on the noise's variance; above 1 where that is measured too low.

    Yields
    ------
    float
        Finished share of the work.

    Returns
    -------
    Tensor
        ``(1, C, H, W)``.
    """
    height, width = noisy.shape[-2:]
    colours = _Colours.of(noise, pilot[0])
    grid = PatchGrid.on(
        height,
        width,
        side=_PATCH,
        step=_STEP,
        search=_SEARCH,
        group=_GROUP,
        channels=noisy.shape[1],
        device=noisy.device,
    )
    groups = []
    for done, corners in grid.groups(grid.fitted(torch.lerp(pilot, noisy, _GUIDE))[0]):
        groups.append(corners)
        yield _MATCHING * done
    work = _Work(
        groups=groups,
        pixels=grid.pixels(noisy.device),
        variance=margin * grid.fitted(sigma).square()[0, 0],
        transforms=[_Transform.of(c, grid, noisy.device) for c in noise.correlations],
    )
    start, seen = (colours.apart(grid.fitted(x)[0]) for x in (pilot, noisy))
    data = torch.lerp(start, seen, share)
    found = yield from work.filtered(data, None, _MATCHING)
    better = torch.lerp(start, found, _FOUND)
    result = yield from work.filtered(data, better, _MATCHING + _FILTERING)
    return colours.together(result)[None, :, :height, :width]


def _thresholded(data: Tensor, noise: Tensor) -> Tensor:
    """Gains that keep what stands out of the noise."""
    return (data.square() > _THRESHOLD**2 * noise).to(data.dtype)


def _wiener(pilot: Tensor, noise: Tensor) -> Tensor:
    """Gains that are best if the pilot is right."""
    power = pilot.square()
    return power / (power + _PILOTED * noise)


@dataclass(frozen=True, eq=False)
class _Colours:
    """Combinations of channels in which noise is independent and has variance 1.

    Those in which the image's edges are uncorrelated, too, unless each combination has a
    correlation between pixels of its own.
    """

    mixing: Tensor

    @classmethod
    def of(cls, noise: NoiseModel, pilot: Tensor) -> _Colours:
        least = _LEAST_CHANNEL_VARIANCE if noise.is_separable else _LEAST_VARIANCE
        spreads = np.sqrt(np.maximum(noise.powers, least))
        whitening = noise.axes / spreads[:, np.newaxis]
        if not noise.is_separable:
            return cls(torch.from_numpy(whitening).to(pilot.device, torch.float32))
        # Patches hold edges, in which channels are more alike than over the whole image.
        edges = torch.cat([pilot.diff(dim=axis).flatten(1) for axis in (1, 2)], 1)
        covariance = np.atleast_2d(np.cov(whitening @ edges.cpu().double().numpy()))
        _, axes = np.linalg.eigh(covariance)
        mixing = torch.from_numpy(axes.T @ whitening)
        return cls(mixing.to(pilot.device, torch.float32))

    def apart(self, image: Tensor) -> Tensor:
        return torch.einsum("kc,cyx->kyx", self.mixing, image)

    def together(self, image: Tensor) -> Tensor:
        inverse = torch.linalg.inv(self.mixing.cpu()).to(image)
        return torch.einsum("ck,kyx->cyx", inverse, image)


@dataclass(frozen=True, eq=False)
class _Work:
    """Groups of patches, and the noise in them.

    Attributes
    ----------
    groups : list of Tensor
        ``(P, group)`` corners of similar patches, as many at once as memory allows.
    pixels : Tensor
        ``(side²,)`` a patch's pixels from its corner.
    variance : Tensor
        ``(H, W)`` of the noise.
    transforms : list of _Transform
        One for each combination of channels.
    """

    groups: list[Tensor]
    pixels: Tensor
    variance: Tensor
    transforms: list[_Transform]

    def filtered(
        self, data: Tensor, pilot: Tensor | None, done: float
    ) -> Generator[float, None, Tensor]:
        """Filter all groups and lay the patches back where they came from.

        By Wiener gains, or by thresholds where there is no pilot yet.
        """
        total, weights = torch.zeros_like(data), torch.zeros_like(data)
        for n, corners in enumerate(self.groups, 1):
            members = corners[:, :, None] + self.pixels
            level = self.variance.flatten()[members].mean((1, 2))
            for channel, transform in enumerate(self.transforms):
                patches, weight = transform.filtered(
                    data[channel].flatten()[members],
                    None if pilot is None else pilot[channel].flatten()[members],
                    level,
                )
                flat = members.flatten()
                total[channel].view(-1).index_add_(0, flat, patches.flatten())
                weights[channel].view(-1).index_add_(0, flat, weight.flatten())
            yield done + _FILTERING * n / len(self.groups)
        return total / weights


@dataclass(frozen=True, eq=False)
class _Transform:
    """Groups of patches in the cosine domain, and the noise there.

    Attributes
    ----------
    within : Tensor
        ``(side², side²)`` transform of a patch.
    across : Tensor
        ``(group, group)`` transform from patch to patch.
    variances : Tensor
        ``(side²,)`` what noise of variance 1 has in each coefficient of a patch.
    window : Tensor
        ``(side²,)`` weight of a patch's pixels.
    """

    within: Tensor
    across: Tensor
    variances: Tensor
    window: Tensor

    @classmethod
    def of(cls, correlation: Array, grid: PatchGrid, device: torch.device) -> _Transform:
        line = _cosines(grid.side)
        bell = np.kaiser(grid.side, _KAISER)
        arrays = (
            np.kron(line, line),
            _cosines(grid.group),
            np.maximum(_variances(correlation, line), _LEAST_VARIANCE),
            np.outer(bell, bell).ravel(),
        )
        return cls(*(torch.from_numpy(a).to(device, torch.float32) for a in arrays))

    def filtered(
        self, data: Tensor, pilot: Tensor | None, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return filtered patches ``(P, group, side²)`` times their weights, and those."""
        noise = (level[:, None, None] * self.variances).clamp_min(_EPSILON)
        seen = self._transformed(data)
        if pilot is None:
            gain = _thresholded(seen, noise)
        else:
            gain = _wiener(self._transformed(pilot), noise)
        # The mean of a group is known well; shrinking it would darken the image.
        gain[:, 0, 0] = 1.0
        patches = (self.across.T @ (seen * gain)) @ self.within
        remaining = (gain.square() * noise).sum((1, 2))
        weight = (self.window / remaining[:, None, None]).expand_as(patches)
        return patches * weight, weight

    def _transformed(self, patches: Tensor) -> Tensor:
        return self.across @ (patches @ self.within.T)


def _cosines(count: int) -> Array:
    """Orthonormal discrete cosine transform (type II) as a matrix."""
    order, place = np.mgrid[:count, :count]
    basis: Array = np.cos(math.pi * (place + 0.5) * order / count) * math.sqrt(2 / count)
    basis[0] /= math.sqrt(2)
    return basis


def _variances(correlation: Array, line: Array) -> Array:
    """Variance of each coefficient of a patch, flat, of noise of variance 1."""
    between = between_pixels(correlation, len(line))
    variances: Array = np.einsum("uy,uz,yxzw,vx,vw->uv", line, line, between, line, line)
    return variances.ravel()
