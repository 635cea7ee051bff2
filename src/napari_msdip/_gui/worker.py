"""The worker thread of a run: drives the engine, throttles, never touches a layer."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import traceback
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari.qt.threading import (
    FunctionWorker,
    GeneratorWorker,
    WorkerBase,
    create_worker,
)

from napari_msdip._layer import text
from napari_msdip.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import numpy.typing as npt

    from napari_msdip._layer.engine import Engine
    from napari_msdip._layer.job import Finished, Job

    Array = npt.NDArray[Any]

__all__ = [
    "Failure",
    "Handshake",
    "RunWorker",
    "in_background",
    "start_worker",
]

_UPDATE_SECONDS = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a worker gave nothing.

    Workers return failures instead of raising: superqt only warns about a
    RuntimeError, out of memory included, and tells nobody that the worker has ended;
    napari's own slot for errors fails with PySide6; and an exception holds the
    frames it came through, with them the engine's tensors, and the memory that may
    just have run out.

    Attributes
    ----------
    cause : str
        What went wrong.
    kind : Trouble
        Of which kind that is.
    """

    cause: str
    kind: text.Trouble

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return a failure in words, its traceback going to the log.

        A refusal, such as that of an image with NaN, is no news for the terminal.
        """
        level = logging.INFO if isinstance(error, text.REFUSALS) else logging.ERROR
        _log.log(level, "%s", "".join(traceback.format_exception(error)))
        return cls(text.explain(error), text.trouble(error))

    def advised(self, advice: Mapping[text.Trouble, str]) -> str:
        """Return what went wrong and what the dock has to say about that."""
        return text.advised(self.cause, self.kind, advice)


class Handshake:
    """What the two threads of a run tell each other.

    Attributes
    ----------
    stop : threading.Event
        Set by the window: the engine shall return what it has.
    shown : threading.Event
        Set by the window once it has shown the last step, cleared by the worker
        when it sends the next: a slow window gets fewer previews, not a queue.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.shown = threading.Event()
        self.shown.set()


class RunWorker(GeneratorWorker[Progress, None, "Finished | Failure"]):
    """A worker that is asked to stop through a flag the engine looks at.

    napari's ``quit()`` would drop the generator where it stands and lose the
    result, so that closing the window, napari's own "cancel" and ours all set the
    flag and let the engine return the best image so far.
    """

    def __init__(self, function: Any, handshake: Handshake, *args: Any) -> None:
        super().__init__(function, handshake, *args)
        self._handshake = handshake
        self.owner: object = None

    def quit(self) -> None:
        """Ask the engine to stop."""
        self._handshake.stop.set()


def start_worker(
    handshake: Handshake,
    job: Job,
    engine: Engine,
    buffer: Array,
    owner: object,
    connect: dict[str, Any],
) -> RunWorker:
    """Start a run in a thread of its own.

    Parameters
    ----------
    handshake : Handshake
        What window and worker tell each other.
    job : Job
        What to denoise.
    engine : Engine
        What computes.
    buffer : ndarray
        Where finished planes of a stack go.
    owner : object
        Kept alive until the worker has finished: Qt holds slots weakly.
    connect : dict
        Slots by the name of the worker's signal.
    """
    worker: RunWorker = create_worker(
        ms_dip_run,
        handshake,
        job,
        engine,
        buffer,
        _connect=connect,
        _start_thread=False,
        _worker_class=RunWorker,
        _ignore_errors=True,
    )
    worker.owner = owner
    _start(worker)
    return worker


def _start(worker: WorkerBase[Any]) -> None:
    """Start a worker that Python will wait for before it ends.

    napari waits when its event loop ends. A script or console that ends without one
    would take the signals away from a thread that still emits them, and abort.
    """
    atexit.unregister(WorkerBase.await_workers)
    atexit.register(WorkerBase.await_workers)
    worker.start()


def ms_dip_run(
    handshake: Handshake, job: Job, engine: Engine, buffer: Array
) -> Generator[Progress, None, Finished | Failure]:
    """Drive the engine and pass on what is worth showing.

    Yields
    ------
    Progress
        Every finished scale and plane, and in between at most five a second, and no
        more than the window can show, each with the latest preview.

    Returns
    -------
    Finished or Failure
        The outcome.
    """
    latest = None
    sent = -_UPDATE_SECONDS
    with closing(job.run(engine, buffer, handshake.stop.is_set)) as steps:
        while True:
            step = _next(steps)
            if not isinstance(step, Progress):
                return step
            if latest is not None and step.preview is None and step.scale == latest.scale:
                step = replace(step, preview=latest.preview)
            latest = step
            milestone = step.finished_scale is not None or step.finished_plane is not None
            due = handshake.shown.is_set() and time.monotonic() - sent >= _UPDATE_SECONDS
            if milestone or due:
                handshake.shown.clear()
                yield step
                latest, sent = None, time.monotonic()


def _next(
    steps: Generator[Progress, None, Finished],
) -> Progress | Finished | Failure:
    """Return the next step, the outcome, or why there is none."""
    try:
        return next(steps)
    except StopIteration as end:
        finished: Finished = end.value
        return finished
    except Exception as error:
        return Failure.of(error)


def in_background(
    answer: Callable[[Any], object], function: Callable[..., Any], *args: Any
) -> None:
    """Call a function in a thread and hand over what it returns.

    Parameters
    ----------
    answer : callable
        Called on the GUI thread with the value, or a :class:`Failure` if the function
        raised. A bound method; nothing happens once its object is gone.
    function, *args
        What to call.
    """
    worker = FunctionWorker(_attempt, function, args)
    worker.returned.connect(answer)
    _start(worker)


def _attempt(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except Exception as error:
        return Failure.of(error)
