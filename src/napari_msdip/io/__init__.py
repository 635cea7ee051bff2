"""Image files in and out, with pixel size, units, axes and channel names kept.

:func:`open_image` gives the pixels (read only when asked for) and a
:class:`Metadata`; :func:`save_image` writes both back. Whatever is written goes to
a temporary name first and is renamed, so that a file with the final name is
always complete, also after a power cut.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_msdip.io._durable import sync_directory, sync_file
from napari_msdip.io._metadata import (
    FileError,
    Metadata,
    Source,
    reading,
    unit_notes,
    writing,
)
from napari_msdip.io._paths import (
    READABLE,
    TIFF,
    WRITABLE,
    check_output,
    discard,
    expand,
    is_full,
    is_zarr,
    known,
    name_finished,
    partial_path,
    places,
    replacing,
    split_suffix,
)
from napari_msdip.io._picture import check_png, open_picture, save_png
from napari_msdip.io._tiff import open_tiff, tiff_provenance
from napari_msdip.io._tiff_writing import check_tiff, keeps_palette, save_tiff
from napari_msdip.io._zarr import (
    NGFF_DIMENSIONS,
    PROVENANCE_KEY,
    annotate_zarr,
    check_zarr,
    ngff_names,
    ngff_order,
    open_zarr,
    save_zarr,
    stored_names,
    zarr_provenance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "NGFF_DIMENSIONS",
    "PROVENANCE_KEY",
    "READABLE",
    "WRITABLE",
    "FileError",
    "Metadata",
    "Source",
    "annotate_zarr",
    "check_format",
    "check_output",
    "discard",
    "expand",
    "is_full",
    "lost_in",
    "name_finished",
    "ngff_names",
    "ngff_order",
    "open_image",
    "partial_path",
    "places",
    "read_provenance",
    "reading",
    "replacing",
    "save_image",
    "split_suffix",
    "stored_names",
    "sync_directory",
    "sync_file",
]


@contextmanager
def open_image(
    path: Path, *, axes: str | None = None, image: int | None = None
) -> Iterator[Source]:
    """Open an image file; the pixels can be read until the context ends.

    Parameters
    ----------
    path : Path
        TIFF (OME, ImageJ, LSM, plain), PNG, JPEG or zarr (an array or OME-Zarr).
    axes : str or None
        Letters of the dimensions, where the file does not tell or is wrong.
    image : int or None
        Which of the images of a TIFF, from 0; None for all as a stack if they are of
        one kind and size, else for the first.

    Yields
    ------
    Source

    Raises
    ------
    FileError
        If the file cannot be read, lacks that image, or ``axes`` does not fit it.
    """
    if path.is_symlink() and not path.exists():
        raise FileError(f"{path}: is a link that leads to nothing")
    readers: dict[str, Callable[[Path], AbstractContextManager[Source]]]
    readers = dict.fromkeys(TIFF, partial(open_tiff, image=image))
    readers |= dict.fromkeys((".png", ".jpg", ".jpeg"), open_picture)
    reader = open_zarr if is_zarr(path) else readers.get(path.suffix.lower())
    if reader is None:
        raise FileError(f"{path}: not a supported image type ({known()})")
    if image and reader in (open_picture, open_zarr):
        raise FileError(f"{path}: has no image {image}; only a TIFF has several")
    with ExitStack() as stack:
        with reading(path):
            source = stack.enter_context(reader(path))
        notes = (*source.notes, *unit_notes(source.metadata))
        source = dataclasses.replace(source, notes=notes)
        if axes is None:
            yield source
            return
        try:
            metadata = source.metadata.with_axes(axes, source.data.ndim)
        except ValueError as error:
            raise FileError(f"{path}: {error}") from error
        yield dataclasses.replace(source, metadata=metadata)


def read_provenance(path: Path) -> Mapping[str, Any]:
    """Return how the pixels of a result came about, nothing if it does not tell.

    Parameters
    ----------
    path : Path
        What :func:`save_image` wrote, or any other image.
    """
    readers = dict.fromkeys(TIFF, tiff_provenance)
    reader = zarr_provenance if is_zarr(path) else readers.get(path.suffix.lower())
    if reader is None:
        return {}
    with reading(path):
        found = reader(path)
    return found if isinstance(found, dict) else {}


def check_format(
    path: Path, axes: str, dtype: np.dtype[Any], shape: Sequence[int] | None = None
) -> None:
    """Make sure, before any work, that a format can hold an image.

    Parameters
    ----------
    path : Path
        Where the image goes; its ending names the format.
    axes : str
        Letters of the image's dimensions.
    dtype : dtype
        Of its pixels.
    shape : sequence of int or None
        Of the image, without its opacity, where it is known.

    Raises
    ------
    FileError
        If the format has no place for such dimensions or pixels.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        check_png(path, axes, dtype, shape)
    elif suffix == ".zarr":
        check_zarr(path, axes)
    elif suffix in TIFF:
        check_tiff(path, axes, dtype)


def lost_in(path: Path, source: Source, dtype: np.dtype[Any] | None = None) -> list[str]:
    """Return what a person should know of what a result will not have, if anything.

    Parameters
    ----------
    path : Path
        Where the image goes; its ending names the format.
    source : Source
        The image.
    dtype : dtype or None
        Of the result, None for that of the source.
    """
    losses, extra = list(source.losses), source.metadata.extra
    if path.suffix.lower() == ".zarr":
        without_place = {
            "opacity": source.alpha is not None,
            "an orientation": "orientation" in extra,
            "zero shown as white": extra.get("photometric") == "miniswhite",
        }
        losses += [name for name, present in without_place.items() if present]
    if "colormap" in extra and not _keeps_palette(path, source, dtype):
        losses.append("a palette")
    if not losses:
        return []
    return [f"has {', '.join(losses)}, which its result will be without"]


def _keeps_palette(path: Path, source: Source, dtype: np.dtype[Any] | None) -> bool:
    if path.suffix.lower() not in TIFF:
        return False
    dtype = source.data.dtype if dtype is None else dtype
    n_bytes = source.data.size * dtype.itemsize
    return keeps_palette(path, source.metadata, dtype, n_bytes)


def save_image(
    path: Path,
    data: Any,
    metadata: Metadata,
    *,
    overwrite: bool = False,
    alpha: npt.NDArray[Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write an image in the format that its name asks for.

    Parameters
    ----------
    path : Path
        ``.tif``, ``.tiff``, ``.btf``, ``.ome.tif``, ``.png`` or ``.zarr``.
    data : ndarray or zarr.Array
        The pixels, dimensions as in ``metadata.axes``; read plane by plane.
    metadata : Metadata
        What to say about them.
    overwrite : bool
        Whether an existing file may be replaced.
    alpha : ndarray or None
        Opacity (Y, X), written to PNG and TIFF.
    provenance : mapping or None
        How the pixels came about, stored in the file where the format has a place.

    Raises
    ------
    FileError
        If the format cannot hold the image, or writing fails.
    """
    suffix = path.suffix.lower()
    with writing(path):
        if suffix == ".zarr":
            save_zarr(path, data, metadata, overwrite=overwrite, provenance=provenance)
        elif suffix == ".png":
            save_png(path, data, metadata, overwrite=overwrite, alpha=alpha)
        else:
            save_tiff(
                path,
                data,
                metadata,
                overwrite=overwrite,
                alpha=alpha,
                provenance=provenance,
            )
