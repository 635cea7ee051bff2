"""An engine that takes no time, and ways to run the command line with it."""

from __future__ import annotations

import dataclasses
import signal
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_msdip import io
from napari_msdip._cli.engine import Engine
from napari_msdip.cli import main
from napari_msdip.events import (
    Progress,
    Result,
    ScaleResult,
    StackResult,
    Status,
    StopReason,
)
from napari_msdip.plan import Plan, ScalePlan
from napari_msdip.planes import PlaneLayout, read_plane, select
from napari_msdip.stack import denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

    from napari_msdip.options import Options

STEPS = 5


@dataclass
class FakeEngine:
    """Halves every image, so that a result is told from its input, and takes notes."""

    interrupts_at: int | None = None
    interrupts: int = 1
    refuses: str = ""
    loses: dict[int, str] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    judged: list[Any] = field(default_factory=list)
    independent_share: float = 1.0

    def load(self) -> Engine:
        return Engine(
            check=self.check,
            iter_denoise=self.iter_denoise,
            denoise_stack=self.denoise_stack,
            estimate_sigma=self.independent,
            assess=self.assess,
            noise_level=self.sigma,
        )

    def check(self, options: Options) -> None:
        if options.device == "mps":
            raise ValueError("device='mps' is not available")

    def iter_denoise(self, image, options, *, channel_axis, should_stop):
        self.calls.append({"options": options, "channel_axis": channel_axis})
        if self.refuses and image.flat[0] == 99:
            raise ValueError(self.refuses)
        status = Status.COMPLETED
        for step in range(STEPS):
            self._interrupt(step)
            if should_stop():
                status = Status.CANCELLED
                break
            yield progress(step / STEPS)
        done = result(image // 2, options, status)
        return done if step else dataclasses.replace(done, image=image, scales=())

    def _interrupt(self, step: int) -> None:
        if step == self.interrupts_at:
            for _ in range(self.interrupts):
                signal.raise_signal(signal.SIGINT)

    def denoise_stack(
        self, stack, options, *, channel_axis, planes, out, on_progress, should_stop, client
    ):
        self.calls.append(
            {"options": options, "channel_axis": channel_axis, "planes": planes, "out": out}
        )
        layout = PlaneLayout.of(stack.shape, channel_axis)
        chosen = select(planes, layout.n_planes)
        target = layout if planes is None else layout.selection(len(chosen))
        group = zarr.open_group(out.path, mode="a")
        if "0" not in group:
            group.create_array("0", shape=target.shape, dtype=stack.dtype)
        pending = []
        for position, plane in enumerate(chosen):
            self._interrupt(position)
            if should_stop() or plane in self.loses:
                pending.append(plane)
                continue
            denoised = read_plane(stack, layout, plane) // 2
            group["0"][target.key(position)] = denoised
            on_progress(progress(position / len(chosen)))
        status = Status.CANCELLED if should_stop() else Status.COMPLETED
        return StackResult(
            group["0"], chosen, self.loses, None, status, 1.0, tuple(pending), options
        )

    def sigma(self, image, options, *, channel_axis) -> float:
        return float(image.mean())

    def independent(self, image, *, channel_axis) -> float:
        return self.independent_share * float(image.mean())

    def assess(self, noisy, denoised, *, channel_axis, hot_pixels_removed):
        self.judged = [noisy, denoised]
        return SimpleNamespace(verdict=SimpleNamespace(value="safe"), reason="It is.")


def progress(fraction: float) -> Progress:
    return Progress(0, 1, 1, STEPS, fraction, 1.0, 0.1)


def result(image: np.ndarray, options: Options, status: Status) -> Result:
    shape = image.shape[:2]
    plan = Plan(
        options=options,
        shape=shape,
        channels=1,
        scales=(ScalePlan(shape, (1.0, 1.0), STEPS),),
        device="cpu",
        precision="float32",
        threads=1,
        seed=0,
        sigma=float("nan"),
    )
    reason = StopReason.ITERATIONS
    # A run that is cancelled does not get to its finest scale.
    number = int(status is Status.CANCELLED)
    scale = ScaleResult(image, shape, (1.0, 1.0), 1.0, 0.0, STEPS, reason, 1.0, number)
    return Result(image, (scale,), 3.0, plan, status, 1.0, {})


def run(fake: FakeEngine, *arguments: object) -> int:
    return main([str(argument) for argument in arguments], load=fake.load)


def unloaded(*arguments: object) -> int:
    """Run a command that must end before the engine is imported."""

    def load() -> Engine:
        raise AssertionError("the engine was loaded")

    return main([str(argument) for argument in arguments], load=load)


def read(path: Path) -> np.ndarray:
    with io.open_image(path) as source:
        return np.asarray(source.data)


def metadata_of(path: Path) -> io.Metadata:
    with io.open_image(path) as source:
        return source.metadata


class RealStacks:
    """The engine of stacks is the real one here, with fits that take no time."""

    @pytest.fixture(autouse=True)
    def bad_stack(self, quick_engine: None, tmp_path: Path) -> None:
        self.write(tmp_path, bad=2)

    def stack(self) -> np.ndarray:
        return np.random.default_rng(0).normal(100, 9, (5, 20, 24)).astype(np.float32)

    def write(self, folder: Path, *, bad: int | None = None) -> None:
        stack = self.stack()
        if bad is not None:
            stack[bad, 3, 4] = np.nan
        metadata = {"axes": "ZYX"}
        tifffile.imwrite(folder / "in.tif", stack, imagej=True, metadata=metadata)

    def denoise(self, fake: FakeEngine, folder: Path, name: str, *words: str) -> int:
        def load() -> Engine:
            return dataclasses.replace(fake.load(), denoise_stack=denoise_stack)

        command = ["denoise", str(folder / "in.tif"), "-o", str(folder / name), "--json"]
        return main([*command, *words, "--threads", "1"], load=load)
