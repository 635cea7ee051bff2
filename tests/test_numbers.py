"""Durations and amounts of memory read well."""

from __future__ import annotations

import pytest

from napari_msdip import _numbers as numbers


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "1 s"), (59, "59 s"), (80, "1 min 20 s"), (1200, "20 min"), (7500, "2 h 5 min")],
)
def test_durations_are_readable(seconds, words):
    assert numbers.duration(seconds) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(5, "1 MB"), (3e8, "300 MB"), (2.34e9, "2.3 GB")]
)
def test_memory_is_readable(n_bytes, words):
    assert numbers.memory(n_bytes) == words
