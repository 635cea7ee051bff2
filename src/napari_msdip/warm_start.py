"""What one plane of a stack hands on to its neighbour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_msdip.options import LEAST_RATE

if TYPE_CHECKING:
    from torch import Tensor

    from napari_msdip.generator import Generator as Network
    from napari_msdip.options import Options

__all__ = ["WarmStart"]

# What generators of a neighbouring plane still need; see docs/stacks.md.
_ITERATIONS = 0.5
_RATE = 0.5


@dataclass(frozen=True, eq=False)
class WarmStart:
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
            iterations=math.ceil(_ITERATIONS * options.iterations),
            coarsest_iterations=math.ceil(_ITERATIONS * coarsest),
            learning_rate=max(_RATE * options.learning_rate, LEAST_RATE),
        )

    def recall(self, level: int, network: Network) -> None:
        """Give a generator the weights that its predecessor ended with, if any."""
        if level in self.weights:
            network.load_state_dict(self.weights[level])

    def keep(self, level: int, network: Network) -> None:
        """Keep the weights of a fitted generator."""
        state = network.state_dict()
        self.weights[level] = {name: value.clone() for name, value in state.items()}
