"""Which axis of a layer is what, and which of its planes a run covers.

Pure array geometry: no Qt, no napari.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip.arrays import without_labels
from napari_msdip.pixels import SMALLEST_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Axes",
    "Box",
    "as_box",
    "check_size",
    "guess_axes",
    "is_lazy",
    "lazy",
    "parse_axes",
    "transposed",
]

Box = tuple[tuple[int, int], ...]
"""Half-open range ``(start, stop)`` of every plane axis."""

_PLANE_LETTERS = "ZTPQRSUVW"
_WORDS = {
    "Y": ("y", "row", "rows", "height"),
    "X": ("x", "col", "cols", "column", "columns", "width"),
    "C": ("c", "ch", "channel", "channels", "color", "colour", "rgb"),
    "Z": ("z", "plane", "planes", "slice", "slices", "depth"),
    "T": ("t", "time", "frame", "frames"),
}


@dataclass(frozen=True)
class Axes:
    """The axes of an array: one letter each, ``Y`` and ``X`` spanning the image.

    Attributes
    ----------
    letters : str
        One letter per axis. ``C`` is the channel axis, if there is one; every
        letter but ``Y``, ``X`` and ``C`` counts planes.
    shape : tuple of int
        Length of each axis.
    """

    letters: str
    shape: tuple[int, ...]

    @property
    def image_axes(self) -> tuple[int, ...]:
        """Axes of one image (Y, X and C), in the array's order."""
        return tuple(n for n, letter in enumerate(self.letters) if letter in "YXC")

    @property
    def plane_axes(self) -> tuple[int, ...]:
        """Axes that count planes, in the array's order."""
        return tuple(n for n, letter in enumerate(self.letters) if letter not in "YXC")

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """The two axes of the image plane, in the array's order."""
        return tuple(n for n, letter in enumerate(self.letters) if letter in "YX")

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        rows, columns = self.spatial_axes
        return self.shape[rows], self.shape[columns]

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Lengths of the plane axes, empty for a single image."""
        return tuple(self.shape[axis] for axis in self.plane_axes)

    @property
    def n_planes(self) -> int:
        """Number of planes, 1 for a single image."""
        return math.prod(self.plane_shape)

    @property
    def channels(self) -> int:
        """Number of channels, 1 without a channel axis."""
        return self.shape[self.letters.index("C")] if "C" in self.letters else 1

    @property
    def order(self) -> tuple[int, ...]:
        """Transposition that brings the plane axes to the front."""
        return self.plane_axes + self.image_axes

    @property
    def channel_axis(self) -> int | None:
        """Position of the channel axis after :attr:`order`, counted from the end."""
        if "C" not in self.letters:
            return None
        return self.image_axes.index(self.letters.index("C")) - len(self.image_axes)

    def whole(self) -> Box:
        """Return the box that holds every plane."""
        return tuple((0, length) for length in self.plane_shape)

    def box_shape(self, box: Box) -> tuple[int, ...]:
        """Return how many planes the box holds along each plane axis."""
        return tuple(stop - start for start, stop in box)

    def planes(self, box: Box) -> list[int]:
        """Return the flat indices (C order) of the planes in a box."""
        if not self.plane_axes:
            return [0]
        grid = np.meshgrid(*(np.arange(*extent) for extent in box), indexing="ij")
        flat = np.ravel_multi_index([axis.ravel() for axis in grid], self.plane_shape)
        return [int(index) for index in flat]

    def restored(self, planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring an array with its plane axes in front into this axis order.

        Parameters
        ----------
        planes : ndarray
            Plane axes first, then the image axes; as many axes as the letters.
        """
        return planes.transpose(np.argsort(self.order))


def parse_axes(letters: str, shape: Sequence[int], *, rgb: bool = False) -> Axes:
    """Read axis letters a person typed.

    Parameters
    ----------
    letters : str
        Such as ``"YX"``, ``"TZYX"`` or ``"ZYXC"``; case does not matter.
    shape : sequence of int
        Shape of the array.
    rgb : bool
        Whether the last axis must be the channel axis.

    Raises
    ------
    TypeError
        If they are no letters.
    ValueError
        If the letters do not describe such an array.
    """
    if not isinstance(letters, str):
        raise TypeError(f"axes must be letters such as 'ZYX', got {letters!r}")
    word = letters.strip().upper()
    if len(word) != len(shape) or not word.isalpha():
        raise ValueError(
            f"axes={letters!r}: give {len(shape)} letters, one for each axis of the "
            f"layer ({'×'.join(map(str, shape))})"
        )
    for letter in "YX":
        if word.count(letter) != 1:
            raise ValueError(f"axes={letters!r}: name exactly one axis {letter}")
    if word.count("C") > 1:
        raise ValueError(f"axes={letters!r}: name at most one channel axis C")
    if rgb and word[-1] != "C":
        raise ValueError(f"axes={letters!r}: the last axis of an RGB layer is C")
    return Axes(word, tuple(int(length) for length in shape))


def guess_axes(
    shape: Sequence[int],
    *,
    rgb: bool = False,
    labels: Sequence[str] = (),
    displayed: Sequence[int] | None = None,
) -> Axes:
    """Guess the axes of a layer from what napari knows about it.

    Parameters
    ----------
    shape : sequence of int
        Shape of the data, the colour axis of an RGB layer included.
    rgb : bool
        Whether the layer is RGB.
    labels : sequence of str
        ``axis_labels`` of the layer; words such as ``z``, ``time`` or
        ``channel`` are understood, others ignored.
    displayed : sequence of int or None
        The axes on screen, taken as Y and X if there are two (in 3-D there are more) and
        no label names them. A last axis among them that is too short for an image is
        taken for channels, as of colours that napari does not know to be such.
    """
    ndim = len(shape) - bool(rgb)
    known = [_letter(label) for label in labels] if len(labels) == ndim else [""] * ndim
    letters = [letter if letter and known.count(letter) == 1 else "" for letter in known]
    if rgb:
        letters = ["" if letter == "C" else letter for letter in letters]
    if "Y" not in letters or "X" not in letters:
        letters = ["" if letter in "YX" else letter for letter in letters]
        if not rgb and _channels_last(shape, letters, displayed):
            letters[-1] = "C"
        if displayed is None or len(displayed) != 2 or any(letters[n] for n in displayed):
            displayed = [n for n in range(ndim) if not letters[n]][-2:]
        if len(displayed) != 2:
            letters, displayed = [""] * ndim, (ndim - 2, ndim - 1)
        for axis, letter in zip(sorted(displayed), "YX", strict=True):
            letters[axis] = letter
    spare = [letter for letter in _PLANE_LETTERS if letter not in letters]
    for axis in reversed(range(ndim)):
        if not letters[axis]:
            letters[axis] = spare.pop(0)
    word = "".join(letters) + ("C" if rgb else "")
    return Axes(word, tuple(int(length) for length in shape))


def _channels_last(
    shape: Sequence[int], letters: Sequence[str], displayed: Sequence[int] | None
) -> bool:
    """Return whether the last axis must be channels: on screen, and no image's side."""
    on_screen = displayed is None or len(shape) - 1 in displayed
    known = bool(letters[-1]) or "C" in letters
    if not on_screen or known or len(shape) < 3:
        return False
    return shape[-1] < SMALLEST_SIDE <= min(shape[-3:-1])


def _letter(label: str) -> str:
    """Return the axis letter that a label stands for, or nothing."""
    word = str(label).strip().lower()
    return next((letter for letter, words in _WORDS.items() if word in words), "")


def check_size(axes: Axes) -> None:
    """Raise ValueError if the planes are too small to be denoised or measured."""
    if min(axes.image_shape) >= SMALLEST_SIDE:
        return
    height, width = axes.image_shape
    remedy = "; Y and X are the two axes that span the image, and C is channels"
    raise ValueError(
        f"axes={axes.letters!r}: planes of {height}×{width} pixels, but Y and X must be "
        f"at least {SMALLEST_SIDE} px{remedy if len(axes.shape) > 2 else ''}"
    )


def as_box(image: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
    """Return one image as the planes of a box that holds no more.

    Parameters
    ----------
    image : ndarray
        The image.
    box : Box
        A box of one plane; each of its axes becomes one of length 1 in front.
    """
    return image.reshape((1,) * len(box) + image.shape)


def transposed(data: Any, axes: Axes) -> Any:
    """Bring the plane axes of an array-like to the front, without reading it.

    Parameters
    ----------
    data : array-like
        numpy, dask, zarr or anything else with a shape, dtype and indexing.
    axes : Axes
        Its axes.
    """
    if axes.order == tuple(range(len(axes.shape))):
        return data
    return lazy(data, axes).transpose(axes.order)


def lazy(data: Any, axes: Axes) -> Any:
    """Return an array-like as one whose axes and parts can be taken without reading it."""
    data = without_labels(data)
    if is_lazy(data):
        return data
    from dask.array import from_array

    # A block is read as a whole, whatever is taken of it.
    blocks = [1 if n in axes.plane_axes else -1 for n in range(len(axes.shape))]
    return from_array(data, chunks=blocks)


def is_lazy(data: Any) -> bool:
    """Return whether an array-like transposes its axes by their numbers.

    zarr's arrays do not at all, and read what is taken of them; xarray's do by the names
    of their dimensions.
    """
    return hasattr(data, "transpose") and not hasattr(data, "dims")
