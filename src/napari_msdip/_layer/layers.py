"""From results to napari layers: what a layer was, and where its offspring lies.

Pure: reads a layer's public attributes once and from then on only builds layer
data tuples; it touches no viewer and imports no Qt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_msdip._layer.axes import Axes, Box

__all__ = [
    "METADATA_KEY",
    "LayerTuple",
    "Source",
    "adding_to",
    "full_resolution_data",
    "identity",
    "image_tuple",
    "index_above",
    "move",
    "original_name",
    "result_name",
    "scale_name",
    "unwrapped",
]

METADATA_KEY = "napari_msdip"

_MARK = " · MS-DIP"

LayerTuple = tuple[Any, dict[str, Any], str]

_OWN = ("name", "metadata", "visible", "multiscale", "locked_data_level")
"""State that a new layer sets for itself."""

_IN_PIXELS = ("plane", "experimental_clipping_planes")
"""State given in data coordinates: right only where the pixels are the source's."""

_ADDING_UP = ("additive", "minimum", "multiplicative")
"""Blending modes in which a result over its source would count twice."""

_GEOMETRY = (
    "units",
    "axis_labels",
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
)
"""State that says where a layer lies; the numbers mean what the units say."""


@dataclass(frozen=True)
class Source:
    """What is kept of the layer that a run started from.

    Attributes
    ----------
    name : str
        Its name.
    identity : str
        What stays the same when it is renamed.
    axes : Axes
        Axes of its full-resolution data.
    rgb : bool
        Whether its last axis is colour.
    multiscale : bool
        Whether its data are several levels.
    state : mapping
        Arguments that recreate it, data and identity left out.
    metadata : mapping
        Its metadata.
    contrast_limits_range : tuple of float or None
        Ends of its contrast slider.
    """

    name: str
    identity: str
    axes: Axes
    rgb: bool
    multiscale: bool
    state: Mapping[str, Any]
    metadata: Mapping[str, Any]
    contrast_limits_range: tuple[float, float] | None

    @classmethod
    def of(cls, layer: Any, axes: Axes) -> Source:
        """Read a napari Image layer.

        Parameters
        ----------
        layer : napari.layers.Image
            The layer.
        axes : Axes
            Axes of its full-resolution data.
        """
        _, state, _ = layer.as_layer_data_tuple()
        limits = layer.contrast_limits_range
        return cls(
            name=layer.name,
            identity=identity(layer),
            axes=axes,
            rgb=bool(layer.rgb),
            multiscale=bool(layer.multiscale),
            state={key: value for key, value in dict(state).items() if key not in _OWN},
            metadata=dict(layer.metadata),
            contrast_limits_range=None if limits is None else (limits[0], limits[1]),
        )

    def as_it_is_now(self, layer: Any) -> Source:
        """Read the layer anew, unless its pixels are others than those of the run.

        Parameters
        ----------
        layer : napari.layers.Image
            The layer that this was read from.
        """
        same = full_resolution_data(layer).shape == self.axes.shape
        return Source.of(layer, self.axes) if same and layer.rgb == self.rgb else self

    @property
    def known_as(self) -> tuple[str, str]:
        """Name and identity; what was made from it gives both, the name of that time."""
        return self.name, self.identity

    def linear(self) -> npt.NDArray[np.float64]:
        """Return the matrix from data to physical axes: rotate · shear · scale."""
        scale = np.asarray(self.state["scale"], dtype=float)
        shear = np.asarray(self.state["shear"], dtype=float)
        if shear.ndim == 1:
            matrix = np.eye(len(scale))
            matrix[np.triu_indices(len(scale), k=1)] = shear
            shear = matrix
        rotate = np.asarray(self.state["rotate"], dtype=float)
        return np.asarray(rotate @ shear @ np.diag(scale))

    def placement(
        self, box: Box, zoom: Sequence[float]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scale and translate of an image that covers part of the source.

        Parameters
        ----------
        box : Box
            Planes that the image holds.
        zoom : sequence of float
            Size of its pixels in pixels of the source, for Y and X.
        """
        ndim = len(self.state["scale"])
        pixel = np.ones(ndim)
        offset = np.zeros(ndim)
        for axis, (start, _) in zip(self.axes.plane_axes, box, strict=True):
            offset[axis] = start
        for axis, size in zip(self.axes.spatial_axes, zoom, strict=True):
            pixel[axis] = size
            # napari puts coordinates on pixel centres, so that the first large pixel
            # has its centre in the middle of the source pixels that it covers.
            offset[axis] = (size - 1) / 2
        return {
            "scale": np.asarray(self.state["scale"], dtype=float) * pixel,
            "translate": np.asarray(self.state["translate"], dtype=float)
            + self.linear() @ offset,
        }


def unwrapped(layer: Any) -> Any:
    """Return a layer out of the wrapper in which plugins get it, made anew each time."""
    return getattr(layer, "__wrapped__", layer)


def full_resolution_data(layer: Any) -> Any:
    """Return a layer's data, the finest level of a multiscale one."""
    return layer.data[0] if layer.multiscale else layer.data


def identity(layer: Any) -> str:
    """Return what a layer keeps, other than its name, as long as it exists."""
    return str(layer.unique_id)


def adding_to(
    layers: Sequence[Any], blending: str, sources: Collection[str], box: Box | None
) -> list[Any]:
    """Return the layers that a new one would wrongly add up with.

    Parameters
    ----------
    layers : sequence of napari.layers.Layer
        The layers that there are.
    blending : str
        How the new one is blended.
    sources : collection of str
        Names and identities of the layers that it is made from.
    box : Box or None
        Planes of it; None if they are not known.

    Returns
    -------
    list of napari.layers.Layer
        If blending adds up: the sources and what was made from the same planes of them,
        as far as they are visible.
    """
    if blending not in _ADDING_UP:
        return []
    return [
        layer
        for layer in layers
        if layer.visible and (_is_one_of(layer, sources) or _shows(layer, sources, box))
    ]


def _shows(layer: Any, sources: Collection[str], box: Box | None) -> bool:
    """Return whether a layer was made from some of these planes of the sources."""
    if not _made_from(layer, sources):
        return False
    other = layer.metadata[METADATA_KEY].get("box")
    if box is None or other is None or len(other) != len(box):
        return True
    pairs = zip(box, other, strict=True)
    return all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in pairs)


def _is_one_of(layer: Any, sources: Collection[str]) -> bool:
    return layer.name in sources or identity(layer) in sources


def _made_from(layer: Any, sources: Collection[str]) -> bool:
    # By name, too: a source closed and opened again has another identity.
    made = layer.metadata.get(METADATA_KEY, {})
    return made.get("source") in sources or made.get("source_id") in sources


def index_above(
    layers: Sequence[Any], parents: Collection[Any], sources: Collection[str]
) -> int:
    """Return where in the list of layers a new one belongs.

    At its end the new one would cover other channels and labels.

    Parameters
    ----------
    layers : sequence of napari.layers.Layer
        The layers that there are, the lowest first.
    parents : collection of napari.layers.Layer
        Those that the new one is made from.
    sources : collection of str
        Names and identities that what was made from the same layers gives as its source.

    Returns
    -------
    int
        The place right above the parents and what lies on them and was made from them;
        the end if no parent is left.
    """
    places = (n for n, layer in enumerate(layers, start=1) if layer in parents)
    index = max(places, default=len(layers))
    family = set(sources)
    for layer in layers[index:]:
        if not _made_from(layer, family):
            break
        family |= {layer.name, identity(layer)}
        index += 1
    return index


def move(layer: Any, state: Mapping[str, Any]) -> None:
    """Put a layer where the state of another one lies.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer.
    state : mapping
        Arguments that create the other.
    """
    for name in _GEOMETRY:
        place = getattr(layer, name)
        # An affine is given as a matrix and read as a transform.
        if not np.array_equal(getattr(place, "affine_matrix", place), state[name]):
            setattr(layer, name, state[name])


def result_name(source: str, part: str = "") -> str:
    """Return the name of the layer that shows a result.

    Parameters
    ----------
    source : str
        Name of the layer denoised.
    part : str
        What of the result it shows, such as ``"fused"``; empty for the result itself.
    """
    return f"{source}{_MARK} · {part}" if part else source + _MARK


def original_name(name: str) -> str:
    """Return the name of the layer that a layer of ours was made from."""
    return name.split(_MARK)[0]


def scale_name(source: str, scale: int, shape: tuple[int, int], n_scales: int) -> str:
    """Return the name of one scale's layer; names sort as the scales do.

    Parameters
    ----------
    source : str
        Name of the layer denoised.
    scale : int
        Number of the scale, 0 being the finest.
    shape : tuple of int
        Its height and width in pixels.
    n_scales : int
        Number of scales; from 11 on, all get as many digits as the coarsest.
    """
    number = str(scale).zfill(len(str(n_scales - 1)))
    return result_name(source, f"scale {number} ({shape[0]}×{shape[1]})")


def image_tuple(
    source: Source,
    planes: npt.NDArray[Any],
    *,
    name: str,
    box: Box,
    zoom: Sequence[float] = (1.0, 1.0),
    provenance: Mapping[str, Any] | None = None,
) -> LayerTuple:
    """Return the layer that shows an image over the part of the source it came from.

    Parameters
    ----------
    source : Source
        The layer denoised.
    planes : ndarray, shape (*box, Y, X) with the channel axis where it was
        The image or images, the axes of planes in front.
    name : str
        Name of the new layer.
    box : Box
        Planes that ``planes`` holds, one range per plane axis.
    zoom : sequence of float
        Size of a pixel in pixels of the source, for Y and X.
    provenance : mapping or None
        How the image came about, for ``metadata["napari_msdip"]``.

    Returns
    -------
    tuple
        ``(data, arguments, "image")``, as napari's layer data tuples are.
    """
    state = dict(source.state) | source.placement(box, zoom)
    if tuple(zoom) != (1.0, 1.0) or box != source.axes.whole():
        for key in _IN_PIXELS:
            state.pop(key, None)
    metadata = {key: value for key, value in source.metadata.items() if key != METADATA_KEY}
    if provenance is not None:
        metadata[METADATA_KEY] = dict(provenance)
    return (
        source.axes.restored(planes),
        state | {"name": name, "metadata": metadata, "multiscale": False},
        "image",
    )
