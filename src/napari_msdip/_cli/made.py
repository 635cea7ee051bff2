"""What a finished result was made of, and whether that is what is asked for now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_msdip import io
from napari_msdip.planes import PlaneLayout, digest, read_plane, select
from napari_msdip.sinks import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_msdip.io import Source
    from napari_msdip.options import Options

__all__ = ["difference", "made_of", "recorded"]

# They may differ from machine to machine, and say nothing of what is wanted.
_OF_MACHINE = ("device", "threads")


def made_of(
    source: Source, layout: PlaneLayout, planes: Sequence[int], options: Options
) -> dict[str, Any]:
    """Return what :func:`difference` compares; ``planes`` are those denoised.

    The first of them stands for the input.
    """
    first = planes[0]
    with io.reading(source.path):
        fingerprint = digest(read_plane(source.data, layout, first))
    return {"options": options.to_dict(), "input": {str(first): fingerprint}}


def recorded(target: Path) -> dict[str, Any]:
    """Return what a result says it was made of, nothing if it does not."""
    journal = target / "0" / JOURNAL
    if not journal.exists():
        return dict(io.read_provenance(target))
    try:
        header, *records = map(json.loads, journal.read_text().splitlines())
        return {**header, "input": {str(r["plane"]): r["input"] for r in records[:1]}}
    except (KeyError, TypeError, ValueError):
        return {}


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
            return f"{name} was {then[name]!r}, is {now[name]!r}"
    shape = list(layout.shape)
    if made.get("shape", shape) != shape:
        return f"from an input of shape {made['shape']}, not {shape}"
    every = list(range(layout.n_planes))
    wanted = list(select(planes, layout.n_planes))
    if (made.get("planes") or every) != wanted:
        return "from other planes"
    for plane, fingerprint in made.get("input", {}).items():
        with io.reading(source.path):
            pixels = read_plane(source.data, layout, int(plane))
        if digest(pixels) != fingerprint:
            return "from another input"
    return ""
