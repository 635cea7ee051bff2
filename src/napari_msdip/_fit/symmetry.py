"""The eight symmetries of the square: to turn and flip an image, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SYMMETRIES", "turned", "turned_back"]

SYMMETRIES = 8


def turned(image: Tensor, turn: int) -> Tensor:
    """Apply one of the eight symmetries of the square; 0 leaves the image alone."""
    if turn & 4:
        image = image.flip(-1)
    return torch.rot90(image, turn & 3, (-2, -1)) if turn & 3 else image


def turned_back(image: Tensor, turn: int) -> Tensor:
    """Undo :func:`turned`."""
    if turn & 3:
        image = torch.rot90(image, -(turn & 3), (-2, -1))
    return image.flip(-1) if turn & 4 else image
