"""Planes of an array in a zarr store: written durably, and seen in any order of axes."""

from __future__ import annotations

import itertools
import math
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip._stack.durable import sweep
from napari_msdip._stack.journal import JOURNAL, begun_by
from napari_msdip.io import sync_directory, sync_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_msdip.planes import PlaneLayout

__all__ = ["Reordered", "StoreLost", "ZarrWriter", "open_array"]

Array = npt.NDArray[Any]


class StoreLost(OSError):
    """The store belongs to another run, or is gone: no further plane can go there."""


@dataclass(frozen=True)
class ZarrWriter:
    """Writes planes into one array of a store on disk; cheap to send to a worker.

    Attributes
    ----------
    path : str
        Absolute path of the array's folder.
    layout : PlaneLayout
        Layout of the output.
    order : tuple of int
        The output's axes in the order in which the array has them.
    run : str or None
        Id of the run, as its journal has it.
    """

    path: str
    layout: PlaneLayout
    order: tuple[int, ...]
    run: str | None

    def prove(self) -> None:
        """Open the array for writing and write beside it; raise OSError if it fails."""
        open_array(self.path)
        proof = Path(self.path) / f"{uuid.uuid4().hex}.partial"
        proof.write_bytes(b"")
        proof.unlink(missing_ok=True)

    def __call__(self, position: int, plane: Array) -> None:
        """Write the plane at ``position`` and wait until it is on disk.

        Raises
        ------
        StoreLost
            If another run has begun the store anew, or it is gone.
        OSError
            If writing fails.
        """
        # A worker goes on when its caller is killed, and does not know of the next one.
        self.check_own()
        array = open_array(self.path)
        key = self.layout.key(position)
        stored = tuple(key[axis] for axis in self.order)
        files = self._files(array, stored)
        for folder in {file.parent for file in files}:
            sweep(folder)
        array[stored] = plane.transpose(np.argsort(_kept(key, self.order)).argsort())
        self._sync(files)

    def check_own(self) -> None:
        """Raise StoreLost unless the store is there and still of this run."""
        with suppress(FileNotFoundError):
            if begun_by(Path(self.path) / JOURNAL) == self.run:
                return
        raise StoreLost(
            f"out: another run has begun {self.path} anew, or has finished with it, so "
            "this one ends; let one at a time write there"
        )

    def _files(self, array: Any, key: tuple[int | slice, ...]) -> list[Path]:
        grid = (
            range(-(-size // chunk)) if isinstance(index, slice) else (index,)
            for size, chunk, index in zip(array.shape, array.chunks, key, strict=True)
        )
        encode = array.metadata.encode_chunk_key
        return [Path(self.path) / encode(chunk) for chunk in itertools.product(*grid)]

    def _sync(self, files: Sequence[Path]) -> None:
        folders: set[Path] = set()
        for file in files:
            folders.update(_parents(file, Path(self.path)))
            # A chunk of nothing but zeros is not stored.
            if file.exists():
                sync_file(file)
        for folder in folders:
            if folder.exists():
                sync_directory(folder)


@dataclass(frozen=True)
class Reordered:
    """An array on disk, seen with its axes in another order.

    Attributes
    ----------
    array : zarr.Array
        The array.
    order : tuple of int
        Axes of this view in the order in which the array has them.
    """

    array: Any
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the view."""
        return tuple(self.array.shape[self.order.index(a)] for a in range(self.ndim))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        """Read what a whole number or a slice for each of the first axes selects.

        Raises
        ------
        IndexError
            If anything else is given, such as a list or a mask, or for more axes than
            there are.
        """
        key = key if isinstance(key, tuple) else (key,)
        for part in key:
            if part is not Ellipsis and not isinstance(part, (int, np.integer, slice)):
                raise IndexError(
                    f"index {part!r}: give whole numbers and slices, or read everything "
                    "with numpy.asarray first"
                )
        if any(part is Ellipsis for part in key):
            place = key.index(Ellipsis)
            left_out = self.ndim - len(key) + 1
            key = (*key[:place], *[slice(None)] * left_out, *key[place + 1 :])
        if len(key) > self.ndim:
            raise IndexError(f"index {key}: has more parts than the {self.ndim} axes")
        key = (*key, *[slice(None)] * (self.ndim - len(key)))
        found: Array = self.array[tuple(key[axis] for axis in self.order)]
        return np.transpose(found, np.argsort(_kept(key, self.order)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read everything, which takes a copy.

        Raises
        ------
        ValueError
            If none may be made.
        """
        if copy is False:
            raise ValueError("copy=False: what is on disk is read into a new array")
        return np.array(self[...], dtype=dtype)


def open_array(folder: str | Path) -> Any:
    """Open an array to write to."""
    import zarr

    return zarr.open_array(str(folder), mode="r+")


def _kept(key: tuple[Any, ...], order: tuple[int, ...]) -> list[int]:
    """Return the axes that an index keeps, in the order in which they are stored."""
    return [axis for axis in order if isinstance(key[axis], slice)]


def _parents(file: Path, root: Path) -> list[Path]:
    return [parent for parent in file.parents if parent == root or root in parent.parents]
