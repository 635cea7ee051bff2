"""Whether an output would overwrite planes that are still to be read."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_msdip._stack.job import Job

__all__ = ["refuse_overwritten_input", "shared"]

Array = npt.NDArray[Any]

# How hard to look for memory that two arrays have in common: about a second at most.
_MOST_WORK: Any = 10**6  # NumPy's stubs know only -1 and 0.


def refuse_overwritten_input(job: Job) -> None:
    """Refuse an output in which a plane would lie where another is still to be read.

    Of what dask computes, only the arrays in its graph are known: what its functions
    open themselves cannot be seen.
    """
    source, out = job.source, job.sink.image
    for array in _held(source):
        common = shared(array, out)
        alike = isinstance(array, np.ndarray) == isinstance(out, np.ndarray)
        if common and not (array is source and alike):
            raise ValueError(
                f"out: shares {common} with what the stack is read from, and where in it "
                "the planes lie cannot be told, so unread ones could be overwritten; give "
                "an array of its own"
            )
    common = shared(source, out)
    if not common:
        return
    for position, index in enumerate(job.planes):
        place = _place(out, job.selection.key(position))
        if place != _place(source, job.layout.key(index)):
            raise ValueError(
                f"out: shares {common} with the stack, but plane {index} would not lie "
                "where it came from and would overwrite others; give an array of its own"
            )


def _held(source: Any) -> Iterator[Any]:
    """Yield the arrays that a stack is read from: of one from dask those in its graph."""
    graph = source.__dask_graph__() if hasattr(source, "__dask_graph__") else None
    if graph is None:
        yield source
        return
    for layer in getattr(graph, "layers", {"": graph}).values():
        # A task for every block would be made of these first, and there may be millions.
        blockwise = getattr(layer, "indices", None)
        yield from _arrays_in(list(layer.values()) if blockwise is None else blockwise)


def _arrays_in(part: Any) -> Iterator[Any]:
    """Yield the arrays that a part of a dask graph holds."""
    if isinstance(part, np.ndarray) or hasattr(part, "store_path"):
        yield part
    elif isinstance(part, dict):
        yield from _arrays_in(list(part.values()))
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _arrays_in(inner)
    elif type(part).__module__.startswith("dask."):
        held = [getattr(part, name, ()) for name in ("args", "kwargs", "value")]
        yield from _arrays_in(held)


def shared(source: Any, out: Any) -> str:
    """Say what two arrays have in common, nothing if they are independent."""
    if isinstance(out, np.ndarray):
        if isinstance(source, np.ndarray) and _overlap(source, out):
            return "memory"
        read, written = _mapped(source), _mapped(out)
        if written is None or written.mode == "c":
            return ""
        if read is not None and read._mmap is written._mmap:
            return ""
        return "its file" if os.path.realpath(written.filename) in _files(source) else ""
    if hasattr(source, "store_path") and hasattr(out, "store_path"):
        return "its zarr" if _address(source) == _address(out) else ""
    return ""


def _files(array: Any) -> set[str]:
    """Return the files of a memory map, or of a TIFF that tifffile shows as a zarr."""
    mapped = _mapped(array)
    if mapped is not None:
        return {os.path.realpath(mapped.filename)}
    series = getattr(getattr(array, "store", None), "_data", ())
    pages = [getattr(level, "keyframe", None) for level in series]
    return {os.path.realpath(page.parent.filehandle.path) for page in pages if page}


def _overlap(one: Array, other: Array) -> bool:
    """Whether two arrays have memory in common; also if that is too hard to tell."""
    try:
        return np.shares_memory(one, other, max_work=_MOST_WORK)
    except np.exceptions.TooHardError:
        return True


def _mapped(array: Any) -> Any:
    """Return the memory map that an array is a part of, None if it is of none."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            return array
        array = array.base
    return None


def _address(array: Any) -> str:
    """Return where a zarr array is, the same however it was opened."""
    # Local stores have a root; those that dask opens through fsspec a path.
    root = getattr(array.store, "root", None) or getattr(array.store, "path", None)
    if root is None:
        return str(array.store_path)
    return os.path.realpath(os.path.join(str(root), str(array.path)))


def _place(array: Any, key: tuple[int | slice, ...]) -> Any:
    """Return where a plane lies in the memory, file or zarr of its array."""
    if not isinstance(array, np.ndarray):
        return key
    plane, mapped = array[key], _mapped(array)
    address = plane.__array_interface__["data"][0]
    if mapped is not None:
        pages = np.frombuffer(mapped._mmap, np.uint8)
        page = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
        address += page - pages.__array_interface__["data"][0]
    return address, plane.strides
