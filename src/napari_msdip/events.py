"""What a run tells while it goes on, and what it returns."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_msdip.options import Options
    from napari_msdip.plan import Plan

__all__ = [
    "Progress",
    "Result",
    "ScaleResult",
    "StackResult",
    "Status",
    "StopReason",
    "endings",
    "time_left",
]

Array = npt.NDArray[Any]

# The first steps are the slowest: what a run needs is made ready in them.
_TELLING_FRACTION = 0.02


class Status(enum.StrEnum):
    """How a run ended; one that failed raises instead."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"


class StopReason(enum.StrEnum):
    """Why the fit of one scale ended."""

    HELD_OUT = "held-out"
    PLATEAU = "plateau"
    SETTLED = "settled"
    ITERATIONS = "iterations"
    CONSTANT = "constant"
    CANCELLED = "cancelled"


@dataclass(frozen=True, eq=False)
class ScaleResult:
    """What one scale of the pyramid gave.

    Attributes
    ----------
    image : ndarray
        Denoised image of this scale, in the input's units and axis order, Y and X
        reduced to ``shape``; its dtype unless ``Options.output_dtype`` is ``"float32"``.
    shape : tuple of int
        ``(height, width)`` in pixels.
    zoom : tuple of float
        Size of a pixel of this scale in pixels of the input, for Y and X.
    sigma : float
        Estimated noise level of the noisy image at this scale, in its units.
    weight : float
        Weight of the scale-consistency loss (lambda_n, eq. 4); 0 for the coarsest.
    iterations : int
        Optimisation steps taken.
    stop_reason : StopReason
        Why the fit ended.
    seconds : float
        Time spent on this scale.
    scale : int
        Its number, 0 for the finest: a cancelled run may lack that.
    """

    image: Array
    shape: tuple[int, int]
    zoom: tuple[float, float]
    sigma: float
    weight: float
    iterations: int
    stop_reason: StopReason
    seconds: float
    scale: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return all but the image as plain JSON types."""
        return {
            "scale": self.scale,
            "shape": list(self.shape),
            "zoom": list(self.zoom),
            "sigma": self.sigma,
            "weight": self.weight,
            "iterations": self.iterations,
            "stop_reason": self.stop_reason.value,
            "seconds": self.seconds,
        }


_ENDINGS = {
    StopReason.HELD_OUT: "held-out pixels got worse",
    StopReason.PLATEAU: "loss no longer fell",
    StopReason.SETTLED: "result had settled",
    StopReason.ITERATIONS: "the most allowed",
    StopReason.CONSTANT: "nothing to fit",
    StopReason.CANCELLED: "cancelled",
}


def endings(scales: Sequence[ScaleResult]) -> str:
    """Return in words how long each scale was fitted and why it ended.

    Parameters
    ----------
    scales : sequence of ScaleResult
        Finest first, as in a result; told coarsest first, as they are fitted.
    """
    told = (f"{s.iterations} ({_ENDINGS[s.stop_reason]})" for s in reversed(scales))
    return f"Iterations, coarsest scale first: {', '.join(told)}"


@dataclass(frozen=True, eq=False)
class Progress:
    """One step of a run.

    Attributes
    ----------
    scale : int
        Scale being fitted: ``n_scales - 1`` is the coarsest, 0 the finest.
    n_scales : int
        Number of scales.
    iteration, total : int
        Step within the scale, from 1, and its cap.
    fraction : float
        Share of the whole run done, 0 to 1, never falling.
    eta_seconds : float or None
        Expected time to the end; None while unknown.
    loss : float
        Loss at this step, or the last one measured.
    plane, n_planes : int
        Plane of a stack being denoised, from 0, and how many there are.
    preview : ndarray or None
        Now and then a copy of the current image of this scale, in the input's
        units, dtype and axis order.
    finished_scale : ScaleResult or None
        Set on the one step at which a scale is done.
    finished_plane : ndarray or None
        Set on the one step of a stack at which a plane is done, unless a worker of a
        cluster has written it to a store already.
    """

    scale: int
    n_scales: int
    iteration: int
    total: int
    fraction: float
    eta_seconds: float | None
    loss: float
    plane: int = 0
    n_planes: int = 1
    preview: Array | None = None
    finished_scale: ScaleResult | None = None
    finished_plane: Array | None = None

    @property
    def nth_scale(self) -> int:
        """Number of the scale as they are fitted: 1 for the coarsest."""
        return self.n_scales - self.scale


@dataclass(frozen=True, eq=False)
class Result:
    """A denoised image and how it came about.

    Attributes
    ----------
    image : ndarray
        Denoised image: the input's shape and axis order, and its dtype unless
        ``Options.output_dtype`` is ``"float32"``.
    scales : tuple of ScaleResult
        Finest first. A cancelled run holds the scales it finished, and the last one if
        a quarter of its iterations was done.
    sigma : float
        Noise level that was found and removed, in the input's units, root mean square
        over the image: also what is correlated between pixels or shared by channels, which
        ``estimate_sigma`` cannot see.
    plan : Plan
        The concrete settings of the run.
    status : Status
        Completed or cancelled.
    seconds : float
        Duration of the run.
    versions : mapping of str to str
        Versions of what computed the result.
    """

    image: Array
    scales: tuple[ScaleResult, ...]
    sigma: float
    plan: Plan
    status: Status
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """Return options, plan, versions, device, seed and outcome as plain JSON types."""
        return {
            "status": self.status.value,
            "seconds": self.seconds,
            "sigma": self.sigma,
            "plan": self.plan.to_dict(),
            "versions": dict(self.versions),
            "scales": [scale.to_dict() for scale in self.scales],
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """Return ``provenance()`` as JSON text."""
        return json.dumps(self.provenance(), indent=indent)


@dataclass(frozen=True, eq=False)
class StackResult:
    """A denoised stack.

    Attributes
    ----------
    image : ndarray, zarr.Array or a view of one
        The selected planes in order, (planes, Y, X) with the channel axis where
        it was; the whole stack's shape if no planes were selected. A store that keeps
        its axes in another order is seen through a view, which whole numbers and slices
        index, and ``numpy.asarray`` reads.
    planes : tuple of int
        Flat plane indices (C order) that ``image`` holds.
    failed : mapping of int to str
        Planes that could not be denoised, with the reason; ``image`` holds them
        as they were, or if they could not be read or written what the output held
        before: zeros unless an array was given.
    plan : Plan or None
        Plan of the last plane denoised, by an earlier run if not by this one; None if
        there was none or a killed run took it along.
    status : Status
        Completed or cancelled.
    seconds : float
        Duration of the run.
    pending : tuple of int
        Planes that a cancelled run did not finish, or that could not be written:
        zeros in ``image`` unless ``out`` held something else, and the one that was
        interrupted its best image so far. Another run may well finish them.
    options : Options or None
        The wishes, with the seed that those of the planes come from; None if unknown.
    versions : mapping of str to str
        Versions of what computed the planes. If runs with several versions of a package
        did, all are named in the order of their use: ``"2.8.0, 2.9.0"``.
    """

    image: Any
    planes: tuple[int, ...]
    failed: Mapping[int, str]
    plan: Plan | None
    status: Status
    seconds: float
    pending: tuple[int, ...] = ()
    options: Options | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """Return options, plan, versions, planes and outcome as plain JSON types."""
        return {
            "status": self.status.value,
            "seconds": self.seconds,
            "complete": not self.pending and not self.failed,
            "planes": list(self.planes),
            "failed": {str(plane): reason for plane, reason in self.failed.items()},
            "pending": list(self.pending),
            "options": self.options.to_dict() if self.options else None,
            "plan": self.plan.to_dict() if self.plan else None,
            "versions": dict(self.versions),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """Return ``provenance()`` as JSON text."""
        return json.dumps(self.provenance(), indent=indent)


def time_left(elapsed: float, fraction: float) -> float | None:
    """Return the seconds to the end of a run at the pace so far.

    Parameters
    ----------
    elapsed : float
        Seconds since its start.
    fraction : float
        Share of the run done, 0 to 1.

    Returns
    -------
    float or None
        None over the first steps, whose pace tells nothing.
    """
    if fraction < _TELLING_FRACTION:
        return None
    return elapsed * (1 - fraction) / fraction
