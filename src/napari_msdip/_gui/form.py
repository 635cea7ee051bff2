"""The options as a form: every field built from the one declaration of Options."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSpinBox,
    Label,
    LineEdit,
    PushButton,
    SpinBox,
)
from qtpy.QtWidgets import QSizePolicy

from napari_msdip._gui.layout import WheelGuard
from napari_msdip.options import PRESETS, Option, Options, declared_options

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

__all__ = ["CUSTOM", "OptionsForm"]

CUSTOM = "custom"

_AUTO = "auto"
_NOT_METHOD = "General"
"""Group of the options that say where and what to compute, not how."""


class OptionsForm(Container):  # type: ignore[type-arg]
    """Preset, the few options that matter, and the rest under a fold.

    ``changed`` is emitted after every edit; :meth:`chosen` reads the form.

    Parameters
    ----------
    options : Options or None
        What to show at first; None for the default preset.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._wheel_guard = WheelGuard()
        self._fields = {option.name: _Field(option) for option in declared_options()}
        self.preset = ComboBox(
            choices=(*PRESETS, CUSTOM),
            label="Preset",
            tooltip="A set of options that belong together; Advanced shows them all.",
        )
        self.advanced = _advanced_container(
            [field for field in self._fields.values() if field.option.setting.advanced]
        )
        self.fold = PushButton(text="▸ Advanced")
        self.basic = _column(
            [
                self.preset,
                *(
                    field.widget
                    for field in self._fields.values()
                    if not field.option.setting.advanced
                ),
            ]
        )
        super().__init__(widgets=[self.basic, self.fold, self.advanced], labels=False)
        self.margins = (0, 0, 0, 0)
        self.fill(options or Options())
        self.unfold(False)
        # Unfolding is no edit, although the container takes it for one.
        self.fold.changed.disconnect()
        self.fold.changed.connect(lambda: self.unfold(not self.unfolded))
        self.preset.changed.connect(self._on_preset)
        for field in self._fields.values():
            field.widget.changed.connect(self._show_preset)
        self._wheel_guard.protect(
            self.preset, *(field.widget for field in self._fields.values())
        )

    @property
    def unfolded(self) -> bool:
        """Whether the advanced options are shown."""
        return self._unfolded

    def unfold(self, show: bool) -> None:
        """Show or hide the advanced options."""
        self._unfolded = show
        self.advanced.visible = show
        self.fold.text = "▾ Advanced" if show else "▸ Advanced"

    def chosen(self) -> Options:
        """Return what the form says.

        Raises
        ------
        TypeError, ValueError
            If a field holds something that is not allowed.
        """
        return Options(**{name: field.value() for name, field in self._fields.items()})

    def fill(self, options: Options) -> None:
        """Show options in every field."""
        with self.changed.blocked():
            for name, field in self._fields.items():
                field.show(getattr(options, name))
            self._show_preset()
        self.changed.emit(self)

    def field(self, name: str) -> ValueWidget[Any]:
        """Return the widget of one option."""
        return self._fields[name].widget

    def _on_preset(self, name: str) -> None:
        if name == CUSTOM:
            self._show_preset()
            return
        preset = Options.preset(name)
        with self.changed.blocked():
            for option_name, field in self._fields.items():
                if _is_preset(field.option):
                    field.show(getattr(preset, option_name))
        self.changed.emit(self)

    def _show_preset(self) -> None:
        with self.preset.changed.blocked():
            self.preset.value = self._matching_preset()

    def _matching_preset(self) -> str:
        try:
            options = self.chosen()
        except (TypeError, ValueError):
            return CUSTOM
        method = [name for name, field in self._fields.items() if _is_preset(field.option)]
        for name in PRESETS:
            preset = Options.preset(name)
            if all(getattr(options, key) == getattr(preset, key) for key in method):
                return name
        return CUSTOM


class _Field:
    """One option and its widget.

    A widget rounds what it shows (1/30 becomes 0.0333), so the value put in comes
    back out exactly as long as nobody edits it.
    """

    def __init__(self, option: Option) -> None:
        self.option = option
        self.widget = _widget_for(option)
        self._exact: Any = None
        self._shown: Any = None

    def show(self, value: Any) -> None:
        self.widget.value = _displayed(self.option, value)
        self._exact, self._shown = value, self.widget.value
        if isinstance(self.widget, LineEdit):
            # Long lists would show their end.
            self.widget.native.setCursorPosition(0)

    def value(self) -> Any:
        shown = self.widget.value
        return self._exact if shown == self._shown else _entered(self.option, shown)


def _is_preset(option: Option) -> bool:
    """Return whether presets decide an option; they leave seed and device alone."""
    values = [getattr(Options.preset(name), option.name) for name in PRESETS]
    return option.setting.group != _NOT_METHOD or any(v != values[0] for v in values)


def _advanced_container(fields: list[_Field]) -> Container[Any]:
    widgets: list[Any] = []
    heading = ""
    for field in fields:
        if field.option.setting.group != heading:
            heading = field.option.setting.group
            widgets.append(_heading(heading))
        widgets.append(field.widget)
    return _column(widgets)


def _heading(text: str) -> Label:
    heading = Label(label=f"<b>{text}</b>")
    # An empty value that takes the room beside it keeps the caption on the left.
    heading.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
    return heading


def _column(widgets: list[Any]) -> Container[Any]:
    """Stack labelled widgets; magicgui aligns the labels of those added later only."""
    column: Container[Any] = Container(labels=True)
    column.margins = (0, 0, 0, 0)
    column.extend(widgets)
    return column


def _widget_for(option: Option) -> ValueWidget[Any]:
    setting = option.setting
    common: dict[str, Any] = {
        "label": setting.label,
        "tooltip": setting.help,
        "name": option.name,
    }
    if option.choices:
        words: list[Any] = [(word, word) for word in option.choices]
        return ComboBox(
            choices=[(_AUTO, None), *words] if option.optional else words,
            nullable=option.optional,
            **common,
        )
    if option.is_tuple or option.type is str:
        return LineEdit(**common)
    if option.type is bool:
        return CheckBox(**common)
    low, high = _limits(option)
    if option.type is int and not option.optional:
        return SpinBox(min=int(low), max=int(high), value=int(low), **common)
    # The box for whole numbers cannot show a word in place of a value.
    box = FloatSpinBox(min=low, max=high, value=low, step=_step(option), **common)
    box.native.setDecimals(_decimals(option))
    # The range was rounded to the decimals that the box had before.
    box.min, box.max = low, high
    if option.optional:
        box.native.setSpecialValueText(_AUTO)
    return box


def _limits(option: Option) -> tuple[float, float]:
    """Return the limits of a number's box; one below the minimum stands for auto."""
    low = option.setting.minimum
    high = option.setting.maximum
    low = -(2.0**31) + 1 if low is None else low
    high = 2.0**31 - 1 if high is None else high
    return (low - 1 if option.optional else low), high


def _decimals(option: Option) -> int:
    """Return how many decimals show the default and the minimum."""
    if option.type is int:
        return 0
    digits = [2]
    for value, significant in ((option.default, 2), (option.setting.minimum, 1)):
        if value:
            digits.append(significant - 1 - math.floor(math.log10(abs(value))))
    return max(digits)


def _step(option: Option) -> float:
    """Return a step that changes the default by a tenth or so."""
    if option.type is int:
        return 1.0
    size = abs(option.default) if option.default else 1.0
    return float(10.0 ** math.floor(math.log10(size) - 0.5))


def _displayed(option: Option, value: Any) -> Any:
    """Return what the option's widget shows for a value."""
    if option.is_tuple:
        return "" if value is None else ", ".join(map(str, value))
    if option.type is str and not option.choices:
        return value or ""
    if value is None and not option.choices:
        return option.type(_limits(option)[0])
    return value


def _entered(option: Option, shown: Any) -> Any:
    """Return the value that an edited widget stands for."""
    if option.is_tuple:
        return tuple(_number(option, part) for part in str(shown).replace(",", " ").split())
    if option.type is str and not option.choices:
        return shown or (None if option.optional else "")
    if option.choices:
        return shown
    if option.optional and shown == _limits(option)[0]:
        return None
    return option.type(shown)


def _number(option: Option, text: str) -> Any:
    try:
        return option.type(text)
    except ValueError:
        raise ValueError(
            f"{option.name}={text!r}: give numbers separated by commas"
        ) from None
