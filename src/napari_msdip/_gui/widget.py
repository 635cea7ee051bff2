"""The denoise dock widget: a form over one :class:`Run` at a time."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    RangeSlider,
)
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_msdip._gui.form import OptionsForm
from napari_msdip._gui.layout import (
    Docking,
    DoubleClickGuard,
    FittingScrollArea,
    align_on_show,
    give_handles_room,
    order_tabs,
    wrap,
)
from napari_msdip._gui.picker import LayerPicker
from napari_msdip._gui.run import ADVICE, TICKS, Run
from napari_msdip._gui.settings import preferred_options
from napari_msdip._gui.worker import Failure, in_background
from napari_msdip._layer import text
from napari_msdip._layer.engine import Engine
from napari_msdip._layer.forecast import Forecast, forecast
from napari_msdip._layer.job import Finished, Job
from napari_msdip._layer.layers import unwrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer

    from napari_msdip._layer.axes import Axes, Box

__all__ = ["DenoiseWidget", "State"]

_FORECAST_DELAY_MS = 400
_MEASURING = "Measuring noise and time…\n\n"
"""As many lines as the forecast of a few scales has, so that the button seldom moves."""
_FORECAST_ADVICE = {text.Trouble.MEMORY: ADVICE[text.Trouble.MEMORY]}
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
        self._engine = engine or Engine()
        self._run: Run | None = None
        self._measuring = False
        self._outdated = False
        self._listening = False
        self._last: _Code | None = None
        self.extents: list[RangeSlider] = []
        self._ranges_of: Axes | None = None
        self._build()
        super().__init__(
            widgets=[
                self.forecast,
                self.button,
                self.bar,
                self.status,
                self.copy,
            ],
            labels=False,
        )
        self._arrange()
        self._connect()
        self._on_picked()

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
                self.picker.layer,
                job,
                self._engine,
                scale_layers=self.scale_layers.value,
                window=self._main_window(),
            )
        except (ValueError, TypeError, MemoryError) as error:
            self.status.value = Failure.of(error).advised(ADVICE)
            return
        if self._outdated:
            self.forecast.value = ""
        self.status.value = "Starting…"
        self.bar.value = 0
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
        self.picker = LayerPicker(self._viewer)
        self.slices = ComboBox(
            label="Slices",
            choices=(_CURRENT, _RANGE, _WHOLE),
            tooltip="Which slices of a stack to denoise.",
        )
        self._ranges: Container[Any] = Container(labels=True)
        self._ranges.margins = (0, 0, 0, 0)
        self.form = OptionsForm(preferred_options())
        self.scale_layers = CheckBox(
            value=True,
            text="Layer for each scale",
            tooltip="Show the result of every scale as a layer of its own.",
        )
        self.picker.append(self.slices)
        self.picker.wheel_guard.protect(self.slices)
        self._settings: Container[Any] = Container(
            widgets=[self.picker, self._ranges, self.scale_layers, self.form],
            labels=False,
        )
        self.forecast = Label(tooltip="Measured on this computer.")
        self.button = PushButton(
            text="Run",
            tooltip="Denoise as the form says. During a run: stop it, and keep the best "
            "image so far.",
        )
        self.bar = ProgressBar(min=0, max=TICKS, value=0)
        self.status = Label()
        self.copy = PushButton(
            text="Copy as Python",
            tooltip="Put the call that computes the last result on the clipboard.",
        )

    def _arrange(self) -> None:
        wrap(self.forecast, self.status)
        self._settings.margins = (0, 0, 0, 0)
        self._area = FittingScrollArea(self._settings.native)
        self.native.layout().insertWidget(0, self._area)
        self.native.layout().addStretch()
        self._order_tabs()
        self._aligners = (
            align_on_show(self.native, self.picker, self.form.basic),
            align_on_show(self.native, self.form.advanced),
        )
        # The second click of a double click on Run would cancel what the first began.
        self._single_clicks = DoubleClickGuard(self.button.native)
        self._docking = Docking(self.native, self._on_docked, self._on_closed)
        self._timer = QTimer(self.native)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_FORECAST_DELAY_MS)

    def _connect(self) -> None:
        self.picker.picked.connect(self._on_picked)
        self.slices.changed.connect(self._on_edited)
        self.form.changed.connect(self._on_edited)
        self.button.changed.connect(self._on_button)
        self.copy.changed.connect(self._on_copy)
        self._timer.timeout.connect(self._measure)
        self._listen(True)

    def _listen(self, listen: bool) -> None:
        """Follow the viewer, or no longer."""
        if listen is self._listening:
            return
        self._listening = listen
        self.picker.listen(listen)
        steps = self._viewer.dims.events.current_step
        (steps.connect if listen else steps.disconnect)(self._on_step)

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now."""
        self._settings.reset_choices()

    # ------------------------------------------------------------------- reading

    def _job(self) -> Job:
        """Return what the form describes.

        Raises
        ------
        ValueError, TypeError
            If it describes nothing that can be run.
        """
        data, axes = self.picker.data(), self.picker.axes()
        layer = self.picker.image.value
        level = "[0]" if layer.multiscale else ""
        return Job(
            data=data,
            source=self.picker.source(),
            box=self._box(axes),
            options=self.form.chosen(),
            data_code=f"{_layer_code(layer.name)}.data{level}",
        )

    def _box(self, axes: Axes) -> Box:
        if self.slices.value == _WHOLE:
            return axes.whole()
        if self.slices.value == _RANGE and len(self.extents) == len(axes.plane_axes):
            return tuple(
                _extent(axes, axis, extent.value)
                for axis, extent in zip(axes.plane_axes, self.extents, strict=True)
            )
        return self.picker.current_plane()

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
        job, stack, problem = None, False, ""
        try:
            # By itself: what a wrong slice is corrected with must stay.
            stack = bool(self.picker.axes().plane_axes)
            job = self._job()
        except (ValueError, TypeError) as error:
            problem = str(error)
        self._settings.enabled = idle
        self.slices.visible = stack
        self._ranges.visible = stack and self.slices.value == _RANGE
        self.scale_layers.enabled = idle and (job is None or job.n_planes == 1)
        self.button.text = {
            State.IDLE: "Run",
            State.RUNNING: "Cancel",
            State.CANCELLING: "Cancelling…",
        }[state]
        self.button.enabled = state is State.RUNNING or (idle and job is not None)
        self.bar.visible = not idle
        self.copy.enabled = idle and self._last is not None
        if idle and (problem or self._outdated):
            self.forecast.value = problem or _MEASURING

    # ------------------------------------------------------------------ reacting

    def _on_picked(self) -> None:
        if self.state is State.IDLE:
            self._rebuild_ranges()
        self._on_edited()

    def _rebuild_ranges(self) -> None:
        try:
            axes = self.picker.axes()
        except ValueError:
            return
        if axes == self._ranges_of:
            return
        self._ranges_of = axes
        self._ranges.clear()
        self.extents = []
        for axis in axes.plane_axes:
            last = axes.shape[axis] - 1
            # A slider must have two ends; one over a single slice could leave it.
            extent = RangeSlider(
                label=axes.letters[axis],
                min=0,
                max=max(last, 1),
                value=(0, last),
                visible=last > 0,
            )
            give_handles_room(extent)
            extent.changed.connect(self._on_edited)
            self.extents.append(extent)
        self._ranges.extend(self.extents)
        self._order_tabs()

    def _order_tabs(self) -> None:
        order_tabs(self._area, self._settings.native, self.button.native, self.copy.native)

    def _on_step(self) -> None:
        stack = self._ranges_of is not None and bool(self._ranges_of.plane_axes)
        if self.state is State.IDLE and stack and self.slices.value == _CURRENT:
            self._on_edited()

    def _on_edited(self) -> None:
        if not self._listening:
            return
        self._outdated = True
        self._show_state()
        if self.state is State.IDLE:
            self._timer.start()

    def _on_button(self) -> None:
        if self.state is State.IDLE:
            self.run()
        else:
            self.cancel()

    def _on_copy(self) -> None:
        if self._last is not None:
            QApplication.clipboard().setText(self._last.now(self._viewer))
            self.status.value = "Copied; paste it into napari's console."

    def _on_progress(self, words: str, fraction: float) -> None:
        if isalive(self.native):
            self.bar.value = round(fraction * TICKS)
            self.status.value = words
            self._show_state()

    def _on_ended(self, message: str, finished: Finished | None) -> None:
        if finished is not None and finished.n_done and self._run is not None:
            self._last = _Code.of(finished, self._run.layer)
        self._run = None
        if isalive(self.native):
            self.status.value = message
            self._rebuild_ranges()
            self._show_state()
            if self._outdated:
                self._timer.start()

    def _on_docked(self) -> None:
        """Catch up with what was missed if the widget was out of its dock."""
        if not self._listening:
            self._listen(True)
            self.reset_choices()
            self.picker.guess()

    def _on_closed(self) -> None:
        """Stop when the dock or the window goes; the run ends on its own."""
        if self._run is not None:
            self._run.cancel()
        self._listen(False)
        self._outdated = False
        if isalive(self._timer):
            self._timer.stop()

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
        in_background(self._on_measured, forecast, job, self._engine)

    def _on_measured(self, answer: Forecast | Failure) -> None:
        self._measuring = False
        if not isalive(self.native):
            return
        if self._outdated:
            self._measure()
        elif isinstance(answer, Failure):
            self.forecast.value = answer.advised(_FORECAST_ADVICE)
        else:
            self.forecast.value = text.forecast(answer.job, answer.sigma, answer.cost)


def _extent(axes: Axes, axis: int, ends: Sequence[float]) -> tuple[int, int]:
    """Return the slices between the ends of a slider.

    The slider may be older than the data: their shape can change in place.
    """
    first, last = int(ends[0]), int(ends[1])
    if last >= axes.shape[axis]:
        raise ValueError(
            f"{axes.letters[axis]} {first} to {last}: the layer has {axes.shape[axis]} "
            "slices now; choose the layer again"
        )
    return first, last + 1


@dataclass(frozen=True)
class _Code:
    """The Python of the last result, and the layer that it denoises.

    Attributes
    ----------
    text : str
        The code, with the name that the layer had.
    name : str
        That name.
    layer : weakref
        The layer; its pixels must not outlive it.
    """

    text: str
    name: str
    layer: ReferenceType[Any]

    @classmethod
    def of(cls, finished: Finished, layer: Any) -> _Code:
        """Keep the code of a result."""
        made = finished.provenance
        return cls(made["python"], made["source"], ref(unwrapped(layer)))

    def now(self, viewer: napari.viewer.Viewer) -> str:
        """Return the code with the name that the layer has now, if it is still there."""
        layer = self.layer()
        if layer is None or layer not in viewer.layers:
            return self.text
        return self.text.replace(_layer_code(self.name), _layer_code(layer.name))


def _layer_code(name: str) -> str:
    """Return Python code for a layer."""
    return f"viewer.layers[{name!r}]"
