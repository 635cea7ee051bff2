"""Which files to read, where results may go, and how they get their names."""

from __future__ import annotations

import errno
import glob
import itertools
import os
import re
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_msdip.io._durable import sync, sync_directory
from napari_msdip.io._metadata import FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "READABLE",
    "TIFF",
    "WRITABLE",
    "check_output",
    "discard",
    "expand",
    "is_full",
    "is_zarr",
    "known",
    "name_finished",
    "partial_path",
    "places",
    "replacing",
    "split_suffix",
]

TIFF = (".tif", ".tiff", ".btf", ".lsm")
READABLE = (*TIFF, ".png", ".jpg", ".jpeg", ".zarr")
WRITABLE = (".tif", ".tiff", ".btf", ".png", ".zarr")

_PARTIAL = ".partial.ome.zarr"


def split_suffix(path: Path) -> tuple[str, str]:
    """Split a name in stem and suffix, taking ``.ome.tif`` and ``.ome.zarr`` whole."""
    match = re.fullmatch(r"(.+?)((?:\.ome)?\.[^.]+)", path.name, re.IGNORECASE | re.DOTALL)
    return (match[1], match[2]) if match else (path.name, "")


def partial_path(path: Path) -> Path:
    """Return where an unfinished stack waits until it may take its final name."""
    # With its suffix: cells.tif and cells.ome.tif may be on their way at once.
    return path.with_name(f"{path.name}{_PARTIAL}")


def expand(
    inputs: Iterable[str | os.PathLike[str]],
    note: Callable[[str], object] | None = None,
) -> list[Path]:
    """Turn files, folders and glob patterns into a list of image files.

    Parameters
    ----------
    inputs : iterable of path
        A folder stands for the images directly inside it that are not hidden, also
        one that a pattern matches; ``**`` in a pattern descends into folders.
    note : callable or None
        Told of every name that is left out because another leads to the same file.

    Returns
    -------
    list of Path
        In the order given, folders and patterns in natural order, each file once.

    Raises
    ------
    FileError
        If something does not exist, holds no image, or is of an unknown type.
    """
    unique: dict[Path, Path] = {}
    for path in itertools.chain.from_iterable(_expand_one(os.fspath(i)) for i in inputs):
        first = unique.setdefault(_followed(path), path)
        if note and os.path.abspath(first) != os.path.abspath(path):
            note(f"{path}: is the same file as {first} and is left out")
    return list(unique.values())


def _expand_one(text: str) -> list[Path]:
    if not text:
        # A variable of a script that was never set, say; not the current folder.
        raise FileError("an input is empty; name a file or a folder")
    path = Path(text)
    if path.is_dir() and not is_zarr(path):
        images = _images_in(path)
        if not images:
            raise FileError(f"{text}: no image in this folder ({known()})")
        return sorted(images, key=_natural)
    if path.exists():
        if not _is_readable(path):
            raise FileError(f"{text}: not a supported image type ({known()})")
        return [path]
    if not glob.has_magic(text):
        raise FileError(f"{text}: no such file or folder")
    matches = [Path(match) for match in glob.glob(text, recursive=True)]
    images = [match for match in matches if _is_image(match)]
    for match in matches:
        if match.is_dir() and not is_zarr(match):
            images += _images_in(match)
    if not images:
        raise FileError(f"{text}: nothing matches, or no image does ({known()})")
    return sorted(images, key=_natural)


def _images_in(folder: Path) -> list[Path]:
    return [child for child in folder.iterdir() if _is_image(child)]


def known() -> str:
    """Name the file types that can be read, and the way there from others."""
    return f"supported: {' '.join(READABLE)}; export others as OME-TIFF"


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group, or is called one."""
    return path.is_dir() and (path.suffix.lower() == ".zarr" or _holds_zarr(path))


def _holds_zarr(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))


def places(inputs: Iterable[Path]) -> dict[Path, Path]:
    """Map every input, and every folder that it lies in, to the input."""
    found: dict[Path, Path] = {}
    for path in inputs:
        resolved = _followed(path)
        for parent in resolved.parents:
            found.setdefault(parent, path)
        found[resolved] = path
    return found


def _is_image(path: Path) -> bool:
    return not path.name.startswith(".") and _is_readable(path)


def _is_readable(path: Path) -> bool:
    if path.name.endswith(_PARTIAL):
        return False
    # A link that leads nowhere counts: a file that is missing is to be missed.
    is_file = path.is_file() or (path.is_symlink() and not path.exists())
    return is_zarr(path) or (is_file and path.suffix.lower() in READABLE)


def check_output(
    path: Path, *, overwrite: bool, inputs: Mapping[Path, Path] | None = None
) -> None:
    """Make sure, before any work, that a result can be written.

    Parameters
    ----------
    path : Path
        Where the result goes; missing folders are made when it is written.
    overwrite : bool
        Whether an existing result may be replaced.
    inputs : mapping of Path to Path or None
        The :func:`places` of what is read, which a result never replaces.

    Raises
    ------
    FileError
        If the type is unknown, the file exists, is or holds an input or lies inside a
        zarr, its name is too long, or the folder cannot be written.
    """
    if path.suffix.lower() not in WRITABLE:
        raise FileError(
            f"{path}: cannot write this type; use one of {' '.join(WRITABLE)}, or end the "
            "name of a folder with /"
        )
    _check_inputs(path, inputs or {})
    if os.path.lexists(path) and not overwrite:
        raise FileError(f"{path}: exists already; overwrite=True replaces it")
    for parent in path.resolve().parents:
        if is_zarr(parent):
            raise FileError(
                f"{path}: lies inside the zarr {parent}; choose a place outside, or leave "
                "out the / at the end to name the zarr itself"
            )
    if path.is_dir():
        _check_folder(path)
    elif path.exists() and path.suffix.lower() == ".zarr":
        raise FileError(
            f"{path}: is a file, and a folder is to be written; delete it, or choose "
            "another name for the output"
        )
    _check_length(path)
    try:
        with tempfile.TemporaryFile(dir=_nearest_folder(path)):
            pass
    except OSError as error:
        raise FileError(f"{path}: cannot write here ({error.strerror})") from error


def _nearest_folder(path: Path) -> Path:
    """Return the folder that a result, and the folders that it lacks, would be made in."""
    return next(parent for parent in _followed(path).parents if parent.exists())


def _check_length(path: Path) -> None:
    """Refuse a name that is so long that there is none for it while it is written."""
    longest = _hidden(partial_path(path))
    try:
        longest.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            more = len(longest.name) - len(path.name)
            raise FileError(
                f"{path}: this name is too long, as it gets {more} characters more while "
                "it is written; choose a shorter one"
            ) from error


def _check_inputs(path: Path, inputs: Mapping[Path, Path]) -> None:
    resolved = path.resolve()
    found = inputs.get(resolved)
    if found is None:
        return
    what = "this is" if found.resolve() == resolved else f"holds {found}, which is"
    raise FileError(f"{path}: {what} an input; choose another name for the output")


def _check_folder(path: Path) -> None:
    if path.suffix.lower() != ".zarr":
        raise FileError(f"{path}: is a folder, and a file is to be written")
    if not _holds_zarr(path) and any(path.iterdir()):
        raise FileError(
            f"{path}: is a folder that holds something else than a zarr and is not "
            "replaced; choose another name for the output"
        )


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary name beside ``path``, and rename it once all is on disk.

    A link stays, and what it leads to is replaced.

    Raises
    ------
    FileError
        If ``path`` exists by then and may not be replaced, or the disk refuses.
    """
    file = _followed(path)
    temporary = _hidden(file)
    try:
        with _writing(path):
            file.parent.mkdir(parents=True, exist_ok=True)
            _sweep(file)
            yield temporary
            sync(temporary)
        name_finished(temporary, path, overwrite=overwrite)
    finally:
        _remove(temporary)


def name_finished(finished: Path, path: Path, *, overwrite: bool) -> None:
    """Rename what lies beside ``path`` and is finished; it stays there if that fails.

    Raises
    ------
    FileError
        If ``path`` exists by then and may not be replaced, or the disk refuses.
    """
    with _writing(path):
        _rename(finished, path, overwrite=overwrite)


def _followed(path: Path) -> Path:
    """Return what a link leads to, whether it is there or not."""
    return Path(os.path.realpath(path))


def discard(path: Path) -> None:
    """Remove a file or folder, if it is there, and what killed runs left of it.

    It loses its name first: a kill half-way leaves nothing that could be taken for whole.

    Raises
    ------
    FileError
        If the system refuses.
    """
    try:
        if path.exists():
            os.replace(path, _hidden(path))
        _sweep(path)
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"{path}: cannot be removed ({reason})") from error


def _hidden(path: Path) -> Path:
    """Return a temporary name beside ``path``, by which :func:`_sweep` knows it."""
    return path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")


def _sweep(path: Path) -> None:
    """Remove what killed runs left of writing or removing this very file."""
    name = f".{'[0-9a-f]' * 8}-{glob.escape(path.name)}"
    for leftover in path.parent.glob(name):
        _remove(leftover)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if is_full(error) else error.strerror or error
        raise FileError(f"{path}: cannot write ({reason})") from error


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk, or a share of it, is full."""
    # NumPy says only how many items it got rid of.
    short = error.errno is None and "requested and" in str(error)
    return short or error.errno in (errno.ENOSPC, errno.EDQUOT)


def _rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise FileError(f"{path}: exists already; overwrite=True replaces it")
    path = _followed(path)
    if not path.is_dir():
        os.replace(temporary, path)
        sync_directory(path.parent)
        return
    # A folder cannot be replaced in one step: the old one steps aside first.
    aside = _hidden(path)
    os.replace(path, aside)
    try:
        os.replace(temporary, path)
    except OSError:
        os.replace(aside, path)
        raise
    sync_directory(path.parent)
    _sweep(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
