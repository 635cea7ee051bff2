"""An image made ready for the engine, and what is measured on it before it is cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip._noise.flattest import measure_noise
from napari_msdip.hot_pixels import without_hot_pixels
from napari_msdip.noise import estimate_sigma
from napari_msdip.pixels import (
    Layout,
    Normalisation,
    RedundantChannels,
    as_planar,
    checked_image,
    equalised,
)

if TYPE_CHECKING:
    from napari_msdip._noise.model import NoiseModel
    from napari_msdip.options import Options

__all__ = ["Measured", "Prepared", "level_of_channels", "measure", "noise_level"]

Array = npt.NDArray[Any]
Planar = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured on the noisy image once; the tiles of an image share it.

    Attributes
    ----------
    normalisation : Normalisation
        Range that the engine works in.
    bounds : (float, float)
        Smallest and largest value, normalised.
    noise : NoiseModel
        The noise, in the image's units.
    """

    normalisation: Normalisation
    bounds: tuple[float, float]
    noise: NoiseModel

    def part(self, window: tuple[slice, slice]) -> Measured:
        """Return what a tile takes of it: the noise where the tile lies."""
        return replace(self, noise=self.noise.part(window))

    def level(self, planar: Planar, layout: Layout) -> float:
        """Return the level of all noise of planes ``(C, Y, X)`` in the image's units."""
        return self.noise.overall(planar) * self.noise.unit_level(layout.gains)


def measure(planar: Planar, sigma: float) -> Measured:
    """Measure an image ``(C, Y, X)`` whose noise level is ``sigma``."""
    normalisation = Normalisation.of(planar)
    planar = normalisation.within(planar)
    ends = normalisation.apply(np.array([planar.min(), planar.max()], np.float32))
    return Measured(
        normalisation=normalisation,
        bounds=(float(ends[0]), float(ends[1])),
        noise=measure_noise(planar, sigma),
    )


def level_of_channels(
    planar: npt.NDArray[np.floating[Any]], layout: Layout, sigma: float
) -> float:
    """Return the noise level of planes ``(C, Y, X)`` in the units of their channels.

    That is ``sigma``, their own level, unless they were equalised.
    """
    if not layout.maps:
        return sigma
    return estimate_sigma(planar * layout.gains[:, None, None], channel_axis=0)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image, or a tile of one, ready for the engine.

    Attributes
    ----------
    given : ndarray
        As it came.
    planar : ndarray
        ``(C, Y, X)`` float32, less the layout's offset.
    layout : Layout
        The way back.
    sigma : float
        Noise level of the planes, in their units.
    """

    given: Array
    planar: Planar
    layout: Layout
    sigma: float

    @classmethod
    def of(
        cls,
        image: Any,
        channel_axis: int | None,
        options: Options,
        *,
        is_part: bool = False,
    ) -> Prepared:
        """Check an image and make it ready; a part's channels are equalised already."""
        given, layout = checked_image(image, channel_axis, is_part=is_part)
        planar = as_planar(given, layout)
        if options.remove_hot_pixels:
            planar = without_hot_pixels(planar)
        if not is_part:
            planar, layout = equalised(planar, layout)
        return cls(given, planar, layout, estimate_sigma(planar, channel_axis=0))

    @cached_property
    def level(self) -> float:
        """Noise level of the image, in its units."""
        return level_of_channels(self.planar, self.layout, self.sigma)

    @cached_property
    def measured(self) -> Measured:
        """What its tiles share; a tile by itself needs none of its own."""
        return measure(self.planar, self.sigma)


def noise_level(image: Any, options: Options, *, channel_axis: int | None = None) -> float:
    """Return the noise level that a run with these options begins with.

    Unlike :func:`napari_msdip.estimate_sigma`, which sees what is independent from pixel
    to pixel, it counts what neighbours share.

    Parameters
    ----------
    image : array_like
        Shape (Y, X) with a channel axis anywhere; any real dtype.
    options : Options
        Say whether hot pixels count.
    channel_axis : int or None
        Channel axis.

    Returns
    -------
    float
        Root mean square over the image, in its units; 0 if it is constant.

    Raises
    ------
    TypeError, ValueError
        As of :func:`napari_msdip.denoise`.
    """
    array, layout = checked_image(image, channel_axis)
    axis = layout.channel_axis
    varying = RedundantChannels.of(array, axis).left_out(array)
    ready = Prepared.of(varying, axis, options)
    return ready.measured.level(ready.planar, ready.layout)
