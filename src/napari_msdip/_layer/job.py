"""A run as data: which pixels of which layer, with which options; no Qt in here."""

from __future__ import annotations

import logging
import math
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from napari_msdip._judgement import in_words, judged
from napari_msdip._layer.axes import Box, as_box, check_size, lazy, transposed
from napari_msdip._layer.code import as_python, finite_code
from napari_msdip._numbers import memory
from napari_msdip.arrays import as_array, dtype_of
from napari_msdip.events import Progress, Result, ScaleResult, StackResult, Status
from napari_msdip.pixels import result_dtype
from napari_msdip.seeds import plane_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from napari_msdip._layer.engine import Engine
    from napari_msdip._layer.layers import Source
    from napari_msdip.options import Options

__all__ = [
    "DRAFT",
    "Finished",
    "Job",
    "check_dtype",
    "check_finite",
    "draft_provenance",
    "scale_provenance",
]

DRAFT = "draft"
"""Role of a layer that shows what a run has so far."""

Array = npt.NDArray[Any]

_log = logging.getLogger(__name__)

_MEASURING_BYTES = 15
"""Memory that looking through an image takes for each value: far less than denoising."""


@dataclass(frozen=True)
class Finished:
    """What a run gave, ready to become a layer.

    Attributes
    ----------
    planes : ndarray
        Shape (*box, image axes): the denoised planes.
    box : Box
        The planes that they are.
    status : Status
        Completed or cancelled.
    scales : mapping of int to ScaleResult
        Of a single image by the scale's number, 0 being the finest; empty for
        several planes. A cancelled run lacks the finer ones.
    n_done : int
        Planes denoised, without failed ones; 0 if there is nothing worth showing.
    failed : mapping of int to str
        Planes left as they were, with the reason.
    seconds : float
        Duration.
    provenance : mapping
        Options, plan, versions, seed, seconds, stop reasons as plain JSON types.
    judgement : str
        How far to trust a single finished image, in words; empty for others.
    unreached : tuple of int
        Planes of the box that a cancelled run never came to, as they were.
    """

    planes: Array
    box: Box
    status: Status
    scales: Mapping[int, ScaleResult]
    n_done: int
    failed: Mapping[int, str]
    seconds: float
    provenance: Mapping[str, Any]
    judgement: str = ""
    unreached: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Job:
    """What to denoise.

    Attributes
    ----------
    data : array-like
        Full-resolution data of the layer: numpy, dask or zarr.
    source : Source
        The layer it came from.
    box : Box
        The planes to denoise.
    options : Options
        How.
    data_code : str
        Python expression for ``data``.
    run_id : str
        Tells the layers of this run from those of others.

    Raises
    ------
    TypeError
        If the data are of a type that NumPy does not know.
    ValueError
        If planes are too small, or napari cannot show the result as it shows the layer.
    """

    data: Any
    source: Source
    box: Box
    options: Options
    data_code: str = "image"
    run_id: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        """Refuse small planes, and colours of a type that napari shows as white.

        Here, as the engine speaks of ``channel_axis``, which nobody gave.
        """
        check_size(self.source.axes)
        integers = dtype_of(self.data, "layer.data").kind in "iu"
        if self.source.rgb and integers and self._result_dtype.kind == "f":
            raise ValueError(
                f"output_dtype={self.options.output_dtype!r}: napari takes colours in "
                "floating point for shares of one, and those of this layer of "
                f"{self.data.dtype} would all be white; choose 'input'"
            )

    @property
    def n_planes(self) -> int:
        """Number of planes to denoise."""
        return math.prod(self.source.axes.box_shape(self.box))

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is opacity, which is not a picture to denoise."""
        return self.source.rgb and self.source.axes.shape[-1] == 4

    @property
    def channels(self) -> int:
        """Number of channels to denoise."""
        return self.source.axes.channels - self.has_alpha

    @property
    def result_bytes(self) -> int:
        """Memory that all planes of the box take once they are denoised."""
        return math.prod(self._result_shape) * self._result_dtype.itemsize

    @property
    def _result_shape(self) -> tuple[int, ...]:
        axes = self.source.axes
        image = tuple(axes.shape[n] for n in axes.image_axes)
        return axes.box_shape(self.box) + image

    @property
    def _result_dtype(self) -> np.dtype[Any]:
        return result_dtype(self.data.dtype, self.options.output_dtype)

    @property
    def plane_options(self) -> Options:
        """Options with the seed that the first plane has in the whole stack."""
        first = self.source.axes.planes(self.box)[0]
        return self.options.replace(seed=plane_seed(self.options.seed, first))

    def first_plane(self, colours: slice = slice(None, 3)) -> tuple[int | slice, ...]:
        """Return the index of the first plane in the data, without opacity."""
        index = self._plane([start for start, _ in self.box])
        return (*index[:-1], colours) if self.has_alpha else index

    def image(self) -> Array:
        """Read the first plane of the box, without opacity.

        Raises
        ------
        TypeError, ValueError
            If it holds what cannot be measured or denoised, or would fill the memory.
            Said here, as the engine speaks of arrays, and each of its functions in other
            words.
        """
        check_dtype(self.data, "The layer")
        self._check_image_room()
        image = as_array(self.data[self.first_plane()], "layer.data")
        check_finite(image, self.source.name, multiscale=self.source.multiscale)
        return image

    def buffer(self) -> Array:
        """Return an empty array for all planes of the box, opacity included.

        Raises
        ------
        ValueError
            If they would fill the memory. The system hands out more than it has, and
            ends the whole window once that is used.
        """
        # A single plane comes from the engine as an array of its own.
        if self.n_planes > 1:
            self._check_room()
        return np.zeros(self._result_shape, self._result_dtype)

    def _check_image_room(self) -> None:
        from napari_msdip.devices import available_memory

        height, width = self.source.axes.image_shape
        values = height * width * self.channels
        needed = values * (np.dtype(self.data.dtype).itemsize + _MEASURING_BYTES)
        free = available_memory("cpu")
        if needed > free:
            raise ValueError(
                f"{height} × {width} pixels need {memory(needed)} to be read and "
                f"measured, and {memory(free)} are free: crop the layer first, or close "
                "other programs"
            )

    def _check_room(self) -> None:
        from napari_msdip.devices import available_memory

        needed, free = self.result_bytes, available_memory("cpu")
        if needed > free:
            raise ValueError(
                f"{self.n_planes} slices need {memory(needed)}, and {memory(free)} are "
                "free: choose fewer slices, or denoise the file with the command line, "
                "which writes slice by slice"
            )

    def run(
        self, engine: Engine, buffer: Array, should_stop: Callable[[], bool]
    ) -> Generator[Progress, None, Finished]:
        """Denoise step by step.

        Parameters
        ----------
        engine : Engine
            What computes.
        buffer : ndarray
            Where finished planes of a stack go, as :meth:`buffer` returns it.
        should_stop : callable
            Asked every iteration.

        Yields
        ------
        Progress
            As the engine does.

        Returns
        -------
        Finished
            The outcome.
        """
        if self.n_planes > 1:
            return (yield from self._run_stack(engine, buffer, should_stop))
        # A copy: the layer's own pixels may be edited in place before all is judged.
        image, channel_axis = self.image().copy(), self.source.axes.channel_axis
        result = yield from engine.iter_denoise(
            image, self.plane_options, channel_axis=channel_axis, should_stop=should_stop
        )
        if result.status is not Status.COMPLETED:
            return self._single(result, {})
        judgement = judged(
            engine.assess,
            image,
            result.image,
            channel_axis=channel_axis,
            hot_pixels_removed=self.options.remove_hot_pixels,
            on_error=_log_error,
        )
        return self._single(result, judgement)

    def _run_stack(
        self, engine: Engine, buffer: Array, should_stop: Callable[[], bool]
    ) -> Generator[Progress, None, Finished]:
        check_dtype(self.data, "The layer")
        axes = self.source.axes
        flat = buffer.reshape(self.n_planes, *buffer.shape[len(self.box) :])
        stack = transposed(self.data, axes)
        if self.has_alpha:
            flat[..., 3:] = self._alpha().reshape(flat[..., 3:].shape)
            flat, stack = flat[..., :3], lazy(stack, axes)[..., :3]
        result = yield from engine.iter_denoise_stack(
            stack,
            self.options,
            channel_axis=axes.channel_axis,
            planes=axes.planes(self.box),
            out=flat,
            should_stop=should_stop,
        )
        return self._several(result, buffer)

    def _single(self, result: Result, judgement: dict[str, str]) -> Finished:
        image = result.image
        if self.has_alpha:
            opacity = self.data[self.first_plane(slice(3, None))]
            image = np.concatenate([image, np.asarray(opacity, dtype=image.dtype)], axis=-1)
        return Finished(
            planes=as_box(image, self.box),
            box=self.box,
            status=result.status,
            scales={scale.scale: scale for scale in result.scales},
            n_done=int(bool(result.scales) or result.status is Status.COMPLETED),
            failed={},
            seconds=result.seconds,
            provenance=self._provenance(result.provenance() | judgement),
            judgement=in_words(judgement) if judgement else "",
        )

    def _several(self, result: StackResult, buffer: Array) -> Finished:
        pending = set(result.pending)
        done = [n for n, plane in enumerate(result.planes) if plane not in pending]
        box, planes = self.box, buffer
        failed = dict(result.failed)
        unreached: list[int] = []
        if done:
            shape = buffer.shape[: len(box)]
            reached = [int(index.max()) + 1 for index in np.unravel_index(done, shape)]
            box = tuple(
                (start, start + length)
                for (start, _), length in zip(box, reached, strict=True)
            )
            planes = buffer[tuple(slice(length) for length in reached)]
            unreached = [n for n in self.source.axes.planes(box) if n in pending]
            failed |= self._as_they_were(unreached, box, planes)
        provenance = result.provenance() | {
            "planes": [result.planes[n] for n in done],
            "failed": {str(plane): reason for plane, reason in failed.items()},
            "unreached": unreached,
        }
        return Finished(
            planes=planes,
            box=box,
            status=result.status,
            scales={},
            n_done=sum(result.planes[n] not in result.failed for n in done),
            failed=failed,
            unreached=tuple(unreached),
            seconds=result.seconds,
            provenance=self._provenance(provenance) | _origin(self, box),
        )

    def _as_they_were(
        self, numbers: Sequence[int], box: Box, planes: Array
    ) -> dict[int, str]:
        """Copy planes that were never reached, which would show as black.

        Returns why some could not be read: that must not cost the finished ones.
        """
        unread = {}
        for number in numbers:
            index = np.unravel_index(number, self.source.axes.plane_shape)
            place = tuple(int(n) - start for n, (start, _) in zip(index, box, strict=True))
            try:
                planes[place] = self.data[self._plane([int(n) for n in index])]
            except Exception as error:
                _log_error(error)
                unread[number] = f"{type(error).__name__}: {error}"
        return unread

    def _provenance(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        cancelled = outcome["status"] == Status.CANCELLED.value
        return {
            "role": "result",
            **_origin(self, self.box),
            **outcome,
            "options": self.options.to_dict(),
            "python": as_python(self, cancelled=cancelled),
        }

    def _plane(self, position: Sequence[int]) -> tuple[int | slice, ...]:
        """Return the index of a plane in the data, opacity included."""
        index: list[int | slice] = [slice(None)] * len(self.source.axes.shape)
        for axis, n in zip(self.source.axes.plane_axes, position, strict=True):
            index[axis] = n
        return tuple(index)

    def _alpha(self) -> Array:
        axes = self.source.axes
        index: list[slice] = [slice(None)] * len(axes.shape)
        for axis, extent in zip(axes.plane_axes, self.box, strict=True):
            index[axis] = slice(*extent)
        index[-1] = slice(3, None)
        return np.asarray(self.data[tuple(index)]).transpose(axes.order)


def check_dtype(data: Any, name: str) -> None:
    """Raise TypeError unless a layer holds real numbers.

    Parameters
    ----------
    data : array-like
        Its data.
    name : str
        What to call it.
    """
    dtype = np.dtype(data.dtype)
    if dtype.kind not in "iuf":
        raise TypeError(
            f"{name} holds {dtype} values: choose one with integers or "
            "floating-point numbers"
        )


def check_finite(image: Array, name: str, *, multiscale: bool) -> None:
    """Raise ValueError if an image holds what is no number.

    Parameters
    ----------
    image : ndarray
        The image.
    name : str
        Name of its layer.
    multiscale : bool
        Whether that layer's data are several levels.
    """
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        raise ValueError(
            f"{name} has {bad} values that are NaN or infinite: replace them first, "
            "in napari's console for example with\n"
            f"{finite_code(name, multiscale=multiscale)}"
        )


def _log_error(error: Exception) -> None:
    """Log an error as text, since it would keep alive what its frames hold."""
    _log.error("%s", "".join(traceback.format_exception(error)))


def scale_provenance(job: Job, result: ScaleResult) -> dict[str, Any]:
    """Return how one scale came about, as plain JSON types."""
    return {"role": "scale", **_origin(job, job.box), **result.to_dict()}


def draft_provenance(job: Job) -> dict[str, Any]:
    """Return where an image comes from that is still being denoised."""
    return {
        "role": DRAFT,
        **_origin(job, job.box),
        "options": job.options.to_dict(),
    }


def _origin(job: Job, box: Box) -> dict[str, Any]:
    """Return which run of which planes a layer comes from, as plain JSON types."""
    return {
        "source": job.source.name,
        "source_id": job.source.identity,
        "run": job.run_id,
        "axes": job.source.axes.letters,
        "box": [list(extent) for extent in box],
    }
