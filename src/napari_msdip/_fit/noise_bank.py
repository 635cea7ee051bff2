"""Fresh noise like the image's own: what a generator sees and is asked for each step.

A generator that is shown the noisy image plus noise and asked for the noisy image
minus noise cannot do better than to return the clean image, as long as the added
noise has the second moments of the image's own (Pang, Zheng, Quan and Ji,
"Recorrupted-to-Recorrupted", CVPR 2021).

Noise and an independent copy of it can change places, so given their sum the mean of
their difference is zero whatever their distribution: with copies of skewed noise, as
few photons make it, the argument holds exactly, not for Gaussian noise alone. So where
noise is independent from pixel to pixel, its third moment is matched, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from napari_msdip._fit.crops import Crops

__all__ = ["NoiseBank"]

# Beyond, the approximation of a skewed distribution no longer has variance 1.
_SKEWEST = 2.5


@dataclass(frozen=True, eq=False)
class NoiseBank:
    """Noise fields like the image's own, ready to be rolled and turned.

    Attributes
    ----------
    fields : Tensor
        ``(K, C, H, W)``, unit variance at the finest scale.
    sigma : Tensor
        ``(1, 1, H, W)`` noise level at each pixel, normalised units.
    asymmetry : float
        Third moment over variance at the finest scale, normalised units.
    """

    fields: Tensor
    sigma: Tensor
    asymmetry: float = 0.0

    def draw(self, rng: torch.Generator) -> Tensor:
        """Return one field ``(1, C, H, W)`` at the image's noise level."""
        count, _, height, width = self.fields.shape
        which, down, across, sign = (
            int(torch.randint(bound, (1,), generator=rng))
            for bound in (count, height, width, 2)
        )
        field = torch.roll(self.fields[which : which + 1], (down, across), (-2, -1))
        field = field if sign else field.neg_()
        return self._skewed(field).mul_(self.sigma)

    def cropped(self, crops: Crops) -> NoiseBank:
        """Return a bank that draws noise for crops of the image, ``(B, C, h, w)``."""
        return _CroppedBank(self.fields, crops.cut(self.sigma), self.asymmetry)

    def _skewed(self, field: Tensor) -> Tensor:
        """Bend a Gaussian field to the skewness that each pixel's noise has.

        A shifted gamma distribution, by the cubic approximation of Wilson and
        Hilferty, "The distribution of chi-square", PNAS 17(12), 1931.
        """
        if not self.asymmetry:
            return field
        spread, sixth = self._spread, self._sixth_of_skewness
        bent = (1 + sixth * (field / spread) - sixth.square()).clamp_min(0) ** 3
        return spread * (bent - 1) / (3 * sixth)

    @cached_property
    def _spread(self) -> Tensor:
        return self.fields.std()

    @cached_property
    def _sixth_of_skewness(self) -> Tensor:
        # Averages of k pixels have 1/sqrt(k) of the spread and of the skewness.
        skewness = (self.asymmetry / self.sigma * self._spread).clamp(-_SKEWEST, _SKEWEST)
        return torch.where(skewness.abs() < 1e-3, 1e-3, skewness) / 6


@dataclass(frozen=True, eq=False)
class _CroppedBank(NoiseBank):
    """Noise for crops: its fields are the whole image's, its level that of the crops."""

    def draw(self, rng: torch.Generator) -> Tensor:
        count, _, height, width = self.fields.shape
        number, _, *size = self.sigma.shape
        which = torch.randint(count, (number,), generator=rng).tolist()
        signs = 2 * torch.randint(2, (number, 1, 1, 1), generator=rng) - 1
        places = Crops.drawn(rng, (height, width), (size[0], size[1]), number)
        field = torch.cat(
            [
                Crops((corner,), places.shape).cut(self.fields[n : n + 1])
                for n, corner in zip(which, places.corners, strict=True)
            ]
        )
        return self._skewed(field.mul_(signs.to(field.device))).mul_(self.sigma)
