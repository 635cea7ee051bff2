"""Crops of a large image: what the steps of a fit see instead of all of it.

A generator that sees nothing but the noisy image learns to denoise it, not to draw it,
and what it has learned in some places serves in all others. The places stay the same
throughout a fit, since batch normalisation would not let it learn how bright things are
if every step had other ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CROP_SIDE", "FINAL_PASSES", "PASS_WORK", "STEPS_PER_PASS", "Crops"]

CROP_SIDE = 64
# Steps after which the whole image is passed through the generator, for a preview, and
# passes in the end, whose average is the result.
STEPS_PER_PASS = 25
FINAL_PASSES = 16
# What passing an image through a generator costs of a step on it.
PASS_WORK = 1 / 3
# Half of the crops are of the eighth of the image that holds most.
_BUSY = 1 / 8

Shape = tuple[int, int]


@dataclass(frozen=True)
class Crops:
    """Places of equally large crops of an image.

    Attributes
    ----------
    corners : tuple of (int, int)
        Top and left of each, in pixels.
    shape : tuple of int
        ``(height, width)`` of each.
    """

    corners: tuple[tuple[int, int], ...]
    shape: Shape

    @classmethod
    def spread(cls, image: Tensor, side: int, count: int, rng: torch.Generator) -> Crops:
        """Choose places: half of them busy, as rare things must be seen, half of the rest.

        Parameters
        ----------
        image : Tensor
            ``(1, C, H, W)``, with room for ``count`` squares.
        side : int
            Height and width of each, even.
        count : int
            How many.
        rng : torch.Generator
            Source of randomness, on the CPU.
        """
        top, down = _line(image.shape[-2], side, rng)
        left, across = _line(image.shape[-1], side, rng)
        cut = image[0, :, top : top + down * side, left : left + across * side]
        squares = cut.reshape(-1, down, side, across, side)
        order = squares.var(dim=(2, 4)).sum(0).flatten().cpu().argsort(stable=True)
        busy = max(count // 2, int(_BUSY * len(order)))
        chosen = torch.cat(
            [
                _evenly(order[len(order) - busy :], count // 2),
                _evenly(order[: len(order) - busy], count - count // 2),
            ]
        )
        corners = tuple(
            (top + side * (n // across), left + side * (n % across))
            for n in chosen.tolist()
        )
        return cls(corners, (side, side))

    @classmethod
    def drawn(cls, rng: torch.Generator, image: Shape, shape: Shape, count: int) -> Crops:
        """Draw places anywhere in an image.

        Parameters
        ----------
        rng : torch.Generator
            Source of randomness, on the CPU.
        image, shape : tuple of int
            ``(height, width)`` of the image and of each crop.
        count : int
            How many.
        """
        tops, lefts = (
            torch.randint(whole - part + 1, (count,), generator=rng).tolist()
            for whole, part in zip(image, shape, strict=True)
        )
        return cls(tuple(zip(tops, lefts, strict=True)), shape)

    def resized(self, image: Shape, other: Shape) -> Crops:
        """Return the same places in an image of another size.

        Parameters
        ----------
        image, other : tuple of int
            ``(height, width)`` of the image that these lie in, and of the other one.
        """
        factors = [there / here for there, here in zip(other, image, strict=True)]
        height, width = (
            max(1, round(side * factor))
            for side, factor in zip(self.shape, factors, strict=True)
        )
        corners = tuple(
            (
                min(round(top * factors[0]), other[0] - height),
                min(round(left * factors[1]), other[1] - width),
            )
            for top, left in self.corners
        )
        return Crops(corners, (height, width))

    def cut(self, image: Tensor) -> Tensor:
        """Return the crops ``(B, C, h, w)`` of an image ``(1, C, H, W)``."""
        height, width = self.shape
        return torch.cat(
            [image[..., y : y + height, x : x + width] for y, x in self.corners]
        )


def _line(length: int, side: int, rng: torch.Generator) -> tuple[int, int]:
    """Return where along an axis squares begin, and how many there are.

    At an even pixel, so that they lie exactly as well in an image half as large.
    """
    start = 2 * int(torch.randint(length % side // 2 + 1, (1,), generator=rng))
    return start, length // side


def _evenly(order: Tensor, count: int) -> Tensor:
    """Choose some of a line, its last one included."""
    return order[
        torch.linspace(len(order) - 1, 0, count, dtype=torch.float32).round().long()
    ]
