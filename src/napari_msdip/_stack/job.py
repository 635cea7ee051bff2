"""A run over planes: what was decided before it, how far it is, what it keeps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip import devices, tiling
from napari_msdip._stack.plane import Outcome, PlaneTask, words
from napari_msdip._stack.zarr_planes import StoreLost
from napari_msdip.events import Progress
from napari_msdip.io import is_full
from napari_msdip.plan import Plan, resolve
from napari_msdip.planes import chunked
from napari_msdip.seeds import plane_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from napari_msdip._stack.sinks import Sink
    from napari_msdip.options import Options
    from napari_msdip.planes import PlaneLayout

__all__ = [
    "Job",
    "Surroundings",
    "Tally",
    "finish",
    "look_around",
    "no_room",
    "plane_task",
    "put",
    "refuse_if_hopeless",
    "skipped",
]

Array = npt.NDArray[Any]

# Of a plane that nobody could store.
_SKIPPED = Outcome(None, failure="not begun: the disk is full", missing=True)


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
    """

    source: Any
    layout: PlaneLayout
    selection: PlaneLayout
    planes: tuple[int, ...]
    options: Options
    dtype: np.dtype[Any]
    sink: Sink

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
        Whether the engine has taken a step on any plane, in an earlier run or this one.
    failed : dict
        Why planes could not be denoised, by flat index.
    closed : set of int
        Positions of the planes that this run is done with.
    missing : set of int
        Those of them that the output lacks.
    disk_full : bool
        Whether the disk had no room for one of them.
    """

    n_planes: int
    resumed: int
    fraction: float = 0.0
    plan: Plan | None = None
    fitted: bool = False
    failed: dict[int, str] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    disk_full: bool = False
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
        self.disk_full = self.disk_full or outcome.disk_full
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
        versions=devices.versions(),
    )


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


def no_room(job: Job, tally: Tally) -> bool:
    """Whether a plane found the disk full, and the output cannot take another one yet."""
    size = prod(job.layout.plane_shape) * job.dtype.itemsize
    return tally.disk_full and job.sink.full(size)


def skipped(
    job: Job, chunk: Sequence[int], wanted: Container[int], tally: Tally
) -> Iterator[Progress]:
    """Close the planes of a chunk that is not begun because the disk is full."""
    for position in chunk:
        if position in wanted:
            yield tally.close(position, job.planes[position], _SKIPPED)


def finish(job: Job, tally: Tally, position: int, outcome: Outcome) -> Progress:
    """Write a plane if it is not written yet, record it, return the step that says so."""
    return tally.close(position, job.planes[position], _settled(job, position, outcome))


def refuse_if_hopeless(outcome: Outcome, tally: Tally) -> None:
    """Raise what the engine raised before its first step ever.

    Then the call is wrong (weights are damaged, say) rather than this plane, whose
    pixels were checked before, and would fail on every other plane too.
    """
    if outcome.error is not None and not (tally.fitted or outcome.fitted):
        raise outcome.error


def _settled(job: Job, position: int, outcome: Outcome) -> Outcome:
    """Write and record a plane, and return what came of it."""
    written = put(job.sink.put, position, outcome)
    if written.failure is None:
        try:
            job.sink.record(job.planes[position], written.fingerprint)
        except OSError as error:
            return _unwritten(written, error)
    return written


def put(write: Callable[[int, Array], None], position: int, outcome: Outcome) -> Outcome:
    """Write a plane; where that fails, the outcome says so.

    Raises
    ------
    StoreLost
        If no other plane can be written either, so that all work on them is in vain.
    """
    if outcome.image is None:
        return outcome
    try:
        write(position, outcome.image)
    except StoreLost:
        raise
    except OSError as error:
        return _unwritten(outcome, error)
    return outcome


def _unwritten(outcome: Outcome, error: OSError) -> Outcome:
    return replace(
        outcome,
        failure=outcome.failure or f"cannot be written: {words(error)}",
        disk_full=is_full(error),
        missing=True,
    )
