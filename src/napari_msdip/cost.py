"""What a run will take: time and memory, from a short probe on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip._run.units import Units
from napari_msdip.features import vgg16_maps
from napari_msdip.measured import measure
from napari_msdip.pixels import Layout
from napari_msdip.plan import Plan, ScalePlan, resolve, scale_plans
from napari_msdip.run import Run

if TYPE_CHECKING:
    from napari_msdip.measured import Measured
    from napari_msdip.options import Options

__all__ = ["Cost", "expected_cost", "expected_memory"]

_PROBE_SIDES = (128, 512)
_SHORT_STEP = 0.03
# What else is done on the CPU before, between and after the fits takes as long as
# measuring the noise.
_PREPARED = 2.0
_PROBE_STEPS = 4
_MOST_PROBE_STEPS = 30
_PROBE_SECONDS = 1.0
_BYTES = 4
# Tensors that one convolution block keeps for its gradients: its input, the output
# of the convolution and that of the normalisation.
_KEPT_PER_BLOCK = 3
# Maps of the finest level's size that it takes to pass an image through, by its widest.
_PASSED = 5
_BASE_BYTES = 400 * 2**20


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take.

    Attributes
    ----------
    seconds : float
        Duration if no scale stops early.
    memory_bytes : int
        Peak of additional memory.
    scales : tuple of ScalePlan
        Levels of the pyramid, finest first.
    device : str
        Where it would run.
    """

    seconds: float
    memory_bytes: int
    scales: tuple[ScalePlan, ...]
    device: str


def expected_cost(
    image_shape: tuple[int, int], options: Options, channels: int = 1
) -> Cost:
    """Expect duration and memory of a run, by timing a few steps on a small image.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)`` in pixels.
    options : Options
        Options of the run.
    channels : int
        Number of channels.
    """
    plan = resolve(options, image_shape, 0.0, channels=channels)
    return Cost(
        seconds=_Pace.probed(options, image_shape, channels).seconds(plan),
        memory_bytes=expected_memory(image_shape, channels, options),
        scales=plan.scales,
        device=plan.device,
    )


def expected_memory(shape: tuple[int, int], channels: int, options: Options) -> int:
    """Expect the peak of additional memory of a run in bytes.

    Counts what the generator keeps of one step, at the scale where that is most, what
    VGG-16 keeps if it compares that with the coarser scale, and what passing the whole
    image through the generator takes.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` in pixels.
    channels : int
        Number of channels.
    options : Options
        Options of the run.
    """
    scales = scale_plans(options, shape)
    kept = max(scale.step_pixels for scale in scales) * _kept_maps(options)
    if scales[0].crops:
        widest = (options.widths[0] + options.skip_width) / options.fold**2
        kept += _PASSED * widest * _pixels(shape)
    if options.consistency == "vgg16" and len(scales) > 1:
        looks = 1 if channels == 3 else channels
        kept += looks * vgg16_maps(options.feature_layer) * _pixels(scales[1].shape)
    inputs = options.code_channels + 2 * channels
    images = (2 * inputs + 12 * channels + 8 * channels) * _pixels(shape)
    return int((kept + images) * _BYTES) + _BASE_BYTES


def _kept_maps(options: Options) -> float:
    """Count maps of the finest level's size that a step keeps for its gradients."""
    maps, area = 0.0, float(options.fold**2)
    for width in options.widths:
        joined = width + options.skip_width
        encoder = 2 * width / 4
        decoder = joined + 2 * width
        maps += _KEPT_PER_BLOCK * (encoder + decoder + options.skip_width) / area
        area *= 4
    return maps


def _pixels(shape: tuple[int, int]) -> int:
    return shape[0] * shape[1]


@dataclass(frozen=True)
class _Pace:
    """How fast this machine is, in seconds.

    Attributes
    ----------
    start : float
        For a step, however small.
    pixel : float
        For each pixel of a step.
    preparing : float
        For each pixel of the image, on the CPU whatever the device.
    """

    start: float
    pixel: float
    preparing: float

    @classmethod
    def probed(cls, options: Options, shape: tuple[int, int], channels: int) -> _Pace:
        """Time steps on one or two small images, no larger than the image itself."""
        small, large = (
            _Probe(options, min(side, *shape), channels) for side in _PROBE_SIDES
        )
        pixel = small.step / small.pixels
        # A long step is not held up by its start, and a longer one takes too long to try.
        if large.pixels > small.pixels and small.step < _SHORT_STEP:
            rise = (large.step - small.step) / (large.pixels - small.pixels)
            pixel = min(max(rise, 0.0), pixel)
        start = small.step - pixel * small.pixels
        return cls(start=start, pixel=pixel, preparing=_PREPARED * small.measuring)

    def seconds(self, plan: Plan) -> float:
        """Return how long a run takes."""
        steps = sum(scale.iterations for scale in plan.scales)
        pixels = sum(scale.work for scale in plan.scales) + plan.refining
        preparing = self.preparing * _pixels(plan.shape)
        return self.start * steps + self.pixel * pixels + preparing


class _Probe:
    """A small image to time steps on.

    Parameters
    ----------
    options : Options
        Options of the run.
    side : int
        Of the image, in pixels.
    channels : int
        Number of channels.
    """

    def __init__(self, options: Options, side: int, channels: int) -> None:
        probe = options.replace(
            max_scales=1,
            iterations=_MOST_PROBE_STEPS,
            coarsest_iterations=None,
            stopping="none",
            consistency="none",
            # What one pixel takes is told by many, and as well for crops.
            step_pixels=None,
        )
        rng = np.random.default_rng(0)
        self.pixels = side * side
        self._planar = rng.random((channels, side, side), dtype=np.float32)
        self.plan: Plan = resolve(probe, (side, side), 0.1, channels=channels)

    @cached_property
    def _measured(self) -> tuple[Measured, float]:
        started = time.perf_counter()
        measured = measure(self._planar, 0.1)
        return measured, (time.perf_counter() - started) / self.pixels

    @property
    def measuring(self) -> float:
        """Seconds that it takes to measure the noise, per pixel."""
        return self._measured[1]

    @cached_property
    def step(self) -> float:
        """Seconds for a step, the best of those that fit into a moment.

        On a busy machine threads wait for each other in most steps, but not in all.
        """
        layout = Layout(np.dtype(np.float32), channel_axis=0)
        measured = self._measured[0]
        units = Units.of(self._planar, None, layout, measured.normalisation, "input")
        steps: Any = Run(units, self.plan, measured, None).steps()
        times = [time.perf_counter()]
        for step in range(_MOST_PROBE_STEPS):
            next(steps)
            times.append(time.perf_counter())
            if step >= _PROBE_STEPS and times[-1] - times[0] > _PROBE_SECONDS:
                break
        steps.close()
        return float(min(np.diff(times[1:])))
