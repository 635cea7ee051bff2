"""The noise dock widget: how strong the noise of an image is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import Container, Label, PushButton
from qtpy.compat import isalive

from napari_msdip._gui.engine import Engine, MsDip
from napari_msdip._gui.job import Job
from napari_msdip._gui.layout import align_on_show
from napari_msdip._gui.picker import LayerPicker
from napari_msdip._gui.worker import Failure, in_background
from napari_msdip.options import Options

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["NoiseWidget"]


class NoiseWidget(Container):  # type: ignore[type-arg]
    """Estimate the noise level of an image, of the slice on screen in a stack.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer whose layers are offered.
    engine : Engine or None
        What computes; None for the real one.
    """

    def __init__(self, viewer: napari.viewer.Viewer, engine: Engine | None = None) -> None:
        self._engine = engine or MsDip()
        self._picker = LayerPicker(viewer)
        self._button = PushButton(text="Estimate")
        self._answer = Label()
        super().__init__(widgets=[self._picker, self._button, self._answer], labels=False)
        self._answer.native.setWordWrap(True)
        self._aligner = align_on_show(self.native, self._picker)
        self._button.changed.connect(self.estimate)

    def estimate(self) -> None:
        """Estimate the noise in a thread and show it."""
        try:
            job = Job(
                data=self._picker.data(),
                source=self._picker.source(),
                box=self._picker.current_plane(),
                options=Options(),
            )
        except ValueError as error:
            self._answer.value = str(error)
            return
        self._button.enabled = False
        self._answer.value = "Estimating…"
        in_background(self._on_answer, _measure, job, self._engine)

    def _on_answer(self, answer: tuple[float, float] | Failure) -> None:
        if not isalive(self.native):
            return
        self._button.enabled = True
        if isinstance(answer, Failure):
            self._answer.value = answer.message
            return
        sigma, span = answer
        share = f", {sigma / span:.1%} of the image's range" if span > 0 else ""
        self._answer.value = f"Noise level σ ≈ {sigma:.4g}{share}"

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now."""
        self._picker.reset_choices()


def _measure(job: Job, engine: Engine) -> tuple[float, float]:
    """Return the noise level and the range between the darkest and brightest percent."""
    image = job.image()
    sigma = engine.estimate_sigma(image, channel_axis=job.source.axes.channel_axis)
    dark, bright = np.percentile(image, [1, 99])
    return sigma, float(bright - dark)
