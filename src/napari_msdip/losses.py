"""The terms of the training loss (section 3.3)."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from napari_msdip.pyramid import resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_msdip._fit.crops import Crops

__all__ = ["ScaleConsistency", "adaptive_weight", "reconstruction_loss"]


def reconstruction_loss(
    output: Tensor, target: Tensor, *, absolute: bool, weight: Tensor | None = None
) -> Tensor:
    """Distance of the generated image from the noisy one (eq. 1, section 3.5).

    Parameters
    ----------
    output, target : Tensor
        ``(B, C, H, W)``: images, or crops of one.
    absolute : bool
        L1, which the early iterations use, instead of L2.
    weight : Tensor or None
        ``(1, 1, H, W)``: how much each pixel counts; None counts all alike.

    Returns
    -------
    Tensor
        Scalar, the mean over the pixels that count.
    """
    if weight is None:
        return F.l1_loss(output, target) if absolute else F.mse_loss(output, target)
    error = output - target
    distance = error.abs() if absolute else error.square()
    counted = weight.sum().clamp_min(1.0) * output.shape[1]
    return (distance * weight).sum() / counted


def adaptive_weight(sigma: float, scale: int, n_scales: int) -> float:
    """Return the weight of the scale-consistency loss, lambda_n (eq. 4).

    Parameters
    ----------
    sigma : float
        Noise level of the noisy image at this scale, in units of the
        normalised image.
    scale : int
        n; 0 is the finest.
    n_scales : int
        Number of scales. The coarsest, ``n_scales - 1``, has nothing to agree
        with and weight 0, so N of the equation is ``n_scales - 1``.
    """
    return math.sqrt(max(sigma, 0.0) * (n_scales - 1 - scale))


class ScaleConsistency:
    """Agreement of a finer result with the coarser one (eq. 3).

    The features of the coarser result are computed once.

    Parameters
    ----------
    coarser : Tensor
        ``(1, C, h, w)``, the finished result of the next coarser scale.
    features : callable or None
        phi; None compares pixels.
    relative : bool
        Measure the error relative to the mean square of the coarser features, so
        that lambda means the same whatever the scale of a network's features.
    """

    def __init__(
        self,
        coarser: Tensor,
        features: Callable[[Tensor], Tensor] | None,
        *,
        relative: bool = False,
    ) -> None:
        self._features = features
        self._coarser = coarser
        self._shape = (coarser.shape[-2], coarser.shape[-1])
        self._target = self._seen(coarser).detach()
        self._unit = float(self._target.square().mean()) if relative else 1.0

    def cropped(self, crops: Crops, size: tuple[int, int]) -> ScaleConsistency:
        """Return the agreement of crops of a finer result, ``(B, C, h, w)``.

        Parameters
        ----------
        crops : Crops
            Where they lie in the finer result.
        size : tuple of int
            ``(height, width)`` of that.
        """
        places = crops.resized(size, self._shape)
        part = copy.copy(self)
        # Features at the border of a crop are of what lies beyond as the crop continues.
        part._coarser = places.cut(self._coarser)
        part._shape, part._target = places.shape, self._seen(part._coarser).detach()
        return part

    def _seen(self, image: Tensor) -> Tensor:
        return image if self._features is None else self._features(image)

    def __call__(self, output: Tensor) -> Tensor:
        """Return the loss of a finer output ``(B, C, H, W)``: an image, or its crops."""
        found = self._seen(resize(output, self._shape))
        return F.mse_loss(found, self._target) / max(self._unit, 1e-12)
