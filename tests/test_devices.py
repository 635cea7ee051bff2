"""Devices: the best there is, a clear error for one that is not, no trace left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from napari_msdip import devices

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def machine_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes PyTorch see these accelerators and no others."""

    def see(*names: str) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: "cuda" in names)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: "mps" in names)

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


def test_cpu_count_is_what_this_process_may_use() -> None:
    assert 1 <= devices.cpu_count() <= (os.cpu_count() or 1)


def test_memory_is_there() -> None:
    assert devices.available_memory("cpu") > 2**20
