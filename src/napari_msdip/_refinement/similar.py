"""Find the patches of an image that are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_msdip.devices import parallelism

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["PatchGrid"]

# Groups of up to three channels that are found and filtered together: bounds the memory
# whatever the image's size. With four times as many, what is in work leaves a CPU's cache.
_AT_ONCE = 512


@dataclass(frozen=True)
class PatchGrid:
    """Reference patches that cover an image, and where patches like them are sought.

    Attributes
    ----------
    side, step : int
        Size of a patch and distance between reference patches, in pixels.
    height, width : int
        Of the image, continued so that whole steps cover it.
    search : int
        Pixels to each side in which patches like one are sought.
    group : int
        Patches in a group.
    at_once : int
        Groups that are found at once, about.
    """

    side: int
    step: int
    height: int
    width: int
    search: int
    group: int
    at_once: int

    @classmethod
    def on(
        cls,
        height: int,
        width: int,
        *,
        side: int,
        step: int,
        search: int,
        group: int,
        channels: int,
        device: torch.device,
    ) -> PatchGrid:
        """Lay the grid over an image of this size, within what there is room for."""
        side = min(side, height, width)
        step = min(step, side)
        search = min(search, min(height, width) - side)
        return cls(
            side=side,
            step=step,
            height=height + (side - height) % step,
            width=width + (side - width) % step,
            search=search,
            group=min(group, (search + 1) ** 2),
            at_once=max(1, _AT_ONCE * parallelism(device) * 3 // max(3, channels)),
        )

    def fitted(self, image: Tensor) -> Tensor:
        """Continue an image ``(1, C, H, W)`` so that whole steps cover it."""
        below, right = self.height - image.shape[-2], self.width - image.shape[-1]
        return F.pad(image, (0, right, 0, below), mode="replicate")

    def groups(self, guide: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield finished share and corners ``(P, group)`` of patches that are alike."""
        device = guide.device
        room = F.pad(guide, (self.search,) * 4)
        rows, columns = self._starts(self.height), self._starts(self.width)
        lefts = torch.tensor(columns, device=device)
        strip = max(1, self.at_once // len(columns))
        for first in range(0, len(rows), strip):
            tops = rows[first : first + strip]
            shifts = self._most_similar(room, tops)
            here = torch.tensor(tops, device=device)[:, None] * self.width + lefts
            yield (first + len(tops)) / len(rows), here.flatten()[:, None] + shifts

    def _starts(self, size: int) -> range:
        return range(0, size - self.side + 1, self.step)

    def pixels(self, device: torch.device) -> Tensor:
        """Return where a patch's pixels ``(side²,)`` lie from its corner."""
        within = torch.arange(self.side, device=device)
        return (within[:, None] * self.width + within).flatten()

    def _most_similar(self, room: Tensor, tops: range) -> Tensor:
        """Return the offsets in pixels ``(P, group)`` of the patches most like each."""
        height = tops[-1] - tops[0] + self.side
        reach = 2 * self.search + 1
        # (C, rows, reach, columns): every shift across, without copies.
        shifted = room.unfold(2, self.width, 1)
        first = tops[0]
        centre = shifted[:, first + self.search :, self.search][:, :height, None]
        distances = torch.cat(
            [
                self._distances(centre, shifted[:, first + down :][:, :height])
                for down in range(reach)
            ],
            dim=1,
        )
        distances.masked_fill_(self._outside(tops, distances.device), math.inf)
        # A patch belongs to its own group even where others equal it.
        distances[:, distances.shape[1] // 2] = -1.0
        chosen = distances.topk(self.group, dim=1, largest=False).indices
        down = chosen // reach - self.search
        across = chosen % reach - self.search
        return down * self.width + across

    def _outside(self, tops: range, device: torch.device) -> Tensor:
        """Return ``(P, reach²)`` whether a shift takes a patch out of the image."""
        lefts = self._starts(self.width)
        above, beside = (
            _is_outside(starts, self.search, size - self.side, device)
            for starts, size in ((tops, self.height), (lefts, self.width))
        )
        outside = above[:, None, :, None] | beside[None, :, None, :]
        return outside.flatten(2).flatten(0, 1)

    def _distances(self, centre: Tensor, shifted: Tensor) -> Tensor:
        """Compare patches ``(C, rows, 1, columns)`` with shifted ones: ``(P, reach)``."""
        squares = (centre - shifted).square_().sum(0).transpose(0, 1)
        return F.avg_pool2d(squares[:, None], self.side, stride=self.step).flatten(1).T


def _is_outside(starts: range, search: int, last: int, device: torch.device) -> Tensor:
    """Return ``(starts, shifts)`` whether a place lies before 0 or beyond the last."""
    shifts = torch.arange(-search, search + 1, device=device)
    places = torch.tensor(starts, device=device)[:, None] + shifts
    return (places < 0) | (places > last)
