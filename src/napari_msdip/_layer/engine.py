"""What is asked of the engine: the seam at which tests put a fake one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_msdip.cost import Cost
    from napari_msdip.events import Progress, Result, StackResult
    from napari_msdip.options import Options
    from napari_msdip.quality import QualityReport

__all__ = ["Engine"]

Array = npt.NDArray[Any]


class Engine:
    """The functions that are called, none of them on the GUI thread.

    Each is imported when first used, so that the dock opens at once.
    """

    def iter_denoise(
        self,
        image: Array,
        options: Options,
        *,
        channel_axis: int | None,
        should_stop: Callable[[], bool],
    ) -> Generator[Progress, None, Result]:
        """Denoise one image step by step, in tiles if memory is short."""
        from napari_msdip.image import iter_denoise

        return iter_denoise(
            image, options, channel_axis=channel_axis, should_stop=should_stop
        )

    def iter_denoise_stack(
        self,
        stack: Any,
        options: Options,
        *,
        channel_axis: int | None,
        planes: Sequence[int],
        out: Array,
        should_stop: Callable[[], bool],
    ) -> Generator[Progress, None, StackResult]:
        """Denoise planes of a stack step by step."""
        from napari_msdip.stack import iter_denoise_stack

        return iter_denoise_stack(
            stack,
            options,
            channel_axis=channel_axis,
            planes=planes,
            out=out,
            should_stop=should_stop,
        )

    def expected_cost(
        self, image_shape: tuple[int, int], options: Options, channels: int
    ) -> Cost:
        """Measure what one image of this shape will take."""
        from napari_msdip.cost import expected_cost

        return expected_cost(image_shape, options, channels)

    def noise_level(
        self, image: Array, options: Options, *, channel_axis: int | None
    ) -> float:
        """Return the noise level that a run begins with, in the image's units."""
        from napari_msdip.measured import noise_level

        return noise_level(image, options, channel_axis=channel_axis)

    def assess(
        self,
        noisy: Array,
        denoised: Array,
        *,
        channel_axis: int | None,
        hot_pixels_removed: bool,
    ) -> QualityReport:
        """Judge a denoised image without the clean one."""
        from napari_msdip.quality import assess

        return assess(
            noisy,
            denoised,
            channel_axis=channel_axis,
            hot_pixels_removed=hot_pixels_removed,
        )

    def ensemble(self, scales: Sequence[Array], **settings: Any) -> Array:
        """Fuse the results of several scales, finest first."""
        from napari_msdip.fusion import ensemble

        return np.asarray(ensemble(scales, **settings))
