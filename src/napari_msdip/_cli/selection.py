"""Which planes of a file are meant, and what its dimensions mean."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_msdip import io
from napari_msdip._cli.exits import UsageError
from napari_msdip.io import FileError
from napari_msdip.pixels import SMALLEST_SIDE
from napari_msdip.planes import PlaneLayout, select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from napari_msdip._cli.parts import Parts
    from napari_msdip.io import Metadata, Source

__all__ = ["Selection", "check_size", "layout_of", "metadata_of"]


@dataclass(frozen=True)
class Selection:
    """What of each file is meant, as the flags say.

    Attributes
    ----------
    axes : str or None
        Letters of the dimensions, None as the file says.
    image : int or None
        Number of the image, None for all as a stack, or the first.
    channel_axis : str or None
        ``--channel-axis``.
    planes : slice, list of int or None
        Planes of a stack, None for all.
    planes_text : str
        ``--planes``.
    """

    axes: str | None
    image: int | None
    channel_axis: str | None
    planes: slice | list[int] | None
    planes_text: str

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> Selection:
        """Read the flags; raise UsageError if they name no planes."""
        text = parsed.planes
        planes = None if text is None else _parsed_planes(text)
        return cls(parsed.axes, parsed.image, parsed.channel_axis, planes, text or "")

    @contextmanager
    def opened(self, path: Path, parts: Parts) -> Iterator[tuple[Source, PlaneLayout]]:
        """Open a file, noting its parts, and make sure that it has what is meant."""
        with io.open_image(path, axes=self.axes, image=self.image) as source:
            parts.add(source)
            layout = layout_of(source, self.channel_axis)
            self._check_planes(path, layout)
            yield source, layout

    def layout_within(self, layout: PlaneLayout) -> PlaneLayout:
        """Return how the planes that are meant lie in an array of their own."""
        if self.planes is None:
            return layout
        return layout.selection(len(select(self.planes, layout.n_planes)))

    def _check_planes(self, path: Path, layout: PlaneLayout) -> None:
        if self.planes is None:
            return
        said = f"{path}: --planes {self.planes_text}"
        if not layout.plane_axes:
            raise FileError(f"{said}: this is a single image, not a stack")
        try:
            select(self.planes, layout.n_planes)
        except ValueError as error:
            # Without the Python in front, which nobody typed here.
            raise FileError(f"{said}: {str(error).partition(': ')[2]}") from error


def _parsed_planes(text: str) -> slice | list[int]:
    try:
        if ":" not in text:
            return [int(part) for part in text.split(",")]
        parts = [int(part) if part else None for part in text.split(":")]
        return slice(*parts)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--planes {text}: give a number, a range such as 10:20, or a list such as "
            "3,5,8"
        ) from error


def metadata_of(
    source: Source, planes: slice | list[int] | None, layout: PlaneLayout
) -> Metadata:
    """Return what holds for the planes that are denoised."""
    if planes is None:
        return source.metadata
    chosen = select(planes, layout.n_planes)
    return source.metadata.select(chosen, layout.shape, layout.channel_axis)


def layout_of(source: Source, wanted: str | None) -> PlaneLayout:
    """Return how planes lie in a file whose channel axis is said to be this one."""
    axes, shape = source.metadata.axes, source.data.shape
    channel_axis = _channel_axis(source, wanted)
    if channel_axis is not None and axes[channel_axis] in "YX":
        raise FileError(
            f"{source.path}: --channel-axis {wanted}: is {axes[channel_axis]} of its "
            f"dimensions {axes}; give one that is neither Y nor X, or none"
        )
    spatial = [axis for axis in range(len(axes)) if axis != channel_axis][-2:]
    if [axes[axis] for axis in spatial] != ["Y", "X"]:
        raise FileError(
            f"{source.path}: its dimensions are {axes} {shape}, but Y and X have to be "
            f"the last ones beside the channel axis; {_way_out(axes)}"
        )
    try:
        return PlaneLayout.of(shape, channel_axis)
    except ValueError as error:
        raise FileError(f"{source.path}: {error}") from error


def check_size(source: Source, layout: PlaneLayout) -> None:
    """Make sure that planes are large enough to be denoised."""
    if min(layout.size_yx) >= SMALLEST_SIDE:
        return
    axes, shape = source.metadata.axes, source.data.shape
    advice = ""
    if len(axes) > 2:
        advice = "; --axes corrects the letters"
        corrected = f"{axes[:-3]}YXC"
        fits = min(shape[-3:-1]) >= SMALLEST_SIDE and len({*corrected}) == len(axes)
        if layout.channel_axis is None and fits:
            advice = (
                f"; if the {shape[-1]} are channels, give --axes {corrected} "
                "--channel-axis C"
            )
    raise FileError(
        f"{source.path}: its dimensions are {axes} {shape}, but Y and X must be at least "
        f"{SMALLEST_SIDE} pixels{advice}"
    )


def _way_out(axes: str) -> str:
    """Say what makes dimensions in this order acceptable."""
    others = axes.replace("Y", "").replace("X", "")
    inner = [letter for letter in others if axes.index(letter) > axes.index("Y")]
    if len(inner) == 1 and inner[0] != "Q" and axes.index("Y") < axes.index("X"):
        return (
            f"--channel-axis {inner[0]} denoises all of {inner[0]} together, and --axes "
            "corrects the letters"
        )
    return "--axes corrects the letters"


def _channel_axis(source: Source, wanted: str | None) -> int | None:
    axes = source.metadata.axes
    if wanted is None:
        return axes.index("S") if "S" in axes else None
    if wanted.lower() == "none":
        return None
    if wanted.upper() in axes and len(wanted) == 1:
        return axes.index(wanted.upper())
    if re.fullmatch(r"-?[0-9]+", wanted) and -len(axes) <= int(wanted) < len(axes):
        return int(wanted) % len(axes)
    raise FileError(
        f"{source.path}: --channel-axis {wanted}: its dimensions are {axes}; give one of "
        f"these letters, a number from {-len(axes)} to {len(axes) - 1}, or none"
    )
