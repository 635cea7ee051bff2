"""The noise of a run: its level at each pixel of a scale, and fresh noise like it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_msdip._fit.noise_bank import NoiseBank
from napari_msdip._noise.removed import measure_again
from napari_msdip.pyramid import resize

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel
    from napari_msdip._run.units import Units
    from napari_msdip.measured import Measured
    from napari_msdip.plan import Plan

__all__ = ["RunNoise"]

Planar = npt.NDArray[np.float32]

# Fields of noise from which a fit draws: see NoiseBank.
_NOISE_FIELDS = 8


@dataclass(frozen=True, eq=False)
class RunNoise:
    """The noise of the image being denoised, as the scales of its run need it.

    Attributes
    ----------
    measured : Measured
        Range and noise.
    units : Units
        The image, and the way to and from normalised values.
    plan : Plan
        Concrete settings.
    """

    measured: Measured
    units: Units
    plan: Plan

    @property
    def model(self) -> NoiseModel:
        """The noise, in the image's units."""
        return self.measured.noise

    @property
    def asymmetry(self) -> float:
        """Third moment over variance, normalised."""
        return self.model.asymmetry / self.measured.normalisation.gain

    def sigma(self, shape: tuple[int, int]) -> Tensor:
        """Return the noise level ``(1, 1, h, w)`` at each pixel of a scale, normalised."""
        return resize(self._levels, shape).to(self.plan.device)

    def bank(self, shape: tuple[int, int]) -> NoiseBank | None:
        """Return the noise to add at a scale, if any is."""
        if self._fields is None:
            return None
        if shape == self.plan.shape:
            small = self._fields
        else:
            small = torch.cat([resize(field[None], shape) for field in self._fields])
        return self._bank(small, self.sigma(shape))

    def bank_of_scale(self, target: Tensor, fitted: Tensor) -> NoiseBank | None:
        """Return the noise of one scale, by what a first part of its own fit has removed.

        None where that does not tell.

        Parameters
        ----------
        target, fitted : Tensor
            ``(1, C, h, w)`` noisy image and result of the first part, normalised.
        """
        seen, result = self._in_image_units(target), self._in_image_units(fitted)
        noise = measure_again(self.model, seen, result, result)
        if noise is self.model:
            return None
        fields = self._drawn(noise, (seen.shape[1], seen.shape[2]))
        if fields is None:
            return None
        return self._bank(fields, self._normalised(noise, seen))

    def again(self, fused: Tensor, finest: Tensor) -> RunNoise:
        """Return the noise as measured by what a first part of a fit has removed.

        Parameters
        ----------
        fused, finest : Tensor
            ``(1, C, Y, X)`` best result so far and that of the finest scale by itself,
            normalised.
        """
        noise = measure_again(
            self.model,
            self.units.planar,
            self._in_image_units(fused),
            self._in_image_units(finest),
        )
        measured = dataclasses.replace(self.measured, noise=noise)
        return dataclasses.replace(self, measured=measured)

    @cached_property
    def _fields(self) -> Tensor | None:
        return self._drawn(self.model, self.plan.shape)

    @cached_property
    def _levels(self) -> Tensor:
        return self._normalised(self.model, self.units.planar)

    def _drawn(self, noise: NoiseModel, shape: tuple[int, int]) -> Tensor | None:
        """Fields of unit variance, unless the noise is not shown."""
        if not self.plan.options.recorruption:
            return None
        rng = np.random.default_rng(self.plan.seed)
        return torch.from_numpy(noise.fields(shape, _NOISE_FIELDS, rng))

    def _normalised(self, noise: NoiseModel, planar: Planar) -> Tensor:
        sigma = noise.sigma_map(planar)
        return torch.from_numpy(sigma / self.measured.normalisation.gain)[None]

    def _bank(self, fields: Tensor, sigma: Tensor) -> NoiseBank:
        return NoiseBank(
            fields=fields.to(self.plan.device),
            sigma=sigma.to(self.plan.device),
            asymmetry=self.asymmetry,
        )

    def _in_image_units(self, image: Tensor) -> Planar:
        return self.units.inverted(image).astype(np.float32)
