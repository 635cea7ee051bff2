"""What a TIFF says of its pixels: OME, ImageJ, LSM or plain."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_msdip.io._metadata import (
    Metadata,
    as_unit,
    channel_names,
    n_channels,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "IN_CM",
    "OME_SIZES",
    "ORIENTATION",
    "losses",
    "metadata_of",
    "tiff_order",
]

OME_SIZES = {
    "X": "PhysicalSizeX",
    "Y": "PhysicalSizeY",
    "Z": "PhysicalSizeZ",
    "T": "TimeIncrement",
}
IN_CM = {"Å": 1e-8, "nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "m": 100.0, "in": 2.54}
ORIENTATION = 274
# By the numbers that TIFF has for them, and what the writer calls them.
_LOSSLESS = {1: "", 5: "lzw", 8: "zlib", 32946: "zlib", 50000: "zstd"}
_MICROSCOPES = {"fei": "FEI", "sem": "Zeiss SEM", "sis": "Olympus SIS", "stk": "MetaMorph"}
_IMAGEJ_STRUCTURE = frozenset(
    "ImageJ SCIFIO axes images channels slices frames hyperstack".split()
)


def _axes(series: Any) -> str:
    """Return the letters of the dimensions; samples that are no colours are channels."""
    axes: str = series.axes
    if "S" not in axes or (_is_colour(series) and series.shape[axes.index("S")] in (3, 4)):
        return axes
    return axes.replace("S", "Q" if "C" in axes else "C")


def _is_colour(series: Any) -> bool:
    return series.keyframe.photometric.name in ("RGB", "YCBCR")


def tiff_order(axes: str) -> list[int]:
    """Order dimensions as TIFF stores them: Y, X and the samples innermost."""
    # Numbers, as letters do not tell two dimensions without a name apart.
    return sorted(range(len(axes)), key=lambda axis: axes[axis] in "YXS")


def metadata_of(tif: Any, series: Any, notes: list[str]) -> Metadata:
    """Return what a file says of an image; notes are added on what cannot be made out."""
    metadata, page = _dialect_metadata(tif, series, notes), series.keyframe
    extra = dict(metadata.extra)
    if page.photometric.name == "MINISWHITE":
        extra["photometric"] = "miniswhite"
    if page.tags.valueof(ORIENTATION) in range(2, 9):
        extra["orientation"] = int(page.tags.valueof(ORIENTATION))
    if _LOSSLESS.get(int(page.compression)):
        extra["compression"] = _LOSSLESS[int(page.compression)]
        extra["predictor"] = int(page.predictor) != 1
    for name in ("datetime", "iccprofile"):
        if getattr(page, name):
            extra[name] = getattr(page, name)
    return dataclasses.replace(metadata, extra=extra)


def losses(tif: Any, series: Any) -> list[str]:
    """Return what a file has beside its pixels and a result will not have."""
    page, lost = series.keyframe, []
    if len(series.levels) > 1:
        lost.append("smaller copies of itself")
    if page.is_tiled:
        lost.append("tiles")
    if int(page.compression) not in _LOSSLESS:
        lost.append(f"{page.compression.name} compression")
    kinds = [name for kind, name in _MICROSCOPES.items() if getattr(tif, f"is_{kind}")]
    return [*lost, *(f"{name} metadata" for name in kinds)]


def _dialect_metadata(tif: Any, series: Any, notes: list[str]) -> Metadata:
    axes = _axes(series)
    if tif.is_ome and series.kind == "ome":
        number = list(tif.series).index(series)
        return _ome_metadata(tif.ome_metadata, number, axes, series.shape, notes)
    if tif.is_imagej:
        return _imagej_metadata(tif, axes, notes)
    if tif.is_lsm:
        return _lsm_metadata(tif.lsm_metadata, axes, series.shape)
    return _plain_metadata(series.keyframe, axes, *_noted_size(tif))


def _number(found: Mapping[str, Any], key: str, notes: list[str]) -> float | None:
    """Return a number that a file states, None if it does not."""
    if key not in found:
        return None
    try:
        number = float(found[key])
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number):
        return number
    notes.append(f"{key} is {found[key]!r}, which is no number, and is ignored")
    return None


def _ome_metadata(
    xml: str, number: int, axes: str, shape: Sequence[int], notes: list[str]
) -> Metadata:
    images = ElementTree.fromstring(xml).findall("{*}Image")
    image = images[number] if number < len(images) else None
    pixels = None if image is None else image.find("{*}Pixels")
    if image is None or pixels is None:
        return Metadata(axes, flavour="ome")
    scale, units = _ome_sizes(pixels.attrib, notes)
    channels = [dict(channel.attrib) for channel in pixels.findall("{*}Channel")]
    count = n_channels(axes, shape)
    drop = ("ID", "Name", "SamplesPerPixel")
    extra: dict[str, Any] = {
        "Channel": _without(channels, drop) if len(channels) == count else [],
        "Plane": _without(
            _in_order([dict(p.attrib) for p in pixels.findall("{*}Plane")], axes, shape),
            drop=("TheC", "TheZ", "TheT"),
        ),
    }
    bits = _number(pixels.attrib, "SignificantBits", notes)
    if bits is not None:
        extra["SignificantBits"] = int(bits)
    if "Name" in image.attrib:
        extra["Name"] = image.attrib["Name"]
    for key in ("AcquisitionDate", "Description"):
        element = image.find(f"{{*}}{key}")
        if element is not None and element.text:
            extra[key] = element.text
    return Metadata(
        axes,
        scale,
        units,
        channel_names([channel.get("Name", "") for channel in channels], count),
        "ome",
        {key: value for key, value in extra.items() if value},
    )


def _ome_sizes(
    attributes: Mapping[str, str], notes: list[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the distances of neighbours along the axes, and their units."""
    scale, units = {}, {}
    for axis, key in OME_SIZES.items():
        size = _number(attributes, key, notes)
        if size is not None and size < 0:
            notes.append(f"{key} is {size:g}, which is no distance, and is ignored")
        # Zero is what programs write that do not know it.
        elif size:
            scale[axis] = size
            units[axis] = as_unit(
                attributes.get(f"{key}Unit", "s" if axis == "T" else "µm")
            )
    return scale, units


def _in_order(
    rows: Sequence[dict[str, str]], axes: str, shape: Sequence[int]
) -> list[dict[str, str]]:
    """Return what is said of planes in their order, nothing if of one it is said twice."""
    outer = [axis for axis, letter in enumerate(axes) if letter not in "YXS"]
    found = {tuple(row.get(f"The{axes[axis]}") for axis in outer): row for row in rows}
    places = np.ndindex(*(shape[axis] for axis in outer))
    planes = [tuple(str(n) for n in place) for place in places]
    if len(found) != len(rows):
        return []
    return [found.get(place, {}) for place in planes]


def _without(
    rows: Sequence[Mapping[str, str]], drop: tuple[str, ...]
) -> list[dict[str, str]]:
    """Return rows of attributes without some of these, no row if nothing is left."""
    kept = [{key: row[key] for key in row if key not in drop} for row in rows]
    return kept if any(kept) else []


def _imagej_metadata(tif: Any, axes: str, notes: list[str]) -> Metadata:
    found = dict(tif.imagej_metadata or {})
    spacing = _number(found, "spacing", notes)
    interval = _number(found, "finterval", notes)
    page = tif.pages[0]
    unit, factor = as_unit(str(found.get("unit", ""))), 1.0
    if "unit" not in found and _unit_in_um(page):
        unit, factor = "µm", _unit_in_um(page)
    x, y = _resolution(page)
    if not unit and (int(page.resolutionunit) != 1 or (x, y) == (1, 1)):
        # What programs write for lack of anything to say.
        x, y = 0.0, 0.0
    sizes = {"X": x, "Y": y, "Z": abs(spacing or 0.0)}
    scale = {axis: size * factor for axis, size in sizes.items() if size}
    units = dict.fromkeys(scale, unit)
    if interval:
        scale["T"] = interval
        units["T"] = as_unit(str(found.get("tunit", "s")))
    extra = {key: value for key, value in found.items() if key not in _IMAGEJ_STRUCTURE}
    if len(extra.get("LUTs", [])) != n_channels(axes, tif.series[0].shape):
        extra.pop("LUTs", None)
    if page.colormap is not None:
        extra["colormap"] = page.colormap
    return Metadata(axes, scale, units, (), "imagej", extra)


def _lsm_metadata(found: Mapping[str, Any], axes: str, shape: Sequence[int]) -> Metadata:
    scale = {}
    for axis in "XYZ":
        size = float(found.get(f"VoxelSize{axis}", 0))
        if size > 0:
            scale[axis] = size * 1e6
    units = dict.fromkeys(scale, "µm")
    if float(found.get("TimeIntervall", 0)) > 0:
        scale["T"], units["T"] = float(found["TimeIntervall"]), "s"
    found_names = found.get("ChannelColors", {}).get("ColorNames", [])
    names = channel_names(list(found_names), n_channels(axes, shape))
    return Metadata(axes, scale, units, names, "ome")


def _noted_size(tif: Any) -> tuple[dict[str, float], str]:
    """Return the pixel size that an electron microscope noted, and its unit."""
    scan = (tif.fei_metadata or {}).get("Scan", {})
    width, height = scan.get("PixelWidth"), scan.get("PixelHeight")
    if isinstance(width, float) and isinstance(height, float) and min(width, height) > 0:
        return {"X": 1e6 * width, "Y": 1e6 * height}, "µm"
    noted = tif.sem_metadata or {}
    _, *size = noted.get("ap_image_pixel_size", noted.get("ap_pixel_size", ("",)))
    if len(size) == 2 and as_unit(size[1]) in IN_CM and size[0] > 0:
        return dict.fromkeys("XY", float(size[0])), as_unit(size[1])
    return {}, ""


def _plain_metadata(
    page: Any, axes: str, scale: Mapping[str, float], unit: str
) -> Metadata:
    """Return what a page says; its resolution, unless the pixel size is known already."""
    extra: dict[str, Any] = {}
    # The first one, where tifffile's own comes second.
    if page.description and page.description != page.shaped_description:
        extra["description"] = page.description
    if page.colormap is not None:
        extra["colormap"] = page.colormap
    if not scale and "XResolution" in page.tags and "YResolution" in page.tags:
        raw = page.tags["XResolution"].value, page.tags["YResolution"].value
        extra["resolution"] = (*raw, int(page.resolutionunit))
        sizes = [size * _unit_in_um(page) for size in _resolution(page)]
        scale = {axis: size for axis, size in zip("XY", sizes, strict=True) if size}
        unit = "µm"
    return Metadata(axes, scale, dict.fromkeys(scale, unit), (), "tiff", extra)


def _unit_in_um(page: Any) -> float:
    """Length of the page's own unit of resolution, 0 if it tells none."""
    unit = {2: "in", 3: "cm"}.get(int(page.resolutionunit))
    # 72 dpi is what drawing programs write for lack of anything to say.
    if unit is None or (unit == "in" and page.tags.valueof("XResolution") == (72, 1)):
        return 0.0
    return IN_CM[unit] * 1e4


def _resolution(page: Any) -> tuple[float, float]:
    """Pixel size (X, Y) in the page's own unit, 0 where unknown."""
    sizes = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        numerator, denominator = tag.value if tag is not None else (0, 0)
        sizes.append(denominator / numerator if numerator else 0.0)
    return sizes[0], sizes[1]
