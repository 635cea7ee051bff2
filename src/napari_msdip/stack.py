"""Stacks: planes in, planes out; lazy, resumable, on one machine or a cluster."""

from __future__ import annotations

import errno
import mmap
import os
import time
import warnings
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from napari_msdip import __version__, tiling
from napari_msdip import image as front
from napari_msdip._stack.planes import (
    PlaneLayout,
    chunked,
    digest,
    open_stack,
    plane_seed,
    read_plane,
    select,
    spread,
)
from napari_msdip._stack.sinks import Sink, ZarrOut, open_sink
from napari_msdip.events import Progress, Result, StackResult, Status
from napari_msdip.pixels import SMALLEST_SIDE, checked_image
from napari_msdip.plan import Plan, resolve
from napari_msdip.steps import changed, drive

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Generator,
        Iterator,
        Mapping,
        Sequence,
    )

    from napari_msdip.options import Options

__all__ = ["ZarrOut", "denoise_stack", "iter_denoise_stack", "plane_seed"]

Array = npt.NDArray[Any]

# How long to look for memory that two arrays have in common; about a second at most.
_MOST_WORK: Any = 10**6  # NumPy's stubs know only -1 and 0.


def denoise_stack(
    stack: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | None = None,
    out: Any = None,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
    client: Any = None,
) -> StackResult:
    """Denoise a stack plane by plane, holding one plane in memory at a time.

    Parameters
    ----------
    stack : array_like or zarr store
        Shape (..., Y, X) with the channel axis, if any, anywhere: NumPy, dask or
        zarr array, zarr group, store (``tifffile.imread(path, aszarr=True)``) or
        path. Integer or float dtype. Read plane by plane.
    options : Options, str or None
        Options, a preset's name, or None for ``"fast"``.
    channel_axis : int or None
        Channel axis; the last two other axes are Y and X, and all others number
        the planes.
    planes : slice, sequence of int or None
        Flat plane indices (C order) to denoise; None for all.
    out : array, str, path, ZarrOut or None
        An array to write into; the path of an OME-Zarr store to create, or to
        resume if an earlier run of the same call was killed; None for memory.
    on_progress : callable or None
        Called with every :class:`Progress`.
    should_stop : callable or None
        Asked every iteration; when true, the finished planes are kept.
    client : distributed.Client or None
        Cluster to denoise on; None for this process.

    Returns
    -------
    StackResult
        The selected planes; those that could not be denoised are in ``failed``
        and are what they were in the input, or in the output if they could not be
        read; those that could not be written are in ``pending`` too.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be right, before any long work.
    FileExistsError
        If ``out`` exists and no run that could be resumed began it.

    Notes
    -----
    With ``plane_chunk`` a plane that fails is passed over: the next one starts from the
    plane before it. A resumed run that then denoises the failed plane keeps the finished
    planes after it in the chunk, which started from another plane than they would have
    in a run without the failure. For the same pixels give a new ``out``.
    """
    front.check_callable("on_progress", on_progress)
    steps = iter_denoise_stack(
        stack,
        options,
        channel_axis=channel_axis,
        planes=planes,
        out=out,
        should_stop=should_stop,
        client=client,
    )
    return drive(steps, on_progress)


def iter_denoise_stack(
    stack: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | None = None,
    out: Any = None,
    should_stop: Callable[[], bool] | None = None,
    client: Any = None,
) -> Generator[Progress, None, StackResult]:
    """Denoise a stack step by step; see :func:`denoise_stack`.

    Yields
    ------
    Progress
        ``plane`` counts the selected planes, from 0; ``fraction`` and
        ``eta_seconds`` are those of the whole stack. One step, whose ``total`` is
        0, ends every plane done in this run, failed planes included. Its
        ``finished_plane`` is the plane (a failed one as it was), or None if that
        could not be read or a worker has written it to the store already. On a
        cluster these are the only steps.

    Returns
    -------
    StackResult
        As :func:`denoise_stack` does.
    """
    started = time.monotonic()
    front.check_callable("should_stop", should_stop)
    if client is None:
        survey, run = look_around, _one_by_one
    else:
        survey, run = _on_cluster(client)
    job = _prepare(stack, options, channel_axis, planes, out, survey)
    todo = job.unfinished()
    tally = Tally(len(job.planes), len(job.planes) - len(todo))
    status = yield from run(job, todo, tally, should_stop)
    result = StackResult(
        image=job.sink.image,
        planes=job.planes,
        failed=dict(sorted(tally.failed.items())),
        plan=tally.plan,
        status=status,
        seconds=time.monotonic() - started,
        pending=tuple(
            job.planes[position]
            for position in todo
            if position not in tally.closed or position in tally.missing
        ),
    )
    job.sink.finish(_provenance(job, result))
    return result


def _on_cluster(client: Any) -> tuple[Any, Any]:
    if not callable(getattr(client, "submit", None)):
        raise TypeError(
            f"client={client!r}: give a distributed.Client, such as "
            "Client('tcp://head-node:8786'), or None"
        )
    from napari_msdip._stack import cluster

    return partial(cluster.survey, client), partial(cluster.run, client)


@dataclass(frozen=True)
class Job:
    """Everything decided about a run before its first plane.

    Attributes
    ----------
    source : array_like
        The stack.
    layout, selection : PlaneLayout
        Layout of the stack and of the output.
    planes : tuple of int
        Flat indices of the selected planes.
    options : Options
        The wishes, with the base seed.
    dtype : dtype
        Of the output.
    sink : Sink
        Where the planes go.
    versions : mapping of str to str
        Versions of what computes.
    """

    source: Any
    layout: PlaneLayout
    selection: PlaneLayout
    planes: tuple[int, ...]
    options: Options
    dtype: np.dtype[Any]
    sink: Sink
    versions: Mapping[str, str]

    def unfinished(self) -> list[int]:
        """Return the positions of the selected planes still to be denoised."""
        return [
            position
            for position, plane in enumerate(self.planes)
            if plane not in self.sink.done
        ]

    def chunks(self, todo: Sequence[int]) -> Iterator[list[int]]:
        """Yield the positions to denoise in a row, each plane starting from the last.

        Positions that are not in ``todo`` only lead up to others that are. Finished
        planes after one that failed are kept: a plane that fails each time would have
        them done again on each resume.
        """
        wanted = set(todo)
        size = self.options.plane_chunk
        for chunk in chunked(self.planes, self.layout.row_length, size):
            ends = [end for end, position in enumerate(chunk, 1) if position in wanted]
            if ends:
                yield chunk[: ends[-1]]


@dataclass(frozen=True)
class Outcome:
    """What came of one plane.

    Attributes
    ----------
    image : ndarray or None
        The plane in the output's dtype: denoised, or as it was; None if it could
        not be read, or a worker has written it already.
    fingerprint : str
        Fingerprint of the plane's input.
    plan : Plan or None
        Plan of the fit.
    failure : str or None
        Why the plane could not be denoised.
    error : Exception or None
        What the engine raised.
    fitted : bool
        Whether the engine got as far as a first step.
    status : Status
        Completed or cancelled.
    disk_full : bool
        Whether the disk had no room for it.
    missing : bool
        Whether the output lacks it, for a reason that another run may not have.
    """

    image: Array | None
    fingerprint: str = ""
    plan: Plan | None = None
    failure: str | None = None
    error: Exception | None = None
    fitted: bool = False
    status: Status = Status.COMPLETED
    disk_full: bool = False
    missing: bool = False


# Of a plane that nobody could store.
_SKIPPED = Outcome(None, failure="not begun: the disk is full", missing=True)


@dataclass
class Tally:
    """How far a run is, kept alike whatever way it runs.

    Attributes
    ----------
    n_planes : int
        Number of selected planes.
    resumed : int
        Those that an earlier run had finished.
    fraction : float
        Share of the run done.
    plan : Plan or None
        Plan of the last plane denoised.
    fitted : bool
        Whether the engine has taken a step on any plane.
    failed : dict
        Why planes could not be denoised, by flat index.
    closed : set of int
        Positions of the planes that this run is done with.
    missing : set of int
        Those of them that the output lacks.
    """

    n_planes: int
    resumed: int
    fraction: float = 0.0
    plan: Plan | None = None
    fitted: bool = False
    failed: dict[int, str] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)

    def step(self, position: int, progress: Progress) -> Progress:
        """Return a plane's step as a step of the stack."""
        self.fitted = True
        eta = self._eta(progress.eta_seconds, inside=True)
        return self._placed(position, progress, progress.fraction, eta)

    def again(self, position: int, progress: Progress) -> Progress:
        """Return a step on a plane that is finished and only leads up to the next."""
        return self._placed(position, progress, 0.0, None)

    def close(self, position: int, index: int, outcome: Outcome) -> Progress:
        """Count a plane as done and return the step that says so."""
        self.closed.add(position)
        self.plan = outcome.plan or self.plan
        self.fitted = self.fitted or outcome.fitted
        if outcome.failure is not None:
            self.failed[index] = outcome.failure
        if outcome.missing:
            self.missing.add(position)
        done = Progress(
            scale=0,
            n_scales=len(outcome.plan.scales) if outcome.plan else 1,
            iteration=0,
            total=0,
            fraction=0.0,
            eta_seconds=None,
            loss=float("nan"),
            finished_plane=outcome.image,
        )
        return self._placed(position, done, 0.0, self._eta(None, inside=False))

    def _placed(
        self, position: int, progress: Progress, within: float, eta: float | None
    ) -> Progress:
        done = (self.resumed + len(self.closed) + within) / self.n_planes
        self.fraction = max(self.fraction, min(done, 1.0))
        return replace(
            progress,
            plane=position,
            n_planes=self.n_planes,
            fraction=self.fraction,
            eta_seconds=eta,
        )

    def _eta(self, eta: float | None, *, inside: bool) -> float | None:
        closed = len(self.closed)
        left = self.n_planes - self.resumed - closed
        if not left:
            return 0.0
        elapsed = time.monotonic() - self._began
        if not inside or eta is None:
            return elapsed / closed * left if closed else None
        return eta + (elapsed + eta) / (closed + 1) * (left - 1)


def _prepare(
    stack: Any,
    options: Options | str | None,
    channel_axis: int | None,
    planes: slice | Sequence[int] | None,
    out: Any,
    survey: Callable[[Options, tuple[int, int], int], Surroundings],
) -> Job:
    options = front.as_options(options)
    source = open_stack(stack)
    layout = PlaneLayout.of(source.shape, channel_axis)
    _check_size(layout)
    chosen = select(planes, layout.n_planes)
    selection = layout if planes is None else layout.selection(len(chosen))
    dtype = np.dtype(source.dtype)
    if options.output_dtype == "float32":
        dtype = np.dtype(np.float32)
    surroundings = survey(options, layout.size_yx, layout.channels)
    header = {
        "shape": list(layout.shape),
        "dtype": np.dtype(source.dtype).newbyteorder("=").str,
        "channel_axis": layout.channel_axis,
        "planes": None if planes is None else list(chosen),
        "options": options.to_dict(),
        "pinned": surroundings.pinned,
        "versions": surroundings.versions,
    }
    sink = open_sink(out, selection, dtype, header)
    job = Job(
        source, layout, selection, chosen, options, dtype, sink, surroundings.versions
    )
    if out is not None:
        _refuse_overwritten_input(job)
    _compare_input(job)
    return job


def _check_size(layout: PlaneLayout) -> None:
    if min(layout.size_yx) >= SMALLEST_SIDE:
        return
    height, width = layout.size_yx
    remedy = ""
    if layout.channel_axis is None and len(layout.shape) > 2:
        remedy = f"; if the {width} are channels, give channel_axis=-1"
    raise ValueError(
        f"stack: shape {layout.shape} has planes of {height}×{width} pixels, but Y and X "
        f"must be at least {SMALLEST_SIDE} px{remedy}"
    )


@dataclass(frozen=True)
class Surroundings:
    """What the machine that computes decides about a run.

    Attributes
    ----------
    pinned : mapping
        ``device``, ``precision``, ``threads`` and ``tile`` (side of the tiles in
        pixels, None where whole planes fit the memory). All of them change the
        last digits, so they are decided once: a probe by another process or at
        another moment could turn out differently, and then planes of one stack
        would not be alike.
    versions : mapping of str to str
        Versions of what computes.
    """

    pinned: Mapping[str, Any]
    versions: Mapping[str, str]


def look_around(
    options: Options,
    size_yx: tuple[int, int],
    channels: int,
    memory_limit: int | None = None,
) -> Surroundings:
    """Ask the machine that this runs on what it can do.

    ``memory_limit`` is how many bytes one plane may take on the CPU, None for all.

    Raises
    ------
    ValueError
        If it lacks the device that the options name.
    """
    plan = resolve(options, size_yx, 0.0, channels=channels)
    return Surroundings(
        pinned={
            "device": plan.device,
            "precision": plan.precision,
            "threads": plan.threads,
            "tile": tiling.choose_tile(plan, memory_limit),
        },
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Return the versions of what the pixels depend on."""
    return {
        "napari-msdip": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _refuse_overwritten_input(job: Job) -> None:
    """Refuse an output in which a plane would lie where another is still to be read.

    Of what dask computes, only the arrays in its graph are known: what its functions
    open themselves cannot be seen.
    """
    source, out = job.source, job.sink.image
    for array in _held(source):
        shared = _shared(array, out)
        alike = isinstance(array, np.ndarray) == isinstance(out, np.ndarray)
        if shared and not (array is source and alike):
            raise ValueError(
                f"out: shares {shared} with what the stack is read from, and where in it "
                "the planes lie cannot be told, so unread ones could be overwritten; give "
                "an array of its own"
            )
    shared = _shared(source, out)
    if not shared:
        return
    for position, index in enumerate(job.planes):
        place = _place(out, job.selection.key(position))
        if place != _place(source, job.layout.key(index)):
            raise ValueError(
                f"out: shares {shared} with the stack, but plane {index} would not lie "
                "where it came from and would overwrite others; give an array of its own"
            )


def _held(source: Any) -> Iterator[Any]:
    """Yield the arrays that a stack is read from: of one from dask those in its graph."""
    if not hasattr(source, "__dask_graph__"):
        yield source
        return
    graph = source.__dask_graph__()
    for layer in getattr(graph, "layers", {"": graph}).values():
        # A task for every block would be made of these first, and there may be millions.
        blockwise = getattr(layer, "indices", None)
        yield from _arrays_in(list(layer.values()) if blockwise is None else blockwise)


def _arrays_in(part: Any) -> Iterator[Any]:
    """Yield the arrays that a part of a dask graph holds."""
    if isinstance(part, np.ndarray) or hasattr(part, "store_path"):
        yield part
    elif isinstance(part, dict):
        yield from _arrays_in(list(part.values()))
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _arrays_in(inner)
    elif type(part).__module__.startswith("dask."):
        held = [getattr(part, name, ()) for name in ("args", "kwargs", "value")]
        yield from _arrays_in(held)


def _shared(source: Any, out: Any) -> str:
    """Say what two arrays have in common, nothing if they are independent."""
    if isinstance(out, np.ndarray):
        if isinstance(source, np.ndarray) and _overlap(source, out):
            return "memory"
        read, written = _mapped(source), _mapped(out)
        if written is None or written.mode == "c":
            return ""
        if read is not None and read._mmap is written._mmap:
            return ""
        return "its file" if os.path.realpath(written.filename) in _files(source) else ""
    if hasattr(source, "store_path") and hasattr(out, "store_path"):
        return "its zarr" if _address(source) == _address(out) else ""
    return ""


def _files(array: Any) -> set[str]:
    """Return the files of a memory map, or of a TIFF that tifffile shows as a zarr."""
    mapped = _mapped(array)
    if mapped is not None:
        return {os.path.realpath(mapped.filename)}
    series = getattr(getattr(array, "store", None), "_data", ())
    pages = [getattr(level, "keyframe", None) for level in series]
    return {os.path.realpath(page.parent.filehandle.path) for page in pages if page}


def _overlap(one: Array, other: Array) -> bool:
    """Whether two arrays have memory in common; also if that is too hard to tell."""
    try:
        return np.shares_memory(one, other, max_work=_MOST_WORK)
    except np.exceptions.TooHardError:
        return True


def _mapped(array: Any) -> Any:
    """Return the memory map that an array is a part of, None if it is of none."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            return array
        array = array.base
    return None


def _address(array: Any) -> str:
    """Return where a zarr array is, the same however it was opened."""
    # Local stores have a root; those that dask opens through fsspec a path.
    root = getattr(array.store, "root", None) or getattr(array.store, "path", None)
    if root is None:
        return str(array.store_path)
    return os.path.realpath(os.path.join(str(root), str(array.path)))


def _place(array: Any, key: tuple[int | slice, ...]) -> Any:
    """Return where a plane lies in the memory, file or zarr of its array."""
    if not isinstance(array, np.ndarray):
        return key
    plane, mapped = array[key], _mapped(array)
    address = plane.__array_interface__["data"][0]
    if mapped is not None:
        pages = np.frombuffer(mapped._mmap, np.uint8)
        page = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
        address += page - pages.__array_interface__["data"][0]
    return address, plane.strides


def _compare_input(job: Job) -> None:
    """Refuse to go on with a store that was begun from other pixels."""
    done = [index for index in job.planes if index in job.sink.done]
    for index in spread(done):
        try:
            plane = read_plane(job.source, job.layout, index)
        except Exception as error:  # Whatever a third-party reader raises.
            warnings.warn(
                f"stack: plane {index} cannot be read any more ({_words(error)}); it was "
                "denoised by an earlier run and is kept unchecked",
                stacklevel=2,
            )
            continue
        if digest(plane) != job.sink.done[index]:
            raise ValueError(
                f"stack: plane {index} is not what it was when the output was begun, "
                "so the run is not resumed; give the same stack or another output"
            )


@dataclass(frozen=True)
class PlaneTask:
    """What to do with one plane; cheap to send to a worker.

    Attributes
    ----------
    options : Options
        The wishes, with the seed of this plane.
    channel_axis : int or None
        Channel axis of the plane.
    dtype : dtype
        Of the output.
    tile : int or None
        Side of the tiles, None for the whole plane.
    """

    options: Options
    channel_axis: int | None
    dtype: np.dtype[Any]
    tile: int | None


def plane_task(job: Job, index: int) -> PlaneTask:
    """Return what to do with the plane of flat index ``index``."""
    pinned = job.sink.pinned
    return PlaneTask(
        options=job.options.replace(
            seed=plane_seed(job.options.seed, index),
            device=pinned["device"],
            precision=pinned["precision"],
            threads=pinned["threads"],
        ),
        channel_axis=job.layout.plane_channel_axis,
        dtype=job.dtype,
        tile=pinned["tile"],
    )


def iter_plane(
    read: Callable[[], Array],
    task: PlaneTask,
    should_stop: Callable[[], bool] | None,
    warm_starts: tiling.WarmStarts,
) -> Generator[Progress, None, Outcome]:
    """Read and denoise one plane; whatever is wrong with it ends up in the outcome.

    ``warm_starts`` holds the generators of the last plane of the chunk, and then those
    of this one.
    """
    try:
        plane = read()
    except Exception as error:  # Whatever a third-party reader raises.
        return Outcome(None, failure=f"cannot be read: {_words(error)}")
    fitted = False

    def as_it_was(failure: str, error: Exception | None = None) -> Outcome:
        image = plane.astype(task.dtype)
        return Outcome(image, failure=failure, error=error, fitted=fitted)

    bad = plane.size - np.count_nonzero(np.isfinite(plane))
    if bad:
        return as_it_was(f"{bad} of {plane.size} pixels are NaN or Inf")
    try:
        checked_image(plane, task.channel_axis)
    except ValueError as error:
        # Without the error: other planes may be fine.
        return as_it_was(f"cannot be denoised: {_words(error)}")
    steps = tiling.iter_denoise_fitting(
        plane,
        task.options,
        channel_axis=task.channel_axis,
        should_stop=should_stop,
        tile=task.tile,
        warm_starts=warm_starts,
    )
    with closing(steps):
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result: Result = end.value
                break
            except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
                return as_it_was(f"cannot be denoised: {_words(error)}", error)
            fitted = True
            yield progress
    return Outcome(
        result.image.astype(task.dtype, copy=False),
        fingerprint=digest(plane),
        plan=result.plan,
        fitted=True,
        status=result.status,
    )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _one_by_one(
    job: Job,
    todo: Sequence[int],
    tally: Tally,
    should_stop: Callable[[], bool] | None,
) -> Generator[Progress, None, Status]:
    wanted, full = set(todo), False
    for chunk in job.chunks(todo):
        if full and no_room(job):
            yield from skipped(job, chunk, wanted, tally)
            continue
        warm_starts: tiling.WarmStarts = {}
        for position in chunk:
            if should_stop is not None and should_stop():
                return Status.CANCELLED
            index = job.planes[position]
            again = position not in wanted
            read = partial(read_plane, job.source, job.layout, index)
            steps = iter_plane(read, plane_task(job, index), should_stop, warm_starts)
            step = tally.again if again else tally.step
            outcome = yield from changed(steps, partial(step, position))
            if outcome.status is Status.CANCELLED:
                # A preview must not take the place of the pixels that it was made from.
                if not again and not _shared(job.source, job.sink.image):
                    put(job.sink.put, position, outcome)
                return Status.CANCELLED
            refuse_if_hopeless(outcome, tally)
            if again:
                continue
            outcome = settle(job, position, outcome)
            full = full or outcome.disk_full
            yield tally.close(position, index, outcome)
    return Status.COMPLETED


def no_room(job: Job) -> bool:
    """Whether the output certainly cannot take another plane."""
    return job.sink.full(prod(job.layout.plane_shape) * job.dtype.itemsize)


def skipped(
    job: Job, chunk: Sequence[int], wanted: Container[int], tally: Tally
) -> Iterator[Progress]:
    """Close the planes of a chunk that is not begun because the disk is full."""
    for position in chunk:
        if position in wanted:
            yield tally.close(position, job.planes[position], _SKIPPED)


def refuse_if_hopeless(outcome: Outcome, tally: Tally) -> None:
    """Raise what the engine raised before its first step ever.

    Then the call is wrong (weights are damaged, say) rather than this plane, whose
    pixels were checked before, and would fail on every other plane too.
    """
    if outcome.error is not None and not (tally.fitted or outcome.fitted):
        raise outcome.error


def settle(job: Job, position: int, outcome: Outcome) -> Outcome:
    """Write a plane if it is not written yet, record it, return what came of it."""
    written = put(job.sink.put, position, outcome)
    if written.failure is None:
        try:
            job.sink.record(job.planes[position], written.fingerprint)
        except OSError as error:
            return _unwritten(written, error)
    return written


def put(write: Callable[[int, Array], None], position: int, outcome: Outcome) -> Outcome:
    """Write a plane; where that fails, the outcome says so."""
    if outcome.image is None:
        return outcome
    try:
        write(position, outcome.image)
    except OSError as error:
        return _unwritten(outcome, error)
    return outcome


def _unwritten(outcome: Outcome, error: OSError) -> Outcome:
    return replace(
        outcome,
        failure=outcome.failure or f"cannot be written: {_words(error)}",
        disk_full=error.errno in (errno.ENOSPC, errno.EDQUOT),
        missing=True,
    )


def _provenance(job: Job, result: StackResult) -> dict[str, Any]:
    return {
        "complete": not result.pending and not result.failed,
        "planes": len(result.planes),
        "failed": {str(index): reason for index, reason in result.failed.items()},
        "options": job.options.to_dict(),
        "plan": result.plan.to_dict() if result.plan else None,
        "versions": dict(job.versions),
    }
