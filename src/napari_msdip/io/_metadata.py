"""What a file says about its pixels, whatever its format."""

from __future__ import annotations

import dataclasses
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = [
    "NGFF_UNITS",
    "OME_UNITS",
    "FileError",
    "Metadata",
    "Source",
    "as_unit",
    "axis_names",
    "channel_names",
    "n_channels",
    "reading",
    "unit_notes",
    "writing",
]

Flavour = Literal["ome", "imagej", "tiff", "png", "zarr"]

_PREFIXES = {
    "Y": "yotta",
    "Z": "zetta",
    "E": "exa",
    "P": "peta",
    "T": "tera",
    "G": "giga",
    "M": "mega",
    "k": "kilo",
    "h": "hecto",
    "": "",
    "d": "deci",
    "c": "centi",
    "m": "milli",
    "µ": "micro",
    "n": "nano",
    "p": "pico",
    "f": "femto",
    "a": "atto",
    "z": "zepto",
    "y": "yocto",
}
NGFF_UNITS = {
    "Å": "angstrom",
    "in": "inch",
    "ft": "foot",
    "yd": "yard",
    "mi": "mile",
    "pc": "parsec",
    "min": "minute",
    "h": "hour",
    "d": "day",
    **{f"{symbol}m": f"{name}meter" for symbol, name in _PREFIXES.items()},
    **{f"{symbol}s": f"{name}second" for symbol, name in _PREFIXES.items()},
}
OME_UNITS = frozenset(NGFF_UNITS) | frozenset(
    ["dam", "das", "thou", "li", "ua", "ly", "pt", "reference frame"]
)
_SINGULARS = {
    "micron": "µm",
    "sec": "s",
    "msec": "ms",
    "usec": "µs",
    "µsec": "µs",
    "nsec": "ns",
    "min": "min",
    "hr": "h",
    **{name: symbol for symbol, name in NGFF_UNITS.items()},
    **{name.replace("meter", "metre"): symbol for symbol, name in NGFF_UNITS.items()},
}
_SPELLINGS = {
    "um": "µm",
    "us": "µs",
    "inches": "in",
    "feet": "ft",
    **_SINGULARS,
    **{f"{name}s": symbol for name, symbol in _SINGULARS.items()},
}

_OME_WHITE = "-1"
_OF_CHANNELS = frozenset(["LUTs", "Ranges", "Channel", "omero"])
_OF_PLANES = frozenset(["Labels", "Plane"])


class FileError(Exception):
    """A file cannot be read or written; the message is one line for a person."""


def reading(path: Path) -> AbstractContextManager[None]:
    """Refuse a file whose reader fails, so that it does not end the work on others."""
    return _refusing(path, "read")


def writing(path: Path) -> AbstractContextManager[None]:
    """Refuse a file whose writer fails, so that it does not end the work on others."""
    return _refusing(path, "written")


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (FileError, MemoryError):
        raise
    except Exception as error:  # Whatever a third-party library raises.
        reason = str(error) or type(error).__name__
        raise FileError(f"{path}: cannot be {what} ({reason})") from error


@dataclass(frozen=True)
class Metadata:
    """What a file says about its pixels.

    Attributes
    ----------
    axes : str
        One letter for each dimension: T, Z, C, Y, X, S (samples: red, green,
        blue), anything else for other dimensions.
    scale : mapping of str to float
        Distance between neighbours along an axis, where known.
    units : mapping of str to str
        Unit of that distance, such as ``"µm"`` or ``"s"``.
    channel_names : tuple of str
        Names along C, empty where unknown.
    flavour : {"ome", "imagej", "tiff", "png", "zarr"}
        Dialect that the file speaks, and that a copy in TIFF should speak.
    extra : mapping
        What only that dialect knows and a copy hands on unread.
    origin : mapping of str to float
        Where the first pixel lies along an axis, in the axis's unit, where known.
    axis_names : tuple of str
        What each axis is called beside its letter, nothing for one whose letter says it;
        empty if that holds for all.
    """

    axes: str
    scale: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    flavour: Flavour = "tiff"
    extra: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    axis_names: tuple[str, ...] = ()

    @property
    def channel_colours(self) -> tuple[str, ...]:
        """Colours along C as OME-Zarr writes them (``"FF0000"``), empty where unknown."""
        omero, rows = self.extra.get("omero", {}), self.extra.get("Channel", [])
        found = [channel.get("color") for channel in omero.get("channels", [])]
        if any("Color" in row for row in rows):
            found = found or [_rgb(row.get("Color", _OME_WHITE)) for row in rows]
        found = found or [_brightest(table) for table in self.extra.get("LUTs", [])]
        known = all(re.fullmatch("[0-9A-Fa-f]{6}", str(colour)) for colour in found)
        return tuple(found) if known else ()

    def with_axes(self, axes: str, ndim: int) -> Metadata:
        """Return a copy whose dimensions are called otherwise.

        Raises
        ------
        ValueError
            If the letters do not fit the number of dimensions, repeat, or lack
            Y or X.
        """
        axes = axes.upper()
        if len(axes) != ndim:
            raise ValueError(
                f"axes={axes!r}: the image has {ndim} dimensions; give a letter for each"
            )
        if len(set(axes)) != ndim or not {"Y", "X"} <= set(axes):
            raise ValueError(f"axes={axes!r}: give Y, X and other letters, each once")
        # One that is called anew is not what it was called.
        letters = zip(axes, self.axes, self.called, strict=True)
        called = [name if now == before else "" for now, before, name in letters]
        found = dataclasses.replace(self, axes=axes, axis_names=axis_names(called))
        if axes.find("C") == self.axes.find("C"):
            return found
        # What was said of channels was said of another dimension.
        extra = _select_channels(self.extra, ())
        return dataclasses.replace(found, channel_names=(), extra=extra)

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the axes beside their letters, nothing where a letter says it."""
        return self.axis_names or ("",) * len(self.axes)

    def select(
        self, planes: Sequence[int], shape: Sequence[int], channel_axis: int | None
    ) -> Metadata:
        """Return what holds for some planes of a stack.

        The axes that number planes become one, at the place of the first of them. It
        is called what they differ along, and Q if that is more than one axis.

        Parameters
        ----------
        planes : sequence of int
            Flat indices (C order) into the axes that are neither Y, X nor the
            channel axis.
        shape : sequence of int
            Shape of the whole stack.
        channel_axis : int or None
            Axis that belongs to each plane.
        """
        within = [self.axes.index("Y"), self.axes.index("X")]
        if channel_axis is not None:
            within.append(channel_axis % len(shape))
        outer = [axis for axis in range(len(shape)) if axis not in within]
        axis, along = _common_axis(planes, shape, outer)
        letter = "Q" if axis is None else self.axes[axis]
        letters = [self.axes[axis] for axis in sorted(within)]
        letters.insert(outer[0] if outer else 0, letter)
        called = [self.called[axis] for axis in sorted(within)]
        called.insert(outer[0] if outer else 0, "" if axis is None else self.called[axis])
        axes = "".join(letters)
        # Across several dimensions there is no distance, not that of a Q of the source.
        known = axes.replace("Q", "") if axis is None else axes
        scale = {key: size for key, size in self.scale.items() if key in known}
        origin = {key: start for key, start in self.origin.items() if key in known}
        shift = along[0] * scale.get(letter, 1.0)
        if letter in origin or (letter in scale and shift):
            origin[letter] = origin.get(letter, 0.0) + shift
        steps = set(np.diff(along).tolist())
        if letter in scale and steps:
            if len(steps) == 1 and min(steps) > 0:
                scale[letter] *= min(steps)
            else:
                del scale[letter]
                if letter in self.units:
                    # It goes with the spacing, and a place in no unit is none.
                    origin.pop(letter, None)
        names, extra = self.channel_names, self.extra
        if "C" in self.axes and self.axes.index("C") in outer:
            channels = _places(planes, shape, outer)[outer.index(self.axes.index("C"))]
            if letter != "C":
                channels = sorted(set(channels)) if len(set(channels)) == 1 else []
            names = tuple(names[channel] for channel in channels if names)
            extra = _select_channels(extra, channels)
        return dataclasses.replace(
            self,
            axes=axes,
            scale=scale,
            units={key: unit for key, unit in self.units.items() if key in scale},
            channel_names=names,
            origin=origin,
            axis_names=axis_names(called),
            extra=_select_planes(extra, planes, math.prod(shape[axis] for axis in outer)),
        )

    def resampled(self, zoom: tuple[float, float]) -> Metadata:
        """Return what holds for an image whose pixels are larger by ``zoom`` (Y, X)."""
        scale, origin = dict(self.scale), dict(self.origin)
        for axis, factor in zip("YX", zoom, strict=True):
            if axis in origin:
                # Its centre, which lies further inside a larger pixel.
                origin[axis] += (factor - 1) / 2 * scale.get(axis, 1.0)
            if axis in scale:
                scale[axis] *= factor
        of_pixels = ("resolution", "chunks")
        extra = {key: value for key, value in self.extra.items() if key not in of_pixels}
        return dataclasses.replace(self, scale=scale, origin=origin, extra=extra)

    def reordered(self, order: Sequence[int]) -> Metadata:
        """Return what holds for an image with its axes in another order."""
        axes = "".join(self.axes[axis] for axis in order)
        called = [self.called[axis] for axis in order]
        return dataclasses.replace(self, axes=axes, axis_names=axis_names(called))


def _rgb(text: str) -> str:
    """Return a colour that OME-TIFF writes as a number of 32 bits, opacity last."""
    try:
        return f"{(int(text) & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""


def _brightest(table: npt.NDArray[np.uint8]) -> str:
    """Return the colour of the largest value in a lookup table of ImageJ."""
    # One that is inverted ends in black, in which nothing would be seen.
    return table[:, -1].tobytes().hex().upper() if table[:, -1].any() else "FFFFFF"


def _common_axis(
    planes: Sequence[int], shape: Sequence[int], outer: Sequence[int]
) -> tuple[int | None, Sequence[int]]:
    """Return the one axis that planes differ along, and where they lie on it.

    Where they differ along several, it is None, and they lie where they are counted.
    """
    places = _places(planes, shape, outer)
    differing = [n for n, along in enumerate(places) if len(set(along)) > 1]
    if len(differing) > 1:
        return None, planes
    chosen = differing[0] if differing else len(outer) - 1
    return outer[chosen], places[chosen]


def _places(
    planes: Sequence[int], shape: Sequence[int], outer: Sequence[int]
) -> list[list[int]]:
    """Return where planes lie on each of the axes that number them."""
    places = np.unravel_index(planes, [shape[axis] for axis in outer])
    return [along.tolist() for along in places]


def _select_planes(
    extra: Mapping[str, Any], planes: Sequence[int], n_planes: int
) -> dict[str, Any]:
    """Return what only a dialect knows of some planes."""
    kept = {key: value for key, value in extra.items() if key not in _OF_PLANES}
    for key in _OF_PLANES & extra.keys():
        rows = extra[key]
        if isinstance(rows, list) and len(rows) == n_planes:
            kept[key] = [rows[plane] for plane in planes]
    return kept


def _select_channels(extra: Mapping[str, Any], channels: Sequence[int]) -> dict[str, Any]:
    """Return what only a dialect knows of some channels, if there is any left."""
    kept = {key: value for key, value in extra.items() if key not in _OF_CHANNELS}
    if not channels:
        return kept
    tables, rows = extra.get("LUTs"), extra.get("Channel")
    if isinstance(tables, list) and max(channels) < len(tables):
        kept["LUTs"] = [tables[channel] for channel in channels]
    ranges = extra.get("Ranges")
    if isinstance(ranges, tuple) and 2 * max(channels) + 2 <= len(ranges):
        kept["Ranges"] = tuple(ranges[2 * c + end] for c in channels for end in (0, 1))
    if isinstance(rows, list) and max(channels) < len(rows):
        kept["Channel"] = [rows[channel] for channel in channels]
    if "omero" in extra:
        shown = extra["omero"]["channels"]
        kept["omero"] = {**extra["omero"], "channels": [shown[c] for c in channels]}
    return kept


@dataclass(frozen=True, eq=False)
class Source:
    """An opened image file.

    Attributes
    ----------
    path : Path
        Where it lies.
    data : ndarray or zarr.Array
        The pixels; stacks are read plane by plane as they are indexed.
    metadata : Metadata
        What the file says about them.
    alpha : ndarray or None
        Opacity (Y, X) of a PNG or TIFF that has it; not part of ``data``.
    notes : tuple of str
        What a person should know, such as parts of the file left aside.
    losses : tuple of str
        What the file has beside its pixels and no result will have.
    parts : frozenset of Path
        Other files that the pixels lie in, without links.
    left_out : int
        How many further images of the file are not read, though nobody chose one.
    """

    path: Path
    data: Any
    metadata: Metadata
    alpha: npt.NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    parts: frozenset[Path] = frozenset()
    left_out: int = 0


def as_unit(text: str) -> str:
    """Return the usual symbol of a unit; nothing for pixels."""
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)
    text = text.strip().replace("\u03bc", "µ")
    unit = _SPELLINGS.get(text, text)
    return "" if unit in ("pixel", "pixels") else unit


def unit_notes(metadata: Metadata) -> list[str]:
    """Return what a person should know of units that OME-TIFF has no name for."""
    unknown: dict[tuple[str, str], list[str]] = {}
    for axis, unit in metadata.units.items():
        if unit and unit not in OME_UNITS and axis in "TZYX":
            fate = "leave out" if axis == "T" else "call pixel"
            unknown.setdefault((unit, fate), []).append(axis)
    return [
        f"measures {', '.join(axes)} in {unit!r}, which OME-TIFF does not know and would "
        f"{fate}"
        for (unit, fate), axes in unknown.items()
    ]


def n_channels(axes: str, shape: Sequence[int]) -> int:
    """Return how many channels an image has, 1 if it has no axis for them."""
    return shape[axes.index("C")] if "C" in axes else 1


def channel_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the names, or none at all if they are all empty or not one a channel."""
    return tuple(names) if any(names) and len(names) == count else ()


def axis_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of axes, or none at all if they are all empty."""
    return tuple(names) if any(names) else ()
