"""Pictures: PNG both ways, JPEG in."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip.io._exif import turned, upright
from napari_msdip.io._metadata import FileError, Metadata, Source
from napari_msdip.io._paths import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["check_png", "open_picture", "save_png"]

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG"
# Bytes of a PNG that say how many bits a sample has, and whether it is gray (0).
_DEPTH, _COLOURS = 24, 25
_HEADER = 33
# Resolution, texts and what the colours mean; all of them may stand after the header.
_KEPT = frozenset("pHYs tEXt zTXt iTXt iCCP sRGB gAMA cHRM".split())


@contextmanager
def open_picture(path: Path) -> Iterator[Source]:
    """Open a PNG or JPEG; opacity is set aside and palettes become colours."""
    import imagecodecs

    try:
        content = path.read_bytes()
        pixels = imagecodecs.imread(content, codec=["png", "jpeg"])
    # An empty file trips the reader over a variable of its own.
    except (OSError, ValueError, RuntimeError, UnboundLocalError) as error:
        raise FileError(f"{path}: not a readable picture") from error
    if content.startswith(_JPEG) and pixels.ndim == 3 and pixels.shape[-1] == 4:
        raise FileError(
            f"{path}: is a JPEG for printing (CMYK); convert it to RGB in a program that "
            "knows its inks"
        )
    if content.startswith(_PNG) and (content[_DEPTH], content[_COLOURS]) == (1, 0):
        raise FileError(
            f"{path}: holds nothing but black and white (1 bit), and so no noise to tell "
            "from structure; convert it to 8 bits if you want it denoised all the same"
        )
    # A copy does not carry the orientation, so that it has to be applied.
    pixels = upright(pixels, content)
    alpha = None
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    axes = "YXS" if pixels.ndim == 3 else "YX"
    kept = _chunks(content) if content.startswith(_PNG) else b""
    metadata = Metadata(axes, flavour="png", extra={"chunks": kept} if kept else {})
    yield Source(path, np.ascontiguousarray(pixels), metadata, alpha)


def _chunks(content: bytes) -> bytes:
    """Return what a PNG says beside its pixels, as it says it."""
    found, start = b"", _HEADER
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        chunk = content[start : start + 12 + length]
        if chunk[4:8].decode("latin-1") in _KEPT:
            found += chunk
        start += len(chunk)
    return found


def save_png(
    path: Path,
    data: Any,
    metadata: Metadata,
    *,
    overwrite: bool = False,
    alpha: npt.NDArray[Any] | None = None,
) -> None:
    """Write one plane, gray or RGB, 8 or 16 bits, as PNG; see :func:`save_image`."""
    import imagecodecs

    check_png(path, metadata.axes, data.dtype, data.shape)
    axes = _axes_of_plane(metadata.axes, data.shape)
    # The encoder takes no other byte order.
    pixels = np.asarray(data, dtype=data.dtype.newbyteorder("="))
    sizes = zip(metadata.axes, data.shape, strict=True)
    pixels = pixels.reshape([size for letter, size in sizes if letter in axes])
    if metadata.extra.get("photometric") == "miniswhite":
        # In PNG the largest number is white.
        pixels = np.iinfo(pixels.dtype).max - pixels
    if axes[0] == "S":
        pixels = np.moveaxis(pixels, 0, -1)
    if alpha is not None:
        colours = pixels if pixels.ndim == 3 else pixels[..., None]
        pixels = np.concatenate([colours, alpha[..., None].astype(pixels.dtype)], axis=-1)
    pixels = turned(pixels, metadata.extra.get("orientation", 1))
    with replacing(path, overwrite=overwrite) as temporary:
        encoded = imagecodecs.png_encode(np.ascontiguousarray(pixels))
        kept = metadata.extra.get("chunks", b"")
        temporary.write_bytes(encoded[:_HEADER] + kept + encoded[_HEADER:])


def check_png(
    path: Path, axes: str, dtype: npt.DTypeLike, shape: Sequence[int] | None = None
) -> None:
    """Raise FileError if PNG cannot hold an image of these axes and this dtype.

    With its shape, if it is known, samples that are no colours are refused as well, and
    a stack of one plane is none.
    """
    plane = axes if shape is None else _axes_of_plane(axes, shape)
    if plane not in ("YX", "YXS", "SYX") or np.dtype(dtype).str[1:] not in ("u1", "u2"):
        raise FileError(
            f"{path}: PNG holds one gray or RGB plane of 8 or 16 bits, not {axes} "
            f"{np.dtype(dtype)}; write .tif instead"
        )
    samples = shape[axes.index("S")] if shape is not None and "S" in axes else 3
    if samples != 3:
        # It would take the last of them for opacity.
        raise FileError(
            f"{path}: PNG holds red, green and blue, not {samples} samples; write .tif "
            "instead"
        )


def _axes_of_plane(axes: str, shape: Sequence[int]) -> str:
    """Return the axes of an image without those along which it has but one plane."""
    sizes = zip(axes, shape, strict=True)
    return "".join(letter for letter, size in sizes if letter in "YXS" or size > 1)
