"""Zarr arrays and OME-Zarr."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip.io._metadata import (
    NGFF_UNITS,
    FileError,
    Metadata,
    Source,
    as_unit,
    axis_names,
    channel_names,
    n_channels,
)
from napari_msdip.io._paths import replacing, split_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "NGFF_DIMENSIONS",
    "PROVENANCE_KEY",
    "annotate_zarr",
    "check_zarr",
    "ngff_names",
    "ngff_order",
    "open_zarr",
    "save_zarr",
    "stored_names",
    "zarr_provenance",
]

PROVENANCE_KEY = "napari_msdip"
"""Attribute of a zarr that says how its pixels came about."""
NGFF_DIMENSIONS = 5
"""Most dimensions of an image in OME-Zarr."""


@contextmanager
def open_zarr(path: Path) -> Iterator[Source]:
    """Open a zarr array or the finest level of an OME-Zarr image, lazily."""
    import zarr

    try:
        # A worker, which may have been started in another folder, opens it by this path.
        node = zarr.open(path.absolute(), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path}: not a readable zarr ({error})") from error
    if isinstance(node, zarr.Array):
        yield Source(path, node, _bare_zarr_metadata(node))
        return
    attributes: dict[str, Any] = dict(node.attrs)
    image = attributes.get("ome", attributes)
    if not image.get("multiscales"):
        raise FileError(
            f"{path}: holds no image at its top; name the one inside that you mean"
        )
    try:
        multiscale = image["multiscales"][0]
        name = multiscale["datasets"][0]["path"]
    except (KeyError, IndexError, TypeError) as error:
        raise FileError(
            f"{path}: its OME metadata names no array in multiscales[0].datasets[0].path"
        ) from error
    try:
        data: Any = node[name]
    except (KeyError, IndexError) as error:
        raise FileError(
            f"{path}: its OME metadata names an array that is missing"
        ) from error
    try:
        metadata = _ngff_metadata(multiscale, image.get("omero") or {}, data.shape)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{path}: its OME metadata does not describe its array of {data.ndim} "
            f"dimensions ({_reason(error)})"
        ) from error
    losses = ("smaller copies of itself",) if multiscale["datasets"][1:] else ()
    yield Source(path, data, metadata, losses=losses)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _bare_zarr_metadata(array: Any) -> Metadata:
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if not names or None in names:
        return Metadata(_default_axes(array.ndim), flavour="zarr")
    axes = _letters(names)
    return Metadata(axes, flavour="zarr", axis_names=_own_names(names, axes))


def _default_axes(ndim: int) -> str:
    return "Q" * max(ndim - 2, 0) + "YX"[-ndim:]


def _letters(names: Sequence[str]) -> str:
    initials = [name[:1].upper() for name in names]
    # Where several begin alike, the one that is called just so: t rather than tile.
    owners = {
        initial: min(
            (number for number, other in enumerate(initials) if other == initial),
            key=lambda number: len(names[number]),
        )
        for initial in initials
        if initial in set("TCZYX")
    }
    letters = "".join(
        initial if owners.get(initial) == number else "Q"
        for number, initial in enumerate(initials)
    )
    return letters if {"Y", "X"} <= set(letters) else _default_axes(len(names))


def _own_names(names: Sequence[str], axes: str) -> tuple[str, ...]:
    """Return what axes without a letter are called, none at all if there is no such."""
    letters = zip(names, axes, strict=True)
    return axis_names([name if letter == "Q" else "" for name, letter in letters])


def _ngff_metadata(
    multiscale: Mapping[str, Any], omero: Mapping[str, Any], shape: Sequence[int]
) -> Metadata:
    ndim = len(shape)
    declared = multiscale.get("axes") or [{"name": n} for n in "tczyx"[-ndim:]]
    declared = [{"name": a} if isinstance(a, str) else a for a in declared]
    if len(declared) != ndim:
        raise ValueError(f"it has {len(declared)} axes")
    called = [axis["name"] for axis in declared]
    axes = _letters(called)
    factors, shifts = np.ones(ndim), np.zeros(ndim)
    transforms = multiscale["datasets"][0].get("coordinateTransformations", [])
    for transform in [*transforms, *multiscale.get("coordinateTransformations", [])]:
        if transform.get("type") == "scale" and "scale" in transform:
            zoom = np.asarray(transform["scale"], dtype=float)
            factors, shifts = factors * zoom, shifts * zoom
        elif transform.get("type") == "translation" and "translation" in transform:
            shifts = shifts + np.asarray(transform["translation"], dtype=float)
    scale, units = {}, {}
    for letter, axis, factor in zip(axes, declared, factors, strict=True):
        if axes.count(letter) > 1 or not factor > 0:
            # What holds for one of them does not for the other; zero is no distance.
            continue
        if axis.get("unit"):
            units[letter] = as_unit(axis["unit"])
        if axis.get("unit") or factor != 1:
            scale[letter] = float(factor)
    channels = omero.get("channels", [])
    labels = [str(channel.get("label", "")) for channel in channels]
    count = n_channels(axes, shape)
    names = channel_names(labels, count)
    extra = {"omero": dict(omero)} if channels and len(channels) == count else {}
    origin = {
        letter: float(shift)
        for letter, shift in zip(axes, shifts, strict=True)
        if shift and axes.count(letter) == 1
    }
    own = _own_names(called, axes)
    return Metadata(axes, scale, units, names, "zarr", extra, origin, own)


def save_zarr(
    path: Path,
    data: Any,
    metadata: Metadata,
    *,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write an OME-Zarr (version 0.5), one chunk a plane; see :func:`save_image`."""
    import zarr

    check_zarr(path, metadata.axes)
    order = ngff_order(metadata.axes)
    data, metadata = np.transpose(data, order), metadata.reordered(order)
    within = {metadata.axes.index("Y"), metadata.axes.index("X")}
    chunks = tuple(n if axis in within else 1 for axis, n in enumerate(data.shape))
    with replacing(path, overwrite=overwrite) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        array = group.create_array(
            "0",
            shape=data.shape,
            dtype=data.dtype,
            chunks=chunks,
            dimension_names=ngff_names(metadata),
        )
        outer = (n if axis not in within else 1 for axis, n in enumerate(data.shape))
        for index in np.ndindex(*outer):
            plane = tuple(
                slice(None) if axis in within else i for axis, i in enumerate(index)
            )
            array[plane] = np.asarray(data[plane])
        annotate_zarr(
            temporary, metadata, name=split_suffix(path)[0], provenance=provenance
        )


def check_zarr(path: Path, axes: str) -> None:
    """Raise FileError if OME-Zarr cannot hold an image of these axes."""
    if len(axes) > NGFF_DIMENSIONS:
        raise FileError(
            f"{path}: OME-Zarr holds at most {NGFF_DIMENSIONS} dimensions, not {axes}; "
            "write .tif instead"
        )


def zarr_provenance(path: Path) -> Any:
    """Return what :func:`save_zarr` stored as provenance, None if nothing."""
    import zarr

    return zarr.open(path, mode="r").attrs.get(PROVENANCE_KEY)


def annotate_zarr(
    path: Path,
    metadata: Metadata,
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write OME metadata for the array ``0`` into a zarr group.

    Parameters
    ----------
    path : Path
        A zarr group of either format; format 3 gets OME-Zarr 0.5, format 2 gets 0.4.
    metadata : Metadata
        What to say about the array.
    name : str
        Name of the image.
    provenance : mapping or None
        How the pixels came about.
    """
    import zarr

    group = zarr.open_group(path, mode="r+")
    # A stack in the making is described before there is an array.
    array: Any = group.get("0")
    dtype = None if array is None else array.dtype
    described = _ngff_attributes(metadata, name, dtype)
    if group.metadata.zarr_format == 2:
        described["multiscales"][0]["version"] = "0.4"
        group.attrs.update(described)
    else:
        group.attrs["ome"] = {"version": "0.5", **described}
    if provenance:
        group.attrs[PROVENANCE_KEY] = dict(provenance)


def ngff_order(axes: str) -> tuple[int, ...]:
    """Return the axes' numbers as OME-Zarr wants them: time, channels, Z, Y, X.

    Axes that it does not know lie between time and channels.
    """
    ranks = {"T": 0, "C": 2, "S": 3, "Z": 4, "Y": 5, "X": 6}
    return tuple(sorted(range(len(axes)), key=lambda axis: ranks.get(axes[axis], 1)))


def ngff_names(metadata: Metadata) -> list[str]:
    """Return what OME-Zarr calls the axes."""
    names: list[str] = []
    axes = metadata.axes
    for letter, called in zip(axes, metadata.called, strict=True):
        name = "c" if letter == "S" and "C" not in axes else called or letter.lower()
        names.append(name if name not in names else f"{name}{len(names)}")
    return names


def stored_names(path: Path) -> list[str]:
    """Return what an OME-Zarr (version 0.5) calls its axes.

    Raises
    ------
    IndexError, KeyError, TypeError
        If it does not.
    """
    import zarr

    described: Any = zarr.open_group(path, mode="r").attrs["ome"]
    return [axis["name"] for axis in described["multiscales"][0]["axes"]]


def _ngff_unit(unit: str | None) -> str | None:
    """Return what OME-Zarr calls a unit."""
    return NGFF_UNITS.get(unit, unit) if unit else None


def _ngff_attributes(
    metadata: Metadata, name: str, dtype: np.dtype[Any] | None
) -> dict[str, Any]:
    types = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
    axes = []
    for letter, axis in zip(metadata.axes, ngff_names(metadata), strict=True):
        described = {"name": axis}
        if axis in types:
            described["type"] = types[axis]
        unit = _ngff_unit(metadata.units.get(letter))
        if unit:
            described["unit"] = unit
        axes.append(described)
    scale = [float(metadata.scale.get(letter, 1)) for letter in metadata.axes]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if metadata.origin:
        shift = [float(metadata.origin.get(letter, 0)) for letter in metadata.axes]
        transforms.append({"type": "translation", "translation": shift})
    attributes: dict[str, Any] = {
        "multiscales": [
            {
                "name": name,
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": transforms}],
            }
        ]
    }
    omero = metadata.extra.get("omero")
    if omero:
        attributes["omero"] = omero
    elif "C" in metadata.axes or "S" not in metadata.axes:
        # Without C the samples take its place, and have no names.
        channels = _channels(metadata, dtype)
        if channels:
            attributes["omero"] = {"channels": channels}
    return attributes


def _channels(metadata: Metadata, dtype: np.dtype[Any] | None) -> list[dict[str, Any]]:
    """Return how to show channels, nothing if they have neither names nor colours."""
    names, colours = metadata.channel_names, metadata.channel_colours
    channels: list[dict[str, Any]] = [
        {"color": colour} for colour in colours or ["FFFFFF"] * len(names)
    ]
    for channel, label in zip(channels, names, strict=False):
        channel["label"] = label
    if dtype is not None and dtype.kind in "iu" and dtype.itemsize == 1:
        # Wider integers seldom fill their range, fractions have none: shown in all of it
        # they would be black. A viewer that is told none looks for it.
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        for channel in channels:
            channel["window"] = {"min": low, "max": high, "start": low, "end": high}
    ranges = metadata.extra.get("Ranges", ())
    if len(ranges) == 2 * len(channels):
        for channel, start, end in zip(channels, ranges[::2], ranges[1::2], strict=True):
            limits = channel.get("window", {"min": start, "max": end})
            channel["window"] = {**limits, "start": start, "end": end}
    return channels
