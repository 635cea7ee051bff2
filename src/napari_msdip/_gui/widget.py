"""The denoise dock widget: a form over one :class:`Run` at a time."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
    RangeSlider,
)
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QSizePolicy, QWidget

from napari_msdip._gui import text
from napari_msdip._gui.axes import Axes, Box, guess_axes, parse_axes
from napari_msdip._gui.engine import Engine, MsDip
from napari_msdip._gui.form import OptionsForm
from napari_msdip._gui.job import Finished, Job
from napari_msdip._gui.layers import Source, full_resolution_data
from napari_msdip._gui.layout import FittingScrollArea, align_labels
from napari_msdip._gui.run import Run
from napari_msdip._gui.settings import preferred_options
from napari_msdip._gui.worker import Forecast, forecast_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer

__all__ = ["DenoiseWidget", "State"]

_FORECAST_DELAY_MS = 400
_TICKS = 1000
_CURRENT, _RANGE, _WHOLE = "current slice", "range", "whole stack"


class State(enum.Enum):
    """What the widget is doing."""

    IDLE = enum.auto()
    RUNNING = enum.auto()
    CANCELLING = enum.auto()


class DenoiseWidget(Container):  # type: ignore[type-arg]
    """Denoise an Image layer with a multi-scale deep image prior.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer whose layers are offered.
    engine : Engine or None
        What computes; None for the real one.
    """

    def __init__(self, viewer: napari.viewer.Viewer, engine: Engine | None = None) -> None:
        self._viewer = viewer
        self._engine = engine or MsDip()
        self._run: Run | None = None
        self._described: Image | None = None
        self._measuring = False
        self._outdated = False
        self._last_job: Job | None = None
        self._extents: list[RangeSlider] = []
        self._build()
        super().__init__(
            widgets=[
                self._forecast,
                self._button,
                self._bar,
                self._status,
                self._copy,
            ],
            labels=False,
        )
        self._arrange()
        self.reset_choices()
        self._select_active()
        self._connect()
        self._on_layer()

    @property
    def state(self) -> State:
        """What the widget is doing."""
        if self._run is None:
            return State.IDLE
        return State.CANCELLING if self._run.cancelling else State.RUNNING

    def run(self) -> None:
        """Start a run with what the form says; nothing while one is going on."""
        if self.state is not State.IDLE:
            return
        try:
            job = self._job()
            self._run = Run(
                self._viewer,
                self._layer.value,
                job,
                self._engine,
                scale_layers=self._scale_layers.value,
                window=self._main_window(),
            )
        except (ValueError, TypeError, MemoryError) as error:
            self._status.value = text.explain(error)
            return
        self._status.value = "Starting…"
        self._bar.value = 0
        self._run.progressed.connect(self._on_progress)
        self._run.ended.connect(self._on_ended)
        self._show_state()
        self._run.start()

    def cancel(self) -> None:
        """Stop the run, keeping the best image so far."""
        if self._run is not None:
            self._run.cancel()
        self._show_state()

    # ------------------------------------------------------------------ building

    def _build(self) -> None:
        self._layer = ComboBox(
            label="Image",
            choices=self._image_layers,
            nullable=False,
            tooltip="The layer to denoise.",
        )
        self._axes = LineEdit(
            label="Axes",
            tooltip="One letter for each axis of the layer: Y and X span the image, C is "
            "the channel axis, every other letter counts slices.",
        )
        self._slices = ComboBox(
            label="Slices",
            choices=(_CURRENT, _RANGE, _WHOLE),
            tooltip="Which slices of a stack to denoise.",
        )
        self._ranges: Container[Any] = Container(labels=True)
        self._ranges.margins = (0, 0, 0, 0)
        self._form = OptionsForm(preferred_options())
        self._scale_layers = CheckBox(
            value=True,
            text="Layer for each scale",
            tooltip="Show the result of every scale as a layer of its own.",
        )
        self._what: Container[Any] = Container(labels=True)
        self._what.margins = (0, 0, 0, 0)
        self._what.extend([self._layer, self._axes, self._slices])
        self._settings: Container[Any] = Container(
            widgets=[self._what, self._ranges, self._scale_layers, self._form], labels=False
        )
        self._forecast = Label(tooltip="Measured on this computer.")
        self._button = PushButton(text="Run")
        self._bar = ProgressBar(min=0, max=_TICKS, value=0)
        self._status = Label()
        self._copy = PushButton(
            text="Copy as Python",
            tooltip="Put the call that computes the last result on the clipboard.",
        )

    def _arrange(self) -> None:
        for label in (self._forecast, self._status):
            label.native.setWordWrap(True)
            label.native.setSizePolicy(
                QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
            )
        self._settings.margins = (0, 0, 4, 0)
        self.native.layout().insertWidget(0, FittingScrollArea(self._settings.native))
        self.native.layout().addStretch()
        self._watch = _Watch(self._align, self._on_closed)
        self._watch.over(self.native)
        self._timer = QTimer(self.native)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_FORECAST_DELAY_MS)

    def _connect(self) -> None:
        self._layer.changed.connect(self._on_layer)
        self._axes.changed.connect(self._on_axes)
        self._slices.changed.connect(self._on_edited)
        self._form.changed.connect(self._on_edited)
        self._button.changed.connect(self._on_button)
        self._copy.changed.connect(self._on_copy)
        self._timer.timeout.connect(self._measure)
        self._viewer.dims.events.order.connect(self._on_layer)
        self._viewer.dims.events.current_step.connect(self._on_step)

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now."""
        self._settings.reset_choices()

    def _select_active(self) -> None:
        active = self._viewer.layers.selection.active
        if isinstance(active, Image):
            self._layer.value = getattr(active, "__wrapped__", active)

    def _image_layers(self, _widget: object = None) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    # ------------------------------------------------------------------- reading

    def _job(self) -> Job:
        """Return what the form describes.

        Raises
        ------
        ValueError, TypeError
            If it describes nothing that can be run.
        """
        layer = self._layer.value
        if layer is None:
            raise ValueError("Open an image first.")
        data = full_resolution_data(layer)
        axes = parse_axes(self._axes.value, data.shape, rgb=layer.rgb)
        level = "[0]" if layer.multiscale else ""
        return Job(
            data=data,
            source=Source.of(layer, axes),
            box=self._box(layer, axes),
            options=self._form.options(),
            data_code=f"viewer.layers[{layer.name!r}].data{level}",
        )

    def _box(self, layer: Image, axes: Axes) -> Box:
        if self._slices.value == _WHOLE:
            return axes.whole()
        if self._slices.value == _RANGE and len(self._extents) == len(axes.plane_axes):
            return tuple(
                (int(low), int(high) + 1)
                for low, high in (extent.value for extent in self._extents)
            )
        position = layer.world_to_data(self._viewer.dims.point)
        return tuple(
            (index, index + 1)
            for index in (
                min(max(round(float(position[axis])), 0), axes.shape[axis] - 1)
                for axis in axes.plane_axes
            )
        )

    def _main_window(self) -> QWidget | None:
        widget = self.native
        while widget is not None and not isinstance(widget, QMainWindow):
            widget = widget.parent()
        return widget

    # ------------------------------------------------------------------- showing

    def _show_state(self) -> None:
        """Derive every control from the state and the form."""
        state = self.state
        idle = state is State.IDLE
        try:
            job = self._job()
            problem = ""
        except (ValueError, TypeError) as error:
            job, problem = None, str(error)
        stack = job is not None and bool(job.box)
        self._settings.enabled = idle
        self._slices.visible = stack
        self._ranges.visible = stack and self._slices.value == _RANGE
        self._scale_layers.enabled = idle and (job is None or job.n_planes == 1)
        self._button.text = {
            State.IDLE: "Run",
            State.RUNNING: "Cancel",
            State.CANCELLING: "Cancelling…",
        }[state]
        self._button.enabled = state is State.RUNNING or (idle and job is not None)
        self._bar.visible = not idle
        self._copy.enabled = idle and self._last_job is not None
        if idle and problem:
            self._forecast.value = problem

    def _align(self) -> None:
        align_labels(self._what, self._ranges, self._form.basic)
        align_labels(self._form.advanced)

    # ------------------------------------------------------------------ reacting

    def _on_layer(self) -> None:
        layer = self._layer.value
        if layer is None or self.state is not State.IDLE:
            self._show_state()
            return
        offset = self._viewer.dims.ndim - layer.ndim
        displayed = [axis - offset for axis in self._viewer.dims.displayed]
        axes = guess_axes(
            full_resolution_data(layer).shape,
            rgb=layer.rgb,
            labels=layer.axis_labels,
            displayed=displayed if min(displayed, default=-1) >= 0 else None,
        )
        self._described = layer
        with self._axes.changed.blocked():
            self._axes.value = axes.letters
        self._on_axes()

    def _on_axes(self) -> None:
        self._rebuild_ranges()
        self._on_edited()

    def _rebuild_ranges(self) -> None:
        self._ranges.clear()
        self._extents = []
        try:
            axes = self._job().source.axes
        except (ValueError, TypeError):
            return
        for axis in axes.plane_axes:
            last = axes.shape[axis] - 1
            extent = RangeSlider(
                label=axes.letters[axis], min=0, max=max(last, 1), value=(0, last)
            )
            extent.changed.connect(self._on_edited)
            self._extents.append(extent)
        self._ranges.extend(self._extents)
        self._align()

    def _on_step(self) -> None:
        if self.state is State.IDLE and self._slices.visible:
            self._on_edited()

    def _on_edited(self) -> None:
        self._show_state()
        self._outdated = True
        if self.state is State.IDLE:
            self._timer.start()

    def _on_button(self) -> None:
        if self.state is State.IDLE:
            self.run()
        else:
            self.cancel()

    def _on_copy(self) -> None:
        if self._last_job is not None:
            QApplication.clipboard().setText(self._last_job.python())
            self._status.value = "Copied; paste it into napari's console."

    def _on_progress(self, words: str, fraction: float) -> None:
        if isalive(self.native):
            self._bar.value = round(fraction * _TICKS)
            self._status.value = words
            self._show_state()

    def _on_ended(self, message: str, finished: Finished | None) -> None:
        if self._run is not None and finished is not None and finished.n_done:
            self._last_job = self._run.job
        self._run = None
        if isalive(self.native):
            self._status.value = message
            if self._layer.value is not self._described:
                self._on_layer()
            else:
                self._on_edited()

    def _on_closed(self) -> None:
        """Stop when the dock or the window goes; the run ends on its own."""
        if self._run is not None:
            self._run.cancel()

    # --------------------------------------------------------------- forecasting

    def _measure(self) -> None:
        """Measure noise, time and memory in a thread, one measurement at a time."""
        if self.state is not State.IDLE or self._measuring:
            return
        try:
            job = self._job()
        except (ValueError, TypeError):
            return
        self._measuring = True
        self._outdated = False
        worker = forecast_worker(job, self._engine)
        worker.returned.connect(self._on_measured)
        worker.start()

    def _on_measured(self, forecast: Forecast) -> None:
        self._measuring = False
        if not isalive(self.native):
            return
        if self._outdated:
            self._measure()
        elif forecast.problem:
            self._forecast.value = forecast.problem
        elif forecast.cost is not None and forecast.sigma is not None:
            self._forecast.value = text.forecast(
                forecast.job, forecast.sigma, forecast.cost
            )


class _Watch(QObject):
    """Tells when a widget gets its style, and when it leaves its dock or is destroyed."""

    def __init__(
        self, on_styled: Callable[[], None], on_closed: Callable[[], None]
    ) -> None:
        super().__init__()
        self._on_styled = on_styled
        self._on_closed = on_closed

    def over(self, widget: QWidget) -> None:
        """Watch a widget."""
        widget.installEventFilter(self)
        widget.destroyed.connect(self._on_destroyed)

    def _on_destroyed(self) -> None:
        self._on_closed()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Look at what happens to the widget."""
        kind = event.type()
        if kind in (QEvent.Type.Show, QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._on_styled()
        elif kind == QEvent.Type.ParentChange and watched.parent() is None:
            self._on_closed()
        return bool(super().eventFilter(watched, event))
