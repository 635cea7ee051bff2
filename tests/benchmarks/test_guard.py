from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.guard import ratios
from benchmarks.guard.ratios import TOLERANCE, Store, paired_ratio


def test_a_load_that_comes_and_goes_leaves_the_ratio():
    reference = [1.0, 1.0, 8.0, 7.0, 1.0]
    subject = [3.0, 3.0, 24.0, 21.0, 3.0]
    assert paired_ratio(subject, reference) == 3


def test_one_hiccup_leaves_the_ratio():
    assert paired_ratio([3.0, 90.0, 3.0], [1.0, 1.0, 1.0]) == 3


def test_times_without_partner_are_refused():
    with pytest.raises(ValueError):
        paired_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no times"):
        paired_ratio([], [])


def test_waiting_costs_nothing():
    # In a process of its own: here threads of other tests may still spin for work.
    code = (
        "import time; from benchmarks.guard.ratios import timed; times = []; "
        "timed(lambda: time.sleep(0.5), times); "
        "timed(lambda: sum(range(10**6)), times); print(*times)"
    )
    root = Path(ratios.__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    waited, worked = map(float, told.stdout.split())
    assert waited < worked


def test_every_ratio_that_is_stored_is_measured():
    folder = Path(ratios.__file__).parent
    measured = (folder / "test_ratios.py").read_text()
    stored = json.loads((folder / "ratios.json").read_text())
    assert [name for name in stored if f'"{name}"' not in measured] == []


def test_store_lets_through_what_is_as_quick_as_before(tmp_path):
    path = tmp_path / "ratios.json"
    Store(path, update=True).check("step", 2.0)
    Store(path).check("step", 2.0)
    Store(path).check("step", 0.1)
    Store(path).check("step", 2.0 * TOLERANCE)
    with pytest.raises(AssertionError, match=r"step: 3\.1 times"):
        Store(path).check("step", 3.1)


def test_store_keeps_the_other_ratios_and_misses_none(tmp_path):
    path = tmp_path / "ratios.json"
    Store(path, update=True).check("step", 2.0)
    Store(path, update=True).check("fusion", 5.0)
    assert json.loads(path.read_text()) == {"fusion": 5.0, "step": 2.0}
    with pytest.raises(AssertionError, match="--store-ratios"):
        Store(path).check("noise", 1.0)
