"""Stacks: planes in, planes out; lazy, resumable, on one machine or a cluster."""

from __future__ import annotations

import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip._stack.job import (
    Job,
    Surroundings,
    Tally,
    finish,
    look_around,
    no_room,
    plane_task,
    put,
    refuse_if_hopeless,
    skipped,
)
from napari_msdip._stack.overlap import refuse_overwritten_input, shared
from napari_msdip._stack.plane import iter_plane, warm_starts_for, words
from napari_msdip._stack.sinks import open_sink
from napari_msdip._stack.zarr_sink import ZarrOut
from napari_msdip.events import Progress, StackResult, Status
from napari_msdip.options import as_options
from napari_msdip.pixels import SMALLEST_SIDE, result_dtype
from napari_msdip.plan import Plan
from napari_msdip.planes import (
    PlaneLayout,
    digest,
    open_stack,
    read_plane,
    select,
    spread,
)
from napari_msdip.seeds import plane_seed
from napari_msdip.steps import changed, check_callable, drive

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Generator,
        Iterable,
        Mapping,
        Sequence,
    )

    from napari_msdip.options import Options

__all__ = ["ZarrOut", "denoise_stack", "iter_denoise_stack", "plane_seed"]

Array = npt.NDArray[Any]


def denoise_stack(
    stack: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    planes: slice | Iterable[int] | None = None,
    out: Any = None,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
    client: Any = None,
) -> StackResult:
    """Denoise a stack plane by plane, holding one plane in memory at a time.

    Parameters
    ----------
    stack : array, zarr store or path
        Shape (..., Y, X) with the channel axis, if any, anywhere: NumPy, dask or
        zarr array, zarr group, store (``tifffile.imread(path, aszarr=True)``) or
        path. Integer or float dtype. Read plane by plane.
    options : Options, str or None
        Options, a preset's name, or None for ``"fast"``.
    channel_axis : int or None
        Channel axis; the last two other axes are Y and X, and all others number
        the planes.
    planes : slice, iterable of int or None
        Flat plane indices (C order) to denoise, such as a list or an array; None for all.
    out : array, str, path, ZarrOut or None
        An array to write into; the path of an OME-Zarr store to create, or to
        resume if an earlier run of the same call was killed; None for memory.
    on_progress : callable or None
        Called with every ``Progress``.
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
    check_callable("on_progress", on_progress)
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
    planes: slice | Iterable[int] | None = None,
    out: Any = None,
    should_stop: Callable[[], bool] | None = None,
    client: Any = None,
) -> Generator[Progress, None, StackResult]:
    """Denoise a stack step by step; see ``denoise_stack``.

    Nothing is opened, checked or written before the first step is asked for.

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
        As ``denoise_stack`` does.
    """
    started = time.monotonic()
    check_callable("should_stop", should_stop)
    if client is None:
        survey, run = look_around, _one_by_one
    else:
        survey, run = _on_cluster(client)
    job = _prepare(stack, options, channel_axis, planes, out, survey)
    todo = job.unfinished()
    resumed = len(job.planes) - len(todo)
    tally = Tally(len(job.planes), resumed, fitted=resumed > 0)
    status = yield from run(job, todo, tally, should_stop)
    result = StackResult(
        image=job.sink.image,
        planes=job.planes,
        failed=dict(sorted(tally.failed.items())),
        plan=tally.plan or _plan_in(job.sink.noted),
        status=status,
        seconds=time.monotonic() - started,
        pending=tuple(
            job.planes[position]
            for position in todo
            if position not in tally.closed or position in tally.missing
        ),
        options=job.options,
        versions=job.sink.versions,
    )
    job.sink.finish(_noted(result, job.sink.noted, whole=planes is None))
    return result


def _plan_in(noted: Mapping[str, Any]) -> Plan | None:
    """Return the plan that an earlier run noted, None if there is none to be read."""
    try:
        return Plan.from_dict(noted["plan"])
    except (KeyError, TypeError, ValueError):
        return None


def _on_cluster(client: Any) -> tuple[Any, Any]:
    if not callable(getattr(client, "submit", None)):
        raise TypeError(
            f"client={client!r}: give a distributed.Client, such as "
            "Client('tcp://head-node:8786'), or None"
        )
    from napari_msdip._stack import cluster

    return partial(cluster.survey, client), partial(cluster.run, client)


def _prepare(
    stack: Any,
    options: Options | str | None,
    channel_axis: int | None,
    planes: slice | Iterable[int] | None,
    out: Any,
    survey: Callable[[Options, tuple[int, int], int], Surroundings],
) -> Job:
    options = as_options(options)
    source = open_stack(stack)
    layout = PlaneLayout.of(source.shape, channel_axis)
    _check_size(layout)
    chosen = select(planes, layout.n_planes)
    selection = layout if planes is None else layout.selection(len(chosen))
    dtype = result_dtype(source.dtype, options.output_dtype)
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
    job = Job(source, layout, selection, chosen, options, dtype, sink)
    if out is not None:
        refuse_overwritten_input(job)
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


def _compare_input(job: Job) -> None:
    """Refuse to go on with a store that was begun from other pixels."""
    done = [index for index in job.planes if index in job.sink.done]
    for index in spread(done):
        try:
            plane = read_plane(job.source, job.layout, index)
        except Exception as error:  # Whatever a third-party reader raises.
            warnings.warn(
                f"stack: plane {index} cannot be read any more ({words(error)}); it was "
                "denoised by an earlier run and is kept unchecked",
                stacklevel=2,
            )
            continue
        if digest(plane) != job.sink.done[index]:
            raise ValueError(
                f"stack: plane {index} is not what it was when the output was begun, "
                "so the run is not resumed; give the same stack or another output"
            )


def _one_by_one(
    job: Job,
    todo: Sequence[int],
    tally: Tally,
    should_stop: Callable[[], bool] | None,
) -> Generator[Progress, None, Status]:
    wanted = set(todo)
    for chunk in job.chunks(todo):
        if no_room(job, tally):
            yield from skipped(job, chunk, wanted, tally)
            continue
        warm_starts = warm_starts_for(chunk)
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
                if not again and not shared(job.source, job.sink.image):
                    put(job.sink.put, position, outcome)
                return Status.CANCELLED
            refuse_if_hopeless(outcome, tally)
            if not again:
                yield finish(job, tally, position, outcome)
    return Status.COMPLETED


def _noted(
    result: StackResult, before: Mapping[str, Any], *, whole: bool
) -> dict[str, Any]:
    """Return what a store says of its planes: the same after a run with nothing to do."""
    told = result.provenance()
    # Another version's plan cannot be told here, but is worth keeping.
    told["plan"] = told["plan"] or before.get("plan")
    kept = {key: told[key] for key in ("complete", "failed", "options", "plan", "versions")}
    # A stack may have a million planes.
    return kept | {"planes": None if whole else told["planes"]}
