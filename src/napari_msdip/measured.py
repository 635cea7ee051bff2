"""What is measured on a noisy image once, before it is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_msdip._noise.flattest import measure_noise
from napari_msdip.pixels import Normalisation

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel

__all__ = ["Measured", "measure"]

Planar = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured on the noisy image once; the tiles of an image share it.

    Attributes
    ----------
    normalisation : Normalisation
        Range that the engine works in.
    bounds : (float, float)
        Smallest and largest value, normalised.
    noise : NoiseModel
        The noise, in the image's units.
    """

    normalisation: Normalisation
    bounds: tuple[float, float]
    noise: NoiseModel


def measure(planar: Planar, sigma: float) -> Measured:
    """Measure an image ``(C, Y, X)`` whose noise level is ``sigma``."""
    normalisation = Normalisation.of(planar)
    planar = normalisation.within(planar)
    ends = normalisation.apply(np.array([planar.min(), planar.max()], np.float32))
    return Measured(
        normalisation=normalisation,
        bounds=(float(ends[0]), float(ends[1])),
        noise=measure_noise(planar, sigma),
    )
