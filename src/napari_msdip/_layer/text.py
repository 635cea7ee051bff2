"""What a run is about to take, is doing, and has come to, in sentences."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from napari_msdip._numbers import duration, memory, size
from napari_msdip.events import Progress, Status, endings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_msdip._layer.job import Finished, Job
    from napari_msdip.cost import Cost

__all__ = [
    "REFUSALS",
    "Trouble",
    "advised",
    "brief",
    "explain",
    "first_plane",
    "forecast",
    "outcome",
    "running",
    "short",
    "trouble",
]

_LONGEST_NAME = 32
_MOST_NAMED = 5

REFUSALS = (ValueError, TypeError, FileNotFoundError)
"""What the engine raises where an argument cannot be right, or weights are missing; the
message says why and what to do."""


class Trouble(enum.Enum):
    """Kinds of errors, by what can be done about them."""

    MEMORY = enum.auto()
    REFUSED = enum.auto()
    BROKEN = enum.auto()


def short(name: str) -> str:
    """Return a name that fits a narrow dock, its middle left out if it is long."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[:half]}…{name[-half:]}"


def first_plane(job: Job) -> str:
    """Return which plane of a stack is the first to denoise, such as ``"T 0, Z 5"``."""
    axes = job.source.axes
    return ", ".join(
        f"{axes.letters[axis]} {start}"
        for axis, (start, _) in zip(axes.plane_axes, job.box, strict=True)
    )


def forecast(job: Job, sigma: float, cost: Cost) -> str:
    """Return what is known about a run before it starts."""
    scales = ", ".join(size(level.shape) for level in cost.scales)
    count = len(cost.scales)
    where = slices = result = ""
    if job.n_planes > 1:
        slices = f" for {job.n_planes} slices"
        # Said apart: the device may have memory of its own.
        result = f", and {memory(job.result_bytes)} for the result"
    elif job.box:
        where = f" ({first_plane(job)})"
    return (
        f"Noise level σ ≈ {sigma:.3g}{where}\n"
        f"{count} {'scale' if count == 1 else 'scales'}: {scales}\n"
        f"About {duration(cost.seconds * job.n_planes)}{slices} and "
        f"{memory(cost.memory_bytes)} on {cost.device}{result}"
    )


def running(progress: Progress, shape: tuple[int, int] | None) -> str:
    """Return where a run is.

    Parameters
    ----------
    progress : Progress
        The latest step.
    shape : tuple of int or None
        Size of the scale being fitted, if it is known yet.
    """
    where = f" ({size(shape)})" if shape else ""
    lines = []
    if progress.n_planes > 1:
        lines.append(f"Slice {progress.plane + 1} of {progress.n_planes}")
    if progress.total:
        lines.append(f"Scale {progress.nth_scale} of {progress.n_scales}{where}")
    if _finishing(progress):
        lines.append("Finishing…")
    elif progress.total:
        lines.append(
            f"Iteration {progress.iteration} of at most {progress.total}, "
            f"loss {progress.loss:.3g}"
        )
    if progress.eta_seconds is not None:
        lines.append(f"About {duration(progress.eta_seconds)} left")
    return "\n".join(lines)


def _finishing(progress: Progress) -> bool:
    """Return whether all scales of an image are fitted."""
    fitted = progress.finished_scale is not None or progress.iteration >= progress.total
    return progress.scale == 0 and bool(progress.total) and fitted


def brief(name: str, progress: Progress) -> str:
    """Return where a run is in one short line, for the activity dock."""
    parts = [f"scale {progress.nth_scale}/{progress.n_scales}"]
    if progress.n_planes > 1:
        parts.insert(0, f"slice {progress.plane + 1}/{progress.n_planes}")
    if progress.total:
        parts.append(f"{progress.iteration}/{progress.total}")
        parts.append(f"loss {progress.loss:.2g}")
    if progress.eta_seconds is not None:
        parts.append(f"{duration(progress.eta_seconds)} left")
    return f"{short(name)}: {', '.join(parts)}"


def outcome(
    job: Job, finished: Finished, *, drafts: bool = False, hidden: Sequence[str] = ()
) -> str:
    """Return how a run ended.

    Parameters
    ----------
    job : Job
        What was asked for.
    finished : Finished
        What came of it.
    drafts : bool
        Whether a layer is left that shows a fit on its way.
    hidden : sequence of str
        Names of the layers that are hidden for the result.
    """
    cancelled = finished.status is Status.CANCELLED
    if finished.n_done == 0:
        if finished.failed:
            nothing = "Cancelled before anything" if cancelled else "Nothing"
            return f"{nothing} was denoised {_failures(finished)}"
        if drafts:
            return "Cancelled early: the layer kept is unfinished."
        return "Cancelled before there was anything to keep."
    kept = _kept_slices(job, finished) if job.n_planes > 1 else _kept_image(finished)
    if hidden and finished.box != job.source.axes.whole():
        names = ", ".join(short(name) for name in hidden)
        kept += (
            f"\nHidden, with all their other slices, until you press their eyes: {names}"
        )
    return kept


def _kept_slices(job: Job, finished: Finished) -> str:
    text = f"{finished.n_done} of {job.n_planes} slices in {duration(finished.seconds)}"
    cancelled = finished.status is Status.CANCELLED
    text = f"Cancelled: kept {text}." if cancelled else f"Done: {text}."
    if finished.unreached:
        text += (
            f"\n{len(finished.unreached)} beside them were not reached and are as they "
            f"were (slice {_some(finished.unreached)})."
        )
    if finished.failed:
        text += (
            f"\n{len(finished.failed)} could not be denoised and are as they were "
            f"{_failures(finished)}"
        )
    return text


def _kept_image(finished: Finished) -> str:
    if finished.status is Status.CANCELLED:
        return f"Cancelled after {duration(finished.seconds)}: kept the best image so far."
    trust = f"\nHow far to trust it: {finished.judgement}" if finished.judgement else ""
    fitted = endings([finished.scales[n] for n in sorted(finished.scales)])
    return f"Done in {duration(finished.seconds)}.{trust}\n{fitted}"


def _failures(finished: Finished) -> str:
    """Return which slices could not be denoised, and why."""
    reason = next(iter(finished.failed.values()))
    return f"(slice {_some(finished.failed)}): {reason}"


def _some(planes: Iterable[int]) -> str:
    """Return the numbers of slices, the first few of many."""
    numbers = list(planes)
    more = ", …" if len(numbers) > _MOST_NAMED else ""
    return ", ".join(map(str, numbers[:_MOST_NAMED])) + more


def trouble(error: BaseException) -> Trouble:
    """Return what kind of error it is, on which depends what can be done."""
    from napari_msdip.tiling import out_of_memory

    if out_of_memory(error):
        return Trouble.MEMORY
    return Trouble.REFUSED if isinstance(error, REFUSALS) else Trouble.BROKEN


def explain(error: BaseException) -> str:
    """Return what went wrong; what to do about it depends on the dock."""
    message = str(error) or type(error).__name__
    kind = trouble(error)
    if kind is Trouble.MEMORY:
        return f"Out of memory ({message.splitlines()[0].rstrip('.')})."
    if kind is Trouble.REFUSED:
        return message
    name = type(error).__name__
    return f"{name}." if message == name else f"{name}: {message.rstrip('.')}."


def advised(cause: str, kind: Trouble, advice: Mapping[Trouble, str]) -> str:
    """Return what went wrong and what to do about it in this dock.

    Parameters
    ----------
    cause : str
        What :func:`explain` says.
    kind : Trouble
        What kind of error it is. Refusals say themselves what to do.
    advice : mapping of Trouble to str
        What can be done where.
    """
    return " ".join(filter(None, (cause, advice.get(kind))))
