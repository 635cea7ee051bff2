"""Which planes a stack has, and how to read one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_msdip.arguments import whole_number
from napari_msdip.arrays import (
    as_array,
    check_not_empty,
    checked_axis,
    dtype_of,
    without_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "PlaneLayout",
    "chunked",
    "digest",
    "in_memory",
    "open_stack",
    "read_plane",
    "select",
    "spread",
]

Array = npt.NDArray[Any]

_Item = TypeVar("_Item")

# How many finished planes a resumed run compares with its input.
_MOST_COMPARED = 1000


@dataclass(frozen=True)
class PlaneLayout:
    """How a stack divides into planes.

    The last two axes that are not the channel axis are Y and X; all others
    number the planes.

    Attributes
    ----------
    shape : tuple of int
        Shape of the stack.
    channel_axis : int or None
        Channel axis of the stack, not negative.
    """

    shape: tuple[int, ...]
    channel_axis: int | None

    @classmethod
    def of(cls, shape: Sequence[int], channel_axis: int | None) -> PlaneLayout:
        """Return the layout of a stack after checking its axes.

        Raises
        ------
        TypeError
            If the channel axis is no whole number.
        ValueError
            If the stack has no Y and X, is empty, or lacks the channel axis.
        """
        shape = tuple(shape)
        axis = checked_axis(channel_axis, shape, "stack")
        if len(shape) - (axis is not None) < 2:
            raise ValueError(
                f"stack: shape {shape} with channel_axis={channel_axis} has no "
                "Y and X axes; give (..., Y, X) with an optional channel axis"
            )
        check_not_empty(shape, "stack")
        return cls(tuple(int(size) for size in shape), axis)

    @cached_property
    def plane_axes(self) -> tuple[int, ...]:
        """Axes of the stack that number its planes."""
        others = [axis for axis in range(len(self.shape)) if axis != self.channel_axis]
        return tuple(others[:-2])

    @property
    def size_axes(self) -> tuple[int, ...]:
        """Axes of the stack that are Y and X."""
        others = (*self.plane_axes, self.channel_axis)
        return tuple(axis for axis in range(len(self.shape)) if axis not in others)

    @cached_property
    def _grid(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.plane_axes)

    @property
    def n_planes(self) -> int:
        """Number of planes."""
        return prod(self._grid)

    @property
    def row_length(self) -> int:
        """Number of planes along the last axis that numbers them: neighbours."""
        return self._grid[-1] if self._grid else 1

    @cached_property
    def plane_shape(self) -> tuple[int, ...]:
        """Shape of one plane: Y, X and the channels in the stack's order."""
        return tuple(
            size for axis, size in enumerate(self.shape) if axis not in self.plane_axes
        )

    @property
    def plane_channel_axis(self) -> int | None:
        """Channel axis within a plane."""
        if self.channel_axis is None:
            return None
        return self.channel_axis - sum(a < self.channel_axis for a in self.plane_axes)

    @property
    def size_yx(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = (self.shape[axis] for axis in self.size_axes)
        return height, width

    @property
    def channels(self) -> int:
        """Number of channels, 1 without a channel axis."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis]

    def key(self, index: int) -> tuple[int | slice, ...]:
        """Return what to index the stack with to get plane ``index`` (flat, C order)."""
        position = iter(int(i) for i in np.unravel_index(index, self._grid or (1,)))
        return tuple(
            next(position) if axis in self.plane_axes else slice(None)
            for axis in range(len(self.shape))
        )

    def selection(self, n_planes: int) -> PlaneLayout:
        """Return the layout of a stack of ``n_planes`` selected planes.

        The plane axes become one, at the place of the first of them, and all
        other axes keep their order.
        """
        first = self.plane_axes[0] if self.plane_axes else 0
        shape = list(self.plane_shape)
        shape.insert(first, n_planes)
        axis = self.plane_channel_axis
        if axis is not None and axis >= first:
            axis += 1
        return PlaneLayout(tuple(shape), axis)


def select(planes: slice | Iterable[int] | None, n_planes: int) -> tuple[int, ...]:
    """Return the flat indices that ``planes`` selects.

    Parameters
    ----------
    planes : slice, iterable of int or None
        None for all; negative indices count from the end.
    n_planes : int
        Number of planes in the stack.

    Raises
    ------
    TypeError
        If ``planes`` is neither.
    ValueError
        If nothing is selected, an index is out of range or one comes twice.
    """
    if planes is None:
        return tuple(range(n_planes))
    if isinstance(planes, slice):
        if planes.step == 0:
            raise ValueError(f"planes={planes!r}: the step cannot be 0")
        if any(
            bound is not None and whole_number(bound) is None
            for bound in (planes.start, planes.stop, planes.step)
        ):
            raise TypeError(f"planes={planes!r}: give whole numbers or None in the slice")
        chosen = tuple(range(n_planes)[planes])
    else:
        chosen = tuple(_plane_index(index, n_planes) for index in _iterable(planes))
    if not chosen:
        raise ValueError(
            f"planes={planes!r}: selects none of the {n_planes} planes, 0 to {n_planes - 1}"
        )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"planes={planes!r}: each plane may come once")
    return chosen


def _iterable(planes: Any) -> Any:
    # An array of no axes has __iter__ and cannot be iterated over.
    flat = hasattr(planes, "__iter__") and getattr(planes, "ndim", 1) == 1
    if isinstance(planes, (str, bytes)) or not flat:
        raise TypeError(f"planes={planes!r}: give a slice, a list of indices or None")
    return planes


def _plane_index(index: Any, n_planes: int) -> int:
    number = whole_number(index)
    if number is None:
        raise TypeError(f"planes: {index!r} is no plane index; give whole numbers")
    if not -n_planes <= number < n_planes:
        raise ValueError(
            f"planes: there is no plane {number}; the stack has {n_planes}, "
            f"0 to {n_planes - 1}"
        )
    return number % n_planes


def chunked(planes: Sequence[int], row_length: int, size: int) -> list[list[int]]:
    """Divide selected planes into chunks in which each plane neighbours the next.

    Chunks begin at multiples of ``size`` in every row of the stack, whatever is
    selected, so that a chunk selected as a whole is the same chunk.

    Parameters
    ----------
    planes : sequence of int
        Flat plane indices.
    row_length : int
        Planes along the last axis that numbers them.
    size : int
        Most planes in a chunk.

    Returns
    -------
    list of list of int
        Positions in ``planes``, each once and in order.
    """
    chunks: list[list[int]] = []
    for position, plane in enumerate(planes):
        follows = position > 0 and planes[position - 1] == plane - 1
        if not follows or plane % row_length % size == 0:
            chunks.append([])
        chunks[-1].append(position)
    return chunks


def spread(items: Sequence[_Item]) -> Sequence[_Item]:
    """Return those of many planes that stand for all: up to 1000, evenly spread."""
    step = -(-len(items) // _MOST_COMPARED) or 1
    return items[::step]


def open_stack(stack: Any) -> Any:
    """Return something lazy with ``shape``, ``dtype`` and indexing.

    Parameters
    ----------
    stack : array_like, zarr store, zarr group or path
        NumPy, dask and zarr arrays are returned as they are; of a zarr group
        the first (finest) array is taken; a path or a store such as
        ``tifffile.imread(path, aszarr=True)`` is opened with zarr.

    Raises
    ------
    TypeError
        If it is none of these, its dtype is not integer or float, or pixels are masked.
    FileNotFoundError, ValueError
        If there is no zarr at the path.
    """
    source = stack
    if not _is_array(source):
        source = _finest(_open_zarr(source))
    dtype = dtype_of(source, "stack")
    if dtype.kind not in "iuf":
        raise TypeError(f"stack: dtype {dtype} cannot be denoised; give integers or floats")
    if isinstance(source, np.ma.MaskedArray):
        return as_array(source, "stack")
    source = without_labels(source)
    if any(size != size for size in source.shape):
        raise ValueError(
            f"stack: shape {source.shape} is not known; call compute_chunk_sizes() on the "
            "dask array first"
        )
    return source


def _is_array(stack: Any) -> bool:
    return all(hasattr(stack, name) for name in ("shape", "dtype", "__getitem__"))


def _open_zarr(stack: Any) -> Any:
    import zarr
    from zarr.abc.store import Store

    if isinstance(stack, zarr.Group):
        return stack
    if isinstance(stack, Store):
        return zarr.open(stack, mode="r")
    if isinstance(stack, (str, os.PathLike)):
        path = os.fspath(stack)
        # A worker may have been started in another folder.
        return _open_path(path if "://" in path else os.path.abspath(path))
    raise TypeError(
        f"stack: cannot read planes from a {type(stack).__name__}; give a NumPy, dask "
        "or zarr array, a zarr store or the path of one"
    )


def _open_path(path: str) -> Any:
    import zarr

    try:
        return zarr.open(path, mode="r")
    except (OSError, ValueError, KeyError) as error:
        if not os.path.exists(path):
            raise FileNotFoundError(f"stack: {path} does not exist") from error
        raise ValueError(
            f"stack: {path} is no zarr store ({error}); give a TIFF as "
            "tifffile.imread(path, aszarr=True), any other file as an array"
        ) from error


def _finest(node: Any) -> Any:
    if _is_array(node):
        return node
    attributes = dict(node.attrs)
    multiscales = attributes.get("ome", attributes).get("multiscales")
    if multiscales:
        return node[multiscales[0]["datasets"][0]["path"]]
    names = sorted(node.array_keys())
    if not names:
        raise TypeError(
            f"stack: the zarr group at {node.store_path} holds no array at its top; give "
            "the group or the array inside that you mean"
        )
    return node[names[0]]


def read_plane(source: Any, layout: PlaneLayout, index: int) -> Array:
    """Read one plane into memory, and nothing else.

    Parameters
    ----------
    source : array_like
        What :func:`open_stack` returned.
    layout : PlaneLayout
        Its layout.
    index : int
        Flat index of the plane (C order).

    Returns
    -------
    ndarray
        Shape ``layout.plane_shape``, in the machine's byte order.

    Raises
    ------
    TypeError
        If some of its pixels are masked.
    """
    return in_memory(source[layout.key(index)])


def in_memory(plane: Any) -> Array:
    """Return a plane as an array in the machine's byte order."""
    array = as_array(plane, "plane")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def digest(plane: Array) -> str:
    """Return a fingerprint of a plane's pixels."""
    data = np.ascontiguousarray(plane).reshape(-1).view(np.uint8)
    return hashlib.blake2b(data.data, digest_size=16).hexdigest()
