"""Which image: a layer of the viewer and the meaning of its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox, Container, LineEdit
from napari.layers import Image
from psygnal import Signal

from napari_msdip._gui.layout import WheelGuard, let_shrink
from napari_msdip._layer import text
from napari_msdip._layer.axes import Axes, Box, guess_axes, parse_axes
from napari_msdip._layer.layers import (
    METADATA_KEY,
    Source,
    full_resolution_data,
    unwrapped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer

__all__ = ["LayerPicker", "image_layers"]


def image_layers(viewer: napari.viewer.Viewer) -> list[Image]:
    """Return the viewer's Image layers; Labels and others are no pictures."""
    return [layer for layer in viewer.layers if isinstance(layer, Image)]


def _ours(layer: Image) -> bool:
    """Return whether a run of ours made a layer."""
    return METADATA_KEY in layer.metadata


def _noisy(layers: list[Image]) -> list[Image]:
    """Return the layers in view that are no results of ours."""
    return [layer for layer in layers if layer.visible and not _ours(layer)]


def _position(layer: Image, point: Sequence[float]) -> list[float]:
    """Return where in a layer's pixels the viewer's sliders stand, as napari slices it.

    Going back from the world would not do: napari also converts units, and leaves out
    what a shear or rotation takes from the axes on screen.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer.
    point : sequence of float
        The sliders in world coordinates, for axes that all are on screen, as in 3-D.
    """
    layer = unwrapped(layer)
    sliced = getattr(layer, "_data_slice", None)
    elsewhere = layer.world_to_data(point)
    shown = elsewhere if sliced is None else sliced.point
    return [
        float(there if np.isnan(here) else here)
        for here, there in zip(shown, elsewhere, strict=True)
    ]


class LayerPicker(Container):  # type: ignore[type-arg]
    """An image layer and its axes, read from the layer and open to correction.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    wheel_guard : WheelGuard
        Keeps the wheel off combo boxes; for those that are appended, too.
    picked : Signal
        Emitted when another layer or other axes are chosen.
    """

    picked = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self.image = ComboBox(
            label="Image",
            choices=lambda _widget: image_layers(viewer),
            nullable=False,
            tooltip="The layer to work on.",
        )
        self.letters = LineEdit(
            label="Axes",
            tooltip="One letter for each axis of the layer: Y and X span the image, C is "
            "the channel axis, every other letter counts slices.",
        )
        let_shrink(self.image)
        self.wheel_guard = WheelGuard()
        self.wheel_guard.protect(self.image)
        self._by_hand = False
        self._typed = False
        self._listening = False
        self._heard: Image | None = None
        super().__init__(labels=True)
        self.margins = (0, 0, 0, 0)
        self.extend([self.image, self.letters])
        self.reset_choices()
        self._suggest()
        self.guess()
        self.image.changed.connect(self._on_image)
        self.letters.changed.connect(self._on_letters)

    def listen(self, listen: bool) -> None:
        """Follow the viewer and the layer chosen, or no longer."""
        self._listening = listen
        for emitter, slot in (
            (self._viewer.dims.events.order, self.guess),
            (self._viewer.layers.events.inserted, self._on_inserted),
        ):
            emitter.disconnect(slot)
            if listen:
                emitter.connect(slot)
        self._hear(self.layer if listen else None)

    @property
    def layer(self) -> Image | None:
        """The layer chosen."""
        return self.image.value

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now."""
        before = self.layer
        with self.image.changed.blocked():
            super().reset_choices()
        if before is not None and before in self.image.choices:
            # magicgui keeps the text chosen, which is another's once a layer is renamed.
            self._set_image(before)
        else:
            self._by_hand = False
            self._suggest()
        if self.layer != before:
            self._typed = False
            self.guess()

    def guess(self) -> None:
        """Read the axes from the layer, unless a person has typed them for it."""
        layer = self.layer
        if self._listening:
            self._hear(layer)
        if not self._typed:
            with self.letters.changed.blocked():
                self.letters.value = "" if layer is None else self._guess(layer)
        self.picked.emit()

    def data(self) -> Any:
        """Return the layer's data at full resolution.

        Raises
        ------
        ValueError
            If there is no layer.
        """
        if self.layer is None:
            raise ValueError("Open an image first.")
        return full_resolution_data(self.layer)

    def axes(self) -> Axes:
        """Return the axes as they were guessed or corrected.

        Raises
        ------
        ValueError
            If there is no layer, or the letters do not describe it.
        """
        shape = self.data().shape
        return parse_axes(self.letters.value, shape, rgb=bool(self.image.value.rgb))

    def source(self) -> Source:
        """Return what is to be kept of the layer.

        Raises
        ------
        ValueError
            If there is no layer, or the letters do not describe it.
        """
        return Source.of(self.layer, self.axes())

    def current_plane(self) -> Box:
        """Return the plane on screen.

        Raises
        ------
        ValueError
            If there is no layer, the letters do not describe it, or a slider stands
            beside it.
        """
        axes = self.axes()
        position = _position(self.image.value, self._viewer.dims.point)
        # As napari rounds, so that half a slice beside the layer still shows its end.
        starts = {axis: round(position[axis]) for axis in axes.plane_axes}
        for axis, start in starts.items():
            if not 0 <= start < axes.shape[axis]:
                raise ValueError(
                    f"{text.short(self.image.value.name)} has no slice at this slider "
                    f"position ({axes.letters[axis]} {start}; it has 0 to "
                    f"{axes.shape[axis] - 1}): move the slider into it"
                )
        return tuple((start, start + 1) for start in starts.values())

    def _on_image(self) -> None:
        self._by_hand, self._typed = True, False
        self.guess()

    def _hear(self, layer: Image | None) -> None:
        """Follow the pixels and axis labels of a layer, and of no other any more."""
        layer = unwrapped(layer)
        if layer is self._heard:
            return
        if self._heard is not None:
            self._heard.events.data.disconnect(self._on_replaced)
            self._heard.events.axis_labels.disconnect(self.guess)
        self._heard = layer
        if layer is not None:
            layer.events.data.connect(self._on_replaced)
            layer.events.axis_labels.connect(self.guess)

    def _on_replaced(self) -> None:
        """Drop letters that were typed for data with fewer or more axes."""
        if len(self.letters.value.strip()) != len(self.data().shape):
            self._typed = False
        self.guess()

    def _on_letters(self) -> None:
        self._by_hand = self._typed = True
        self.picked.emit()

    def _on_inserted(self, event: Any) -> None:
        """Take an image just opened unless a person or a run has settled on one."""
        settled = self._by_hand or not self.native.isEnabled()
        if not settled and event.value in _noisy(image_layers(self._viewer)):
            self.reset_choices()
            self._set_image(event.value)
            self.guess()

    def _suggest(self) -> None:
        """Choose the selected layer, or else the topmost one that may be noisy."""
        layers = image_layers(self._viewer)
        active = self._viewer.layers.selection.active
        likely = _noisy(layers) or [each for each in layers if not _ours(each)] or layers
        if layers:
            self._set_image(active if active in layers else likely[-1])

    def _set_image(self, layer: Image) -> None:
        with self.image.changed.blocked():
            self.image.value = unwrapped(layer)

    def _guess(self, layer: Image) -> str:
        offset = self._viewer.dims.ndim - layer.ndim
        displayed = [axis - offset for axis in self._viewer.dims.displayed]
        axes = guess_axes(
            full_resolution_data(layer).shape,
            rgb=bool(layer.rgb),
            labels=layer.axis_labels,
            displayed=displayed if min(displayed, default=-1) >= 0 else None,
        )
        return axes.letters
