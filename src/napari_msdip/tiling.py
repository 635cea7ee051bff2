"""Images larger than memory allows: overlapping tiles, blended without a seam.

Every tile is fitted on its own, but all with the normalisation of the whole
image, so that they agree on what black and white are.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_msdip import cost, devices, piece
from napari_msdip._tiling.canvas import Canvas, Preview
from napari_msdip._tiling.grid import tile_grid
from napari_msdip.arrays import as_array
from napari_msdip.events import (
    Progress,
    Result,
    ScaleResult,
    Status,
    StopReason,
    time_left,
)
from napari_msdip.measured import Prepared
from napari_msdip.options import Options, as_options
from napari_msdip.pixels import RedundantChannels, as_planes, checked_image
from napari_msdip.plan import Plan, resolve
from napari_msdip.seeds import plane_seed
from napari_msdip.steps import changed
from napari_msdip.warm_start import WarmStart

__all__ = ["WarmStarts", "choose_tile", "iter_denoise_fitting", "out_of_memory"]

Array = npt.NDArray[Any]
Steps = Generator[Progress, None, Result]
_Begin = Callable[[Options, int | None], Steps]
_Retreat = Callable[[Options, int | None, str], tuple[Options, int | None]]
# By which channels vary, side of the tiles (None for the whole image) and number.
WarmStarts = dict[tuple[tuple[bool, ...], int | None, int], WarmStart]

# Sides tried from large to small; a ladder rather than any number, so that a
# little more or less free memory seldom changes the answer.
_SIDES = (4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256, 192, 128)
# Share of the free memory that an image in one piece may take. Tiles are kept well
# below that: a larger one is no better.
_WHOLE_SHARE = 0.7
_TILE_SHARE = 0.25
# What the whole image takes for each pixel and channel, however small the tiles. Up to 41
# bytes were seen for images of 32 bits or less; 56 also cover those of 64 bits, which a
# plan cannot tell apart.
_HELD_BYTES = 56
# What measuring its noise takes beside that, and at most for how many pixels: of larger
# images a part is measured. For small ones up to 170 MiB more were seen, whatever their
# size, which is less than is counted for any fit.
_MEASURING_BYTES = 90
_MOST_MEASURED = 2**24
# However much is free, more in one piece is no better, and others need memory, too.
_MOST_BYTES = 6 * 2**30
# Of CUDA and MPS, of CUDA's libraries, of MPS for a single tensor, and of the CPU on
# Linux and on Windows.
_SIGNS_OF_NO_MEMORY = (
    "out of memory",
    "_alloc_failed",
    "invalid buffer size",
    "can't allocate memory",
    "not enough memory",
)
_NO_PIXELS = np.empty(0, np.float32)


class ImageTooLarge(MemoryError):
    """An image whose noise cannot be measured, so that smaller tiles are of no use."""


def choose_tile(plan: Plan, memory_limit: int | None = None) -> int | None:
    """Return the side of the tiles that an image has to be split into.

    Parameters
    ----------
    plan : Plan
        Plan of the whole image.
    memory_limit : int or None
        Bytes that a fit on the CPU may take, however much is free.

    Returns
    -------
    int or None
        Side in pixels; None if the device's free memory is enough for the whole
        image.

    Raises
    ------
    MemoryError
        If there is too little for what is kept of the whole image beside the tiles.
    """
    free = _free(plan.device, memory_limit)
    expected = cost.expected_memory(plan.shape, plan.channels, plan.options)
    if expected <= min(_WHOLE_SHARE * free, _MOST_BYTES):
        return None
    free = _free_beside_image(plan, memory_limit)
    for side in _smaller(max(plan.shape)):
        shape = (min(side, plan.shape[0]), min(side, plan.shape[1]))
        expected = cost.expected_memory(shape, plan.channels, plan.options)
        if expected <= min(_TILE_SHARE * free, _MOST_BYTES):
            return _no_larger_than_needed(plan.shape, side)
    return _SIDES[-1]


def _free(device: str, memory_limit: int | None) -> int:
    free = devices.available_memory(device)
    return free if memory_limit is None or device != "cpu" else min(free, memory_limit)


def _free_beside_image(plan: Plan, memory_limit: int | None) -> int:
    """Return what is free for tiles once the whole image is held, or refuse it."""
    size, free = plan.channels * math.prod(plan.shape), _free("cpu", memory_limit)
    needed = size * _HELD_BYTES + min(size, _MOST_MEASURED) * _MEASURING_BYTES
    if needed > free:
        height, width = plan.shape
        raise MemoryError(
            f"image: {plan.channels} × {height} × {width} pixels need "
            f"{needed / 2**30:.1f} GiB of this machine's memory even in tiles, and "
            f"{free / 2**30:.1f} GiB are free; close other programs, or crop the image"
        )
    left = free - size * _HELD_BYTES
    of_device = _free(plan.device, memory_limit)
    # The whole image is held by the CPU, whose memory only CUDA does not share.
    return of_device if plan.device == "cuda" else min(of_device, left)


def _no_larger_than_needed(shape: tuple[int, int], side: int) -> int:
    """Return the smallest side with as few tiles: larger ones only overlap more."""
    count = len(tile_grid(shape, side))
    return min(s for s in (side, *_smaller(side)) if len(tile_grid(shape, s)) == count)


def _smaller(side: int) -> list[int]:
    return [candidate for candidate in _SIDES if candidate < side]


def iter_denoise_fitting(
    image: npt.ArrayLike,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    should_stop: Callable[[], bool] | None = None,
    tile: int | None = None,
    warm_starts: WarmStarts | None = None,
) -> Steps:
    """Denoise an image in pieces of a size, or smaller ones if memory asks for that.

    Where the device runs out of memory it goes on with smaller tiles, and after the
    smallest on the CPU, and warns about it. What is wrong with the image or the options
    is raised before the first step is asked for.

    Parameters
    ----------
    image : array_like
        Shape (Y, X) with a channel axis anywhere.
    options : Options, str or None
        Options, a preset's name, or None for ``"fast"``.
    channel_axis : int or None
        Channel axis.
    should_stop : callable or None
        Asked every iteration.
    tile : int or None
        Side of the tiles in pixels; None for the whole image in one piece. See
        :func:`choose_tile`.
    warm_starts : dict or None
        Generators to start from; changed to those fitted here. Begin with an empty
        one, and give it to the next of a series of similar images of one size.

    Yields
    ------
    Progress
        Steps of the whole image. In tiles, previews show the finished tiles in
        the noisy image, and only the finest scale is put together.

    Returns
    -------
    Result
        For an image in tiles ``scales`` holds the finest scale alone, and
        ``plan`` is that of one tile.

    Raises
    ------
    MemoryError
        If not even the smallest tile fits the CPU's memory.
    """
    options, array = as_options(options), as_array(image, "image")
    begin = partial(_attempt, array, channel_axis, should_stop, warm_starts)
    retreat = partial(_retreat, array, channel_axis)
    return _until_it_fits(begin, retreat, options, tile, *_begun(begin, options, tile))


def _begun(begin: _Begin, options: Options, tile: int | None) -> tuple[Steps | None, str]:
    """Begin an attempt; return its steps, or None and why memory is too small for it."""
    try:
        return begin(options, tile), ""
    except ImageTooLarge:
        raise
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None, str(error)


def _until_it_fits(
    begin: _Begin,
    retreat: _Retreat,
    options: Options,
    tile: int | None,
    steps: Steps | None,
    why: str,
) -> Steps:
    """Go on with the first attempt's steps, and with others where memory is too small."""
    reached = 0.0
    while True:
        # Outside the except clause, which would keep the failed run's tensors alive.
        while steps is None:
            options, tile = retreat(options, tile, why)
            steps, why = _begun(begin, options, tile)
        try:
            progress = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            why, steps = str(error), None
        else:
            reached = max(reached, progress.fraction)
            yield replace(progress, fraction=reached)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return any(sign in words for sign in _SIGNS_OF_NO_MEMORY)


def _retreat(
    image: Array, channel_axis: int | None, options: Options, tile: int | None, why: str
) -> tuple[Options, int | None]:
    """Return what to try next, with a warning."""
    devices.release_cached_memory()
    device = devices.select(options.device)
    height, width, channels = _extent(image, channel_axis)
    smaller = _smaller(min(tile or max(height, width), max(height, width)))
    if smaller:
        warnings.warn(
            f"{device} ran out of memory; going on with tiles of {smaller[0]} pixels. "
            "The result may differ slightly from one in larger pieces.",
            RuntimeWarning,
            stacklevel=3,
        )
        return options, smaller[0]
    if device == "cpu":
        raise MemoryError(
            f"not even a tile of {tile or max(height, width)} pixels fits into memory "
            f"({why}); close other programs, or choose options with a smaller generator"
        )
    warnings.warn(
        f"{device} ran out of memory even with the smallest tiles; going on with the CPU.",
        RuntimeWarning,
        stacklevel=3,
    )
    options = options.replace(device="cpu", precision="auto")
    return options, choose_tile(resolve(options, (height, width), 0.0, channels=channels))


def _extent(image: Array, channel_axis: int | None) -> tuple[int, int, int]:
    """Return height, width and number of channels."""
    channels, height, width = as_planes(image, channel_axis).shape
    return height, width, channels


def _attempt(
    image: Array,
    channel_axis: int | None,
    should_stop: Callable[[], bool] | None,
    warm_starts: WarmStarts | None,
    options: Options,
    tile: int | None,
) -> Steps:
    array, layout = checked_image(image, channel_axis)
    axis = layout.channel_axis
    redundant = RedundantChannels.of(array, axis)
    array = redundant.left_out(array)

    def warm_start_of(side: int | None, number: int) -> WarmStart | None:
        if warm_starts is None:
            return None
        return warm_starts.setdefault((redundant.kept, side, number), WarmStart())

    if tile is None or tile >= max(_extent(image, channel_axis)[:2]):
        steps = piece.iter_denoise_part(
            array,
            options,
            channel_axis=axis,
            should_stop=should_stop,
            warm_start=warm_start_of(None, 0),
        )
    else:
        steps = _tiles(array, axis, options, should_stop, tile, warm_start_of)
    return piece.with_redundant(steps, redundant)


def _tiles(
    image: Array,
    channel_axis: int | None,
    options: Options,
    should_stop: Callable[[], bool] | None,
    side: int,
    warm_start_of: Callable[[int, int], WarmStart | None],
) -> Steps:
    """Make what all tiles share, and return the steps of the tiles."""
    started = time.monotonic()
    height, width, channels = _extent(image, channel_axis)
    try:
        ready = Prepared.of(image, channel_axis, options)
        of_tile = (min(side, height), min(side, width))
        plan = resolve(options, of_tile, ready.level, channels=channels)
        # First, as that takes much memory for a moment.
        shared = piece.Shared.of(ready, plan)
    except (RuntimeError, MemoryError) as error:
        if devices.select(options.device) != "cpu" or not out_of_memory(error):
            raise
        raise ImageTooLarge(
            f"image: {channels} × {height} × {width} pixels do not fit into this machine's "
            f"memory even in tiles ({error}); close other programs, or crop the image"
        ) from error
    return _iter_tiles(ready, shared, options, should_stop, side, warm_start_of, started)


def _iter_tiles(
    ready: Prepared,
    shared: piece.Shared,
    options: Options,
    should_stop: Callable[[], bool] | None,
    side: int,
    warm_start_of: Callable[[int, int], WarmStart | None],
    started: float,
) -> Steps:
    noisy, layout = ready.planar, ready.layout
    shape = (noisy.shape[1], noisy.shape[2])
    fused, finest = Canvas(ready, options), Canvas(ready, options)
    preview = Preview(fused)
    tiles = tile_grid(shape, side)
    results: list[Result] = []
    for number, tile in enumerate(tiles):
        steps = piece.iter_denoise_part(
            noisy[:, *tile.window],
            options.replace(seed=plane_seed(options.seed, number), remove_hot_pixels=False),
            channel_axis=0,
            should_stop=should_stop,
            shared=shared.part(tile.window),
            warm_start=warm_start_of(side, number),
        )
        part = _Part(number, len(tiles), started)
        result = yield from changed(steps, part.step)
        results.append(_less_pixels(result))
        # One that is cancelled before it shows anything leaves the image as it came.
        if result.scales:
            fused.add(tile, result.image)
            finest.add(tile, _finest(result))
        if result.status is Status.CANCELLED:
            break
        if number < len(tiles) - 1:
            yield part.closing(result, preview=preview.with_tile(tile))
    varying = [result for result in results if not _is_constant(result)] or results
    begun = [result.scales[0] for result in varying if result.scales]
    scales = [_summary(begun, finest.restored(), shape, ready.level)] if begun else []
    whole = replace(
        results[-1],
        image=fused.restored(),
        scales=tuple(scales),
        sigma=math.sqrt(sum(result.sigma**2 for result in varying) / len(varying))
        * shared.measured.noise.unit_level(layout.gains),
        plan=replace(
            results[-1].plan, options=options, seed=options.seed, sigma=ready.level
        ),
        seconds=time.monotonic() - started,
    )
    if whole.status is Status.COMPLETED:
        yield part.closing(whole, preview=whole.image.copy(), finished_scale=scales[0])
    return whole


@dataclass(frozen=True)
class _Part:
    """One tile's share of the whole run."""

    number: int
    n_tiles: int
    started: float

    def step(self, progress: Progress) -> Progress:
        """Return a tile's step as a step of the whole image."""
        done = (self.number + progress.fraction) / self.n_tiles
        return replace(
            progress,
            fraction=done,
            eta_seconds=self._eta(done),
            preview=None,
            finished_scale=None,
        )

    def closing(
        self, result: Result, *, preview: Array, finished_scale: ScaleResult | None = None
    ) -> Progress:
        """Return the step at which the tile is done."""
        done = (self.number + 1) / self.n_tiles
        iterations = result.scales[0].iterations if result.scales else 0
        return Progress(
            scale=0,
            n_scales=max(len(result.plan.scales), 1),
            iteration=iterations,
            total=iterations,
            fraction=done,
            eta_seconds=self._eta(done),
            loss=math.nan,
            preview=preview,
            finished_scale=finished_scale,
        )

    def _eta(self, done: float) -> float | None:
        return time_left(time.monotonic() - self.started, done)


def _less_pixels(result: Result) -> Result:
    """Return what is told of a tile; its pixels are blended in, and those of all many."""
    scales = tuple(replace(scale, image=_NO_PIXELS) for scale in result.scales)
    return replace(result, image=_NO_PIXELS, scales=scales)


def _is_constant(result: Result) -> bool:
    """Whether a tile has no variation, and so nothing to tell of the image's noise."""
    return any(scale.stop_reason is StopReason.CONSTANT for scale in result.scales)


def _summary(
    scales: list[ScaleResult], image: Array, shape: tuple[int, int], sigma: float
) -> ScaleResult:
    """Return the finest scale of all tiles as one."""
    reasons = Counter(scale.stop_reason for scale in scales)
    return ScaleResult(
        image=image,
        shape=shape,
        zoom=(1.0, 1.0),
        sigma=sigma,
        weight=sum(scale.weight for scale in scales) / len(scales),
        iterations=sum(scale.iterations for scale in scales),
        stop_reason=max(reasons, key=reasons.__getitem__),
        seconds=sum(scale.seconds for scale in scales),
    )


def _finest(result: Result) -> Array:
    """Return the finest scale of a tile, or what there is of a cancelled one."""
    scale = result.scales[0]
    return scale.image if scale.image.shape == result.image.shape else result.image
