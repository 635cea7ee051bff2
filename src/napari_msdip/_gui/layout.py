"""What magicgui's layouts lack."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QLabel,
    QListView,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from magicgui.widgets import ComboBox, Container, Label, RangeSlider, Select
    from magicgui.widgets.bases import Widget

__all__ = [
    "Docking",
    "DoubleClickGuard",
    "FittingScrollArea",
    "WheelGuard",
    "align_labels",
    "align_on_show",
    "give_handles_room",
    "let_shrink",
    "order_tabs",
    "wrap",
]


_LEAST_WIDTH = 280
_LEAST_CHOICE_WIDTH = 80
_HANDLE_HEIGHT = 24
_STEP_BUTTONS_WIDTH = 50
_SLACK = 4
"""Room for the border that a style sheet may draw inside the area."""


class FittingScrollArea(QScrollArea):
    """As high as its content where there is room, scrolling where there is not.

    A scrollable magicgui container inside another one does not scroll.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def sizeHint(self) -> QSize:
        """Return the size of the content."""
        hint = self.widget().sizeHint()
        return QSize(hint.width() + self._beside(), hint.height() + _SLACK)

    def minimumSizeHint(self) -> QSize:
        """Return the width of the content and a few rows' height."""
        hint = self.widget().minimumSizeHint()
        width = max(hint.width() + self._beside(), _LEAST_WIDTH)
        return QSize(width, min(hint.height(), 120))

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the content when it changes its size."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def _beside(self) -> int:
        """Return the width that is not the content's."""
        return int(self.verticalScrollBar().sizeHint().width()) + _SLACK


class DoubleClickGuard(QObject):
    """Makes a double click on a button a single one."""

    def __init__(self, button: QWidget) -> None:
        super().__init__()
        button.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Swallow the second press."""
        if event.type() == QEvent.Type.MouseButtonDblClick:
            return True
        return bool(super().eventFilter(watched, event))


class WheelGuard(QObject):
    """Keeps the wheel from changing a value while it scrolls past the widget."""

    def protect(self, *widgets: Widget) -> None:
        """Let the wheel change combo boxes and spin boxes only once they have the focus."""
        for widget in widgets:
            native = widget.native
            if hasattr(native, "setSpecialValueText") or isinstance(native, QComboBox):
                native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                native.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Hand the wheel on to the scroll area unless the widget has the focus."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))


class Docking(QObject):
    """Tells when a widget comes into its dock, and leaves it or is destroyed.

    Parameters
    ----------
    widget : QWidget
        What to watch.
    docked, closed : callable
        What to call.
    """

    def __init__(
        self, widget: QWidget, docked: Callable[[], None], closed: Callable[[], None]
    ) -> None:
        super().__init__()
        self._docked = docked
        self._closed = closed
        widget.installEventFilter(self)
        widget.destroyed.connect(self._on_destroyed)

    def _on_destroyed(self) -> None:
        self._closed()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Notice that a dock took its widget, or gave it away."""
        if event.type() == QEvent.Type.ParentChange:
            (self._closed if watched.parent() is None else self._docked)()
        return bool(super().eventFilter(watched, event))


def give_handles_room(slider: RangeSlider) -> None:
    """Make a range slider high enough for its handles in napari's style.

    It takes its height from Qt's style, whose handles are smaller.
    """
    for groove in slider.native.findChildren(QSlider):
        groove.setMinimumHeight(_HANDLE_HEIGHT)


def let_shrink(*choices: ComboBox | Select) -> None:
    """Keep long choices, such as names of layers, from widening the dock.

    Parameters
    ----------
    *choices : ComboBox or Select
        Widgets whose choices a person named.
    """
    for widget in choices:
        native = widget.native
        native.setSizePolicy(
            QSizePolicy.Policy.Ignored, native.sizePolicy().verticalPolicy()
        )
        native.setMinimumWidth(_LEAST_CHOICE_WIDTH)
        if isinstance(native, QListView):
            native.setTextElideMode(Qt.TextElideMode.ElideMiddle)
            native.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)


def wrap(*labels: Label) -> None:
    """Break the text of labels to the width that there is, and take it as it is.

    Names of layers may look like tags. What is said can be copied: noise levels, and
    what to type in napari's console.
    """
    for label in labels:
        label.native.setTextFormat(Qt.TextFormat.PlainText)
        label.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        label.native.setWordWrap(True)
        label.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


def order_tabs(*widgets: QWidget) -> None:
    """Let the tab key go through widgets, and what they hold, in this order.

    Qt goes in the order in which they were made.

    Parameters
    ----------
    *widgets : QWidget
        From the top of the dock to its bottom.
    """
    stops = [stop for widget in widgets for stop in _tab_stops(widget)]
    for one, next_one in pairwise(stops):
        QWidget.setTabOrder(one, next_one)


def _tab_stops(widget: QWidget) -> list[QWidget]:
    """Return what the tab key stops at: a widget, or else what it holds."""
    if widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        return [widget]
    rows = widget.layout()
    if rows is None:
        return []
    inner = (rows.itemAt(n).widget() for n in range(rows.count()))
    return [stop for each in inner if each is not None for stop in _tab_stops(each)]


def align_labels(*columns: Container[Any]) -> None:
    """Give the labels of magicgui columns one width, in the font they really have.

    magicgui measures in the default font, napari's style sets another.
    """
    labels = [label for column in columns for label in _labels(column)]
    for label in labels:
        label.ensurePolished()
    width = max((label.sizeHint().width() for label in labels), default=0)
    for label in labels:
        label.setMinimumWidth(width)


def _fit_numbers(column: Container[Any]) -> None:
    """Make a column's boxes wide enough for the decimals, in the font they really have."""
    for box in column.native.findChildren(QDoubleSpinBox):
        box.ensurePolished()
        digits = box.fontMetrics().horizontalAdvance("00." + "0" * box.decimals())
        # napari's style sets a minimum for a few digits, which only a style can raise.
        style = f"min-width: {digits + _STEP_BUTTONS_WIDTH}px"
        if box.styleSheet() != style:
            box.setStyleSheet(style)


class _Aligner(QObject):
    def __init__(self, columns: tuple[Container[Any], ...]) -> None:
        super().__init__()
        self._columns = columns

    def eventFilter(self, watched: Any, event: Any) -> bool:
        if event.type() in (
            QEvent.Type.Show,
            QEvent.Type.StyleChange,
            QEvent.Type.FontChange,
        ):
            align_labels(*self._columns)
            for column in self._columns:
                _fit_numbers(column)
        return bool(super().eventFilter(watched, event))


def align_on_show(widget: QWidget, *columns: Container[Any]) -> QObject:
    """Fit the labels and numbers of columns whenever their widget gets its style.

    Parameters
    ----------
    widget : QWidget
        What holds the columns.
    *columns : Container
        Columns whose labels get one width, and whose numbers are not cut off.

    Returns
    -------
    QObject
        What watches; keep it as long as the widget.
    """
    aligner = _Aligner(columns)
    widget.installEventFilter(aligner)
    return aligner


def _labels(column: Container[Any]) -> list[QLabel]:
    rows = column.native.layout()
    found = []
    for n in range(rows.count()):
        row = rows.itemAt(n).widget().layout()
        first = row.itemAt(0).widget() if row is not None and row.count() > 1 else None
        if isinstance(first, QLabel):
            found.append(first)
    return found
