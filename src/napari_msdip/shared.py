"""What the tiles of an image share, and what a plane hands on to its neighbour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_msdip.options import LEAST_RATE
from napari_msdip.pixels import Normalisation
from napari_msdip.recorruption import measure_noise

if TYPE_CHECKING:
    from torch import Tensor

    from napari_msdip.generator import Generator as Network
    from napari_msdip.noise_model import NoiseModel
    from napari_msdip.options import Options

__all__ = ["Measured", "Memory", "measure"]

Planar = npt.NDArray[np.float32]

# What generators of a neighbouring plane still need; see docs/stacks.md.
_WARM_ITERATIONS = 0.5
_WARM_RATE = 0.5


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


@dataclass(frozen=True, eq=False)
class Memory:
    """The generators of the last image, for one that resembles it to start from.

    Attributes
    ----------
    weights : dict
        State of the generator of each level, 0 being the finest.
    """

    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def adapted(self, options: Options) -> Options:
        """Return options for generators that are remembered: fewer and smaller steps."""
        if not self.weights:
            return options
        coarsest = options.coarsest_iterations or options.iterations
        return options.replace(
            iterations=math.ceil(_WARM_ITERATIONS * options.iterations),
            coarsest_iterations=math.ceil(_WARM_ITERATIONS * coarsest),
            learning_rate=max(_WARM_RATE * options.learning_rate, LEAST_RATE),
        )

    def recall(self, level: int, network: Network) -> None:
        """Give a generator the weights that its predecessor ended with, if any."""
        if level in self.weights:
            network.load_state_dict(self.weights[level])

    def keep(self, level: int, network: Network) -> None:
        """Keep the weights of a fitted generator."""
        state = network.state_dict()
        self.weights[level] = {name: value.clone() for name, value in state.items()}
