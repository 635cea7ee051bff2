"""Stacks on a dask.distributed cluster: one task for every chunk of planes.

The workers read their plane and write it themselves wherever they can reach the
stack and the store; this process only hands out planes and keeps the journal.
Imported only when a ``client`` is given.
"""

from __future__ import annotations

import pickle
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Container, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dask
import distributed
import distributed.scheduler
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
from napari_msdip._stack.plane import (
    Outcome,
    PlaneTask,
    Unreadable,
    iter_plane,
    warm_starts_for,
    words,
)
from napari_msdip._stack.zarr_sink import ZarrSink
from napari_msdip.events import Progress, Status
from napari_msdip.planes import digest, in_memory, read_plane, spread
from napari_msdip.steps import drive

if TYPE_CHECKING:
    from napari_msdip import tiling
    from napari_msdip._stack.zarr_planes import ZarrWriter
    from napari_msdip.options import Options
    from napari_msdip.planes import PlaneLayout

__all__ = ["run", "survey"]

Array = npt.NDArray[Any]
Reader = Callable[[], Array]

# Chunks handed out beyond one for every worker thread, so that none waits for the next.
_AHEAD = 2
# How often a wish to stop is looked for, in seconds.
_PATIENCE = 0.5
# How long a cluster may be without workers before that is told, in seconds.
_LONELY = 60.0
# How long a result may be on its way before it is asked whether its worker lives.
_TRANSFER = 10.0
# What tasks fail with if the scheduler waits for a worker only so long; not every version
# knows both.
_NO_WORKER = tuple(
    getattr(distributed.scheduler, name)
    for name in ("NoValidWorkerError", "NoWorkerError")
    if hasattr(distributed.scheduler, name)
)
# A source whose description is larger than this carries its pixels with it.
_LARGEST_DESCRIPTION = 2**20


def survey(
    client: distributed.Client, options: Options, size_yx: tuple[int, int], channels: int
) -> Surroundings:
    """Ask a worker what :func:`napari_msdip._stack.job.look_around` asks this machine.

    Every plane gets one thread unless the options say otherwise: the workers of a
    machine share its cores, and threads that wait for each other are slow.

    Raises
    ------
    RuntimeError
        If no worker comes within the time that the scheduler is set to wait.
    """
    if options.threads is None:
        options = options.replace(threads=1)
    surroundings: Surroundings = _asked(
        _Crew(client), _look_around, options, size_yx, channels
    )
    return surroundings


def _look_around(options: Options, size_yx: tuple[int, int], channels: int) -> Surroundings:
    """Look around on a worker, whose nanny kills it at a limit of its own."""
    worker = distributed.get_worker()
    limit = worker.memory_manager.memory_limit
    share = limit // worker.state.nthreads if limit else None
    return look_around(options, size_yx, channels, share)


def _asked(crew: _Crew, task: Callable[..., Any], *args: Any) -> Any:
    """Return what one worker answers, which must not be None."""
    future = crew.submit(task, *args)
    answer = None
    while answer is None:
        crew.wait()
        crew.count_threads()
        try:
            answer = _result(future)
        except _NO_WORKER as error:
            raise RuntimeError(f"client: {_unattended(error)}; start workers") from error
    return answer


def _refuse_store_out_of_reach(crew: _Crew, writer: ZarrWriter) -> None:
    """Raise before any plane is fitted if a worker cannot write to the store."""
    failure = _asked(crew, _try_to_write, writer)
    if failure:
        raise OSError(
            f"out: a worker cannot write to {writer.path} ({failure}); give a path on a "
            "file system that this process and all workers share"
        )


def _try_to_write(writer: ZarrWriter) -> str:
    """Return, on a worker, why it cannot write to a store; empty if it can."""
    try:
        writer.prove()
    except (OSError, ValueError) as error:
        return words(error)
    return ""


def _refuse_stack_out_of_reach(crew: _Crew, job: Job, todo: Sequence[int]) -> None:
    """Raise before any plane is fitted if a worker reads other pixels than this process.

    What is not there a zarr array takes for empty, so the result would be black.
    """
    telling = _telling_plane(job, todo)
    if telling is None:
        return
    index, fingerprint = telling
    failure = _asked(crew, _try_to_read, _reader(job, index, ships=True), fingerprint)
    if failure:
        raise OSError(
            f"stack: a worker does not read plane {index} as this process does "
            f"({failure}); give a stack on a file system that this process and all workers "
            "share, under an absolute path"
        )


def _telling_plane(job: Job, todo: Sequence[int]) -> tuple[int, str] | None:
    """Return a plane that is not empty, where there is one, and its fingerprint."""
    found = None
    planes = spread([job.planes[position] for position in todo])
    # Not from the first one on: stacks are often empty at their ends.
    for index in sorted(planes, key=lambda index: abs(index - planes[len(planes) // 2])):
        try:
            plane = _read(job.source, job.layout, index)
        except Exception:  # Whatever a third-party reader raises; workers report it.
            continue
        found = index, digest(plane)
        if plane.min() != plane.max():
            break
    return found


def _try_to_read(read: Reader, fingerprint: str) -> str:
    """Return, on a worker, what is wrong with a plane as it is read; empty if nothing."""
    try:
        found = digest(read())
    except Exception as error:  # Whatever a third-party reader raises.
        return words(error)
    return "" if found == fingerprint else "it has other pixels"


def run(
    client: distributed.Client,
    job: Job,
    todo: Sequence[int],
    tally: Tally,
    should_stop: Callable[[], bool] | None,
) -> Generator[Progress, None, Status]:
    """Denoise planes on the workers; yield a step for every finished one.

    A worker that dies loses its chunk only: the scheduler gives it to another. If none
    is left, the run waits for one, as one may still stand in the queue of a cluster.
    """
    crew = _Crew(client)
    if todo and isinstance(job.sink, ZarrSink):
        _refuse_store_out_of_reach(crew, job.sink.writer)
    ships = _ships(job.source)
    if todo and (ships or dask.is_dask_collection(job.source)):
        _refuse_stack_out_of_reach(crew, job, todo)
    wanted = set(todo)
    waiting = deque(job.chunks(todo))
    running: dict[distributed.Future, list[int]] = {}
    stop = distributed.Event(f"napari-msdip-{uuid.uuid4().hex}", client=client)
    try:
        while waiting or running:
            if should_stop is not None and should_stop():
                return Status.CANCELLED
            slots = crew.count_threads() + _AHEAD
            while waiting and len(running) < slots:
                chunk = waiting.popleft()
                if no_room(job, tally):
                    yield from skipped(job, chunk, wanted, tally)
                    continue
                running[_submit(crew, job, chunk, wanted, stop.name, ships=ships)] = chunk
            crew.wait()
            for future in [future for future in running if future.done()]:
                outcomes = _outcomes(future, running[future])
                if outcomes is None:
                    continue
                for position, outcome in zip(running.pop(future), outcomes, strict=True):
                    refuse_if_hopeless(outcome, tally)
                    if position in wanted:
                        yield finish(job, tally, position, outcome)
    finally:
        if running:
            stop.set()
            client.cancel(list(running))
    return Status.COMPLETED


class _Crew:
    """The workers of a cluster, to hand tasks to and to wait for.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._woken = threading.Event()
        self._seen = time.monotonic()
        self._told = False

    def submit(self, task: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Hand out a task; its end ends a wait."""
        future = self._client.submit(task, *args, pure=False, **options)
        # Not distributed.wait: that asks the default client, which may be another one,
        # and each time it is in vain it leaves a coroutine for every future behind.
        future.add_done_callback(lambda _: self._woken.set())
        return future

    def wait(self) -> None:
        """Wait for the end of a task, but not long."""
        self._woken.wait(_PATIENCE)
        self._woken.clear()

    def count_threads(self) -> int:
        """Return how many tasks the workers can do at a time; tell if none for long."""
        threads: int = sum(self._client.nthreads().values())
        if threads:
            self._seen, self._told = time.monotonic(), False
        elif not self._told and time.monotonic() - self._seen >= _LONELY:
            self._told = True
            warnings.warn(
                f"client: no worker for {_LONELY:.0f} s; the run goes on when there is one",
                stacklevel=2,
            )
        return threads


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
    crew: _Crew,
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
    return crew.submit(
        _denoise,
        planes,
        sink.writer if isinstance(sink, ZarrSink) else None,
        stop,
        key=f"napari-msdip-plane-{job.planes[chunk[0]]}-{uuid.uuid4().hex}",
    )


def _reader(job: Job, index: int, *, ships: bool) -> Reader:
    """Return what reads the plane on a worker, with as little luggage as can be."""
    if dask.is_dask_collection(job.source):
        (plane,) = dask.optimize(job.source[job.layout.key(index)])
        return partial(_computed, plane)
    if ships:
        return partial(_read, job.source, job.layout, index)
    try:
        return partial(np.asarray, read_plane(job.source, job.layout, index))
    except Exception as error:  # Whatever a third-party reader raises.
        return partial(_unreadable, words(error))


def _read(source: Any, layout: PlaneLayout, index: int) -> Array:
    return _computed(source[layout.key(index)])


def _computed(plane: Any) -> Array:
    """Return a plane in memory."""
    if dask.is_dask_collection(plane):
        # It must not wait for tasks of its own behind the planes in the queue. Said here
        # only, as dask's settings are those of all threads.
        plane = plane.compute(scheduler="synchronous")
    return in_memory(plane)


def _unreadable(reason: str) -> Array:
    raise Unreadable(reason)


def _denoise(
    planes: Sequence[_Plane], writer: ZarrWriter | None, stop: str
) -> list[Outcome]:
    """Denoise a chunk on a worker, and write it where the worker can."""
    warm_starts = warm_starts_for(planes)
    should_stop = _asking(stop)
    return [_denoise_one(plane, writer, should_stop, warm_starts) for plane in planes]


def _denoise_one(
    plane: _Plane,
    writer: ZarrWriter | None,
    should_stop: Callable[[], bool],
    warm_starts: tiling.WarmStarts | None,
) -> Outcome:
    outcome = drive(iter_plane(plane.read, plane.task, should_stop, warm_starts))
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


def _outcomes(future: distributed.Future, chunk: Sequence[int]) -> list[Outcome] | None:
    try:
        outcomes: list[Outcome] | None = _result(future)
    except distributed.KilledWorker as error:
        failure = f"its worker died again and again: {error}"
    except _NO_WORKER as error:
        failure = _unattended(error)
    else:
        return outcomes
    return [Outcome(None, failure=failure, missing=True) for _ in chunk]


def _unattended(error: Exception) -> str:
    return f"no worker took a task within the scheduler's no-workers-timeout: {error}"


def _result(future: distributed.Future) -> Any:
    """Return the result of a task, None if there is none yet, or none any more.

    A worker that dies takes what it has computed with it, even while that is fetched;
    then the task is to be done again, for which there may be no worker.
    """
    patience = _TRANSFER
    while future.done():
        try:
            return future.result(timeout=patience)
        except TimeoutError:
            if future.status == "error":
                raise
            patience *= 2
    return None
