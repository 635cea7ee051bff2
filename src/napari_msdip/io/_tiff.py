"""TIFF: OME, ImageJ, LSM and plain."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from napari_msdip.io._metadata import (
    NGFF_UNITS,
    FileError,
    Metadata,
    Source,
    as_unit,
    channel_names,
    n_channels,
)
from napari_msdip.io._paths import replacing, split_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["check_tiff", "open_tiff", "save_tiff", "tiff_provenance"]

_CLASSIC_TIFF_LIMIT = 2**32 - 2**25
_OME_DTYPES = frozenset("u1 u2 u4 i1 i2 i4 f4 f8".split())
_OME_SIZES = {
    "X": "PhysicalSizeX",
    "Y": "PhysicalSizeY",
    "Z": "PhysicalSizeZ",
    "T": "TimeIncrement",
}
_OME_UNITS = frozenset(NGFF_UNITS) | frozenset(
    ["dam", "das", "thou", "li", "ua", "ly", "pt", "reference frame"]
)
_IN_CM = {"Å": 1e-8, "nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "m": 100.0, "in": 2.54}
_IMAGEJ_DTYPES = frozenset("u1 u2 f4".split())
_ORIENTATION = 274
_JPEG = frozenset([6, 7, 33007, 34892])
_NO_RGB = frozenset(["CIELAB", "ICCLAB", "ITULAB", "LOGLUV"])
_OPACITIES = ("assocalpha", "unassalpha")
_IMAGEJ_STRUCTURE = frozenset(
    "ImageJ SCIFIO axes images channels slices frames hyperstack".split()
)

_IMAGEJ_DISTANCES = frozenset(["spacing", "finterval", "fps"])
_IMAGEJ_UNICODE = frozenset(["Info", "Labels"])


@contextmanager
def open_tiff(path: Path) -> Iterator[Source]:
    """Open a TIFF; stacks are read page by page as they are indexed."""
    import tifffile
    import zarr

    try:
        tif = tifffile.TiffFile(path)
    except (OSError, tifffile.TiffFileError) as error:
        raise FileError(f"{path}: not a readable TIFF ({error})") from error
    with tif:
        if not tif.series:
            raise FileError(f"{path}: this TIFF holds no image")
        series = tif.series[0]
        _check_colours(path, tif)
        _check_whole(path, tif)
        _check_announced(path, tif)
        files = _files(tif)
        _check_own(path, tif, files)
        notes: list[str] = []
        missing = sum(page is None for page in series.pages) if tif.is_ome else 0
        if missing:
            notes.append(f"lacks {missing} of the planes that it announces: they are zero")
        if len(tif.series) > 1:
            notes.append(f"holds {len(tif.series)} images; only the first is used")
        try:
            data: Any = zarr.open(series.aszarr(level=0), mode="r")
        except (ValueError, RuntimeError, OSError) as error:
            raise FileError(f"{path}: cannot decode this TIFF ({error})") from error
        metadata = _tiff_metadata(tif, notes)
        kind, alpha = _opacity(tif), None
        if kind:
            pixels = np.asarray(data)
            gray = pixels.shape[-1] == 2
            colours, alpha = pixels[..., 0 if gray else slice(-1)], pixels[..., -1]
            data = np.ascontiguousarray(colours)
            extra = {**metadata.extra, "opacity": kind}
            axes = "YX" if gray else "YXS"
            metadata = dataclasses.replace(metadata, axes=axes, extra=extra)
        elif metadata.axes != series.axes and series.axes.endswith("S"):
            # To read one channel of such a file is to read all of them.
            order = _tiff_order(metadata.axes)
            data = np.transpose(np.asarray(data), order)
            metadata = metadata.reordered(order)
        parts = files - {path.resolve()}
        yield Source(path, data, metadata, alpha, tuple(notes), parts)


def _files(tif: Any) -> frozenset[Path]:
    """Return the files that the planes lie in; OME-TIFF may have one for each."""
    if not tif.is_ome:
        return frozenset([Path(tif.filehandle.path).resolve()])
    owners = {page.parent for page in tif.series[0].pages if page is not None}
    return frozenset(Path(owner.filehandle.path).resolve() for owner in owners)


def _check_own(path: Path, tif: Any, files: frozenset[Path]) -> None:
    """Refuse a file of a set whose first image, the one that is read, lies in others."""
    if len(tif.series) > 1 and files and path.resolve() not in files:
        raise FileError(
            f"{path}: is one file of a set of {len(tif.series)} images, and the first, the "
            f"only one that is read, lies in {min(files)}; export each as a file of its own"
        )


def _axes(tif: Any) -> str:
    """Return the letters of the dimensions; samples that are no colours are channels."""
    series = tif.series[0]
    axes: str = series.axes
    if "S" not in axes or (_is_colour(tif) and series.shape[axes.index("S")] in (3, 4)):
        return axes
    return axes.replace("S", "Q" if "C" in axes else "C")


def _is_colour(tif: Any) -> bool:
    return tif.series[0].keyframe.photometric.name in ("RGB", "YCBCR")


def _opacity(tif: Any) -> str:
    """Return the kind of opacity that an image, but no stack, comes with."""
    series = tif.series[0]
    extra = [sample.name.lower() for sample in series.keyframe.extrasamples]
    # What lies beside more than one of them is no usual picture.
    alone = series.axes == "YXS" and series.shape[-1] in (2, 4) and len(extra) == 1
    return extra[0] if alone and extra[0] in _OPACITIES else ""


def _with_opacity(
    data: Any, axes: str, alpha: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], str]:
    """Return colours with their opacity as the last sample."""
    pixels = np.asarray(data)
    if axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    colours = pixels if "S" in axes else pixels[..., None]
    last = alpha[..., None].astype(pixels.dtype)
    return np.concatenate([colours, last], axis=-1), "YXS"


def _check_colours(path: Path, tif: Any) -> None:
    """Refuse colours that are neither RGB nor made RGB by the reader."""
    page = tif.series[0].keyframe
    colours = page.photometric.name
    if "S" not in tif.series[0].axes:
        return
    if colours == "SEPARATED":
        raise FileError(
            f"{path}: is a TIFF for printing (CMYK); convert it to RGB in a program that "
            "knows its inks"
        )
    converted = page.compression in _JPEG and page.planarconfig == 1
    if colours in _NO_RGB or (colours == "YCBCR" and not converted):
        raise FileError(f"{path}: its colours are stored as {colours}; convert it to RGB")


def _check_whole(path: Path, tif: Any) -> None:
    """Refuse a file whose last page names a next one beyond the file's end."""
    last, file = tif.pages[-1], tif.filehandle
    form = tif.tiff
    file.seek(last.offset)
    (n_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(last.offset + form.tagnosize + n_tags * form.tagsize)
    after = file.read(form.offsetsize)
    follows = len(after) == form.offsetsize and struct.unpack(form.offsetformat, after)[0]
    if follows and follows >= file.size:
        raise FileError(
            f"{path}: is cut off: page {len(tif.pages) + 1} would lie beyond its end; get "
            "the whole file"
        )


def _check_announced(path: Path, tif: Any) -> None:
    """Refuse an ImageJ stack of which only a part is there."""
    if not tif.is_imagej or tif.series[0].kind == "imagej":
        return
    announced = int((tif.imagej_metadata or {}).get("images", 1))
    if announced > len(tif.pages):
        raise FileError(
            f"{path}: is cut off: it announces {announced} pages and holds "
            f"{len(tif.pages)}; get the whole file"
        )


def _tiff_metadata(tif: Any, notes: list[str]) -> Metadata:
    """Return what a file says; a note is added on what cannot be made out."""
    metadata, page = _dialect_metadata(tif, notes), tif.pages[0]
    extra = dict(metadata.extra)
    if page.photometric.name == "MINISWHITE":
        extra["photometric"] = "miniswhite"
    if page.tags.valueof(_ORIENTATION) in range(2, 9):
        extra["orientation"] = int(page.tags.valueof(_ORIENTATION))
    return dataclasses.replace(metadata, extra=extra)


def _dialect_metadata(tif: Any, notes: list[str]) -> Metadata:
    series, axes = tif.series[0], _axes(tif)
    if tif.is_ome and series.kind == "ome":
        return _ome_metadata(tif.ome_metadata, axes, series.shape, notes)
    if tif.is_imagej:
        return _imagej_metadata(tif, axes, notes)
    if tif.is_lsm:
        return _lsm_metadata(tif.lsm_metadata, axes, series.shape)
    return _plain_metadata(tif, axes)


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


def _ome_metadata(xml: str, axes: str, shape: Sequence[int], notes: list[str]) -> Metadata:
    root = ElementTree.fromstring(xml)
    image = root.find("{*}Image")
    pixels = root.find("{*}Image/{*}Pixels")
    if image is None or pixels is None:
        return Metadata(axes, flavour="ome")
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, key in _OME_SIZES.items():
        size = _number(pixels.attrib, key, notes)
        if size is not None:
            scale[axis] = size
            default = "s" if axis == "T" else "µm"
            units[axis] = as_unit(pixels.attrib.get(f"{key}Unit", default))
    channels = [dict(channel.attrib) for channel in pixels.findall("{*}Channel")]
    count = n_channels(axes, shape)
    drop = ("ID", "Name", "SamplesPerPixel")
    extra: dict[str, Any] = {
        "Channel": _columns(channels, drop) if len(channels) == count else {},
        "Plane": _columns(
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


def _in_order(
    rows: Sequence[dict[str, str]], axes: str, shape: Sequence[int]
) -> list[dict[str, str]]:
    """Return what is said of planes in the order of the planes, nothing if some lack."""
    outer = [axis for axis, letter in enumerate(axes) if letter not in "YXS"]
    found = {tuple(row.get(f"The{axes[axis]}") for axis in outer): row for row in rows}
    places = np.ndindex(*(shape[axis] for axis in outer))
    planes = [tuple(str(n) for n in place) for place in places]
    if len(rows) != len(planes) or any(place not in found for place in planes):
        return []
    return [found[place] for place in planes]


def _columns(rows: list[dict[str, str]], drop: tuple[str, ...]) -> dict[str, list[str]]:
    """Turn rows of attributes into columns, keeping those that every row has."""
    if not rows:
        return {}
    shared = set.intersection(*(set(row) for row in rows)) - set(drop)
    return {key: [row[key] for row in rows] for key in sorted(shared)}


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


def _plain_metadata(tif: Any, axes: str) -> Metadata:
    page = tif.pages[0]
    extra: dict[str, Any] = {}
    # The first one, where tifffile's own comes second.
    if page.description and page.description != page.shaped_description:
        extra["description"] = page.description
    if page.colormap is not None:
        extra["colormap"] = page.colormap
    scale = {}
    if "XResolution" in page.tags and "YResolution" in page.tags:
        raw = page.tags["XResolution"].value, page.tags["YResolution"].value
        extra["resolution"] = (*raw, int(page.resolutionunit))
        sizes = [size * _unit_in_um(page) for size in _resolution(page)]
        scale = {axis: size for axis, size in zip("XY", sizes, strict=True) if size}
    return Metadata(axes, scale, dict.fromkeys(scale, "µm"), (), "tiff", extra)


def _unit_in_um(page: Any) -> float:
    """Length of the page's own unit of resolution, 0 if it tells none."""
    unit = {2: "in", 3: "cm"}.get(int(page.resolutionunit))
    # 72 dpi is what drawing programs write for lack of anything to say.
    if unit is None or (unit == "in" and page.tags.valueof("XResolution") == (72, 1)):
        return 0.0
    return _IN_CM[unit] * 1e4


def _resolution(page: Any) -> tuple[float, float]:
    """Pixel size (X, Y) in the page's own unit, 0 where unknown."""
    sizes = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        numerator, denominator = tag.value if tag is not None else (0, 0)
        sizes.append(denominator / numerator if numerator else 0.0)
    return sizes[0], sizes[1]


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
    to 4 GB, OME no 64-bit integers: what a dialect cannot hold is written in the
    next more general one (ImageJ, OME, plain).
    """
    import tifffile

    source_axes, extra = metadata.axes, dict(metadata.extra)
    opacity = extra.pop("opacity", "unassalpha")
    gray = extra.pop("photometric", "minisblack")
    orientation = extra.pop("orientation", None)
    if data.dtype.kind == "f" or extra.get("SignificantBits", 0) > 8 * data.dtype.itemsize:
        extra.pop("SignificantBits", None)
    if alpha is not None:
        data, source_axes = _with_opacity(data, source_axes, alpha)
    order = _tiff_order(source_axes)
    axes = "".join(source_axes[axis] for axis in order)
    shape = tuple(data.shape[axis] for axis in order)
    metadata = dataclasses.replace(metadata, axes=axes, extra=extra)
    itemsize = data.dtype.itemsize if data.dtype.kind == "u" else 0
    dialect = _dialect(path, metadata, data.dtype, data.nbytes)
    arguments = _ARGUMENTS[dialect](metadata, provenance or {})
    samples = shape[axes.index("S")] if "S" in axes else 1
    # What the pixels are: a reader may have turned those of the source into others.
    arguments["photometric"] = "rgb" if samples in (3, 4) else gray
    if "colormap" in arguments:
        # A palette has a colour for every integer, and none for a fraction.
        if arguments["colormap"].shape[1] == 2 ** (8 * itemsize):
            arguments["photometric"] = "palette"
        else:
            del arguments["colormap"]
    if alpha is not None:
        arguments |= {"extrasamples": [opacity], "planarconfig": "contig"}
    if orientation is not None:
        # Turned pixels would not fit the sizes of pixels, nor a stack that is read lazily.
        arguments["extratags"] = [(_ORIENTATION, 3, 1, orientation, False)]
    if axes.endswith("SYX"):
        arguments["planarconfig"] = "separate"
    with replacing(path, overwrite=overwrite) as temporary:
        tifffile.imwrite(
            temporary,
            _pages(data, source_axes),
            shape=shape,
            dtype=data.dtype,
            bigtiff=path.suffix.lower() == ".btf" or data.nbytes > _CLASSIC_TIFF_LIMIT,
            **arguments,
        )


def tiff_provenance(path: Path) -> Any:
    """Return what :func:`save_tiff` stored as provenance, None if nothing."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        if tif.is_ome and tif.ome_metadata:
            found = ElementTree.fromstring(tif.ome_metadata).findall(".//{*}M")
            texts = [m.text or "" for m in found if m.get("K") == "napari-msdip"]
        elif tif.is_imagej:
            lines = str((tif.imagej_metadata or {}).get("Info", "")).splitlines()
            mark = "napari-msdip: "
            texts = [line[len(mark) :] for line in lines if line.startswith(mark)]
        else:
            return next(iter(tif.shaped_metadata or ()), {}).get("napari-msdip")
    # The last one: a result that is denoised again hands on the first.
    return json.loads(texts[-1]) if texts else None


def _tiff_order(axes: str) -> list[int]:
    """Order dimensions as TIFF stores them: Y, X and the samples innermost."""
    # Numbers, as letters do not tell two dimensions without a name apart.
    return sorted(range(len(axes)), key=lambda axis: axes[axis] in "YXS")


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


def _ome_can(axes: str, dtype: np.dtype[Any]) -> bool:
    return dtype.str[1:] in _OME_DTYPES and set(axes) <= set("TZCYXS")


def _dialect(path: Path, metadata: Metadata, dtype: np.dtype[Any], nbytes: int) -> str:
    check_tiff(path, metadata.axes, dtype)
    if _is_named_ome(path):
        return "ome"
    if metadata.flavour in ("tiff", "png") or not _ome_can(metadata.axes, dtype):
        return "tiff"
    kind = dtype.str[1:]
    imagej_can = (
        kind in _IMAGEJ_DTYPES
        and ("S" not in metadata.axes or (metadata.axes[-1] == "S" and kind == "u1"))
        and metadata.axes in _subsequences("TZCYXS")
        and nbytes < _CLASSIC_TIFF_LIMIT
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
    for axis, key in _OME_SIZES.items():
        if axis in metadata.scale:
            described[key] = metadata.scale[axis]
            unit = metadata.units.get(axis, "")
            if unit in _OME_UNITS:
                described[f"{key}Unit"] = unit
            elif axis != "T":
                # Of times there is no such unit.
                described[f"{key}Unit"] = "pixel"
    if metadata.flavour == "ome":
        described |= metadata.extra
    channels = dict(described.get("Channel", {}))
    if metadata.channel_names:
        channels["Name"] = list(metadata.channel_names)
    if metadata.channel_colours:
        channels.setdefault("Color", [_ome_colour(c) for c in metadata.channel_colours])
    if channels:
        described["Channel"] = channels
    if provenance:
        described["MapAnnotation"] = {
            "Namespace": "napari-msdip",
            "napari-msdip": json.dumps(provenance),
        }
    return {"ome": True, "metadata": described}


def _ome_colour(rgb: str) -> int:
    """Return an opaque colour as the signed number that OME-TIFF wants."""
    return int.from_bytes(bytes.fromhex(f"{rgb}FF"), signed=True)


def _imagej_arguments(metadata: Metadata, provenance: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        _escaped(key): value
        if key in _IMAGEJ_UNICODE or not isinstance(value, str)
        else _escaped(value)
        for key, value in metadata.extra.items()
        if key not in _IMAGEJ_DISTANCES
    }
    described |= {"axes": metadata.axes, **_imagej_distances(metadata)}
    if provenance:
        before = described.get("Info", "")
        described["Info"] = f"{before}\nnapari-msdip: {json.dumps(provenance)}".lstrip()
    arguments: dict[str, Any] = {"imagej": True, "metadata": described}
    if "X" in metadata.scale and "Y" in metadata.scale:
        if metadata.units.get("X"):
            described.setdefault("unit", _escaped(metadata.units["X"]))
        arguments["resolution"] = (1 / metadata.scale["X"], 1 / metadata.scale["Y"])
        arguments["resolutionunit"] = "NONE"
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
    elif all(
        axis in metadata.scale and metadata.units.get(axis) in _IN_CM for axis in "XY"
    ):
        x, y = (1 / (metadata.scale[a] * _IN_CM[metadata.units[a]]) for a in "XY")
        arguments |= {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
    return arguments


_ARGUMENTS = {"ome": _ome_arguments, "imagej": _imagej_arguments, "tiff": _plain_arguments}
