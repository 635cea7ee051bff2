"""Where to compute, and with what: device, precision, threads, free memory, versions."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_msdip._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "available_memory",
    "casting",
    "cgroup_room",
    "cpu_count",
    "is_proven",
    "limited_threads",
    "memory_format",
    "parallelism",
    "release_cached_memory",
    "select",
    "select_precision",
    "uninfluenced",
    "versions",
]

_PROBE_CHANNELS = 64
_PROBE_SIZE = 96
_PROBE_ROUNDS = 5
_PROBING = threading.Lock()
# Only MPS is not among them: see is_proven.
_PROVEN = ("cpu", "cuda")
# With this the patch filters take half a GiB at most, and hardly wait for their next work.
_PARALLELISM = {"cuda": 8}
# Limit and usage of a control group, version 1 and 2.
_CGROUP_FILES = (
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ("memory.max", "memory.current"),
)
# bfloat16 also costs accuracy, so a small gain does not pay.
_WORTHWHILE_SPEEDUP = 1.25


def select(device: str) -> str:
    """Return the device to use.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        ``auto`` takes CUDA if there is one that works, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If the device is unknown, not there, or of no use to PyTorch.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(
            name for name, there in present.items() if there and _fault(name) is None
        )
    if device not in present:
        raise ValueError(f"device={device!r}: choose auto, {', '.join(present)}")
    if not present[device]:
        usable = ", ".join(name for name, there in present.items() if there)
        raise ValueError(
            f"device={device!r} is not available to PyTorch on this machine; "
            f"choose auto or one of: {usable}"
        )
    fault = _fault(device)
    if fault is not None:
        raise ValueError(
            f"device={device!r} is there, but PyTorch cannot compute on it ({fault}); "
            "choose auto or cpu"
        )
    return device


def _fault(device: str) -> str | None:
    """Return why PyTorch cannot compute on a device it sees, or None if it can.

    It sees GPUs that are too old, or too new, for the kernels it was built with.
    """
    if device == "cpu":
        return None
    try:
        torch.ones(1, device=device).add(1).item()
    except RuntimeError as error:
        # One that is full works; those who run out of memory have an answer to that.
        reason = str(error).partition("\n")[0]
        return None if "out of memory" in reason else reason
    return None


def is_proven(device: torch.device) -> bool:
    """Return whether a device does all that PyTorch offers, and does it right.

    On MPS some operations are missing from older versions, others have silently
    computed something else: there the engine keeps to what is simple.
    """
    return device.type in _PROVEN


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the order in memory in which a device convolves.

    Channels last is faster. But on MPS the gradients of batch normalisation were wrong
    in that order before PyTorch 2.14 (pytorch/pytorch#175189), and so were convolutions
    whose weights are not contiguous (#192212).
    """
    return torch.channels_last if is_proven(device) else torch.contiguous_format


def parallelism(device: torch.device) -> int:
    """Return how many times as much work at once as a CPU a device needs to be busy."""
    return _PARALLELISM.get(device.type, 1)


def select_precision(precision: str, device: str) -> str:
    """Return the number format for the generator.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` times a small convolution in both formats on a CPU and takes
        bfloat16 where it is clearly faster; other devices get float32, which
        is safe everywhere.
    device : {"cpu", "cuda", "mps"}
        Where the generator runs.
    """
    if precision != "auto":
        return precision
    if device != "cpu":
        return "float32"
    # Two that probe at a time would slow each other, and need not come to one answer.
    with _PROBING:
        return _probed_precision()


@cache
def _probed_precision() -> str:
    # Processor time of one thread, in turns and the best of several: what else the
    # machine is doing must not decide, or the same seed would give another image.
    with limited_threads(1):
        rounds = [
            (_seconds(torch.float32), _seconds(torch.bfloat16))
            for _ in range(_PROBE_ROUNDS)
        ]
    slow, fast = (min(times) for times in zip(*rounds, strict=True))
    return "bfloat16" if slow > _WORTHWHILE_SPEEDUP * fast else "float32"


def _seconds(dtype: torch.dtype) -> float:
    """Processor time of one convolution with its gradients."""
    shape = (1, _PROBE_CHANNELS, _PROBE_SIZE, _PROBE_SIZE)
    image = torch.ones(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.ones((_PROBE_CHANNELS, _PROBE_CHANNELS, 3, 3), dtype=dtype)
    image.requires_grad_()
    kernel.requires_grad_()
    start = time.thread_time()
    torch.nn.functional.conv2d(image, kernel, padding=1).sum().backward()  # type: ignore[no-untyped-call]
    return time.thread_time() - start


def casting(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context in which convolutions and products compute in this format.

    Parameters
    ----------
    device : torch.device
        Where they are computed.
    precision : {"float32", "bfloat16"}
        ``float32`` also undoes what surrounds it.
    """
    wanted = precision == "bfloat16"
    # Older versions of PyTorch refuse even not to cast on MPS.
    if not wanted and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    # Weights cast once would be kept, while they change, until the outermost such context
    # ends, which may be the caller's.
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=wanted, cache_enabled=False
    )


@contextmanager
def uninfluenced(device: str, threads: int) -> Iterator[None]:
    """Compute as if the caller had entered no context of PyTorch's, on so many threads.

    In ``torch.inference_mode()`` there are no gradients, ``torch.autocast`` mixes
    formats, and with a default device nothing is drawn on the CPU.
    """
    elsewhere = torch.empty(0).device.type != "cpu"
    with (
        torch.inference_mode(False),
        torch.device("cpu") if elsewhere else nullcontext(),
        casting(torch.device(device), "float32"),
        limited_threads(threads),
    ):
        yield


def cpu_count() -> int:
    """Return the number of CPU cores that this process may use.

    Of those that it may run on no more than OMP_NUM_THREADS says, by which whoever shares
    a machine keeps programs from each other's cores.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    # One number for each level of nested parallel regions.
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) else cores


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Compute with this many CPU threads inside the block, as before after it.

    PyTorch keeps the count for each thread. So never suspend a generator inside the
    block: it may be resumed in another thread.

    Notes
    -----
    A thread that uses PyTorch for the first time inherits the count that is set at that
    moment. Where runs with different counts start in new threads at once, each computes
    with its own count, but one of these counts may remain as a thread's default after the
    last run. Going back to the count from before the first run would not be right either:
    it would undo what the owner of another thread has set meanwhile.
    """
    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_memory(device: str) -> int:
    """Return the free memory of a device in bytes.

    What PyTorch keeps from earlier runs is free for the next one.
    """
    if device == "cuda":
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0] + cached)
    if device == "mps":
        used = torch.mps.current_allocated_memory()
        cached = torch.mps.driver_allocated_memory() - used
        # The GPU has no memory of its own; other programs may need most of it.
        return int(
            min(torch.mps.recommended_max_memory() - used, _available_cpu_memory() + cached)
        )
    return _available_cpu_memory()


def release_cached_memory() -> None:
    """Give back what PyTorch keeps of the accelerators' memory for later use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _available_cpu_memory() -> int:
    """Free memory: Linux counts reclaimable caches as available, others need psutil."""
    import psutil

    rooms: list[int | None] = [psutil.virtual_memory().available, _address_room()]
    # Other systems have no such groups.
    with suppress(OSError):
        membership = Path("/proc/self/cgroup").read_text("utf-8")
        rooms.append(cgroup_room(Path("/sys/fs/cgroup"), membership))
    return min(room for room in rooms if room is not None)


def _address_room() -> int | None:
    """Return what ``ulimit -v`` leaves of the address space, None if that has no limit.

    Some schedulers give it to their jobs.
    """
    import psutil

    process = psutil.Process()
    if not hasattr(process, "rlimit"):
        return None
    most: int = process.rlimit(psutil.RLIMIT_AS)[0]
    if most == psutil.RLIM_INFINITY:
        return None
    return max(most - int(process.memory_info().vms), 0)


def cgroup_room(root: Path, membership: str) -> int | None:
    """Return how much more memory the control groups let this process take.

    A container or a SLURM job is killed at its own limit, of which the machine's free
    memory says nothing.

    Parameters
    ----------
    root : Path
        Where control groups are mounted.
    membership : str
        What ``/proc/self/cgroup`` says.

    Returns
    -------
    int or None
        Bytes, not negative; None without a limit.
    """
    rooms = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            base, limit, usage = root / "memory", *_CGROUP_FILES[0]
        elif not controllers:
            base, limit, usage = root, *_CGROUP_FILES[1]
        else:
            continue
        group = base / path.strip("/")
        # The limits of the groups around this one hold too; inside a container the
        # path may be the host's, and only the mount itself is there.
        for folder in (group, *group.parents):
            rooms.append(_room(folder / limit, folder / usage, folder / "memory.stat"))
            if folder == base:
                break
    return min((room for room in rooms if room is not None), default=None)


def _room(limit: Path, usage: Path, stat: Path) -> int | None:
    """Return what one group has left, None if it has no limit."""
    try:
        most = int(limit.read_text("ascii"))
        used = int(usage.read_text("ascii"))
        entries = dict(line.split() for line in stat.read_text("ascii").splitlines())
    except (OSError, ValueError):
        # There is no such group, or its limit is the word "max".
        return None
    # The kernel drops cached files before it kills.
    cached = int(entries.get("total_inactive_file", entries.get("inactive_file", 0)))
    return max(most - max(used - cached, 0), 0)


def versions() -> dict[str, str]:
    """Return the versions of what the pixels depend on."""
    return {
        "napari-msdip": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
