"""How far is a step of a preset from what this machine could do at best?

Run ``python -m benchmarks.roofline [PRESET] [SIDE] [THREADS]``. One optimisation step at
the finest scale of an RGB image, as a run would take it or (``--whole``) on all of the
image also where that is large, is recorded operation by operation: its arithmetic, and
the bytes that it reads and writes if it touches every tensor once. No operation can be
faster than its arithmetic at the machine's best rate, or than its bytes at the best rate
for so many of them; the sum of these floors is the floor of a step that runs one operation
after another. Rates and step are measured in turns, in processor time for each thread,
because on a busy machine a long step is interrupted more often than a short measurement;
the best of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from napari_msdip._fit.crops import CROP_SIDE
from napari_msdip.devices import select_precision
from napari_msdip.image import iter_denoise
from napari_msdip.options import Options
from napari_msdip.plan import scale_plans

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 12
MEGABYTE = 2**20
WORKING_SETS = tuple(MEGABYTE * 4**n / 16 for n in range(8))
CONVOLUTIONS = ((32, 128), (64, 64), (128, 32))
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Operation:
    """One operation of a step: name, arithmetic and bytes touched at least."""

    name: str
    flops: float
    size: float


@dataclass
class Recorder(TorchDispatchMode):
    """Notes every operation that PyTorch runs, gradients included."""

    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        count = flop_registry.get(packet)
        flops = count(*args, **(kwargs or {}), out_val=out) if count else 0
        if not func.is_view:
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
            distinct = {(t.data_ptr(), t.shape): t.nbytes for t in tensors}
            # What an operation changes in place it reads and writes.
            mutable = func._schema.is_mutable
            changed = sum(t.nbytes for t in tree_leaves(args[:1]) if mutable)
            self.operations.append(
                Operation(str(packet), flops, sum(distinct.values()) + changed)
            )
        return out


@dataclass
class Ceilings:
    """Best rates seen: arithmetic in a format, and bytes by the size of what is touched."""

    dtype: torch.dtype = torch.float32
    flops: float = 0.0
    bandwidth: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    def measure(self) -> None:
        """Measure once more and keep what is better."""
        for width, side in CONVOLUTIONS:
            image = _channels_last(1, width, side, side).to(self.dtype)
            kernel = _channels_last(width, width, 3, 3).to(self.dtype)
            flops = 2 * 9 * width**2 * side**2
            seconds = _seconds(lambda x=image, k=kernel: F.conv2d(x, k, padding=1))
            self.flops = max(self.flops, flops / seconds)
        for size in WORKING_SETS:
            count = max(1, round(size / 12))
            first, second, total = (torch.zeros(count) for _ in range(3))
            seconds = _seconds(lambda a=first, b=second, c=total: torch.add(a, b, out=c))
            self.bandwidth[size] = max(self.bandwidth[size], 12 * count / seconds)

    def floor(self, operation: Operation) -> float:
        """Return the least seconds that an operation can take."""
        sizes, rates = zip(*sorted(self.bandwidth.items()), strict=True)
        rate = np.interp(np.log(max(operation.size, 1)), np.log(sizes), rates)
        return float(max(operation.flops / self.flops, operation.size / rate))


def _channels_last(*shape: int) -> Tensor:
    return torch.rand(shape).to(memory_format=torch.channels_last)


def _clock() -> float:
    return time.process_time() / torch.get_num_threads()


def _seconds(work: Callable[[], object], least: float = 0.01) -> float:
    """Return the seconds of one call, from as many as fill ``least`` seconds."""
    work()
    calls, start = 0, _clock()
    while (passed := _clock() - start) < least:
        work()
        calls += 1
    return passed / calls


def options_of(
    preset: str, *, threads: int = 1, precision: str = "auto", whole: bool = False
) -> Options:
    """Return options of which every step is one at the finest scale, without end."""
    options = Options.preset(preset).replace(
        max_scales=1,
        iterations=100_000,
        coarsest_iterations=None,
        stopping="none",
        threads=threads,
        device="cpu",
        precision=select_precision(precision, "cpu"),
    )
    return options.replace(step_pixels=None) if whole else options


def described(preset: str, options: Options, side: int) -> str:
    """Say which step is measured."""
    crops = scale_plans(options, (side, side))[0].crops
    seen = f"{crops} crops of {CROP_SIDE}×{CROP_SIDE}" if crops else "the whole image"
    return (
        f"a step of {preset} on {seen}, {side}×{side} RGB, {options.precision}, "
        f"{options.threads} thread(s)"
    )


def step_of(options: Options, side: int) -> Callable[[], object]:
    """Return a call that takes one step on a square RGB image."""
    rng = np.random.default_rng(0)
    smooth = np.stack(np.broadcast_arrays(*np.mgrid[:side, :side], side / 2), axis=-1)
    image = (smooth / side * 200 + rng.normal(20, 10, smooth.shape)).astype(np.float32)
    steps = iter_denoise(image, options, channel_axis=2)
    for _ in range(3):
        next(steps)
    return lambda: next(steps)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline")
    add = parser.add_argument
    add("preset", nargs="?", default="fast")
    add("side", nargs="?", type=int, default=512, help="of the image, in pixels")
    add("threads", nargs="?", type=int, default=1)
    add("--precision", choices=("auto", *FORMATS), default="auto")
    add("--whole", action="store_true", help="let a step see all of a large image, too")
    return parser


def main() -> None:
    arguments = _parser().parse_args()
    options = options_of(
        arguments.preset,
        threads=arguments.threads,
        precision=arguments.precision,
        whole=arguments.whole,
    )
    torch.set_num_threads(arguments.threads)
    step = step_of(options, arguments.side)
    with Recorder() as recorder:
        step()
    ceilings, best = Ceilings(FORMATS[options.precision]), float("inf")
    for _ in range(ROUNDS):
        ceilings.measure()
        start = _clock()
        step()
        best = min(best, _clock() - start)
    print(described(arguments.preset, options, arguments.side))
    _print(recorder.operations, ceilings, best)


def _print(operations: list[Operation], ceilings: Ceilings, best: float) -> None:
    flops = sum(each.flops for each in operations)
    size = sum(each.size for each in operations)
    floors: dict[str, float] = defaultdict(float)
    for each in operations:
        floors[each.name] += ceilings.floor(each)
    total = sum(floors.values())
    rates = [ceilings.bandwidth[size] / 1e9 for size in WORKING_SETS]
    print(f"arithmetic: {flops / 1e9:.1f} GFLOP, traffic: {size / 1e9:.2f} GB")
    print(
        f"ceilings: {ceilings.flops / 1e9:.0f} GFLOP/s for convolutions in "
        f"{str(ceilings.dtype).removeprefix('torch.')}; {rates[-1]:.1f} GB/s from memory, "
        f"{max(rates):.0f} GB/s from cache"
    )
    print(f"floor {total * 1e3:.0f} ms, step {best * 1e3:.0f} ms: {best / total:.2f} times")
    print("| operation | floor, ms |\n| --- | --- |")
    for name, seconds in sorted(floors.items(), key=lambda item: -item[1])[:12]:
        print(f"| {name} | {seconds * 1e3:.1f} |")


if __name__ == "__main__":
    main()
