"""Filter groups of similar patches by what they have in common, whatever it looks like.

The filters of BM3D know patches by their cosines. Here the patches of a group tell
themselves how they vary: their covariance, of all pixels and channels, is taken from a
result that is there already, and gives the best linear estimate of what the noisy ones
were (Lebrun, Buades and Morel, "A nonlocal Bayesian image denoising algorithm", SIAM
Journal on Imaging Sciences 6(3), 2013; the second of its two steps). The noise is the
one that was measured: correlated between pixels and channels, its level by place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_msdip._noise.model import between_pixels
from napari_msdip._refinement.similar import PatchGrid
from napari_msdip.steps import changed

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from torch import Tensor

    from napari_msdip._noise.model import NoiseModel

__all__ = ["bayes_filter"]

Array = npt.NDArray[np.float64]

_PATCH = 5
_STEP = 4
_SEARCH = 15
_GROUP = 48
# Of the noise's variance: correlated noise has next to nothing in some directions.
_LEAST_VARIANCE = 1e-4
# Keeps equations solvable where there is neither noise nor structure, or hardly noise. As
# a share of all that a group holds, as one bright spot may be nearly all of that.
_RIDGE = 2e-6
_EPSILON = 1e-12


def bayes_filter(
    noisy: Tensor,
    pilot: Tensor,
    sigma: Tensor,
    noise: NoiseModel,
    *,
    share: float = 1.0,
    margin: float = 1.0,
    mean_share: float = 0.0,
    guides: Sequence[float] = (0.5,),
) -> Generator[float, None, Tensor]:
    """Estimate the patches of each group from their covariance in the pilot.

    As often as there are guides; what one pass has found is the pilot of the next.

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
    mean_share : float
        How much of what is filtered a group's mean takes; the rest is the pilot's.
    guides : sequence of float
        How much of the noisy image patches are compared by in each pass; the rest is the
        pilot's.

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
    variance = margin * grid.fitted(sigma).square().flatten()
    whitening = _Whitening.of(noise, grid.side, noisy.device)
    # Patches are as far apart in any orthonormal combinations of channels.
    noisy, pilot = (whitening.apart(image) for image in (noisy, pilot))
    for n, guide in enumerate(guides):
        # Without a name, so that each is gone before the next is made.
        steps = _pass(
            grid,
            grid.fitted(torch.lerp(pilot, noisy, guide))[0],
            _Work(
                data=grid.fitted(torch.lerp(pilot, noisy, share))[0].flatten(1),
                pilot=grid.fitted(pilot)[0].flatten(1),
                variance=variance,
                whitening=whitening,
                pixels=grid.pixels(noisy.device),
                mean_share=mean_share,
            ),
        )
        found = yield from changed(steps, partial(_share_of_all, n, len(guides)))
        pilot = found[..., :height, :width]
    return whitening.together(pilot)


def _share_of_all(n: int, n_passes: int, done: float) -> float:
    return (n + done) / n_passes


def _pass(grid: PatchGrid, guide: Tensor, work: _Work) -> Generator[float, None, Tensor]:
    """Filter once all groups of patches that are alike in the guide ``(C, H, W)``."""
    total, weights = torch.zeros_like(work.data), torch.zeros_like(work.variance)
    for done, corners in grid.groups(guide):
        members = corners[:, :, None] + work.pixels
        flat = members.flatten()
        for channel, found in enumerate(work.estimated(members)):
            total[channel].index_add_(0, flat, found.flatten())
        weights.index_add_(0, flat, torch.ones_like(flat, dtype=weights.dtype))
        yield done
    return (total / weights).view(1, -1, grid.height, grid.width)


@dataclass(frozen=True, eq=False)
class _Whitening:
    """What makes the noise of a patch independent, with variance 1, and back.

    Attributes
    ----------
    axes : Tensor
        ``(C, C)`` orthonormal rows: the combinations of channels whose noise is
        independent, so that dozens of channels take no longer each than a few.
    forth, back : Tensor
        ``(C, side², side²)`` for patches of each combination as rows.
    """

    axes: Tensor
    forth: Tensor
    back: Tensor

    @classmethod
    def of(cls, noise: NoiseModel, side: int, device: torch.device) -> _Whitening:
        variances, axes = np.linalg.eigh(_patch_covariances(noise, side))
        spreads = np.sqrt(np.maximum(variances, 0) + _LEAST_VARIANCE)[:, np.newaxis]
        matrices = (noise.axes, axes / spreads, (axes * spreads).transpose(0, 2, 1))
        return cls(*(torch.from_numpy(m).to(torch.float32).to(device) for m in matrices))

    def apart(self, image: Tensor) -> Tensor:
        """Return the combinations of an image's channels ``(1, C, H, W)``."""
        return torch.einsum("kc,ncyx->nkyx", self.axes, image)

    def together(self, image: Tensor) -> Tensor:
        """Return the channels of an image ``(1, C, H, W)`` of combinations."""
        return torch.einsum("kc,nkyx->ncyx", self.axes, image)

    def whitened(self, patches: Tensor) -> Tensor:
        """Return patches ``(C, P, group, side²)`` as rows ``(P, group, C side²)``."""
        return _each(patches, self.forth).permute(1, 2, 0, 3).flatten(2)

    def coloured(self, rows: Tensor) -> Tensor:
        """Return rows ``(P, group, C side²)`` as patches ``(C, P, group, side²)``."""
        apart = rows.view(*rows.shape[:2], len(self.axes), -1)
        return _each(apart.permute(2, 0, 1, 3), self.back)


def _each(patches: Tensor, matrices: Tensor) -> Tensor:
    """Multiply the patches of each combination as rows by its matrix."""
    return (patches.flatten(1, 2) @ matrices).view(patches.shape)


@dataclass(frozen=True, eq=False)
class _Work:
    """Images to estimate patches from.

    Attributes
    ----------
    data, pilot : Tensor
        ``(C, H W)``, combinations of channels whose noise is independent.
    variance : Tensor
        ``(H W,)`` of the noise.
    whitening : _Whitening
        Of the noise.
    pixels : Tensor
        ``(side²,)`` a patch's pixels from its corner.
    mean_share : float
        How much of the data a group's mean takes.
    """

    data: Tensor
    pilot: Tensor
    variance: Tensor
    whitening: _Whitening
    pixels: Tensor
    mean_share: float

    def estimated(self, members: Tensor) -> Tensor:
        """Return the patches ``(C, P, group, side²)`` at these pixels."""
        seen, known = (
            self.whitening.whitened(image[:, members]) for image in (self.data, self.pilot)
        )
        level = self.variance[members].mean((1, 2))
        middle = known.mean(1, keepdim=True)
        start = torch.lerp(middle, seen.mean(1, keepdim=True), self.mean_share)
        found = start + _projected(seen - start, known - middle, level)
        return self.whitening.coloured(found)


def _projected(seen: Tensor, known: Tensor, level: Tensor) -> Tensor:
    """Best linear estimates of the rows seen, if they vary as the known rows do.

    With the covariance K'K / (n - 1) of n known rows K and noise of variance v they are
    y K'K (K'K + (n - 1) v)^-1, which is y K' (K K' + (n - 1) v)^-1 K: an equation as
    large as the group, not as the patches. All of them ``(P, n, D)``, ``level`` ``(P,)``.
    """
    count = known.shape[1]
    across = known.transpose(1, 2)
    alike = known @ across
    size = alike.diagonal(dim1=1, dim2=2).sum(1)
    ridge = (count - 1) * level + _RIDGE * size + _EPSILON
    identity = torch.eye(count, device=known.device, dtype=known.dtype)
    weights = _solved(alike + ridge[:, None, None] * identity, known)
    return (seen @ across) @ weights


def _solved(matrices: Tensor, right: Tensor) -> Tensor:
    """Solve systems of equations, on the CPU for devices that may lack that."""
    where = "cpu" if matrices.device.type == "mps" else matrices.device
    solution: Tensor = torch.linalg.solve(matrices.to(where), right.to(where))
    return solution.to(matrices.device)


def _patch_covariances(noise: NoiseModel, side: int) -> Array:
    """Return those of the pixels of a patch ``(C, side², side²)``, in noise of variance 1.

    Of each combination of channels whose noise is independent.
    """
    between = [between_pixels(each, side) for each in noise.correlations]
    return noise.powers[:, np.newaxis, np.newaxis] * np.reshape(
        between, (-1, side**2, side**2)
    )
