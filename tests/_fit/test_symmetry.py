"""The symmetries of the square: eight different ones, each of which can be undone."""

from __future__ import annotations

import pytest
import torch

from napari_msdip._fit.symmetry import SYMMETRIES, turned, turned_back


@pytest.mark.parametrize("turn", range(SYMMETRIES))
def test_they_are_undone(turn: int) -> None:
    image = torch.arange(30.0).view(1, 2, 3, 5)
    there = turned(image, turn)
    assert there.shape[-2:] == ((5, 3) if turn % 2 else (3, 5))
    assert torch.equal(turned_back(there, turn), image)


def test_they_are_eight_different_ones() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    kinds = {tuple(turned(image, turn).flatten().tolist()) for turn in range(SYMMETRIES)}
    assert len(kinds) == 8
