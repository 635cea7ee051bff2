"""Stands for ``piece.iter_denoise_part`` in tests of what drives it: quick and seeded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip import Options, Progress, Result, ScaleResult, Status, StopReason
from napari_msdip.plan import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

STEPS = 4


def fake_denoise(
    image: Any,
    options: Options | str | None = None,
    *,
    channel_axis: int | None = None,
    should_stop: Callable[[], bool] | None = None,
    shared: Any = None,
    warm_start: Any = None,
) -> Generator[Progress, None, Result]:
    """Pull every pixel towards the mean and add noise that depends on the seed.

    The result is higher by one for every predecessor that the warm start holds. Cancelled
    before its first step, it has no scales, and the image is as it came.
    """
    started = time.monotonic()
    noisy = np.asarray(image)
    rank = remembered(warm_start)
    options = options if isinstance(options, Options) else Options.preset(options or "fast")
    last = noisy if channel_axis is None else np.moveaxis(noisy, channel_axis, -1)
    shape = last.shape[:2]
    channels = 1 if channel_axis is None else last.shape[-1]
    plan = resolve(options.replace(precision="float32"), shape, 1.0, channels=channels)
    dtype = np.dtype("float32") if options.output_dtype == "float32" else noisy.dtype
    working = noisy.astype(float)
    status = Status.COMPLETED
    for step in range(1, STEPS + 1):
        if should_stop is not None and should_stop():
            status = Status.CANCELLED
            break
        working = working * 0.9 + noisy.mean() * 0.1
        scale = finished(working + rank, dtype, shape, options) if step == STEPS else None
        yield Progress(
            scale=0,
            n_scales=1,
            iteration=step,
            total=STEPS,
            fraction=step / STEPS,
            eta_seconds=float(STEPS - step),
            loss=1 / step,
            preview=working.astype(dtype),
            finished_scale=scale,
        )
    begun = status is Status.COMPLETED or step > 1
    scales = (finished(working + rank, dtype, shape, options),) if begun else ()
    return Result(
        image=scales[0].image if scales else noisy.astype(dtype),
        scales=scales,
        sigma=1.0,
        plan=plan,
        status=status,
        seconds=time.monotonic() - started,
    )


def remembered(warm_start: Any) -> int:
    """Return how many images the warm start has seen in a row before this one."""
    if warm_start is None:
        return 0
    rank: int = warm_start.weights[0]["rank"] if warm_start.weights else 0
    warm_start.weights[0] = {"rank": rank + 1}
    return rank


def finished(
    working: Any, dtype: np.dtype[Any], shape: tuple[int, int], options: Options
) -> ScaleResult:
    """Return the working image with seeded noise, in the output's dtype."""
    image = working + np.random.default_rng(options.seed).normal(size=working.shape)
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        image = np.clip(np.rint(image), limits.min, limits.max)
    return ScaleResult(
        image=image.astype(dtype),
        shape=shape,
        zoom=(1.0, 1.0),
        sigma=1.0,
        weight=0.0,
        iterations=STEPS,
        stop_reason=StopReason.ITERATIONS,
        seconds=0.1,
    )
