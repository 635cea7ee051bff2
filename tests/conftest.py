"""Settings shared by all tests."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fake_engine import FakeEngine


def pytest_configure() -> None:
    """Allow two threads at most: a third one slows the others down."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(min(2, int(os.environ.get(name, "2"))))


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Go back to two threads after a test that raised the number."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > 2:
        torch.set_num_threads(2)


@pytest.fixture
def quick_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an engine that takes milliseconds in the place of the real one."""
    from tests.fake_fit import fake_denoise

    from napari_msdip import piece

    monkeypatch.setattr(piece, "iter_denoise_part", fake_denoise)


@pytest.fixture
def engine() -> FakeEngine:
    """An engine for layers that needs no torch and is done at once."""
    from tests.fake_engine import FakeEngine

    return FakeEngine()


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Numbers of the files and folders that a power cut would leave as they are."""
    fsync, found = os.fsync, set()

    def noting(descriptor: int) -> None:
        found.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return found
