"""Denoised tiles blended into one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip.pixels import as_planes, restored

if TYPE_CHECKING:
    from napari_msdip._tiling.grid import Tile
    from napari_msdip.measured import Prepared
    from napari_msdip.options import Options

__all__ = ["Canvas", "Preview"]

Array = npt.NDArray[Any]
Planar = npt.NDArray[np.float32]

_EVERYWHERE = (slice(None), slice(None))
# Weights add up to one but for rounding; below this, tiles are missing.
_COVERED = 1 - 1e-4
# Of a value that every tile leaves as it is, once it is their weighted sum.
_ROUNDING = 1e-6


class Canvas:
    """The whole image, ``(C, Y, X)``: noisy until tiles are blended over it.

    Parameters
    ----------
    ready : Prepared
        The image.
    options : Options
        Say what dtype it is restored to, and whether its hot pixels are gone.
    """

    def __init__(self, ready: Prepared, options: Options) -> None:
        self.given, self.layout = ready.given, ready.layout
        self._options = options
        self._noisy = ready.planar
        self._sum = np.zeros_like(ready.planar)
        self._weight = np.zeros(ready.planar.shape[1:], np.float32)

    def add(self, tile: Tile, image: Array) -> None:
        """Blend a denoised tile in."""
        weight = tile.weights[0][:, None] * tile.weights[1]
        self._sum[:, *tile.window] += weight * image
        self._weight[tile.window] += weight

    def restored(self, window: tuple[slice, slice] = _EVERYWHERE) -> Array:
        """Return the image so far, or a part of it, in the image's axes and units."""
        axis = self.layout.channel_axis
        unchanged = self._unchanged(window)
        shown = restored(self._blended(window), self.layout, self._options.output_dtype)
        # The image as it came may have more digits than its planes.
        given = as_planes(self.given, axis)[:, *window]
        np.copyto(as_planes(shown, axis), given, casting="unsafe", where=unchanged)
        return shown

    def _unchanged(self, window: tuple[slice, slice]) -> npt.NDArray[np.bool_]:
        """Return where the image is as it came: no tile was there, or left it alone."""
        noisy = self._noisy[:, *window]
        # As it came it has its hot pixels still: where a tile was they are gone.
        unchanged: npt.NDArray[np.bool_] = (
            self._weight[window] == 0
            if self._options.remove_hot_pixels
            else np.abs(self._blended(window) - noisy) <= _ROUNDING * np.abs(noisy)
        )
        return unchanged

    def _blended(self, window: tuple[slice, slice]) -> Planar:
        weight = self._weight[window]
        missing = np.where(weight < _COVERED, 1 - weight, 0).astype(np.float32)
        blended: Planar = self._sum[:, *window] + missing * self._noisy[:, *window]
        return blended


class Preview:
    """The image so far, restored where tiles are new: all of it takes long.

    Parameters
    ----------
    canvas : Canvas
        Where the tiles are blended.
    """

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._shown = canvas.restored()

    def with_tile(self, tile: Tile) -> Array:
        """Return a copy after another tile is blended in."""
        axis = self._canvas.layout.channel_axis
        part = as_planes(self._canvas.restored(tile.window), axis)
        as_planes(self._shown, axis)[:, *tile.window] = part
        return self._shown.copy()
