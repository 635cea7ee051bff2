"""Where denoised planes go: an array, memory, or a store on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_msdip._stack.zarr_sink import ZarrOut, ZarrSink
from napari_msdip.arrays import dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_msdip.planes import PlaneLayout

__all__ = ["ArraySink", "Sink", "open_sink"]

Array = npt.NDArray[Any]


class Sink(Protocol):
    """Takes finished planes."""

    @property
    def image(self) -> Any:
        """The array that holds the planes."""

    @property
    def done(self) -> Mapping[int, str]:
        """Fingerprints of the inputs of planes that an earlier run finished."""

    @property
    def pinned(self) -> Mapping[str, Any]:
        """What a machine decided when the run began, and every plane has to keep."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what computed the planes that are recorded."""

    @property
    def noted(self) -> Mapping[str, Any]:
        """What an earlier run told of how the planes that it finished came about."""

    def put(self, position: int, plane: Array) -> None:
        """Write the plane at ``position`` among the selected ones, durably."""

    def record(self, plane: int, fingerprint: str) -> None:
        """Note that plane ``plane`` (flat index) is finished and written."""

    def full(self, n_bytes: int) -> bool:
        """Whether there is certainly no room for ``n_bytes`` more."""

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Store how the planes came about, after the last one."""


class ArraySink:
    """Planes into an array that is there already; nothing to resume from."""

    def __init__(self, image: Any, layout: PlaneLayout, header: Mapping[str, Any]) -> None:
        self.image = image
        self.done: Mapping[int, str] = {}
        self.pinned: Mapping[str, Any] = header["pinned"]
        self.versions: Mapping[str, str] = header["versions"]
        self.noted: Mapping[str, Any] = {}
        self._layout = layout

    def put(self, position: int, plane: Array) -> None:
        """Write the plane at ``position`` among the selected ones."""
        self.image[self._layout.key(position)] = plane

    def record(self, plane: int, fingerprint: str) -> None:
        """Do nothing: an array keeps no record."""

    def full(self, n_bytes: int) -> bool:
        """Return False: the array is allocated."""
        return False

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Do nothing: an array has no attributes."""


def open_sink(
    out: Any,
    layout: PlaneLayout,
    dtype: np.dtype[Any],
    header: Mapping[str, Any],
) -> Sink:
    """Return where the planes go.

    Parameters
    ----------
    out : None, array, str, path or ZarrOut
        None for memory; an array of the right shape and dtype is written into.
    layout : PlaneLayout
        Layout of the output.
    dtype : dtype
        Its dtype.
    header : mapping
        What the run is, for the journal of a store.

    Raises
    ------
    TypeError, ValueError, FileExistsError
        If the output cannot take the planes.
    """
    if out is None:
        return ArraySink(np.zeros(layout.shape, dtype), layout, header)
    if isinstance(out, (str, os.PathLike)):
        out = ZarrOut(out)
    if isinstance(out, ZarrOut):
        _check_path(out.path)
        return ZarrSink(out, layout, dtype.newbyteorder("="), header)
    if not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(
            f"out: cannot write planes to a {type(out).__name__}; give an array, the "
            "path of a zarr store, or None"
        )
    # Another byte order holds the same values.
    native = dtype_of(out, "out").newbyteorder("=")
    if tuple(out.shape) != layout.shape or native != dtype.newbyteorder("="):
        raise ValueError(
            f"out: has shape {tuple(out.shape)} and dtype {out.dtype}, but the result "
            f"has {layout.shape} and {dtype}"
        )
    if _is_read_only(out):
        raise ValueError("out: the array is read-only; open it for writing")
    return ArraySink(out, layout, header)


def _check_path(path: Any) -> None:
    """Raise TypeError or ValueError unless a path can be that of a folder to write to."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"out: path={path!r}: give the path of a zarr store")
    if not os.fspath(path):
        # It would stand for the current folder.
        raise ValueError(
            f"out={path!r}: is empty; give the path of a zarr store, or None for memory"
        )
    if "://" in str(path):
        raise ValueError(
            f"out={str(path)!r}: only a folder on a file system can be resumed "
            "after a kill; for a remote store open the zarr array yourself and "
            "give that"
        )


def _is_read_only(out: Any) -> bool:
    flags = getattr(out, "flags", None)
    if flags is not None:
        return not getattr(flags, "writeable", True)
    return bool(getattr(out, "read_only", False))
