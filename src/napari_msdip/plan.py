"""From wishes to concrete numbers: :func:`resolve` turns Options into a Plan."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_msdip import devices
from napari_msdip._fit.crops import CROP_SIDE, FINAL_PASSES, PASS_WORK, STEPS_PER_PASS
from napari_msdip.arguments import number, whole_number
from napari_msdip.generator import usable_depth
from napari_msdip.options import Options, as_options
from napari_msdip.pixels import SMALLEST_SIDE
from napari_msdip.pyramid import scale_shapes
from napari_msdip.vgg_weights import check_weight_file

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Plan", "ScalePlan", "check_options", "resolve", "scale_plans"]

# What the generator needs of its finest maps on each side.
_SMALLEST_FOLDED = 4
# A scale is fitted on crops if it has more than this many times the pixels of a step: a
# smaller one would hardly gain anything.
_LARGE = 2
# What refining costs for each pixel, once and again for each channel, in pixels of steps.
_REFINING = 12.0
# What starting a step costs, in pixels: on a fast GPU it is most of a small step, on a
# slow one less.
_STARTING = {"cuda": 150_000}


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
    crops : int
        How many crops of the image a step sees; 0 for all of it.
    """

    shape: tuple[int, int]
    zoom: tuple[float, float]
    iterations: int
    crops: int = 0

    @property
    def step_pixels(self) -> int:
        """Pixels that a step sees."""
        return self.crops * CROP_SIDE**2 or self.shape[0] * self.shape[1]

    @property
    def work(self) -> float:
        """What fitting it costs where starting a step costs nothing, in pixels of steps."""
        steps = float(self.iterations * self.step_pixels)
        if self.crops:
            passes = FINAL_PASSES + self.iterations / STEPS_PER_PASS
            steps += PASS_WORK * passes * self.shape[0] * self.shape[1]
        return steps


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

        Those of the options' widths that the coarsest scale has room for, and crops if
        what lies beyond them is reflected.
        """
        wanted, room = tuple(self.options.widths), self.scales[-1].shape
        if self.options.padding == "reflection" and any(s.crops for s in self.scales):
            room = (min(CROP_SIDE, *room),) * 2
        return wanted[: usable_depth(room, len(wanted), self.options.fold)]

    @property
    def works(self) -> tuple[float, ...]:
        """What each scale costs on the device, about, in pixels of steps."""
        starting = _STARTING.get(self.device, 0)
        return tuple(scale.work + scale.iterations * starting for scale in self.scales)

    @property
    def refining(self) -> float:
        """What the refinement costs, about, in pixels of steps."""
        pixels = self.shape[0] * self.shape[1]
        return _REFINING * (1 + self.channels) * pixels if self.options.refine else 0.0

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Plan:
        """Return the plan that ``to_dict`` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If another version wrote it, which had other settings.
        """
        made = {
            "options": Options(**plain["options"]),
            "shape": tuple(plain["shape"]),
            "scales": tuple(
                ScalePlan(**each | {key: tuple(each[key]) for key in ("shape", "zoom")})
                for each in plain["scales"]
            ),
        }
        # The widths follow from the rest.
        return cls(**{key: plain[key] for key in plain if key != "widths"} | made)

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
                    "crops": scale.crops,
                }
                for scale in self.scales
            ],
        }


def resolve(
    options: Options | str | None,
    shape: tuple[int, int],
    sigma: float,
    *,
    channels: int = 1,
) -> Plan:
    """Turn options into concrete numbers for one image.

    Parameters
    ----------
    options : Options, str or None
        The wishes, a preset's name, or None for ``"fast"``.
    shape : tuple of int
        ``(height, width)`` of the image in pixels.
    sigma : float
        Noise level of the image, in its units.
    channels : int
        Number of channels.

    Returns
    -------
    Plan
        Without any "auto": device, precision, scales and all that was left open.

    Raises
    ------
    TypeError
        If the options are none, the shape or the number of channels is not of whole
        numbers, or the noise level is no number.
    ValueError
        If there is no such preset or no channel, the image is too small or not of two
        sides, the noise level is negative or not finite, the device is not there, or the
        options leave the generator no input.
    WeightsNotFoundError
        If the options name a weight file that is not there, needed or not.
    """
    options = as_options(options)
    shape, channels = _checked_shape(shape), _checked_channels(channels)
    sigma = _checked_sigma(sigma)
    check_options(options)
    scales = scale_plans(options, shape)
    coarsest = scales[-1].shape
    if min(coarsest) < _SMALLEST_FOLDED * options.fold:
        raise ValueError(
            f"fold={options.fold} leaves too little of a scale of {coarsest} pixels; "
            f"choose at most {max(1, min(coarsest) // _SMALLEST_FOLDED)}"
        )
    chosen = devices.select(options.device)
    return Plan(
        options=options,
        shape=shape,
        channels=channels,
        scales=scales,
        device=chosen,
        precision=devices.select_precision(options.precision, chosen),
        threads=options.threads or devices.cpu_count(),
        seed=options.seed,
        sigma=sigma,
    )


def check_options(options: Options) -> None:
    """Raise what is wrong with options whatever the image; see :func:`resolve`."""
    if options.vgg_weights is not None:
        check_weight_file(options.vgg_weights)
    if not (options.code_channels or options.recorruption or options.guidance):
        raise ValueError(
            "code_channels=0, recorruption=0 and guidance=False leave the generator "
            "nothing to see; change one of them"
        )


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if not hasattr(shape, "__len__") or len(shape) != 2:
        raise ValueError(f"shape={shape!r}: give height and width in pixels")
    height, width = (whole_number(side) for side in shape)
    if height is None or width is None:
        raise TypeError(f"shape={shape!r}: give whole numbers of pixels")
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"image of {height}×{width} pixels is too small; Y and X must be at least "
            f"{SMALLEST_SIDE} px"
        )
    return height, width


def _checked_channels(channels: int) -> int:
    count = whole_number(channels)
    if count is None:
        raise TypeError(f"channels={channels!r}: give a whole number")
    if count < 1:
        raise ValueError(f"channels={channels!r}: give at least 1")
    return count


def _checked_sigma(sigma: float) -> float:
    level = number(sigma, "sigma")
    if not (math.isfinite(level) and level >= 0):
        raise ValueError(f"sigma={sigma!r}: give a finite number from 0 on")
    return level


def scale_plans(options: Options, shape: tuple[int, int]) -> tuple[ScalePlan, ...]:
    """Return the levels of the pyramid of an image of this shape, finest first."""
    shapes = scale_shapes(
        shape,
        factor=options.scale_factor,
        min_size=options.min_size,
        max_scales=options.max_scales,
    )
    coarsest = options.coarsest_iterations or options.iterations
    return tuple(
        ScalePlan(
            shape=level,
            zoom=(shape[0] / level[0], shape[1] / level[1]),
            iterations=coarsest if n == len(shapes) - 1 else options.iterations,
            crops=_crops(options, level),
        )
        for n, level in enumerate(shapes)
    )


def _crops(options: Options, level: tuple[int, int]) -> int:
    """Return how many crops a step at a level of the pyramid sees, 0 for all of it."""
    wanted = options.step_pixels
    if wanted is None or level[0] * level[1] <= _LARGE * wanted or min(level) < CROP_SIDE:
        return 0
    # Features of a network are smaller than the image, and the other ways to stop look at
    # every output.
    possible = options.consistency != "vgg16" and options.stopping in ("settled", "none")
    return wanted // CROP_SIDE**2 if possible and options.shows_image_alone else 0
