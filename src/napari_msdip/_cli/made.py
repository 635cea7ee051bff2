"""What a finished result was made of, and whether that is what is asked for now."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from napari_msdip import io
from napari_msdip._cli.exits import UsageError
from napari_msdip._cli.names import called_as_preview, previews_of, scale_path, scales_of
from napari_msdip._cli.selection import metadata_of
from napari_msdip._cli.words import in_flags
from napari_msdip.events import Status
from napari_msdip.planes import PlaneLayout, digest, read_plane, select, spread
from napari_msdip.stores import begun_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_msdip.io import Source
    from napari_msdip.options import Options

__all__ = [
    "difference",
    "has_scales",
    "inputs_of",
    "made_of",
    "previews_made_of",
    "recorded",
    "scales_made_with",
    "told",
]

# They may differ from machine to machine, and say nothing of what is wanted.
_OF_MACHINE = ("device", "threads")


def made_of(
    source: Source, layout: PlaneLayout, planes: Sequence[int], options: Options
) -> dict[str, Any]:
    """Return what :func:`difference` compares; ``planes`` are those denoised."""
    return {
        "options": options.to_dict(),
        "axes": source.metadata.axes,
        "channel_axis": layout.channel_axis,
        "input": {
            str(plane): _fingerprint(source, layout, plane) for plane in spread(planes)
        },
    }


def _fingerprint(source: Source, layout: PlaneLayout, plane: int) -> str:
    with io.reading(source.path):
        return digest(read_plane(source.data, layout, plane))


def recorded(target: Path) -> dict[str, Any]:
    """Return what a result says it was made of, nothing if it does not."""
    try:
        begun = begun_with(target)
        if begun is not None:
            return {**begun, "axis names": io.stored_names(target)}
    except (IndexError, KeyError, TypeError, ValueError):
        return {}
    return dict(io.read_provenance(target))


def told(path: Path) -> dict[str, Any]:
    """Return what a file says it was made of, nothing if it is no readable result."""
    try:
        return recorded(path)
    except io.FileError:
        return {}


def inputs_of(words: Sequence[str], note: Callable[[str], object]) -> list[Path]:
    """Return the images that words stand for, previews only where they are named.

    Raises
    ------
    UsageError
        If folders and patterns hold nothing but previews.
    """
    paths = io.expand(words, note)
    named = {os.path.realpath(word) for word in words}
    previews = [
        path
        for path in paths
        if os.path.realpath(path) not in named
        and called_as_preview(path)
        and _is_preview(told(path))
    ]
    for path in previews:
        note(f"{path}: is what a cancelled run left and is left out, unless you name it")
    if len(previews) == len(paths):
        raise UsageError("there is no input but what cancelled runs left; name the files")
    return [path for path in paths if path not in previews]


def _is_preview(made: Mapping[str, Any]) -> bool:
    return made.get("status") == Status.CANCELLED.value


def previews_made_of(target: Path, made: Mapping[str, Any]) -> list[Path]:
    """Return what cancelled runs on the same pixels left beside a result, with scales.

    ``made`` is what :func:`made_of` says of the result.
    """
    found = []
    for path in previews_of(target):
        then = told(path)
        same = all(then.get(key) == made[key] for key in ("axes", "channel_axis", "input"))
        if same and _is_preview(then):
            found += [path, *scales_made_with(path, then)]
    return found


def scales_made_with(target: Path, made: Mapping[str, Any]) -> list[Path]:
    """Return the scales that are there and of the same run as what tells ``made``."""
    # As a text, because NaN is not the same as itself.
    text = json.dumps(made, sort_keys=True)
    return [
        path for path in scales_of(target) if json.dumps(told(path), sort_keys=True) == text
    ]


def has_scales(target: Path, made: Mapping[str, Any]) -> bool:
    """Whether all scales of the run that tells ``made`` are there.

    Where it does not tell which it had, that is the finest one.
    """
    scales = enumerate(made.get("scales") or [{}])
    expected = {scale_path(target, each.get("scale", n)) for n, each in scales}
    return expected <= {*scales_made_with(target, made)}


def difference(
    made: Mapping[str, Any],
    source: Source,
    layout: PlaneLayout,
    planes: slice | list[int] | None,
    options: Options,
) -> str:
    """Say in what a result differs from what is asked for, nothing if it does not."""
    then, now = made.get("options", {}), options.to_dict()
    for name in sorted({*then} & {*now} - {*_OF_MACHINE}):
        if then[name] != now[name]:
            return in_flags(f"with {name}={then[name]!r}, not {name}={now[name]!r}")
    dimensions = _other_dimensions(made, source, layout, planes)
    if dimensions:
        return dimensions
    shape = list(layout.shape)
    if made.get("shape", shape) != shape:
        return f"from an input of shape {made['shape']}, not {shape}"
    every = list(range(layout.n_planes))
    wanted = list(select(planes, layout.n_planes))
    if (made.get("planes") or every) != wanted:
        return "from other planes"
    for plane, fingerprint in made.get("input", {}).items():
        if _fingerprint(source, layout, int(plane)) != fingerprint:
            return f"from another input: plane {plane} has changed"
    return ""


def _other_dimensions(
    made: Mapping[str, Any],
    source: Source,
    layout: PlaneLayout,
    planes: slice | list[int] | None,
) -> str:
    """Say which dimensions were taken for something else."""
    then, now = made.get("channel_axis", layout.channel_axis), layout.channel_axis
    if then != now:
        return in_flags(f"with channel_axis={then}, not channel_axis={now}")
    axes = source.metadata.axes
    if made.get("axes", axes) != axes:
        return f"the axes were {made['axes']}, are {axes}"
    # A stack in OME-Zarr keeps them under other names, and in another order.
    metadata = metadata_of(source, planes, layout)
    names = io.ngff_names(metadata.reordered(io.ngff_order(metadata.axes)))
    if made.get("axis names", names) != names:
        return f"the axes were {' '.join(made['axis names'])}, are {' '.join(names)}"
    return ""
