"""What a run will take, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_msdip._layer.engine import Engine
    from napari_msdip._layer.job import Job
    from napari_msdip.cost import Cost

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True)
class Forecast:
    """What is known before a run.

    Attributes
    ----------
    job : Job
        What it is about.
    sigma : float
        Noise level in the layer's units.
    cost : Cost
        Expected time and memory of one plane.
    """

    job: Job
    sigma: float
    cost: Cost


def forecast(job: Job, engine: Engine) -> Forecast:
    """Measure what a run would take."""
    axes = job.source.axes
    return Forecast(
        job,
        sigma=engine.noise_level(job.image(), job.options, channel_axis=axes.channel_axis),
        cost=engine.expected_cost(axes.image_shape, job.options, job.channels),
    )
