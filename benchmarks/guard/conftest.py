from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.guard.ratios import Store, paired_ratio, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store-ratios", action="store_true", help="store the ratios measured"
    )


def pytest_configure() -> None:
    # Processor time is that of all threads, and NumPy's libraries start one for each core.
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise pytest.UsageError("the guard needs OMP_NUM_THREADS=1 in the environment")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # A second thread waits for whatever else the machine does, and ratios stray.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def guard(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., float]:
    """Time a subject and its reference in turn and hold their ratio against the store."""
    store = Store(
        Path(__file__).with_name("ratios.json"), request.config.getoption("--store-ratios")
    )

    def run(
        name: str,
        subject: Callable[[], object],
        reference: Callable[[], object],
        *,
        rounds: int = 9,
    ) -> float:
        subject(), reference()
        times: list[float] = []
        benchmark.pedantic(
            subject, setup=lambda: timed(reference, times), rounds=rounds, iterations=1
        )
        ratio = paired_ratio(benchmark.stats.stats.data, times)
        benchmark.extra_info["ratio"] = ratio
        store.check(name, ratio)
        return ratio

    return run
