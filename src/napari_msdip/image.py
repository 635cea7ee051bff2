"""The front door for one image, in one piece or in tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_msdip import tiling
from napari_msdip.options import as_options
from napari_msdip.pixels import as_planes, checked_image
from napari_msdip.plan import resolve
from napari_msdip.steps import check_callable, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_msdip.events import Progress, Result
    from napari_msdip.options import Options

__all__ = ["denoise", "iter_denoise"]


def denoise(
    image: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Result:
    """Denoise one image with nothing but itself.

    Multi-scale deep image prior (Jiang, Zhang, Nie, Zhu and Zheng): generators
    are fitted to a pyramid of the noisy image, coarse to fine, each held to the
    coarser result (eq. 2 to 4), and the results of all scales are fused (eq. 5).

    Parameters
    ----------
    image : array-like
        ``(Y, X)``, or three-dimensional with a channel axis anywhere. Any integer
        or real floating-point dtype, in any units, whose values lie 1e-17 to 1e17 apart;
        not modified. What does not fit into memory is done in tiles.
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
        If the image is empty, too small, not finite, or has the wrong axes or too small
        or large a range, or if an option, a preset's name or the device is unknown.
    MemoryError
        If memory is too small even for tiles.
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
    should_stop: Callable[[], bool] | None = None,
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
    channels, height, width = as_planes(array, layout.channel_axis).shape
    plan = resolve(options, (height, width), 0.0, channels=channels)
    return tiling.iter_denoise_fitting(
        array,
        options,
        channel_axis=layout.channel_axis,
        should_stop=should_stop,
        tile=tiling.choose_tile(plan),
    )
