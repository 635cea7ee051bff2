"""One run in one viewer: what its worker tells becomes layers, on the GUI thread."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils import progress as activity
from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel

from napari_msdip._gui.worker import Failure, Handshake, RunWorker, start_worker
from napari_msdip._layer import text
from napari_msdip._layer.axes import as_box
from napari_msdip._layer.job import (
    DRAFT,
    Finished,
    Job,
    draft_provenance,
    scale_provenance,
)
from napari_msdip._layer.layers import (
    METADATA_KEY,
    LayerTuple,
    Source,
    adding_to,
    image_tuple,
    index_above,
    move,
    result_name,
    scale_name,
    unwrapped,
)
from napari_msdip.events import Progress, Status

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer
    from qtpy.QtWidgets import QWidget

    from napari_msdip._layer.engine import Engine

__all__ = ["ADVICE", "TICKS", "Run"]

TICKS = 1000
"""Steps of a progress bar."""
_BAR = "{desc}: {percentage:.0f}%|{bar}|"
"""Without ticks and ticks per second, which mean nothing and need half the dock."""
_REST = 12
"""How many times longer than it takes to show a step the window waits for the next.

A step is shown on the cores that compute: drawn in software it may take half as long
as one is computed.
"""
_LONGEST_REST_SECONDS = 3.0


ADVICE = {
    text.Trouble.MEMORY: "Crop the image, choose the CPU as device, or set fewer channels "
    "in Advanced > Generator; then run again.",
    text.Trouble.BROKEN: "The layers made so far are kept; change the options or the "
    "device and run again.",
}
"""What can be done about a run that failed."""


class Run:
    """A run from its start to its end, whoever is still looking.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers go.
    layer : napari.layers.Image
        Layer denoised; without it nothing more is shown.
    job : Job
        What to denoise.
    engine : Engine
        What computes.
    scale_layers : bool
        Whether every scale gets a layer of its own.
    window : QWidget or None
        The viewer's window; once it is gone nothing is touched any more.

    Attributes
    ----------
    layer : napari.layers.Image
        The layer denoised.
    progressed : Signal(str, float)
        Where the run is, in words and as a share from 0 to 1.
    ended : Signal(str, object)
        How it ended, and the :class:`Finished`, or None after a failure.
    """

    progressed = Signal(str, float)
    ended = Signal(str, object)

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        layer: napari.layers.Image,
        job: Job,
        engine: Engine,
        *,
        scale_layers: bool,
        window: QWidget | None,
    ) -> None:
        self.job = job
        self.cancelling = False
        self._viewer = viewer
        self.layer = layer
        self._engine = engine
        self._scale_layers = scale_layers and job.n_planes == 1
        self._window = window
        self._scales: dict[int, Layer] = {}
        self._live: Layer | None = None
        self._hidden: list[Layer] = []
        self._shapes: dict[int, tuple[int, int]] = {}
        self._buffer = job.buffer()
        self._handshake = Handshake()
        self._worker: RunWorker | None = None
        self._activity: Any = None
        self._untold: Progress | None = None
        self._message = ""
        self._finished: Finished | None = None

    def start(self) -> None:
        """Start the worker."""
        self._activity = activity(
            total=TICKS, desc=text.short(self.job.source.name), bar_format=_BAR
        )
        self._pause_spinner(True)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)
        self._worker = start_worker(
            self._handshake,
            self.job,
            self._engine,
            self._buffer,
            self,
            {
                "yielded": self._on_yielded,
                "returned": self._on_returned,
                "finished": self._on_finished,
            },
        )

    def cancel(self) -> None:
        """Ask the engine to stop; the run ends a moment later."""
        self.cancelling = True
        self._handshake.stop.set()

    def _alive(self) -> bool:
        """Return whether the viewer and the layer are still there."""
        return self._window_alive() and self.layer in self._viewer.layers

    def _window_alive(self) -> bool:
        return self._window is None or isalive(self._window)

    def _on_layer_removed(self) -> None:
        if not self._alive():
            self._message = "The layer was removed, so the run was stopped."
            self.cancel()

    def _on_yielded(self, step: Progress) -> None:
        began = time.monotonic()
        self._show(step)
        # Behind the events that draw what has changed.
        QTimer.singleShot(0, partial(self._rest, began))

    def _rest(self, began: float) -> None:
        """Let the worker send the next step after a rest."""
        rest = min(_REST * (time.monotonic() - began), _LONGEST_REST_SECONDS)
        QTimer.singleShot(round(1000 * rest), self._handshake.shown.set)

    def _show(self, step: Progress) -> None:
        if not self._alive():
            self.cancel()
            return
        if self.job.n_planes > 1:
            if step.finished_plane is not None:
                self._show_planes()
        elif step.finished_scale is not None:
            self._show_scale(step.scale, step.finished_scale.image, step)
        elif step.preview is not None:
            self._show_scale(step.scale, step.preview, step)
        words = text.running(step, self._shapes.get(step.scale))
        self.progressed.emit(words, step.fraction)
        self._advance_later(step)

    def _on_returned(self, outcome: Finished | Failure) -> None:
        if isinstance(outcome, Failure):
            self._mark_drafts()
            self._bring_back_original()
            self._message = outcome.advised(ADVICE)
            show_error(self._message)
            return
        self._finished = outcome
        alive = self._alive()
        if alive and outcome.n_done:
            self._show_result(outcome)
        elif alive and outcome.failed:
            self._take_back_planes()
        drafts = self._mark_drafts()
        if not outcome.n_done:
            self._bring_back_original()
        if alive:
            hidden = [layer.name for layer in self._hidden if not layer.visible]
            self._message = text.outcome(self.job, outcome, drafts=drafts, hidden=hidden)
        if outcome.failed and not outcome.n_done and not self.cancelling:
            show_error(self._message)

    def _on_finished(self) -> None:
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._pause_spinner(False)
        self._activity.close()
        if self._worker is not None:
            self._worker.owner = None
            self._worker = None
        self.ended.emit(self._message, self._finished)

    def _pause_spinner(self, paused: bool) -> None:
        """Keep the wheel beside napari's activity dock still; its bar moves enough.

        Each of its thirty frames a second has the whole window composed anew, and
        where that happens in software, steps on two cores take 1.8 times as long.
        """
        if self._window is None or not isalive(self._window):
            return
        for label in self._window.findChildren(QLabel):
            if (movie := label.movie()) is not None:
                movie.setPaused(paused)

    def _advance_later(self, step: Progress) -> None:
        """Move the bar in the activity dock once this step is shown.

        Moving the bar makes napari process events. Done right here, that would show the
        next waiting step inside of this call, the one after it inside of that, and so on.
        """
        waiting, self._untold = self._untold, step
        if waiting is None:
            QTimer.singleShot(0, self._advance)

    def _advance(self) -> None:
        """Move the bar to the latest step; the run may have ended before and on return."""
        step = self._untold
        if step is not None and not self._over():
            self._activity.set_description(text.brief(self.job.source.name, step))
            ticks = int(step.fraction * TICKS) - self._activity.n
            if ticks > 0 and not self._over():
                self._activity.update(ticks)
        self._untold = None

    def _over(self) -> bool:
        return self._worker is None

    def _show_scale(self, scale: int, image: Any, step: Progress) -> None:
        rows, columns = self._shapes[scale] = self._image_shape(image)
        source = self._source()
        entry = image_tuple(
            source,
            as_box(image, self.job.box),
            name=scale_name(source.name, scale, (rows, columns), step.n_scales)
            if self._scale_layers
            else result_name(source.name),
            box=self.job.box,
            zoom=self._zoom(scale),
            provenance=scale_provenance(self.job, step.finished_scale)
            if self._scale_layers and step.finished_scale is not None
            else draft_provenance(self.job),
        )
        if not self._scale_layers:
            self._live = self._put(entry, self._live)
            return
        shown = self._scales.get(scale)
        if shown is None:
            self._hide(self._scales.values())
        self._scales[scale] = self._put(entry, shown)

    def _show_planes(self) -> None:
        if self._live is None:
            source = self._source()
            entry = image_tuple(
                source,
                self._buffer,
                name=result_name(source.name),
                box=self.job.box,
                provenance=draft_provenance(self.job),
            )
            self._live = self._put(entry, None)
        elif self._live in self._viewer.layers:
            self._live.refresh()

    def _take_back_planes(self) -> None:
        """Remove the layer of a stack in which every plane is as it was.

        An unchanged copy that is named like a result would be taken for one.
        """
        if self._live in self._viewer.layers:
            self._viewer.layers.remove(self._live)
        self._live = None

    def _show_result(self, finished: Finished) -> None:
        cancelled = finished.status is Status.CANCELLED
        mark = " (cancelled)" if cancelled else ""
        source = self._source()
        entry = image_tuple(
            source,
            finished.planes,
            name=result_name(source.name) + mark,
            box=finished.box,
            provenance=finished.provenance,
        )
        self._hide(self._scales.values())
        for scale, layer in self._scales.items():
            place = source.placement(self.job.box, self._zoom(scale))
            move(layer, dict(source.state) | place)
        if self._live is not None and self._live not in self._viewer.layers:
            self._live = None
        if self._live is not None and mark:
            # Not under a new name: a person may have given it one.
            self._live.name += mark
        self._live = self._put(entry, self._live)

    def _put(self, entry: LayerTuple, layer: Layer | None) -> Layer:
        """Show data in a layer, a new one if there is none; one deleted stays so."""
        data, state, _ = entry
        if layer is None:
            layer = Layer.create(*entry)
            limits = self._source().contrast_limits_range
            if limits is not None:
                layer.contrast_limits_range = limits
            others, known_as = self._viewer.layers, self._source().known_as
            hidden = adding_to(others, state["blending"], known_as, self.job.box)
            self._hide(hidden)
            self._hidden += hidden
            self._add(layer)
        elif layer in self._viewer.layers:
            layer.data = data
            move(layer, state)
            layer.metadata = state["metadata"]
        return layer

    def _add(self, layer: Layer) -> None:
        """Add a layer above its source and leave the selection alone.

        napari selects what is added, which takes the brush from a person who paints
        labels meanwhile, and has a dock opened later offer the result for denoising.
        """
        selection = self._viewer.layers.selection
        chosen = [unwrapped(each) for each in selection]
        layers = self._viewer.layers
        layers.insert(index_above(layers, [self.layer], self._source().known_as), layer)
        if len(chosen) == 1:
            selection.active = chosen[0]
        else:
            selection.clear()
            selection.update(chosen)

    def _bring_back_original(self) -> None:
        """Show what drafts stood in for, and not them on top: both would add up."""
        if self._hidden and self._alive():
            for layer in self._hidden:
                layer.visible = True
            self._hide(layer for layer in (*self._scales.values(), self._live) if layer)

    def _mark_drafts(self) -> bool:
        """Tell apart by name what the run leaves half done; return whether there is any."""
        if not self._window_alive():
            return False
        drafts = [
            layer
            for layer in (*self._scales.values(), self._live)
            if layer in self._viewer.layers
            and layer.metadata.get(METADATA_KEY, {}).get("role") == DRAFT
        ]
        for layer in drafts:
            layer.name = f"{layer.name} (unfinished)"
        return bool(drafts)

    def _hide(self, layers: Any) -> None:
        for layer in layers:
            layer.visible = False

    def _zoom(self, scale: int) -> tuple[float, float]:
        """Return the size of a scale's pixels in pixels of the source."""
        full, (rows, columns) = self.job.source.axes.image_shape, self._shapes[scale]
        return full[0] / rows, full[1] / columns

    def _image_shape(self, image: Any) -> tuple[int, int]:
        axes = self.job.source.axes
        rows, columns = (axes.image_axes.index(axis) for axis in axes.spatial_axes)
        return image.shape[rows], image.shape[columns]

    def _source(self) -> Source:
        """Return the layer denoised as a person may have changed it since the start."""
        if not self._alive():
            return self.job.source
        return self.job.source.as_it_is_now(self.layer)
