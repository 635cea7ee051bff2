"""The noise dock widget: how strong the noise of an image is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import Container, Label, PushButton
from qtpy.compat import isalive

from napari_msdip._gui.layout import Docking, align_on_show, wrap
from napari_msdip._gui.picker import LayerPicker
from napari_msdip._gui.worker import Failure, in_background
from napari_msdip._layer import text
from napari_msdip._layer.engine import Engine
from napari_msdip._layer.job import Job
from napari_msdip.options import Options

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["NoiseWidget"]


_ADVICE = {
    text.Trouble.MEMORY: "Crop the image, then estimate again.",
    text.Trouble.BROKEN: "The full report is in the terminal.",
}


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
        self._engine = engine or Engine()
        self.picker = LayerPicker(viewer)
        self.button = PushButton(text="Estimate")
        self.answer = Label()
        super().__init__(widgets=[self.picker, self.button, self.answer], labels=False)
        wrap(self.answer)
        self._aligner = align_on_show(self.native, self.picker)
        self._docking = Docking(self.native, self._on_docked, self._on_closed)
        self.picker.listen(True)
        self.button.changed.connect(self.estimate)
        self.picker.picked.connect(self._on_picked)

    def estimate(self) -> None:
        """Estimate the noise in a thread and show it."""
        try:
            job = Job(
                data=self.picker.data(),
                source=self.picker.source(),
                box=self.picker.current_plane(),
                options=Options(),
            )
        except (ValueError, TypeError) as error:
            self.answer.value = str(error)
            return
        self.button.enabled = False
        self.answer.value = "Estimating…"
        in_background(self._on_answer, _measure, job, self._engine)

    def _on_docked(self) -> None:
        self.picker.listen(True)
        self.reset_choices()

    def _on_closed(self) -> None:
        self.picker.listen(False)

    def _on_picked(self) -> None:
        """Take back an answer about another image."""
        if self.button.enabled:
            self.answer.value = ""

    def _on_answer(self, answer: tuple[Job, float, float] | Failure) -> None:
        if not isalive(self.native):
            return
        self.button.enabled = True
        if isinstance(answer, Failure):
            self.answer.value = answer.advised(_ADVICE)
            return
        job, sigma, span = answer
        share = f", {sigma / span:.1%} of the image's range" if span > 0 else ""
        self.answer.value = f"{_place(job)}: noise level σ ≈ {sigma:.4g}{share}"

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now."""
        self.picker.reset_choices()


def _measure(job: Job, engine: Engine) -> tuple[Job, float, float]:
    """Return the noise level and the range between the darkest and brightest percent."""
    image = job.image()
    sigma = engine.noise_level(
        image, job.options, channel_axis=job.source.axes.channel_axis
    )
    dark, bright = np.percentile(image, [1, 99])
    return job, sigma, float(bright - dark)


def _place(job: Job) -> str:
    """Return which image was measured, such as ``"nuclei (Z 5)"``."""
    name = text.short(job.source.name)
    return f"{name} ({text.first_plane(job)})" if job.box else name
