"""Stacks on a dask.distributed cluster: one task for every chunk of planes.

The workers read their plane and write it themselves wherever they can reach the
stack and the store; this process only hands out planes and keeps the journal.
Imported only when a ``client`` is given.
"""

from __future__ import annotations

import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Container, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dask
import distributed
import numpy as np
import numpy.typing as npt

from napari_msdip.events import Progress, Status
from napari_msdip.planes import read_plane
from napari_msdip.sinks import ZarrSink, ZarrWriter
from napari_msdip.stack import (
    Job,
    Outcome,
    PlaneTask,
    Surroundings,
    Tally,
    iter_plane,
    look_around,
    no_room,
    plane_task,
    put,
    refuse_if_hopeless,
    settle,
    skipped,
)

if TYPE_CHECKING:
    from napari_msdip import tiling
    from napari_msdip.options import Options

__all__ = ["run", "survey"]

Array = npt.NDArray[Any]
Reader = Callable[[], Array]

# Chunks handed out beyond one for every worker thread, so that none waits for the next.
_AHEAD = 2
# How often a wish to stop is looked for, in seconds.
_PATIENCE = 0.5
# A source whose description is larger than this carries its pixels with it.
_LARGEST_DESCRIPTION = 2**20


def survey(
    client: distributed.Client, options: Options, size_yx: tuple[int, int], channels: int
) -> Surroundings:
    """Ask a worker what :func:`napari_msdip.stack.look_around` asks this machine.

    Every plane gets one thread unless the options say otherwise: the workers of a
    machine share its cores, and threads that wait for each other are slow.
    """
    if options.threads is None:
        options = options.replace(threads=1)
    future = client.submit(look_around, options, size_yx, channels, pure=False)
    surroundings: Surroundings = future.result()
    return surroundings


def run(
    client: distributed.Client,
    job: Job,
    todo: Sequence[int],
    tally: Tally,
    should_stop: Callable[[], bool] | None,
) -> Generator[Progress, None, Status]:
    """Denoise planes on the workers; yield a step for every finished one.

    A worker that dies loses its chunk only: the scheduler gives it to another.
    """
    wanted = set(todo)
    waiting = deque(job.chunks(todo))
    running: dict[distributed.Future, list[int]] = {}
    stop = distributed.Event(f"napari-msdip-{uuid.uuid4().hex}", client=client)
    ships = _ships(job.source)
    full = False
    try:
        while waiting or running:
            if should_stop is not None and should_stop():
                return Status.CANCELLED
            slots = sum(client.nthreads().values()) + _AHEAD
            while waiting and len(running) < slots:
                chunk = waiting.popleft()
                if full and no_room(job):
                    yield from skipped(job, chunk, wanted, tally)
                    continue
                running[_submit(client, job, chunk, wanted, stop.name, ships=ships)] = chunk
            for future in _finished(running):
                chunk = running.pop(future)
                for position, outcome in zip(chunk, _outcomes(future, chunk), strict=True):
                    refuse_if_hopeless(outcome, tally)
                    if position not in wanted:
                        continue
                    settled = settle(job, position, outcome)
                    full = full or settled.disk_full
                    yield tally.close(position, job.planes[position], settled)
    finally:
        if running:
            stop.set()
            client.cancel(list(running))
    return Status.COMPLETED


def _ships(source: Any) -> bool:
    """Whether a worker can open the stack itself from a small description."""
    if isinstance(source, np.ndarray):
        return False
    try:
        return len(pickle.dumps(source)) <= _LARGEST_DESCRIPTION
    except (pickle.PicklingError, TypeError, AttributeError, ValueError):
        return False


@dataclass(frozen=True)
class _Plane:
    """One plane of a chunk, for a worker."""

    read: Reader
    task: PlaneTask
    position: int
    wanted: bool


def _submit(
    client: distributed.Client,
    job: Job,
    chunk: Sequence[int],
    wanted: Container[int],
    stop: str,
    *,
    ships: bool,
) -> distributed.Future:
    sink = job.sink
    planes = [
        _Plane(
            read=_reader(job, job.planes[position], ships=ships),
            task=plane_task(job, job.planes[position]),
            position=position,
            wanted=position in wanted,
        )
        for position in chunk
    ]
    return client.submit(
        _denoise,
        planes,
        sink.writer if isinstance(sink, ZarrSink) else None,
        stop,
        pure=False,
        key=f"napari-msdip-plane-{job.planes[chunk[0]]}-{uuid.uuid4().hex}",
    )


def _reader(job: Job, index: int, *, ships: bool) -> Reader:
    """Return what reads the plane on a worker, with as little luggage as can be."""
    if dask.is_dask_collection(job.source):
        (plane,) = dask.optimize(job.source[job.layout.key(index)])
        return partial(np.asarray, plane)
    if ships:
        return partial(read_plane, job.source, job.layout, index)
    try:
        return partial(np.asarray, read_plane(job.source, job.layout, index))
    except Exception as error:  # Whatever a third-party reader raises.
        return partial(_unreadable, f"{type(error).__name__}: {error}")


def _unreadable(reason: str) -> Array:
    raise OSError(reason)


def _denoise(
    planes: Sequence[_Plane], writer: ZarrWriter | None, stop: str
) -> list[Outcome]:
    """Denoise a chunk on a worker, and write it where the worker can."""
    memories: tiling.Memories = {}
    should_stop = _asking(stop)
    return [_denoise_one(plane, writer, should_stop, memories) for plane in planes]


def _denoise_one(
    plane: _Plane,
    writer: ZarrWriter | None,
    should_stop: Callable[[], bool],
    memories: tiling.Memories,
) -> Outcome:
    steps = iter_plane(plane.read, plane.task, should_stop, memories)
    # A plane must not wait for tasks of its own behind the planes in the queue.
    with dask.config.set(scheduler="synchronous"):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
    if not plane.wanted:
        return replace(outcome, image=None)
    if writer is None or outcome.status is Status.CANCELLED:
        return outcome
    return replace(put(writer, plane.position, outcome), image=None)


def _asking(stop: str) -> Callable[[], bool]:
    """Return a ``should_stop`` that asks the scheduler now and then."""
    event = distributed.Event(stop)
    asked = time.monotonic()

    def should_stop() -> bool:
        nonlocal asked
        if time.monotonic() - asked < _PATIENCE:
            return False
        asked = time.monotonic()
        return bool(event.is_set())

    return should_stop


def _finished(running: Collection[distributed.Future]) -> list[distributed.Future]:
    with suppress(TimeoutError):
        distributed.wait(list(running), timeout=_PATIENCE, return_when="FIRST_COMPLETED")
    return [future for future in running if future.done()]


def _outcomes(future: distributed.Future, chunk: Sequence[int]) -> list[Outcome]:
    try:
        outcomes: list[Outcome] = future.result()
    except distributed.KilledWorker as error:
        failure = f"its worker died again and again: {error}"
        return [Outcome(None, failure=failure, missing=True) for _ in chunk]
    return outcomes
