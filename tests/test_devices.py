"""Devices: the best there is, a clear error for one that is not, no trace left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import psutil
import pytest
import torch

from napari_msdip import devices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def machine_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes PyTorch see these accelerators and no others."""

    def see(*names: str, broken: str = "", reason: str = "no kernel image") -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: "cuda" in names)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: "mps" in names)
        real = torch.ones

        def ones(*size: int, device: str = "cpu") -> torch.Tensor:
            if device == broken:
                raise RuntimeError(f"CUDA error: {reason}\nMore")
            return real(*size)

        monkeypatch.setattr("torch.ones", ones)

    return see


@pytest.mark.parametrize(
    ("present", "chosen"),
    [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("cuda", "mps"), "cuda")],
)
def test_auto_takes_the_best(
    machine_with: Callable[..., None], present: tuple[str, ...], chosen: str
) -> None:
    machine_with(*present)
    assert devices.select("auto") == chosen


def test_named_device_is_taken(machine_with: Callable[..., None]) -> None:
    machine_with("cuda", "mps")
    for name in ("cpu", "cuda", "mps"):
        assert devices.select(name) == name


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_missing_device_names_the_usable_ones(
    machine_with: Callable[..., None], name: str
) -> None:
    machine_with()
    with pytest.raises(ValueError, match=f"device='{name}'.*cpu"):
        devices.select(name)


def test_auto_passes_over_what_pytorch_sees_but_cannot_use(
    machine_with: Callable[..., None],
) -> None:
    machine_with("cuda", broken="cuda")
    assert devices.select("auto") == "cpu"
    machine_with("cuda", "mps", broken="cuda")
    assert devices.select("auto") == "mps"


def test_device_of_no_use_is_refused_with_the_reason(
    machine_with: Callable[..., None],
) -> None:
    machine_with("cuda", broken="cuda")
    with pytest.raises(ValueError, match=r"device='cuda'.*no kernel image.*cpu$"):
        devices.select("cuda")


def test_a_full_device_is_not_a_broken_one(machine_with: Callable[..., None]) -> None:
    machine_with("cuda", broken="cuda", reason="out of memory")
    assert devices.select("auto") == devices.select("cuda") == "cuda"


def test_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"device='tpu'.*auto, cuda, mps, cpu"):
        devices.select("tpu")


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_wanted_precision_is_taken(device: str, precision: str) -> None:
    assert devices.select_precision(precision, device) == precision


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_automatic_precision_is_safe_off_the_cpu(device: str) -> None:
    assert devices.select_precision("auto", device) == "float32"


def test_automatic_precision_is_the_same_each_time_on_a_busy_machine() -> None:
    burning = "while True: pass"
    others = [subprocess.Popen([sys.executable, "-c", burning]) for _ in range(3)]
    try:
        found = {devices._probed_precision.__wrapped__() for _ in range(4)}
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert len(found) == 1
    assert found <= {"float32", "bfloat16"}


@pytest.mark.parametrize(
    ("slower", "expected"), [(2.0, "bfloat16"), (1.1, "float32"), (0.5, "float32")]
)
def test_automatic_precision_is_bfloat16_where_float32_is_clearly_slower(
    slower: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {torch.float32: slower, torch.bfloat16: 1.0}
    monkeypatch.setattr(devices, "_seconds", seconds.__getitem__)
    assert devices._probed_precision.__wrapped__() == expected


def test_threads_that_ask_at_a_time_get_the_answer_of_one_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probed = []

    @cache
    def slow() -> str:
        probed.append(threading.get_ident())
        time.sleep(0.1)
        return f"answer {len(probed)}"

    monkeypatch.setattr(devices, "_probed_precision", slow)
    with ThreadPoolExecutor(3) as pool:
        found = {*pool.map(devices.select_precision, ["auto"] * 3, ["cpu"] * 3)}

    assert found == {"answer 1"}


def test_probe_leaves_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    devices.select_precision("auto", "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_threads_are_limited_and_restored() -> None:
    before = torch.get_num_threads()
    for threads in (1, 2):
        with devices.limited_threads(threads):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == before


def test_threads_are_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), devices.limited_threads(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_cpu_count_is_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8}, raising=False)
    assert devices.cpu_count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert devices.cpu_count() == 64


@pytest.mark.parametrize(
    ("wanted", "cores"),
    [("2", 2), ("1,4", 1), (" 3 ", 3), ("16", 8), ("", 8), ("0", 8), ("all", 8), ("-2", 8)],
)
def test_no_more_cores_than_whoever_shares_the_machine_grants(
    wanted: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda process: set(range(8)), raising=False
    )
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert devices.cpu_count() == cores


def test_memory_is_there() -> None:
    assert devices.available_memory("cpu") > 2**20


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="has no such limits")
@pytest.mark.parametrize(("beyond", "room"), [(2**26, 2**26), (-(2**20), 0)])
def test_a_limit_of_the_address_space_counts(
    monkeypatch: pytest.MonkeyPatch, beyond: int, room: int
) -> None:
    limit = psutil.Process().memory_info().vms + beyond
    monkeypatch.setattr(psutil.Process, "rlimit", lambda *_: (limit, psutil.RLIM_INFINITY))

    assert devices.available_memory("cpu") == pytest.approx(room, abs=2**24)


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(content)


def test_no_limit_of_a_control_group_is_none(tmp_path: Path) -> None:
    group(tmp_path / "job", max="max\n", current="5\n", stat="")
    assert devices.cgroup_room(tmp_path, "0::/job\n") is None
    assert devices.cgroup_room(tmp_path, "0::/elsewhere\n1:cpu:/\n") is None


def test_the_tightest_control_group_counts(tmp_path: Path) -> None:
    group(tmp_path / "job", max="1000\n", current="300\n", stat="inactive_file 50\n")
    group(tmp_path / "job" / "step", max="max\n", current="10\n", stat="")
    assert devices.cgroup_room(tmp_path, "0::/job/step\n") == 750
    group(tmp_path / "job", current="2000\n")
    assert devices.cgroup_room(tmp_path, "0::/job/step\n") == 0


def test_control_groups_of_the_first_version_count(tmp_path: Path) -> None:
    group(tmp_path / "memory", limit_in_bytes="900", usage_in_bytes="100", stat="")
    assert devices.cgroup_room(tmp_path, "3:cpu,memory:/job\n0::/\n") == 800


def test_memory_that_pytorch_keeps_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (500, 1000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda: 300)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda: 50)
    assert devices.available_memory("cuda") == 500 + 250


@pytest.mark.parametrize(("machine", "expected"), [(10_000, 700), (400, 600)])
def test_memory_of_mps_is_the_machines_own(
    monkeypatch: pytest.MonkeyPatch, machine: int, expected: int
) -> None:
    monkeypatch.setattr("torch.mps.recommended_max_memory", lambda: 1000)
    monkeypatch.setattr("torch.mps.current_allocated_memory", lambda: 300)
    monkeypatch.setattr("torch.mps.driver_allocated_memory", lambda: 500)
    monkeypatch.setattr(devices, "_available_cpu_memory", lambda: machine)
    assert devices.available_memory("mps") == expected


@pytest.mark.parametrize("present", [(), ("cuda",), ("mps",), ("cuda", "mps")])
def test_memory_is_given_back_by_whoever_is_there(
    machine_with: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    present: tuple[str, ...],
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: asked.append("cuda"))
    monkeypatch.setattr("torch.mps.empty_cache", lambda: asked.append("mps"))
    machine_with(*present)
    devices.release_cached_memory()
    assert tuple(asked) == present


@pytest.mark.parametrize(
    ("device", "last"), [("cpu", True), ("cuda", True), ("mps", False)]
)
def test_channels_come_last_where_gradients_are_right_so(device: str, last: bool) -> None:
    order = devices.memory_format(torch.device(device))
    assert order == (torch.channels_last if last else torch.contiguous_format)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_are_cast_only_if_wanted(precision: str) -> None:
    matrix = torch.eye(4)
    with (
        torch.autocast("cpu", dtype=torch.float16),
        devices.casting(torch.device("cpu"), precision),
    ):
        assert (matrix @ matrix).dtype == getattr(torch, precision)


def test_weights_that_change_are_cast_anew_whatever_surrounds_it() -> None:
    weight, sums = torch.eye(4, requires_grad=True), []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(2):
            with devices.casting(torch.device("cpu"), "bfloat16"):
                sums.append((torch.eye(4) @ weight).sum().item())
            with torch.no_grad():
                weight *= 2
    assert sums == [4, 8]


def test_a_device_that_never_casts_is_not_asked_not_to() -> None:
    with devices.casting(torch.device("meta"), "float32"):
        pass
    with pytest.raises(RuntimeError, match="meta"):
        devices.casting(torch.device("meta"), "bfloat16")
