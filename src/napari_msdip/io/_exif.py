"""Which way up a picture is meant to be seen."""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["turned", "upright"]


_PNG = b"\x89PNG"


def _transposed(pixels: Array) -> Array:
    return np.swapaxes(pixels, 0, 1)


# Pillow can turn a picture itself, but none of three channels with 16 bits.
_TURNS: dict[int, Callable[[Array], Array]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: _transposed,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(_transposed(pixels), 2),
    8: np.rot90,
}


def upright(pixels: Array, content: bytes) -> Array:
    """Return a picture (Y, X and further axes) as its file means it to be seen.

    Parameters
    ----------
    pixels : ndarray
        As stored.
    content : bytes
        The whole file, a JPEG or PNG.
    """
    return turned(pixels, _orientation(content))


def turned(pixels: Array, orientation: int) -> Array:
    """Return a picture (Y, X and further axes) the way up that a number stands for."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else turn(pixels)


def _orientation(content: bytes) -> int:
    from PIL import ExifTags
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    # Image.open would refuse large pictures, from fear of what they may unpack to.
    reader = PngImageFile if content.startswith(_PNG) else JpegImageFile
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            reader(io.BytesIO(content)) as picture,
        ):
            return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, TypeError, ValueError, struct.error):
        # Damage here is no reason to refuse pixels that could be read.
        return 1
