"""Planes into an OME-Zarr store, which is created, or gone on with after a kill."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip._stack.durable import sweep, sync_description
from napari_msdip._stack.journal import JOURNAL, Journal
from napari_msdip._stack.notes import note_outcome
from napari_msdip._stack.zarr_planes import Reordered, ZarrWriter, open_array
from napari_msdip.arguments import real_number
from napari_msdip.io import (
    NGFF_DIMENSIONS,
    Metadata,
    annotate_zarr,
    ngff_names,
    ngff_order,
    read_provenance,
    split_suffix,
)

if TYPE_CHECKING:
    import os

    from napari_msdip.planes import PlaneLayout

__all__ = ["ZarrOut", "ZarrSink"]

Array = npt.NDArray[Any]

# Larger planes are split, as one huge chunk is slow to open anywhere.
_CHUNK_BYTES = 64 * 2**20
# Names for axes beyond time and Z, none of which means anything to other programs.
_LETTERS = "ABDEFGHIJKLMNOPQRUVW"


@dataclass(frozen=True)
class ZarrOut:
    """An OME-Zarr store to write to, and what its axes mean.

    Attributes
    ----------
    path : str or path
        Folder of the store. One that an earlier, killed run of the same call
        began is resumed.
    metadata : Metadata or None
        Axes, pixel size, units and channel names of the *output*; None guesses
        the axes from their number.
    interim : bool
        Whether the store is only a stop on the way to another file, so that it does
        not matter what other programs would make of it.
    reordered : bool
        Whether the axes lie on disk in the order that OME-Zarr wants, whatever theirs
        is. The result is then seen in its own order through ``StackResult.image``.
    """

    path: str | os.PathLike[str]
    metadata: Metadata | None = None
    interim: bool = False
    reordered: bool = False


class ZarrSink:
    """Planes into an OME-Zarr store, with a journal that a killed run resumes from.

    The journal lies in the array's own folder, so it moves with the store and
    no reader of the group trips over it.

    Parameters
    ----------
    out : ZarrOut
        The store.
    layout : PlaneLayout
        Layout of the output.
    dtype : dtype
        Its dtype.
    header : mapping
        What the run is; see :class:`napari_msdip._stack.journal.Journal`.

    Raises
    ------
    FileExistsError
        If there is something at the path that no run of ours began.
    OSError
        If the folder cannot be written.
    ValueError
        If a different run began it, or the metadata do not fit.
    """

    def __init__(
        self,
        out: ZarrOut,
        layout: PlaneLayout,
        dtype: np.dtype[Any],
        header: Mapping[str, Any],
    ) -> None:
        # A worker may have been started in another folder.
        root = Path(out.path).absolute()
        metadata = out.metadata or _guess(layout)
        _check_axes(metadata, layout)
        _check_distances(metadata)
        _check_names(metadata, layout)
        order = _order(out, metadata.axes)
        is_reordered = order != tuple(range(len(order)))
        if is_reordered:
            header = {**header, "order": list(order)}
        folder = root / "0"
        if not (folder / JOURNAL).exists():
            _check_unused(root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(root)
            sweep(folder)
            _check_readable(root)
            self._journal = Journal(folder / JOURNAL, header)
            _create(root, layout, dtype, metadata, order)
        except OSError as error:
            reason = f"out: cannot write here ({error.strerror or error})"
            raise OSError(error.errno, reason, str(root)) from error
        stored = open_array(folder)
        self.image = Reordered(stored, order) if is_reordered else stored
        self.writer = ZarrWriter(
            str(folder), layout, order, self._journal.header.get("run")
        )
        # What is there is of these planes only if some are done.
        self.noted = read_provenance(root) if self.done else {}
        begun: Mapping[str, str] = self._journal.header["versions"]
        self.versions: Mapping[str, str] = self.noted.get("versions", begun)
        self._now: Mapping[str, str] = header["versions"]
        self._root = root

    @property
    def done(self) -> Mapping[int, str]:
        """Fingerprints of the inputs of planes that an earlier run finished."""
        return self._journal.done

    @property
    def pinned(self) -> Mapping[str, Any]:
        """What a machine decided when the first run began."""
        pinned: Mapping[str, Any] = self._journal.header["pinned"]
        return pinned

    def put(self, position: int, plane: Array) -> None:
        """Write the plane at ``position`` and wait until it is on disk."""
        self.writer(position, plane)

    def record(self, plane: int, fingerprint: str) -> None:
        """Note in the journal that a plane is finished."""
        versions = _of_both(self.versions, self._now)
        if versions != self.versions:
            # Not only at the end, which a run that is killed does not see.
            note_outcome(self._root, {**self.noted, "versions": versions})
            self.versions = versions
        self._journal.record(plane, fingerprint)

    def full(self, n_bytes: int) -> bool:
        """Whether the disk has less than ``n_bytes`` left."""
        return shutil.disk_usage(self._root).free < n_bytes

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Store how the planes came about in the group's attributes."""
        self.writer.check_own()
        note_outcome(self._root, provenance)


def _of_both(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return every version of each package, in the order of use: ``"2.8.0, 2.9.0"``."""
    merged = dict(before)
    for name, version in now.items():
        known = before[name].split(", ") if name in before else []
        merged[name] = ", ".join(dict.fromkeys((*known, version)))
    return merged


def _check_unused(root: Path) -> None:
    if root.is_file():
        raise FileExistsError(f"out: {root} is a file; give the path of a new zarr store")
    for file in root.rglob("*"):
        if file.is_file() and file.suffix != ".partial":
            raise FileExistsError(
                f"out: {root} exists and was not begun by a run that could be resumed; "
                "remove it or choose another output"
            )
    for parent in filter(_is_array, root.resolve().parents):
        raise ValueError(
            f"out: {root} lies inside the zarr array {parent}, among its chunks; choose a "
            "place outside"
        )


def _is_array(folder: Path) -> bool:
    import zarr

    try:
        zarr.open_array(str(folder), mode="r")
    except Exception:  # Whatever zarr raises for what is none.
        return False
    return True


def _check_readable(root: Path) -> None:
    """Refuse a store whose description was damaged; one that lacks is written anew."""
    import zarr

    for folder, opened in ((root, zarr.open_group), (root / "0", zarr.open_array)):
        if not (folder / "zarr.json").exists():
            continue
        try:
            opened(str(folder), mode="r")
        except OSError:
            raise
        except Exception as error:  # Whatever zarr raises for a damaged store.
            raise ValueError(
                f"out: {folder / 'zarr.json'} is damaged ({error}), so the planes in "
                f"{root} cannot be gone on with; remove it or choose another output"
            ) from error


def _create(
    root: Path,
    layout: PlaneLayout,
    dtype: np.dtype[Any],
    metadata: Metadata,
    order: tuple[int, ...],
) -> None:
    """Create what is missing of the store: a kill may have come between two steps."""
    import zarr

    folder = root / "0"
    metadata = metadata.reordered(order)
    shape = tuple(layout.shape[axis] for axis in order)
    chunks = _chunks(layout, dtype.itemsize)
    if not (root / "zarr.json").exists():
        zarr.create_group(str(root), zarr_format=3)
    annotate_zarr(root, metadata, name=split_suffix(root)[0])
    if not (folder / "zarr.json").exists():
        zarr.create_array(
            str(folder),
            shape=shape,
            dtype=dtype,
            chunks=tuple(chunks[axis] for axis in order),
            dimension_names=ngff_names(metadata),
            fill_value=0,
            zarr_format=3,
        )
    array = open_array(folder)
    if tuple(array.shape) != shape or np.dtype(array.dtype) != dtype:
        raise ValueError(
            f"out: {folder} holds {tuple(array.shape)} {array.dtype}, but the result is "
            f"{shape} {dtype}; choose another output"
        )
    sync_description(root)


def _chunks(layout: PlaneLayout, itemsize: int) -> tuple[int, ...]:
    height, width = layout.size_yx
    while height * width * layout.channels * itemsize > _CHUNK_BYTES and height > 1:
        height, width = -(-height // 2), -(-width // 2)
    sizes = iter((height, width))
    return tuple(
        1
        if axis in layout.plane_axes
        else size
        if axis == layout.channel_axis
        else next(sizes)
        for axis, size in enumerate(layout.shape)
    )


def _guess(layout: PlaneLayout) -> Metadata:
    """Guess what the axes are; what comes before the channels is rather time than Z."""
    count = len(layout.plane_axes)
    guessed = (_LETTERS + "TZ")[-count:] if count else ""
    if count == 1 and layout.channel_axis == 1:
        guessed = "T"
    planes, size = iter(guessed), iter("YX")
    letters = (
        next(planes)
        if axis in layout.plane_axes
        else "C"
        if axis == layout.channel_axis
        else next(size)
        for axis in range(len(layout.shape))
    )
    return Metadata("".join(letters), flavour="zarr")


def _check_axes(metadata: Metadata, layout: PlaneLayout) -> None:
    if not isinstance(metadata, Metadata):
        raise TypeError(
            f"out: metadata={metadata!r}: give a napari_msdip.io.Metadata or None"
        )
    axes = metadata.axes
    if len(axes) != len(layout.shape):
        raise ValueError(
            f"out: metadata with the axes {axes!r} for an output of shape {layout.shape}; "
            "give a letter for each of its axes"
        )
    # Any number of axes may have no meaning.
    repeated = [letter for letter in "TCZYX" if axes.count(letter) > 1]
    if repeated or {axes[axis] for axis in layout.size_axes} != {"Y", "X"}:
        raise ValueError(
            f"out: metadata with the axes {axes!r} for an output whose axes "
            f"{layout.size_axes} are Y and X; call these so, and no two T, C or Z"
        )


def _check_distances(metadata: Metadata) -> None:
    """Raise ValueError unless pixel sizes and places are numbers that can be written."""
    for name, above in (("scale", 0.0), ("origin", -math.inf)):
        found = getattr(metadata, name)
        if isinstance(found, Mapping) and all(
            above < _as_distance(value) < math.inf for value in found.values()
        ):
            continue
        least = " above 0" if name == "scale" else ""
        raise ValueError(
            f"out: metadata with {name}={found!r}; give a number{least} for each axis "
            "where it is known, such as {'X': 0.1}"
        )


def _as_distance(value: Any) -> float:
    """Return a number, NaN for what is none: it is in no range."""
    number = real_number(value)
    return math.nan if number is None else number


def _check_names(metadata: Metadata, layout: PlaneLayout) -> None:
    """Raise ValueError unless there is a name for each channel, or for none."""
    names, axes = metadata.channel_names, metadata.axes
    n_channels = layout.shape[axes.index("C")] if "C" in axes else 1
    if names and len(names) != n_channels:
        raise ValueError(
            f"out: metadata with channel_names={names!r} for an output of shape "
            f"{layout.shape} with the axes {axes!r}; give {n_channels} names or none"
        )


def _order(out: ZarrOut, axes: str) -> tuple[int, ...]:
    """Return in which order a store has the axes of its output."""
    wanted, given = ngff_order(axes), tuple(range(len(axes)))
    if out.interim:
        return given
    problem = ""
    if len(axes) > NGFF_DIMENSIONS:
        problem = f"holds at most {NGFF_DIMENSIONS} dimensions and this output has {axes}"
    elif wanted != given and not out.reordered:
        problem = f"wants axes in the order TCZYX and this output has {axes}"
    if problem:
        warnings.warn(
            f"out: OME-Zarr {problem}; other programs may refuse it", stacklevel=4
        )
    return wanted if out.reordered else given
