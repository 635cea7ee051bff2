"""Which way up a picture is meant to be seen."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["orientation", "upright"]

_ORIENTATION = 0x0112
_MARK = b"Exif\0\0"


def orientation(content: bytes) -> int:
    """Return the EXIF orientation of a JPEG or PNG, 1 if it does not tell."""
    try:
        block = _of_png(content) if content.startswith(b"\x89PNG") else _of_jpeg(content)
        return _read(block) if block else 1
    except struct.error:
        # Damage here is no reason to refuse the pixels.
        return 1


def _of_png(content: bytes) -> bytes:
    place = 8
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"eXIf":
            return content[place + 8 : place + 8 + length]
        place += 12 + length
    return b""


def _of_jpeg(content: bytes) -> bytes:
    place = 2
    while place < len(content):
        mark, kind, length = struct.unpack_from(">BBH", content, place)
        body = content[place + 4 : place + 2 + length]
        if kind == 0xE1 and body.startswith(_MARK):
            return body[len(_MARK) :]
        # After the start of the scan come pixels.
        if mark != 0xFF or kind == 0xDA:
            break
        place += 2 + length
    return b""


def _read(block: bytes) -> int:
    order = ">" if block.startswith(b"MM") else "<"
    (place,) = struct.unpack_from(f"{order}I", block, 4)
    (n_entries,) = struct.unpack_from(f"{order}H", block, place)
    for entry in range(place + 2, place + 2 + 12 * n_entries, 12):
        tag, value = struct.unpack_from(f"{order}H6xH", block, entry)
        if tag == _ORIENTATION:
            return int(value)
    return 1


def _transposed(pixels: Array) -> Array:
    return np.swapaxes(pixels, 0, 1)


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
    """Return a picture (Y, X and further axes) as its file means it to be seen."""
    turn = _TURNS.get(orientation(content))
    return pixels if turn is None else turn(pixels)
