"""TIFF in: OME, ImageJ, LSM and plain."""

from __future__ import annotations

import dataclasses
import json
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_msdip.io._metadata import FileError, Source
from napari_msdip.io._tiff_metadata import losses, metadata_of, tiff_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_msdip.io._metadata import Metadata

__all__ = ["open_tiff", "tiff_provenance"]

_JPEG = frozenset([6, 7, 33007, 34892])
_NO_RGB = frozenset(["CIELAB", "ICCLAB", "ITULAB", "LOGLUV"])
_OPACITIES = ("assocalpha", "unassalpha")
_BRIGHTEST = 2**16 - 1
# Typical difference of neighbouring entries of a palette, as a share of the brightest:
# lookup tables of 16 colours and more have less, numbered colours more.
_SCATTERED = 0.15
# Images that are nothing but images; others have a meaning of their own in the file.
_PLAIN = frozenset(["shaped", "generic", "uniform"])


@contextmanager
def open_tiff(path: Path, image: int | None = None) -> Iterator[Source]:
    """Open a TIFF; stacks are read page by page as they are indexed.

    Of several images the one of that number is opened; if it is None, all of them as a
    stack where they are alike, else the first.
    """
    import tifffile
    import zarr

    try:
        tif = tifffile.TiffFile(path)
    except (OSError, tifffile.TiffFileError) as error:
        raise FileError(f"{path}: not a readable TIFF ({error})") from error
    with tif:
        if not tif.series:
            raise FileError(f"{path}: this TIFF holds no image")
        images = _images(tif)
        series, left_out = _chosen(path, images, image)
        files = _files(tif, series)
        _check_colours(path, series)
        _check_whole(path, tif)
        _check_announced(path, tif)
        _check_own(path, images, files)
        notes = _missing(tif, series)
        if left_out:
            notes.append(
                f"holds {len(images)} images that are no stack, and only the first is "
                "read; image=1 reads the next"
            )
        elif image is None and len(images) > 1:
            notes.append(f"holds {len(images)} images alike, which are taken for a stack")
        try:
            data: Any = zarr.open(series.aszarr(level=0), mode="r")
            scattered = _has_scattered_palette(series.keyframe)
        except (ValueError, RuntimeError, OSError) as error:
            raise FileError(f"{path}: cannot decode this TIFF ({error})") from error
        if scattered:
            notes.append(
                "has a palette of colours in no order: values are taken for intensities, "
                "which is wrong if they only number colours; convert it to RGB then"
            )
        metadata = metadata_of(tif, series, notes)
        data, metadata, alpha = _arranged(data, metadata, series)
        yield Source(
            path,
            data,
            metadata,
            alpha,
            notes=tuple(notes),
            losses=tuple(losses(tif, series)),
            parts=files - {path.resolve()},
            left_out=left_out,
        )


def _missing(tif: Any, series: Any) -> list[str]:
    """Return what a person should know of planes that are not there, if any."""
    missing = sum(page is None for page in series.pages) if tif.is_ome else 0
    if not missing:
        return []
    return [f"lacks {missing} of the planes that it announces: they are zero"]


def _arranged(
    data: Any, metadata: Metadata, series: Any
) -> tuple[Any, Metadata, npt.NDArray[Any] | None]:
    """Set the opacity of a picture aside, and put samples that are channels in front.

    The pixels are read for that only; else they are returned as they came.
    """
    kind = _opacity(series)
    if kind:
        pixels = np.asarray(data)
        gray = pixels.shape[-1] == 2
        colours, alpha = pixels[..., 0 if gray else slice(-1)], pixels[..., -1]
        extra = {**metadata.extra, "opacity": kind}
        axes = "YX" if gray else "YXS"
        of_colours = dataclasses.replace(metadata, axes=axes, extra=extra)
        return np.ascontiguousarray(colours), of_colours, alpha
    if metadata.axes != series.axes and series.axes.endswith("S"):
        # To read one channel of such a file is to read all of them.
        order = tiff_order(metadata.axes)
        return np.transpose(np.asarray(data), order), metadata.reordered(order), None
    return data, metadata, None


def _images(tif: Any) -> list[Any]:
    """Return the images of a file without thumbnails, if it has any other."""
    return [s for s in tif.series if not s.keyframe.is_reduced] or list(tif.series)


def _chosen(path: Path, images: list[Any], number: int | None) -> tuple[Any, int]:
    """Return the image to read, and how many are left out though nobody chose."""
    if number is not None:
        if number not in range(len(images)):
            raise FileError(f"{path}: has no image {number}; {_numbers(len(images))}")
        return images[number], 0
    if len(images) > 1 and _are_alike(images):
        return _stacked(images), 0
    return images[0], len(images) - 1


def _numbers(count: int) -> str:
    return f"give a number from 0 to {count - 1}" if count > 1 else "it has but one, 0"


def _are_alike(images: Sequence[Any]) -> bool:
    """Whether images are the planes of one stack, as a program writes that saves frames."""
    kinds = {(s.kind, s.shape, s.dtype, s.axes, s.keyframe.hash) for s in images}
    whole = all(len(s.pages) * s.keyframe.size == s.size for s in images)
    return len(kinds) == 1 and images[0].kind in _PLAIN and whole


def _stacked(images: Sequence[Any]) -> Any:
    """Return images that are alike as one, along an axis without a name."""
    from tifffile import TiffPageSeries

    first = images[0]
    return TiffPageSeries(
        [page for series in images for page in series.pages],
        (len(images), *first.shape),
        first.dtype,
        f"Q{first.axes}",
        parent=first.parent,
        kind=first.kind,
    )


def _has_scattered_palette(page: Any) -> bool:
    """Whether neighbouring values that occur look different, as in no lookup table."""
    if page.photometric.name != "PALETTE" or page.colormap is None:
        return False
    used = np.unique(page.asarray())
    steps = np.abs(np.diff(page.colormap[:, used] / _BRIGHTEST, axis=1)).max(axis=0)
    return bool(steps.size) and float(np.median(steps)) > _SCATTERED


def _files(tif: Any, series: Any) -> frozenset[Path]:
    """Return the files that the planes lie in; OME-TIFF may have one for each."""
    if not tif.is_ome:
        return frozenset([Path(tif.filehandle.path).resolve()])
    owners = {page.parent for page in series.pages if page is not None}
    return frozenset(Path(owner.filehandle.path).resolve() for owner in owners)


def _check_own(path: Path, images: Sequence[Any], files: frozenset[Path]) -> None:
    """Refuse a file of a set whose image, the one that is read, lies in others."""
    if len(images) > 1 and files and path.resolve() not in files:
        raise FileError(
            f"{path}: is one file of a set of {len(images)} images, and the only one that "
            f"is read lies in {min(files)}; export each as a file of its own"
        )


def _opacity(series: Any) -> str:
    """Return the kind of opacity that an image, but no stack, comes with."""
    extra = [sample.name.lower() for sample in series.keyframe.extrasamples]
    # What lies beside more than one of them is no usual picture.
    alone = series.axes == "YXS" and series.shape[-1] in (2, 4) and len(extra) == 1
    return extra[0] if alone and extra[0] in _OPACITIES else ""


def _check_colours(path: Path, series: Any) -> None:
    """Refuse colours that are neither RGB nor made RGB by the reader."""
    page = series.keyframe
    colours = page.photometric.name
    if "S" not in series.axes:
        return
    if colours == "SEPARATED":
        raise FileError(
            f"{path}: is a TIFF for printing (CMYK); convert it to RGB in a program that "
            "knows its inks"
        )
    converted = page.compression in _JPEG and page.planarconfig == 1
    if colours in _NO_RGB or (colours == "YCBCR" and not converted):
        raise FileError(f"{path}: its colours are stored as {colours}; convert it to RGB")


def _check_whole(path: Path, tif: Any) -> None:
    """Refuse a file whose last page names a next one beyond the file's end."""
    last, file = tif.pages[-1], tif.filehandle
    form = tif.tiff
    file.seek(last.offset)
    (n_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(last.offset + form.tagnosize + n_tags * form.tagsize)
    after = file.read(form.offsetsize)
    follows = len(after) == form.offsetsize and struct.unpack(form.offsetformat, after)[0]
    if follows and follows >= file.size:
        raise FileError(
            f"{path}: is cut off: page {len(tif.pages) + 1} would lie beyond its end; get "
            "the whole file"
        )


def _check_announced(path: Path, tif: Any) -> None:
    """Refuse an ImageJ stack of which only a part is there."""
    if not tif.is_imagej or tif.series[0].kind == "imagej":
        return
    announced = int((tif.imagej_metadata or {}).get("images", 1))
    if announced > len(tif.pages):
        raise FileError(
            f"{path}: is cut off: it announces {announced} pages and holds "
            f"{len(tif.pages)}; get the whole file"
        )


def tiff_provenance(path: Path) -> Any:
    """Return what :func:`save_tiff` stored as provenance, None if nothing."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        if tif.is_ome and tif.ome_metadata:
            found = ElementTree.fromstring(tif.ome_metadata).findall(".//{*}M")
            texts = [m.text or "" for m in found if m.get("K") == "napari-msdip"]
        elif tif.is_imagej:
            lines = str((tif.imagej_metadata or {}).get("Info", "")).splitlines()
            mark = "napari-msdip: "
            texts = [line[len(mark) :] for line in lines if line.startswith(mark)]
        else:
            return next(iter(tif.shaped_metadata or ()), {}).get("napari-msdip")
    # The last one: a result that is denoised again hands on the first.
    return json.loads(texts[-1]) if texts else None
