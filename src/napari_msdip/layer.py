"""Denoise a napari layer from a script or napari's console.

Takes a layer and returns layer data; needs no viewer and starts no thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, SupportsIndex

from napari_msdip._layer import text
from napari_msdip._layer.axes import Axes, Box, as_box, guess_axes, parse_axes
from napari_msdip._layer.engine import Engine
from napari_msdip._layer.job import Finished, Job, scale_provenance
from napari_msdip._layer.layers import (
    LayerTuple,
    Source,
    full_resolution_data,
    image_tuple,
    result_name,
    scale_name,
    unwrapped,
)
from napari_msdip.arguments import whole_number
from napari_msdip.events import Status
from napari_msdip.options import as_options
from napari_msdip.steps import check_callable, drive, never

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari.layers

    from napari_msdip.events import Progress
    from napari_msdip.options import Options

__all__ = ["denoise_layer"]


def denoise_layer(
    layer: napari.layers.Image,
    options: Options | str | None = None,
    *,
    axes: str | None = None,
    planes: SupportsIndex | slice | Sequence[SupportsIndex | slice] | None = None,
    scales: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
    engine: Engine | None = None,
) -> list[LayerTuple]:
    """Denoise an Image layer and keep everything else about it.

    Parameters
    ----------
    layer : napari.layers.Image
        Any integer or float image, RGB, multiscale, dask or zarr.
    options : Options, str or None
        Options, a preset's name, or None for ``"fast"``.
    axes : str or None
        One letter for each axis of the data, such as ``"TZYX"`` or ``"YXC"``: Y and X
        span the image, C is the channel axis, all others count planes. None: read
        from the layer's axis labels and its rgb flag.
    planes : int, slice, sequence of those, or None
        Which planes: an index or a slice for every plane axis; None for all.
    scales : bool
        Whether to return the scales too; a stack has none to return.
    on_progress : callable or None
        Called with every ``Progress``.
    should_stop : callable or None
        Asked every iteration; when true, the best image so far is returned.
    engine : Engine or None
        What computes; None for the real one.

    Returns
    -------
    list of layer data tuples
        ``(data, arguments, "image")``: the result, and the scales after it, finest
        first. dtype, scale, translate, rotate, shear, affine, units, axis labels,
        colormap, contrast limits, gamma, blending and interpolation are the
        layer's; ``metadata["napari_msdip"]`` says how it was made. Empty if the run
        was stopped before there was anything to return.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be right, before any long work, or if every plane failed.

    Warns
    -----
    UserWarning
        If some planes failed: which, and why. They are returned as they were.
    """
    _check(layer)
    check_callable("on_progress", on_progress)
    check_callable("should_stop", should_stop)
    data = full_resolution_data(layer)
    rgb = bool(layer.rgb)
    layout = (
        guess_axes(data.shape, rgb=rgb, labels=layer.axis_labels)
        if axes is None
        else parse_axes(axes, data.shape, rgb=rgb)
    )
    job = Job(
        data=data,
        source=Source.of(layer, layout),
        box=_box(layout, planes),
        options=as_options(options),
        data_code="layer.data[0]" if layer.multiscale else "layer.data",
    )
    steps = job.run(engine or Engine(), job.buffer(), should_stop or never)
    finished = drive(steps, on_progress)
    if finished.failed:
        _report_failures(job, finished)
    if not finished.n_done:
        return []
    result = image_tuple(
        job.source,
        finished.planes,
        name=result_name(job.source.name),
        box=finished.box,
        provenance=finished.provenance,
    )
    return [result, *(_scales(job, finished) if scales else ())]


def _check(layer: object) -> None:
    """Refuse what is no picture, in the words of a person at napari's console."""
    from napari.layers import Image

    if layer is None:
        raise TypeError(
            "layer is None: select one Image layer, no more, for "
            "viewer.layers.selection.active, or name it as in viewer.layers['cells']"
        )
    layer = unwrapped(layer)
    if not isinstance(layer, Image):
        raise TypeError(f"layer is of type {type(layer).__name__}: give an Image layer")


def _report_failures(job: Job, finished: Finished) -> None:
    """Say which planes failed, as an error if nothing came of the run."""
    outcome = text.outcome(job, finished)
    if not finished.n_done and finished.status is not Status.CANCELLED:
        raise ValueError(outcome)
    warnings.warn(outcome, stacklevel=3)


def _scales(job: Job, finished: Finished) -> list[LayerTuple]:
    n_scales = max(finished.scales, default=0) + 1
    return [
        image_tuple(
            job.source,
            as_box(scale.image, job.box),
            name=scale_name(job.source.name, n, scale.shape, n_scales),
            box=job.box,
            zoom=scale.zoom,
            provenance=scale_provenance(job, scale),
        )
        for n, scale in finished.scales.items()
    ]


def _box(
    axes: Axes, planes: SupportsIndex | slice | Sequence[SupportsIndex | slice] | None
) -> Box:
    if planes is None:
        return axes.whole()
    parts = list(planes) if isinstance(planes, Iterable) else [planes]
    lengths = axes.plane_shape
    if len(parts) != len(lengths):
        raise ValueError(
            f"planes={planes!r}: give an index or a slice for each of the "
            f"{len(lengths)} plane axes of {axes.letters}"
        )
    return tuple(_extent(part, length) for part, length in zip(parts, lengths, strict=True))


def _extent(part: SupportsIndex | slice, length: int) -> tuple[int, int]:
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        if step != 1 or stop <= start:
            raise ValueError(f"planes={part!r}: give a slice with step 1 and some planes")
        return start, stop
    index = whole_number(part)
    if index is None:
        raise TypeError(f"planes={part!r}: give an index or a slice")
    if not -length <= index < length:
        raise ValueError(f"planes={index}: there are {length} planes, 0 to {length - 1}")
    return index % length, index % length + 1
