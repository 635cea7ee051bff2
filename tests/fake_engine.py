"""An engine for tests of the dock and of what it is made of: wrong, and quick."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_msdip.events import (
    Progress,
    Result,
    ScaleResult,
    StackResult,
    Status,
    StopReason,
)
from napari_msdip.plan import Plan, ScalePlan
from napari_msdip.quality import assess


def scale_shapes(shape, n_scales):
    """Return the shapes of a pyramid of halves, finest first; odd sizes round up."""
    return [tuple(-(-length // 2**n) for length in shape) for n in range(n_scales)]


@dataclass
class FakeCost:
    seconds: float
    memory_bytes: int
    scales: tuple[ScalePlan, ...]
    device: str = "cpu"


@dataclass
class FakeEngine:
    """An engine that halves every value, in three scales of four iterations.

    Clearing ``gate`` holds a run until the gate is set or the run is asked to stop,
    after ``free`` more iterations; ``entered`` is set once it is held. ``error`` is
    raised at iteration ``fails_at`` of the finest scale, and a RuntimeError at the
    next iteration once ``broken`` is set. Planes in ``bad`` are left as they are, for
    that reason.
    """

    n_scales: int = 3
    iterations: int = 4
    pace: float = 0.0
    error: BaseException | None = None
    fails_at: int = 2
    gate: threading.Event = field(default_factory=threading.Event)
    free: int = 0
    entered: threading.Event = field(default_factory=threading.Event)
    broken: threading.Event = field(default_factory=threading.Event)
    bad: dict[int, str] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self):
        self.gate.set()

    def iter_denoise(self, image, options, *, channel_axis, should_stop):
        self.calls.append({"image": image, "options": options, "channel": channel_axis})
        clean = self.denoised(image)
        scales: list[ScaleResult] = []
        spatial = self._spatial(image, channel_axis)
        shapes = scale_shapes([image.shape[axis] for axis in spatial], self.n_scales)
        for scale in reversed(range(self.n_scales)):
            step = 2**scale
            index = [slice(None)] * image.ndim
            for axis in spatial:
                index[axis] = slice(None, None, step)
            small = clean[tuple(index)]
            for iteration in range(1, self.iterations + 1):
                time.sleep(self.pace)
                self._pass_the_gate(should_stop)
                if should_stop():
                    return self._result(clean, scales, shapes, options, Status.CANCELLED)
                if self.broken.is_set():
                    raise RuntimeError("broken")
                if self.error and scale == 0 and iteration == self.fails_at:
                    raise self.error
                done = (self.n_scales - 1 - scale) * self.iterations + iteration
                last = iteration == self.iterations
                result = ScaleResult(
                    image=small,
                    shape=shapes[scale],
                    zoom=tuple(
                        a / b for a, b in zip(shapes[0], shapes[scale], strict=True)
                    ),
                    sigma=3.0,
                    weight=1.0,
                    iterations=iteration,
                    stop_reason=StopReason.ITERATIONS,
                    seconds=0.1,
                    scale=scale,
                )
                if last:
                    scales.insert(0, result)
                yield Progress(
                    scale=scale,
                    n_scales=self.n_scales,
                    iteration=iteration,
                    total=self.iterations,
                    fraction=done / (self.n_scales * self.iterations),
                    eta_seconds=1.5,
                    loss=0.25,
                    preview=small.copy(),
                    finished_scale=result if last else None,
                )
        return self._result(clean, scales, shapes, options, Status.COMPLETED)

    def _pass_the_gate(self, should_stop):
        while not self.gate.is_set() and not should_stop():
            if self.free:
                self.free -= 1
                return
            self.entered.set()
            self.gate.wait(0.002)

    def iter_denoise_stack(self, stack, options, *, channel_axis, planes, out, should_stop):
        n_image_axes = out.ndim - 1
        plane_shape = stack.shape[: len(stack.shape) - n_image_axes]
        done, failed = [], {}
        for position, plane in enumerate(planes):
            image = np.asarray(stack[np.unravel_index(plane, plane_shape)])
            if plane in self.bad:
                failed[plane], out[position] = self.bad[plane], image
            else:
                result = yield from self.iter_denoise(
                    image, options, channel_axis=channel_axis, should_stop=should_stop
                )
                if result.status is Status.CANCELLED:
                    break
                out[position] = result.image
            done.append(plane)
            yield Progress(
                scale=0,
                n_scales=1,
                iteration=0,
                total=0,
                fraction=(position + 1) / len(planes),
                eta_seconds=0.0,
                loss=float("nan"),
                plane=position,
                n_planes=len(planes),
                finished_plane=out[position],
            )
        return StackResult(
            image=out,
            planes=tuple(planes),
            failed=failed,
            plan=None,
            status=Status.COMPLETED if len(done) == len(planes) else Status.CANCELLED,
            seconds=1.0,
            pending=tuple(plane for plane in planes if plane not in done),
            options=options,
            versions={"napari-msdip": "test"},
        )

    def expected_cost(self, image_shape, options, channels):
        return FakeCost(
            seconds=75.0,
            memory_bytes=2_000_000_000,
            scales=tuple(
                ScalePlan(shape, (2.0**n, 2.0**n), 4)
                for n, shape in enumerate(scale_shapes(image_shape, self.n_scales))
            ),
        )

    def noise_level(self, image, options, *, channel_axis):
        return 12.5

    def assess(self, noisy, denoised, **settings):
        return assess(noisy, denoised, **settings)

    def ensemble(self, scales, **settings):
        self.calls.append({"scales": scales, **settings})
        return scales[0].copy()

    @staticmethod
    def denoised(image):
        return (np.asarray(image) // 2).astype(image.dtype)

    @staticmethod
    def _spatial(image, channel_axis):
        axes = list(range(image.ndim))
        if channel_axis is not None:
            axes.remove(channel_axis % image.ndim)
        return axes

    def _result(self, image, scales, shapes, options, status):
        plan = Plan(
            options=options,
            shape=image.shape[:2],
            channels=1,
            scales=tuple(ScalePlan(shape, (1.0, 1.0), 4) for shape in shapes),
            device="cpu",
            precision="float32",
            threads=1,
            seed=options.seed,
            sigma=3.0,
        )
        return Result(
            image=image,
            scales=tuple(scales),
            sigma=3.0,
            plan=plan,
            status=status,
            seconds=1.0,
            versions={"napari-msdip": "test"},
        )
