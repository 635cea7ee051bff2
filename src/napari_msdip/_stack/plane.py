"""One plane: read, denoised, and what came of it; the same here and on a worker."""

from __future__ import annotations

from dataclasses import dataclass
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip import tiling
from napari_msdip._stack.notes import UNFIT
from napari_msdip.events import Progress, Status
from napari_msdip.pixels import checked_image
from napari_msdip.planes import digest
from napari_msdip.steps import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_msdip.options import Options
    from napari_msdip.plan import Plan

__all__ = [
    "Outcome",
    "PlaneTask",
    "Unreadable",
    "iter_plane",
    "warm_starts_for",
    "words",
]

Array = npt.NDArray[Any]


class Unreadable(Exception):
    """A plane that could not be read elsewhere; the message names the error there."""


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


def iter_plane(
    read: Callable[[], Array],
    task: PlaneTask,
    should_stop: Callable[[], bool] | None,
    warm_starts: tiling.WarmStarts | None,
) -> Generator[Progress, None, Outcome]:
    """Read and denoise one plane; whatever is wrong with it ends up in the outcome.

    ``warm_starts`` holds the generators of the last plane of the chunk, and then those
    of this one; None keeps none.
    """
    try:
        plane = read()
    except Unreadable as error:
        return Outcome(None, failure=f"cannot be read: {error}")
    except Exception as error:  # Whatever a third-party reader raises.
        return Outcome(None, failure=f"cannot be read: {words(error)}")
    fitted = False

    def noted(progress: Progress) -> Progress:
        nonlocal fitted
        fitted = True
        return progress

    def as_it_was(failure: str, error: Exception | None = None) -> Outcome:
        image = plane.astype(task.dtype)
        return Outcome(image, failure=failure, error=error, fitted=fitted)

    try:
        checked_image(plane, task.channel_axis)
    except ValueError as error:
        # Without the error: other planes may be fine.
        return as_it_was(f"{UNFIT}{str(error).removeprefix('image: ')}")
    try:
        steps = tiling.iter_denoise_fitting(
            plane,
            task.options,
            channel_axis=task.channel_axis,
            should_stop=should_stop,
            tile=task.tile,
            warm_starts=warm_starts,
        )
        result = yield from changed(steps, noted)
    except Exception as error:  # Whatever these pixels do to the engine.
        _let_go(error)
        return as_it_was(f"cannot be denoised: {words(error)}", error)
    return Outcome(
        result.image.astype(task.dtype, copy=False),
        fingerprint=digest(plane),
        plan=result.plan,
        fitted=True,
        status=result.status,
    )


def warm_starts_for(chunk: Sequence[object]) -> tiling.WarmStarts | None:
    """Return where the planes of a chunk leave their generators for the next one.

    None for a plane by itself: those of all its tiles would take the device's memory.
    """
    return {} if len(chunk) > 1 else None


def _let_go(error: BaseException | None) -> None:
    """Free what the engine had in memory, which would live as long as its error."""
    while error is not None:
        clear_frames(error.__traceback__)
        # Not the context, which may be an error that the caller is busy with.
        error = error.__cause__


def words(error: Exception) -> str:
    """Return an error's kind and what it says."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
