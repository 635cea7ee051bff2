"""The front door for one image: check, measure, plan, run.

Sections 3.2 to 3.4 of the paper, from the noisy image to the denoised one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_msdip._run.units import Units
from napari_msdip.measured import Measured, Prepared
from napari_msdip.options import Options
from napari_msdip.pixels import Constants, checked_image
from napari_msdip.plan import Plan, resolve
from napari_msdip.run import Run, features_of
from napari_msdip.steps import changed, drive

if TYPE_CHECKING:
    from torch import Tensor

    from napari_msdip.events import Progress, Result, ScaleResult
    from napari_msdip.warm_start import WarmStart

__all__ = [
    "Shared",
    "as_options",
    "check_callable",
    "denoise",
    "iter_denoise",
    "iter_denoise_part",
    "with_constants",
]

ShouldStop = Callable[[], bool]


def denoise(
    image: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: ShouldStop | None = None,
) -> Result:
    """Denoise one image with nothing but itself.

    Multi-scale deep image prior (Jiang, Zhang, Nie, Zhu and Zheng): generators
    are fitted to a pyramid of the noisy image, coarse to fine, each held to the
    coarser result (eq. 2 to 4), and the results of all scales are fused (eq. 5).

    Parameters
    ----------
    image : array-like
        ``(Y, X)``, or three-dimensional with a channel axis anywhere. Any integer
        or real floating-point dtype, any units and range; not modified.
    options : Options, str or None
        Options, a preset's name, or None for ``"fast"``.
    channel_axis : int or None
        Position of the channels; None for a gray image.
    on_progress : callable or None
        Called with a ``Progress`` after every step.
    should_stop : callable or None
        Asked before every step; once it returns true, the best image so far is
        returned with ``Status.CANCELLED``.

    Returns
    -------
    Result
        The denoised image in the input's shape, axis order, units and dtype,
        and how it came about.

    Raises
    ------
    TypeError
        If the dtype is boolean, complex or not numeric, an option's type is wrong, or
        `on_progress` or `should_stop` cannot be called.
    ValueError
        If the image is empty, too small, not finite, or has the wrong axes, or if
        an option, a preset's name or the device is unknown.
    WeightsNotFoundError
        If VGG-16 features are asked for and there are no weights, or a weight file is
        named that is not there.
    """
    check_callable("on_progress", on_progress)
    steps = iter_denoise(image, options, channel_axis=channel_axis, should_stop=should_stop)
    return drive(steps, on_progress)


def iter_denoise(
    image: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    should_stop: ShouldStop | None = None,
) -> Generator[Progress, None, Result]:
    """Denoise one image step by step; see ``denoise``.

    All checks are made, and errors raised, before the first step is asked for.

    Yields
    ------
    Progress
        After every optimisation step.

    Returns
    -------
    Result
        The denoised image and how it came about.
    """
    options = as_options(options)
    check_callable("should_stop", should_stop)
    array, layout = checked_image(image, channel_axis)
    axis = layout.channel_axis
    constants = Constants.of(array, axis)
    varying = constants.left_out(array)
    steps = iter_denoise_part(varying, options, channel_axis=axis, should_stop=should_stop)
    return with_constants(steps, constants)


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

    Parameters are those of :func:`denoise`; no channel of the whole image is constant.
    ``shared`` is given with a tile, ``warm_start`` comes from an image of the same size
    and options.
    """
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
    return Run(units, plan, found, shared.features, should_stop, warm_start).steps()


def with_constants(
    steps: Generator[Progress, None, Result], constants: Constants
) -> Generator[Progress, None, Result]:
    """Put constant channels back into all that a run without them shows."""
    if not constants.found:
        return (yield from steps)
    result = yield from changed(steps, partial(_progress_with, constants))
    return _result_with(constants, result)


def _progress_with(constants: Constants, progress: Progress) -> Progress:
    preview, scale = progress.preview, progress.finished_scale
    return replace(
        progress,
        preview=None if preview is None else constants.put_back(preview),
        finished_scale=None if scale is None else _scale_with(constants, scale),
    )


def _scale_with(constants: Constants, scale: ScaleResult) -> ScaleResult:
    return replace(scale, image=constants.put_back(scale.image))


def _result_with(constants: Constants, result: Result) -> Result:
    return replace(
        result,
        image=constants.put_back(result.image),
        scales=tuple(_scale_with(constants, scale) for scale in result.scales),
        plan=replace(result.plan, channels=len(constants.varying)),
    )


def check_callable(name: str, value: object) -> None:
    """Raise TypeError unless an argument is a function or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}={value!r}: give a function or None")


def as_options(options: Options | str | None) -> Options:
    """Return options from options, a preset's name, or None.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If there is no such preset.
    """
    if options is None:
        return Options()
    if isinstance(options, str):
        return Options.preset(options)
    if not isinstance(options, Options):
        raise TypeError(
            f"options={options!r}: give an Options, the name of a preset, or None"
        )
    return options
