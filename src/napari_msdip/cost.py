"""What a run will take: time and memory, from a short probe on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip.pixels import Layout
from napari_msdip.plan import Plan, ScalePlan, resolve, scale_plans
from napari_msdip.run import Run
from napari_msdip.shared import measure

if TYPE_CHECKING:
    from napari_msdip.options import Options

__all__ = ["Cost", "expected_cost", "expected_memory"]

_PROBE_SIDE = 128
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
    seconds_per_pixel = _probed(options, image_shape, channels)
    steps = sum(scale.work for scale in plan.scales)
    return Cost(
        seconds=seconds_per_pixel * steps / (1 - plan.refining),
        memory_bytes=expected_memory(image_shape, channels, options),
        scales=plan.scales,
        device=plan.device,
    )


def expected_memory(shape: tuple[int, int], channels: int, options: Options) -> int:
    """Expect the peak of additional memory of a run in bytes.

    Counts what the generator keeps of one step, at the scale where that is most, and
    what passing the whole image through it takes.

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


def _probed(options: Options, shape: tuple[int, int], channels: int) -> float:
    """Seconds per step and pixel, the best of the steps that fit into a moment.

    On a busy machine threads wait for each other in most steps, but not in all.
    """
    side = min(_PROBE_SIDE, *shape)
    probe = options.replace(
        max_scales=1,
        iterations=_MOST_PROBE_STEPS,
        coarsest_iterations=None,
        stopping="none",
        consistency="none",
    )
    rng = np.random.default_rng(0)
    planar = rng.random((channels, side, side), dtype=np.float32)
    plan: Plan = resolve(probe, (side, side), 0.1, channels=channels)
    layout = Layout(np.dtype(np.float32), channel_axis=0)
    steps: Any = Run(planar, layout, plan, measure(planar, 0.1)).steps()
    times = [time.perf_counter()]
    for step in range(_MOST_PROBE_STEPS):
        next(steps)
        times.append(time.perf_counter())
        if step >= _PROBE_STEPS and times[-1] - times[0] > _PROBE_SECONDS:
            break
    steps.close()
    return min(np.diff(times[1:])) / _pixels((side, side))
