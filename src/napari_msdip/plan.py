"""From wishes to concrete numbers: :func:`resolve` turns Options into a Plan."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_msdip import devices
from napari_msdip.features import check_weight_file
from napari_msdip.generator import usable_depth
from napari_msdip.pixels import SMALLEST_SIDE
from napari_msdip.pyramid import scale_shapes

if TYPE_CHECKING:
    from napari_msdip.options import Options

__all__ = ["Plan", "ScalePlan", "resolve"]

# What the generator needs of its finest maps on each side.
_SMALLEST_FOLDED = 4


@dataclass(frozen=True)
class ScalePlan:
    """One level of the pyramid.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width)`` in pixels.
    zoom : tuple of float
        Size of one of its pixels in pixels of the finest scale, for Y and X.
    iterations : int
        Most optimisation steps.
    """

    shape: tuple[int, int]
    zoom: tuple[float, float]
    iterations: int


@dataclass(frozen=True)
class Plan:
    """The concrete settings of one run; nothing in it is left to decide.

    Attributes
    ----------
    options : Options
        The wishes that the plan resolves.
    shape : tuple of int
        ``(height, width)`` of the image.
    channels : int
        Number of channels, 1 for gray. Constant ones count, though a run leaves them out.
    scales : tuple of ScalePlan
        Finest first.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    precision : str
        ``"float32"`` or ``"bfloat16"``: what the generator computes in.
    threads : int
        CPU threads.
    seed : int
        Seed of this image's random numbers.
    sigma : float
        Estimated noise level of the image, in its units.
    """

    options: Options
    shape: tuple[int, int]
    channels: int
    scales: tuple[ScalePlan, ...]
    device: str
    precision: str
    threads: int
    seed: int
    sigma: float

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the generator at each depth, finest first, at every scale.

        Those of the options' widths that the coarsest scale has room for.
        """
        wanted = self.options.widths
        depth = usable_depth(self.scales[-1].shape, len(wanted), self.options.fold)
        return wanted[:depth]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types."""
        return dataclasses.asdict(self) | {
            "options": self.options.to_dict(),
            "shape": list(self.shape),
            "widths": list(self.widths),
            "scales": [
                {
                    "shape": list(scale.shape),
                    "zoom": list(scale.zoom),
                    "iterations": scale.iterations,
                }
                for scale in self.scales
            ],
        }


def resolve(
    options: Options,
    shape: tuple[int, int],
    sigma: float,
    device: str | None = None,
    *,
    channels: int = 1,
) -> Plan:
    """Turn options into concrete numbers for one image.

    Parameters
    ----------
    options : Options
        The wishes.
    shape : tuple of int
        ``(height, width)`` of the image in pixels.
    sigma : float
        Noise level of the image, in its units.
    device : str or None
        Device to plan for instead of the one in the options.
    channels : int
        Number of channels.

    Raises
    ------
    ValueError
        If the image is too small, the device is not there, or the options leave the
        generator no input.
    WeightsNotFoundError
        If the options name a weight file that is not there, needed or not.
    """
    if options.vgg_weights is not None:
        check_weight_file(options.vgg_weights)
    if not (options.code_channels or options.recorruption or options.guidance):
        raise ValueError(
            "code_channels=0, recorruption=0 and guidance=False leave the generator "
            "nothing to see; change one of them"
        )
    shapes = scale_shapes(
        shape,
        factor=options.scale_factor,
        min_size=options.min_size,
        max_scales=options.max_scales,
    )
    if min(shape) < SMALLEST_SIDE:
        raise ValueError(
            f"image of {shape[0]}×{shape[1]} pixels is too small; Y and X must be at "
            f"least {SMALLEST_SIDE} px"
        )
    if min(shapes[-1]) < _SMALLEST_FOLDED * options.fold:
        raise ValueError(
            f"fold={options.fold} leaves too little of a scale of {shapes[-1]} pixels; "
            f"choose at most {max(1, min(shapes[-1]) // _SMALLEST_FOLDED)}"
        )
    chosen = devices.select(device or options.device)
    coarsest = options.coarsest_iterations or options.iterations
    return Plan(
        options=options,
        shape=shape,
        channels=channels,
        scales=tuple(
            ScalePlan(
                shape=level,
                zoom=(shape[0] / level[0], shape[1] / level[1]),
                iterations=coarsest if n == len(shapes) - 1 else options.iterations,
            )
            for n, level in enumerate(shapes)
        ),
        device=chosen,
        precision=devices.select_precision(options.precision, chosen),
        threads=options.threads or devices.cpu_count(),
        seed=options.seed,
        sigma=sigma,
    )
