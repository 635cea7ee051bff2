"""From the values of an image to those that generators work with, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_msdip.padding import padding
from napari_msdip.pixels import as_planes, restored, result_dtype
from napari_msdip.pyramid import resize

if TYPE_CHECKING:
    from napari_msdip.pixels import Layout, Normalisation

__all__ = ["Units"]

Array = npt.NDArray[Any]
Planar = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Units:
    """An image in its own units, and the way to and from normalised values.

    Attributes
    ----------
    planar : ndarray
        ``(C, Y, X)`` float32, as far as it lies within the range that is worked in.
    noiseless : ndarray or None
        ``(C, Y, X)`` where there is no noise to remove; values there stay as they are.
    beyond : Tensor or None
        ``(1, C, Y, X)`` what lies beyond; noise is nothing beside it, so it comes back as
        it is.
    given : ndarray or None
        The image as it came, None for its planes.
    layout : Layout
        How to put results back.
    normalisation : Normalisation
        Offset and gain.
    output_dtype : {"input", "float32"}
        Of results.
    """

    planar: Planar
    noiseless: npt.NDArray[np.bool_] | None
    beyond: Tensor | None
    given: Array | None
    layout: Layout
    normalisation: Normalisation
    output_dtype: str

    @classmethod
    def of(
        cls,
        planar: Planar,
        given: Array | None,
        layout: Layout,
        normalisation: Normalisation,
        output_dtype: str,
    ) -> Units:
        """Take an image ``(C, Y, X)`` apart into what is worked on and what is not."""
        within = normalisation.within(planar)
        beyond = None
        if (within != planar).any():
            beyond = torch.from_numpy(planar - within)[None]
        noiseless = padding(within)
        return cls(within, noiseless, beyond, given, layout, normalisation, output_dtype)

    @property
    def is_constant(self) -> bool:
        """Whether no channel varies."""
        ends = self.planar.min(axis=(1, 2)), self.planar.max(axis=(1, 2))
        return bool((ends[0] == ends[1]).all())

    def normalised(self, device: str) -> Tensor:
        """Return the image as ``(1, C, Y, X)``."""
        values = self.normalisation.apply(self.planar)
        return torch.from_numpy(values)[None].to(device)

    def inverted(self, image: Tensor) -> npt.NDArray[np.float64]:
        """Return planes ``(C, h, w)`` of a normalised image of any size."""
        return self.normalisation.invert(image[0].float().cpu().numpy())

    def restored(self, image: Tensor) -> Array:
        """Return a normalised image of any size as one of the given kind."""
        return self._as_given(self.inverted(image))

    def as_it_was(self) -> Array:
        """Return a copy of the image as it came, in the output's dtype."""
        if self.given is None:
            return self._as_given(self.planar.astype(np.float64))
        dtype = result_dtype(self.given.dtype, self.output_dtype)
        return self.given.astype(dtype, order="C")

    def _as_given(self, values: npt.NDArray[np.float64]) -> Array:
        kept = self.noiseless
        if kept is not None and values.shape != kept.shape:
            kept = None
        if kept is not None:
            values = np.where(kept, self.planar, values)
        if self.beyond is not None:
            values = values + resize(self.beyond, values.shape[1:])[0].numpy()
        image = restored(values, self.layout, self.output_dtype)
        if kept is not None and self.given is not None:
            # The image as it came may have more digits than its planes, and what is
            # padding, or saturated, is told by all of them.
            axis = self.layout.channel_axis
            given = as_planes(self.given, axis)
            np.copyto(as_planes(image, axis), given, casting="unsafe", where=kept)
        return image
