"""TIFF out, in the dialect that keeps most of what is known: OME, ImageJ or plain."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip.io._metadata import OME_UNITS, FileError, Metadata
from napari_msdip.io._paths import replacing, split_suffix
from napari_msdip.io._tiff_metadata import IN_CM, OME_SIZES, ORIENTATION, tiff_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["check_tiff", "keeps_palette", "save_tiff"]

_CLASSIC_TIFF_LIMIT = 2**32 - 2**25
_OME_DTYPES = frozenset("u1 u2 u4 i1 i2 i4 f4 f8".split())
_IMAGEJ_DTYPES = frozenset("u1 u2 f4".split())
_IMAGEJ_APART = frozenset(["spacing", "finterval", "fps", "colormap"])
_IMAGEJ_UNICODE = frozenset(["Info", "Labels"])


def save_tiff(
    path: Path,
    data: Any,
    metadata: Metadata,
    *,
    overwrite: bool = False,
    alpha: npt.NDArray[Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a TIFF in the dialect of its source where possible; see :func:`save_image`.

    ``.ome.tif`` is always OME. ImageJ holds 8- and 16-bit integers and float32 up
    to 4 GB and no BigTIFF (``.btf``), OME no 64-bit integers: what a dialect cannot
    hold is written in the next more general one (ImageJ, OME, plain).
    """
    import tifffile

    source_axes, extra = metadata.axes, dict(metadata.extra)
    opacity = extra.pop("opacity", "unassalpha")
    gray = extra.pop("photometric", "minisblack")
    orientation = extra.pop("orientation", None)
    if data.dtype.kind == "f" or extra.get("SignificantBits", 0) > 8 * data.dtype.itemsize:
        extra.pop("SignificantBits", None)
    if alpha is not None:
        data, source_axes = with_opacity(data, source_axes, alpha)
    kept = _kept_arguments(extra, data.dtype)
    order = tiff_order(source_axes)
    axes = "".join(source_axes[axis] for axis in order)
    shape = tuple(data.shape[axis] for axis in order)
    metadata = dataclasses.replace(metadata, axes=axes, extra=extra)
    check_tiff(path, axes, data.dtype)
    dialect = _dialect(path, metadata, data.dtype, data.nbytes)
    arguments = _ARGUMENTS[dialect](metadata, provenance or {}) | kept
    samples = shape[axes.index("S")] if "S" in axes else 1
    # What the pixels are: a reader may have turned those of the source into others.
    arguments["photometric"] = "rgb" if samples in (3, 4) else gray
    _fit_palette(arguments, data.dtype)
    if alpha is not None:
        arguments |= {"extrasamples": [opacity], "planarconfig": "contig"}
    if orientation is not None:
        # Turned pixels would not fit the sizes of pixels, nor a stack that is read lazily.
        arguments["extratags"] = [(ORIENTATION, 3, 1, orientation, False)]
    if axes.endswith("SYX"):
        arguments["planarconfig"] = "separate"
    with replacing(path, overwrite=overwrite) as temporary:
        tifffile.imwrite(
            temporary,
            _pages(data, source_axes),
            shape=shape,
            dtype=data.dtype,
            bigtiff=_is_big(path) or data.nbytes > _CLASSIC_TIFF_LIMIT,
            **arguments,
        )


def keeps_palette(
    path: Path, metadata: Metadata, dtype: np.dtype[Any], nbytes: int
) -> bool:
    """Whether an image has a palette, and still has it once it is written there."""
    arguments = _ARGUMENTS[_dialect(path, metadata, dtype, nbytes)](metadata, {})
    _fit_palette(arguments, dtype)
    return "colormap" in arguments


def _fit_palette(arguments: dict[str, Any], dtype: np.dtype[Any]) -> None:
    """Show pixels by a palette if it has a colour for each value, or else drop it."""
    if "colormap" not in arguments:
        return
    # There is none for a fraction.
    if dtype.kind == "u" and arguments["colormap"].shape[1] == 2 ** (8 * dtype.itemsize):
        arguments["photometric"] = "palette"
    else:
        del arguments["colormap"]


def _kept_arguments(extra: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Take out of what is known what has a place of its own in every dialect."""
    names = ("compression", "datetime", "iccprofile")
    kept = {name: extra.pop(name) for name in names if name in extra}
    if extra.pop("predictor", False) and dtype.str[1:] in _OME_DTYPES:
        kept["predictor"] = True
    return kept


def with_opacity(
    data: Any, axes: str, alpha: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], str]:
    """Return colours with their opacity as the last sample."""
    pixels = np.asarray(data)
    if axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    colours = pixels if "S" in axes else pixels[..., None]
    last = alpha[..., None].astype(pixels.dtype)
    return np.concatenate([colours, last], axis=-1), "YXS"


def _pages(data: Any, axes: str) -> Iterator[npt.NDArray[Any]]:
    outer = [axis for axis, letter in enumerate(axes) if letter not in "YXS"]
    for index in np.ndindex(*(data.shape[axis] for axis in outer)):
        selection: list[Any] = [slice(None)] * data.ndim
        for axis, position in zip(outer, index, strict=True):
            selection[axis] = position
        yield np.ascontiguousarray(data[tuple(selection)])


def check_tiff(path: Path, axes: str, dtype: np.dtype[Any]) -> None:
    """Raise FileError if the name asks for OME-TIFF and that cannot hold the image."""
    if _is_named_ome(path) and not _ome_can(axes, dtype):
        several = " (Q: several dimensions, or one without a name)" if "Q" in axes else ""
        raise FileError(
            f"{path}: OME-TIFF holds integers up to 32 bits or floats along T, Z, C, Y and "
            f"X, not {dtype} along {axes}{several}; write .tif instead"
        )


def _is_named_ome(path: Path) -> bool:
    return split_suffix(path)[1].lower().startswith(".ome")


def _is_big(path: Path) -> bool:
    return path.suffix.lower() == ".btf"


def _ome_can(axes: str, dtype: np.dtype[Any]) -> bool:
    return dtype.str[1:] in _OME_DTYPES and set(axes) <= set("TZCYXS")


def _dialect(path: Path, metadata: Metadata, dtype: np.dtype[Any], nbytes: int) -> str:
    if _is_named_ome(path):
        return "ome"
    if metadata.flavour in ("tiff", "png") or not _ome_can(metadata.axes, dtype):
        return "tiff"
    kind = dtype.str[1:]
    imagej_can = (
        kind in _IMAGEJ_DTYPES
        and ("S" not in metadata.axes or (metadata.axes[-1] == "S" and kind == "u1"))
        and metadata.axes in _subsequences("TZCYXS")
        # ImageJ knows no BigTIFF.
        and nbytes < _CLASSIC_TIFF_LIMIT
        and not _is_big(path)
    )
    return "imagej" if metadata.flavour == "imagej" and imagej_can else "ome"


def _subsequences(letters: str) -> set[str]:
    return {
        "".join(chosen)
        for length in range(len(letters) + 1)
        for chosen in itertools.combinations(letters, length)
    }


def _ome_arguments(metadata: Metadata, provenance: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"axes": metadata.axes}
    for axis, key in OME_SIZES.items():
        unit = metadata.units.get(axis, "")
        known = unit in OME_UNITS
        # Without the unit that it has, a time would be taken for seconds.
        if axis in metadata.scale and (known or axis != "T" or not unit):
            described[key] = metadata.scale[axis]
            if known:
                described[f"{key}Unit"] = unit
            elif axis != "T":
                # Of times there is no such unit.
                described[f"{key}Unit"] = "pixel"
    if metadata.flavour == "ome":
        described |= metadata.extra
    channels = _ome_channels(metadata, described.get("Channel", []))
    if channels:
        described["Channel"] = channels
    if provenance:
        described["MapAnnotation"] = {
            "Namespace": "napari-msdip",
            "napari-msdip": json.dumps(provenance),
        }
    return {"ome": True, "metadata": described}


def _ome_channels(
    metadata: Metadata, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what is known of each channel, of some perhaps less than of others."""
    names, colours = metadata.channel_names, metadata.channel_colours
    channels = [dict(row) for row in rows or [{}] * max(len(names), len(colours))]
    for channel, name in zip(channels, names, strict=False):
        channel["Name"] = name
    for channel, colour in zip(channels, colours, strict=False):
        channel.setdefault("Color", _ome_colour(colour))
    return channels


def _ome_colour(rgb: str) -> int:
    """Return an opaque colour as the signed number that OME-TIFF wants."""
    return int.from_bytes(bytes.fromhex(f"{rgb}FF"), signed=True)


def _imagej_arguments(metadata: Metadata, provenance: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        _escaped(key): value
        if key in _IMAGEJ_UNICODE or not isinstance(value, str)
        else _escaped(value)
        for key, value in metadata.extra.items()
        if key not in _IMAGEJ_APART
    }
    described |= {"axes": metadata.axes, **_imagej_distances(metadata)}
    if provenance:
        before = described.get("Info", "")
        described["Info"] = f"{before}\nnapari-msdip: {json.dumps(provenance)}".lstrip()
    arguments: dict[str, Any] = {"imagej": True, "metadata": described}
    if "colormap" in metadata.extra:
        arguments["colormap"] = metadata.extra["colormap"]
    if "X" in metadata.scale and "Y" in metadata.scale:
        if metadata.units.get("X"):
            described.setdefault("unit", _escaped(metadata.units["X"]))
        arguments["resolution"] = (1 / metadata.scale["X"], 1 / metadata.scale["Y"])
        arguments["resolutionunit"] = "NONE"
    elif "unit" in described:
        # Left out, it would be written as one pixel a unit.
        arguments["resolution"] = (0, 0)
    return arguments


def _imagej_distances(metadata: Metadata) -> dict[str, Any]:
    """Return how far planes and frames are from each other, as far as it is known."""
    scale, found, distances = metadata.scale, metadata.extra, {}
    if "Z" in scale:
        # Below zero, ImageJ counts planes from the other end.
        distances["spacing"] = math.copysign(scale["Z"], float(found.get("spacing", 1)))
    if "T" in scale:
        distances["finterval"] = scale["T"]
    if "fps" in found and scale.get("T") == found.get("finterval"):
        distances["fps"] = found["fps"]
    return distances


def _escaped(text: str) -> str:
    """Return a text as ImageJ writes it into a description, which is ASCII."""
    return "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in text)


def _plain_arguments(metadata: Metadata, provenance: Mapping[str, Any]) -> dict[str, Any]:
    extra = metadata.extra if metadata.flavour == "tiff" else {}
    described: dict[str, Any] = {"axes": metadata.axes}
    if provenance:
        described["napari-msdip"] = dict(provenance)
    if metadata.channel_names:
        described["Channel"] = {"Name": list(metadata.channel_names)}
    arguments: dict[str, Any] = {"metadata": described}
    if "colormap" in extra:
        arguments["colormap"] = extra["colormap"]
    if "description" in extra:
        # As a text it would have to be ASCII.
        arguments["description"] = extra["description"].encode()
    if "resolution" in extra:
        x, y, unit = extra["resolution"]
        arguments |= {"resolution": (x, y), "resolutionunit": unit}
    elif all(axis in metadata.scale and metadata.units.get(axis) in IN_CM for axis in "XY"):
        x, y = (1 / (metadata.scale[a] * IN_CM[metadata.units[a]]) for a in "XY")
        arguments |= {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
    return arguments


_ARGUMENTS = {"ome": _ome_arguments, "imagej": _imagej_arguments, "tiff": _plain_arguments}
