"""Where denoised planes go: an array, memory, or an OME-Zarr store on disk."""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_msdip._stack.journal import Journal, begun_by, sync_directory
from napari_msdip.io import (
    Metadata,
    annotate_zarr,
    ngff_names,
    ngff_order,
    split_suffix,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_msdip._stack.planes import PlaneLayout

__all__ = [
    "ArraySink",
    "Leftover",
    "Reordered",
    "Sink",
    "ZarrOut",
    "ZarrSink",
    "ZarrWriter",
    "noting_copy",
    "open_sink",
]

Array = npt.NDArray[Any]

JOURNAL = ".napari-msdip.jsonl"

# Attributes of the group: how its planes came about, and which file is a copy of it.
_OUTCOME = "napari_msdip"
_COPY = "napari_msdip_copy"

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

    def __init__(self, image: Any, layout: PlaneLayout, pinned: Mapping[str, Any]) -> None:
        self.image = image
        self.done: Mapping[int, str] = {}
        self.pinned = pinned
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
        _open_array(self.path)
        proof = Path(self.path) / f"{uuid.uuid4().hex}.partial"
        proof.write_bytes(b"")
        proof.unlink(missing_ok=True)

    def __call__(self, position: int, plane: Array) -> None:
        """Write the plane at ``position`` and wait until it is on disk.

        Raises
        ------
        OSError
            If that fails, or another run has begun the store anew.
        """
        # A worker goes on when its caller is killed, and does not know of the next one.
        if begun_by(Path(self.path) / JOURNAL) != self.run:
            raise OSError(f"another run has begun {self.path} anew")
        array = _open_array(self.path)
        key = self.layout.key(position)
        stored = tuple(key[axis] for axis in self.order)
        files = self._files(array, stored)
        for folder in {file.parent for file in files}:
            _sweep(folder)
        array[stored] = plane.transpose(np.argsort(_kept(key, self.order)).argsort())
        self._sync(files)

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
                _sync_file(file)
        for folder in folders:
            if folder.exists():
                sync_directory(folder)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_description(root: Path) -> None:
    """Make durable what zarr wrote of a store: without it the planes are not found."""
    for folder in (root, root / "0"):
        _sync_file(folder / "zarr.json")
        sync_directory(folder)
    sync_directory(root.parent)


def _kept(key: tuple[Any, ...], order: tuple[int, ...]) -> list[int]:
    """Return the axes that an index keeps, in the order in which they are stored."""
    return [axis for axis in order if isinstance(key[axis], slice)]


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

    def __getitem__(self, key: Any) -> Array:
        """Read what a whole number or a slice for each of the first axes selects."""
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            place = key.index(Ellipsis)
            left_out = self.ndim - len(key) + 1
            key = (*key[:place], *[slice(None)] * left_out, *key[place + 1 :])
        key = (*key, *[slice(None)] * (self.ndim - len(key)))
        found: Array = self.array[tuple(key[axis] for axis in self.order)]
        return np.transpose(found, np.argsort(_kept(key, self.order)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read everything."""
        return np.array(self[...], dtype=dtype)


def _sweep(folder: Path) -> None:
    """Remove what a killed run was just writing."""
    for leftover in folder.glob("*.partial"):
        leftover.unlink(missing_ok=True)


def _parents(file: Path, root: Path) -> list[Path]:
    return [parent for parent in file.parents if parent == root or root in parent.parents]


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
        If a different run began it, or the axes do not fit.
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
        _check_axes(metadata.axes, layout)
        order = _order(out, metadata.axes)
        is_reordered = order != tuple(range(len(order)))
        if is_reordered:
            header = {**header, "order": list(order)}
        folder = root / "0"
        if not (folder / JOURNAL).exists():
            _check_unused(root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            _sweep(folder)
            _check_readable(root)
            self._journal = Journal(folder / JOURNAL, header)
            _create(root, layout, dtype, metadata, order)
        except OSError as error:
            reason = f"out: cannot write here ({error.strerror or error})"
            raise OSError(error.errno, reason, str(root)) from error
        stored = _open_array(folder)
        self.image = Reordered(stored, order) if is_reordered else stored
        self.writer = ZarrWriter(
            str(folder), layout, order, self._journal.header.get("run")
        )
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
        self._journal.record(plane, fingerprint)

    def full(self, n_bytes: int) -> bool:
        """Whether the disk has less than ``n_bytes`` left."""
        return shutil.disk_usage(self._root).free < n_bytes

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Store how the planes came about in the group's attributes."""
        import zarr

        group = zarr.open_group(str(self._root), mode="r+")
        before: Any = group.attrs.get(_OUTCOME, {})
        # A run that finds nothing to do has no plan, and must not wipe out the one noted.
        known = {key: value for key, value in provenance.items() if value is not None}
        try:
            group.attrs[_OUTCOME] = before | known
            _sync_description(self._root)
        except OSError as error:
            # The planes are what matters, and they are written.
            warnings.warn(
                f"out: how the planes came about could not be noted in {self._root}: "
                f"{error}",
                stacklevel=2,
            )


@dataclass(frozen=True)
class Leftover:
    """A store in which an earlier run left planes to do.

    Attributes
    ----------
    store : Path
        Its folder.
    complete : bool
        Whether nothing is left after all; a store without a note is taken for that.
    copy : str
        Name of the file that the store was copied to, failed planes included.
    failed : mapping of str to str or None
        Those failed planes, with the reason; None if it is not known to be a copy of
        what is in the store now, as a kill came in between.
    """

    store: Path
    complete: bool
    copy: str
    failed: Mapping[str, str] | None

    @classmethod
    def of(cls, store: Path) -> Leftover:
        """Read what is noted in a store."""
        import zarr

        try:
            notes: dict[str, Any] = dict(zarr.open_group(store, mode="r").attrs)
        except Exception:  # Whatever zarr raises for a damaged store.
            notes = {}
        copy = notes.get(_COPY, {})
        return cls(
            store=store,
            complete=notes.get(_OUTCOME, {}).get("complete", True),
            copy=copy.get("name", ""),
            failed=copy.get("failed"),
        )

    def gave(self, result: Path) -> bool:
        """Whether a file that is there came of the store."""
        return result == self.store or result.name == self.copy


@contextmanager
def noting_copy(store: Path, name: str, failed: Mapping[str, str]) -> Iterator[None]:
    """Note in a store that it is being copied to a file, and afterwards that it was.

    A kill in between leaves a file that is known to be the store's; a failure leaves
    what was noted before.

    Parameters
    ----------
    store : Path
        Folder of the store.
    name : str
        Name of the file.
    failed : mapping of str to str
        The planes that both lack then, with the reason.
    """
    import zarr

    notes = zarr.open_group(store, mode="r+").attrs
    before = notes.get(_COPY, {})
    notes[_COPY] = {"name": name, "failed": None}
    _sync_description(store)
    try:
        yield
    except Exception:
        notes[_COPY] = before
        raise
    notes[_COPY] = {"name": name, "failed": dict(failed)}
    _sync_description(store)


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
        return ArraySink(np.zeros(layout.shape, dtype), layout, header["pinned"])
    if isinstance(out, (str, os.PathLike)):
        out = ZarrOut(out)
    if isinstance(out, ZarrOut):
        if "://" in str(out.path):
            raise ValueError(
                f"out={str(out.path)!r}: only a folder on a file system can be resumed "
                "after a kill; for a remote store open the zarr array yourself and "
                "give that"
            )
        return ZarrSink(out, layout, dtype.newbyteorder("="), header)
    if not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(
            f"out: cannot write planes to a {type(out).__name__}; give an array, the "
            "path of a zarr store, or None"
        )
    # Another byte order holds the same values.
    native = np.dtype(out.dtype).newbyteorder("=")
    if tuple(out.shape) != layout.shape or native != dtype.newbyteorder("="):
        raise ValueError(
            f"out: has shape {tuple(out.shape)} and dtype {out.dtype}, but the result "
            f"has {layout.shape} and {dtype}"
        )
    if _is_read_only(out):
        raise ValueError("out: the array is read-only; open it for writing")
    return ArraySink(out, layout, header["pinned"])


def _is_read_only(out: Any) -> bool:
    flags = getattr(out, "flags", None)
    if flags is not None:
        return not getattr(flags, "writeable", True)
    return bool(getattr(out, "read_only", False))


def _check_unused(root: Path) -> None:
    if root.is_file():
        raise FileExistsError(f"out: {root} is a file; give the path of a new zarr store")
    for file in root.rglob("*"):
        if file.is_file() and file.suffix != ".partial":
            raise FileExistsError(
                f"out: {root} exists and was not begun by a run that could be resumed; "
                "remove it or choose another output"
            )


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


def _open_array(folder: str | Path) -> Any:
    import zarr

    return zarr.open_array(str(folder), mode="r+")


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
            dimension_names=ngff_names(metadata.axes),
            fill_value=0,
            zarr_format=3,
        )
    array = _open_array(folder)
    if tuple(array.shape) != shape or np.dtype(array.dtype) != dtype:
        raise ValueError(
            f"out: {folder} holds {tuple(array.shape)} {array.dtype}, but the result is "
            f"{shape} {dtype}; choose another output"
        )
    _sync_description(root)


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


def _check_axes(axes: str, layout: PlaneLayout) -> None:
    if len(axes) != len(layout.shape):
        raise ValueError(
            f"out: axes {axes!r} given for an output with {len(layout.shape)} axes, "
            f"of shape {layout.shape}"
        )


def _order(out: ZarrOut, axes: str) -> tuple[int, ...]:
    """Return in which order a store has the axes of its output."""
    wanted, given = ngff_order(axes), tuple(range(len(axes)))
    if out.interim or wanted == given:
        return given
    if not out.reordered:
        warnings.warn(
            f"out: OME-Zarr wants axes in the order TCZYX and this output has {axes}; "
            "other programs may refuse it",
            stacklevel=4,
        )
        return given
    return wanted
