"""An image in one piece, or a tile of one: check, measure, plan, run.

Sections 3.2 to 3.4 of the paper, from the noisy image to the denoised one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_msdip._run.units import Units
from napari_msdip.measured import Measured, Prepared
from napari_msdip.plan import Plan, resolve
from napari_msdip.run import Run, features_of
from napari_msdip.steps import changed

if TYPE_CHECKING:
    from torch import Tensor

    from napari_msdip.events import Progress, Result, ScaleResult
    from napari_msdip.options import Options
    from napari_msdip.pixels import RedundantChannels
    from napari_msdip.warm_start import WarmStart

__all__ = ["Shared", "iter_denoise_part", "with_redundant"]

ShouldStop = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class Shared:
    """What is made once for all tiles of an image.

    Attributes
    ----------
    measured : Measured
        What was measured on the whole image; for a tile, where that lies.
    features : callable or None
        As :func:`napari_msdip.run.features_of` returns it.
    """

    measured: Measured
    features: Callable[[Tensor], Tensor] | None

    @classmethod
    def of(cls, ready: Prepared, plan: Plan) -> Shared:
        """Measure an image and load what features take."""
        # Features first, as missing weights are told before any long work.
        features = features_of(plan)
        return cls(ready.measured, features)

    def part(self, window: tuple[slice, slice]) -> Shared:
        """Return what a tile takes of it."""
        return replace(self, measured=self.measured.part(window))


def iter_denoise_part(
    image: Any,
    options: Options,
    *,
    channel_axis: int | None = None,
    should_stop: ShouldStop | None = None,
    shared: Shared | None = None,
    warm_start: WarmStart | None = None,
) -> Generator[Progress, None, Result]:
    """Denoise an image, or a tile with what all tiles of its image share.

    Parameters are those of :func:`napari_msdip.denoise`; no channel of the whole image is
    constant or repeats another. ``shared`` is given with a tile, ``warm_start`` comes
    from an image of the same size and options.
    """
    started = time.perf_counter()
    ready = Prepared.of(image, channel_axis, options, is_part=shared is not None)
    if warm_start is not None:
        options = warm_start.adapted(options)
    planar = ready.planar
    plan = resolve(options, planar.shape[1:], ready.level, channels=len(planar))
    shared = shared or Shared.of(ready, plan)
    found = shared.measured
    # As it came, an image has its hot pixels still.
    given = None if options.remove_hot_pixels else ready.given
    units = Units.of(planar, given, ready.layout, found.normalisation, options.output_dtype)
    run = Run(units, plan, found, shared.features, should_stop, warm_start)
    return run.steps(prepared_in=time.perf_counter() - started)


def with_redundant(
    steps: Generator[Progress, None, Result], redundant: RedundantChannels
) -> Generator[Progress, None, Result]:
    """Put channels that were left out back into all that a run without them shows."""
    if not redundant.found:
        return (yield from steps)
    result = yield from changed(steps, partial(_progress_with, redundant))
    return _result_with(redundant, result)


def _progress_with(redundant: RedundantChannels, progress: Progress) -> Progress:
    preview, scale = progress.preview, progress.finished_scale
    return replace(
        progress,
        preview=None if preview is None else redundant.put_back(preview),
        finished_scale=None if scale is None else _scale_with(redundant, scale),
    )


def _scale_with(redundant: RedundantChannels, scale: ScaleResult) -> ScaleResult:
    return replace(scale, image=redundant.put_back(scale.image))


def _result_with(redundant: RedundantChannels, result: Result) -> Result:
    return replace(
        result,
        image=redundant.put_back(result.image),
        scales=tuple(_scale_with(redundant, scale) for scale in result.scales),
        plan=replace(result.plan, channels=len(redundant.varying)),
    )
