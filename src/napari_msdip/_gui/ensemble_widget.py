"""The ensemble dock widget: fuse images of several scales into one."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets import Container, FloatSpinBox, Label, PushButton, Select, SpinBox
from napari.layers import Image, Layer
from qtpy.compat import isalive

from napari_msdip._gui.layout import align_on_show, let_shrink, wrap
from napari_msdip._gui.picker import image_layers
from napari_msdip._gui.worker import Failure, in_background
from napari_msdip._layer import text
from napari_msdip._layer.axes import Axes, as_box, guess_axes, parse_axes
from napari_msdip._layer.engine import Engine
from napari_msdip._layer.job import check_dtype, check_finite
from napari_msdip._layer.layers import (
    METADATA_KEY,
    Source,
    adding_to,
    full_resolution_data,
    identity,
    image_tuple,
    index_above,
    original_name,
    result_name,
)
from napari_msdip.fusion import ensemble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import napari.viewer

__all__ = ["EnsembleWidget"]


_ADVICE = {
    text.Trouble.MEMORY: "Choose fewer or smaller layers.",
    text.Trouble.BROKEN: "The full report is in the terminal.",
}


class EnsembleWidget(Container):  # type: ignore[type-arg]
    """Fuse images of one scene at several scales by joint bilateral upsampling.

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
        self.scales = Select(
            label="Scales",
            choices=lambda _widget: image_layers(viewer),
            tooltip="Images of the same scene, such as the layers of a run's scales.",
        )
        let_shrink(self.scales)
        self.sigma_spatial = FloatSpinBox(
            label="Spatial sigma",
            value=_default("sigma_spatial"),
            min=0.05,
            max=20,
            step=0.1,
            tooltip="How far a coarse pixel reaches, in coarse pixels.",
        )
        self.sigma_range = FloatSpinBox(
            label="Range sigma",
            value=_default("sigma_range"),
            min=0.001,
            max=10,
            step=0.05,
            tooltip="How unlike the guide a pixel may be, as a share of the range.",
        )
        self.window = SpinBox(
            label="Window",
            value=_default("window"),
            min=3,
            max=31,
            step=2,
            tooltip="Width in pixels; odd.",
        )
        self._form: Container[Any] = Container(labels=True)
        self._form.margins = (0, 0, 0, 0)
        self._form.extend([self.scales, self.sigma_spatial, self.sigma_range, self.window])
        self.button = PushButton(text="Fuse")
        self.status = Label()
        super().__init__(widgets=[self._form, self.button, self.status], labels=False)
        wrap(self.status)
        self._aligner = align_on_show(self.native, self._form)
        self._by_hand = False
        self.reset_choices()
        self.scales.changed.connect(self._on_chosen)
        self.button.changed.connect(self.fuse)

    def fuse(self) -> None:
        """Fuse the chosen layers in a thread and add the result."""
        settings = {
            "sigma_spatial": self.sigma_spatial.value,
            "sigma_range": self.sigma_range.value,
            "window": self.window.value,
        }
        try:
            fusion = _Fusion.of(self.scales.value, settings)
        except (ValueError, TypeError) as error:
            self.status.value = str(error)
            return
        self.button.enabled = False
        self.status.value = "Fusing…"
        in_background(self._on_answer, fusion.run, self._engine)

    def _on_answer(self, answer: tuple[_Fusion, npt.NDArray[Any]] | Failure) -> None:
        if not isalive(self.native):
            return
        self.button.enabled = True
        if isinstance(answer, Failure):
            self.status.value = answer.advised(_ADVICE)
            return
        fusion, image = answer
        layers = self._viewer.layers
        if fusion.layers[0] not in layers:
            self.status.value = "The finest layer was removed meanwhile."
            return
        for other in fusion.adding_to(layers):
            other.visible = False
        layer = Layer.create(*fusion.layer(image))
        if fusion.source.contrast_limits_range is not None:
            layer.contrast_limits_range = fusion.source.contrast_limits_range
        layers.insert(index_above(layers, fusion.layers, fusion.sources), layer)
        self.status.value = f"Fused {len(fusion.images)} scales."

    def reset_choices(self, *_: Any) -> None:
        """Offer the layers that there are now, and choose if no person has chosen."""
        chosen = self.scales.value
        with self.scales.changed.blocked():
            self._form.reset_choices()
            layers = image_layers(self._viewer)
            # magicgui keeps the texts chosen, and loses a layer that is renamed.
            kept = [layer for layer in layers if layer in chosen]
            self._by_hand = self._by_hand and bool(kept)
            self.scales.value = kept if self._by_hand else _latest_run(layers)

    def _on_chosen(self) -> None:
        self._by_hand = True


def _default(name: str) -> Any:
    """Return what the fusion takes for an argument that nobody gives."""
    return signature(ensemble).parameters[name].default


@dataclass(frozen=True, eq=False)
class _Fusion:
    """What to fuse: layers sorted by size, finest first."""

    layers: tuple[Image, ...]
    source: Source
    names: tuple[str, ...]
    multiscale: tuple[bool, ...]
    images: tuple[Any, ...]
    opacity: Any
    settings: dict[str, Any]

    @classmethod
    def of(cls, layers: Sequence[Image], settings: dict[str, Any]) -> _Fusion:
        if len(layers) < 2:
            raise ValueError("Choose two or more layers of the same scene.")
        axes = {layer: _axes(layer) for layer in layers}
        order = sorted(layers, key=lambda layer: axes[layer].image_shape, reverse=True)
        for layer in order:
            _check_single(layer, axes[layer])
            _check_alike(layer, order[0], axes)
            _check_place(layer, order[0], axes)
        return cls(
            layers=tuple(order),
            source=Source.of(order[0], axes[order[0]]),
            names=tuple(layer.name for layer in order),
            multiscale=tuple(bool(layer.multiscale) for layer in order),
            images=tuple(_without_opacity(layer) for layer in order),
            opacity=_opacity(order[0]),
            settings=settings,
        )

    def run(self, engine: Engine) -> tuple[_Fusion, npt.NDArray[Any]]:
        axes = self.source.axes
        scales = [np.asarray(image).squeeze(axis=axes.plane_axes) for image in self.images]
        for name, scale, levels in zip(self.names, scales, self.multiscale, strict=True):
            check_finite(scale, name, multiscale=levels)
        fused = engine.ensemble(scales, channel_axis=axes.channel_axis, **self.settings)
        dtype = np.dtype(self.images[0].dtype)
        if self.source.rgb and dtype.kind == "u":
            # napari takes colours in floating point for shares of one.
            fused = np.rint(fused).clip(0, np.iinfo(dtype).max).astype(dtype)
        if self.opacity is not None:
            opacity = np.asarray(self.opacity).squeeze(axis=axes.plane_axes)
            fused = np.concatenate([fused, opacity.astype(fused.dtype)], axis=-1)
        return self, fused

    def adding_to(self, layers: Sequence[Layer]) -> list[Layer]:
        """Return the layers that the fused one would wrongly add up with."""
        blending = self.source.state["blending"]
        box = tuple(map(tuple, self._origin["box"])) if "box" in self._origin else None
        return adding_to(layers, blending, self.sources, box)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names and identities of the layers that the fused one is made from."""
        origin = self._origin
        scales = (*self.names, *map(identity, self.layers))
        return origin["source"], origin["source_id"], *scales

    @property
    def _origin(self) -> dict[str, Any]:
        """What is known of the layer and the planes that the scales were made from."""
        made = self.source.metadata.get(METADATA_KEY, {})
        return {"source": self.source.name, "source_id": self.source.identity} | {
            key: made[key]
            for key in ("source", "source_id", "run", "axes", "box")
            if key in made
        }

    def layer(self, image: npt.NDArray[Any]) -> tuple[Any, dict[str, Any], str]:
        box = self.source.axes.whole()
        return image_tuple(
            self.source,
            as_box(image, box),
            name=result_name(original_name(self.source.name), "fused"),
            box=box,
            provenance={
                "role": "ensemble",
                **self._origin,
                "scales": list(self.names),
                **self.settings,
            },
        )


def _check_single(layer: Image, axes: Axes) -> None:
    """Raise TypeError or ValueError unless a layer holds one image of numbers."""
    check_dtype(full_resolution_data(layer), layer.name)
    if axes.n_planes > 1:
        raise ValueError(
            f"{layer.name} has {axes.n_planes} slices; choose layers of one slice"
        )


def _check_alike(layer: Image, finest: Image, axes: Mapping[Image, Axes]) -> None:
    """Raise ValueError unless a layer has the axes and channels of the finest one."""
    own, wanted = axes[layer], axes[finest]
    if own.letters != wanted.letters:
        raise ValueError(
            f"{layer.name} has axes {own.letters}, {finest.name} has {wanted.letters}; "
            "choose layers with the same axes"
        )
    channels, expected = _colours(layer, own), _colours(finest, wanted)
    if channels != expected:
        raise ValueError(
            f"{layer.name} has {channels} channels, {finest.name} has {expected}; choose "
            "layers with the same channels"
        )


def _check_place(layer: Image, finest: Image, axes: Mapping[Image, Axes]) -> None:
    """Raise ValueError unless a layer lies where the finest one does."""
    away = _distance(layer, finest, axes)
    if any(away[axis] >= 0.5 for axis in axes[finest].plane_axes):
        raise ValueError(
            f"{layer.name} shows another slice than {finest.name}; choose layers of the "
            "same slice"
        )
    if any(away[axis] > 1 for axis in axes[finest].spatial_axes):
        raise ValueError(
            f"{layer.name} covers another area than {finest.name}; choose layers whose "
            "edges lie on each other, or set their scale and translate so"
        )


def _axes(layer: Image) -> Axes:
    shape = full_resolution_data(layer).shape
    known = layer.metadata.get(METADATA_KEY, {}).get("axes")
    if known is not None and len(known) == len(shape):
        return parse_axes(known, shape, rgb=bool(layer.rgb))
    return guess_axes(shape, rgb=bool(layer.rgb), labels=layer.axis_labels)


def _has_opacity(layer: Image) -> bool:
    return bool(layer.rgb) and full_resolution_data(layer).shape[-1] == 4


def _without_opacity(layer: Image) -> Any:
    data = full_resolution_data(layer)
    return data[..., :3] if _has_opacity(layer) else data


def _opacity(layer: Image) -> Any:
    """Return the last channel of an RGBA layer, which is no picture to fuse."""
    return full_resolution_data(layer)[..., 3:] if _has_opacity(layer) else None


def _colours(layer: Image, axes: Axes) -> int:
    """Return the number of channels to fuse."""
    return axes.channels - _has_opacity(layer)


def _latest_run(layers: Sequence[Image]) -> list[Image]:
    """Return the scales of the last run that has several, finest first."""
    runs: dict[Any, dict[int, Image]] = {}
    for layer in reversed(layers):
        made = layer.metadata.get(METADATA_KEY, {})
        if made.get("role") == "scale":
            run = runs.setdefault((made["source"], made.get("run")), {})
            run.setdefault(made["scale"], layer)
    latest = max(runs.values(), key=lambda run: len(run) > 1, default={})
    return list(latest.values())


def _distance(
    layer: Image, finest: Image, axes: Mapping[Image, Axes]
) -> npt.NDArray[np.float64]:
    """Return how far a layer's edges lie from the finest one's, in the layer's pixels."""
    pixel = np.divide(
        full_resolution_data(finest).shape, full_resolution_data(layer).shape
    )[: layer.ndim]
    # napari's coordinates are plain numbers, but it draws them with their units.
    unit = [
        (1 * own).to(other).magnitude if own.is_compatible_with(other) else 1.0
        for own, other in zip(layer.units, finest.units, strict=True)
    ]
    pairs = zip(_corners(layer, axes[layer]), _corners(finest, axes[finest]), strict=True)
    away = [
        finest.world_to_data(np.multiply(layer.data_to_world(here), unit)) - there
        for here, there in pairs
    ]
    return np.asarray(np.abs(away).max(axis=0) / pixel)


def _corners(layer: Image, axes: Axes) -> list[npt.NDArray[np.float64]]:
    """Return the outer corners of a layer's image, in its own pixels."""
    shape = np.array(full_resolution_data(layer).shape[: layer.ndim])
    corners = []
    for ends in product((-0.5, 0.5), repeat=len(axes.spatial_axes)):
        corner = (shape - 1) / 2
        corner[list(axes.spatial_axes)] += ends * shape[list(axes.spatial_axes)]
        corners.append(corner)
    return corners
