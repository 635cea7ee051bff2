"""Every plane has random numbers of its own."""

from __future__ import annotations

from napari_msdip.seeds import plane_seed


def test_plane_seeds_are_distinct_and_valid() -> None:
    seeds = {plane_seed(7, index) for index in range(5000)}
    assert len(seeds) == 5000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert plane_seed(7, 0) == 7
    assert plane_seed(2**31 - 1, 1) < 2**31
