"""Has this scale converged? Answered without ground truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["HeldOut", "Plateau", "Settled"]


@dataclass
class Plateau:
    """The loss no longer falls: the criterion of section 3.5, made concrete.

    The loss is smoothed with a running average; the fit has converged once that
    average has not fallen by a relative ``tolerance`` for ``patience`` steps.

    Attributes
    ----------
    patience : int
        Steps without progress that end the wait.
    tolerance : float
        Relative fall that counts as progress.
    smoothing : float
        Decay of the running average.
    """

    patience: int
    tolerance: float = 0.005
    smoothing: float = 0.95
    _average: float = field(default=math.nan, init=False)
    _lowest: float = field(default=math.inf, init=False)
    _waited: int = field(default=0, init=False)

    def reached(self, loss: float) -> bool:
        """Take the next loss and return whether the fit has converged."""
        if math.isnan(self._average):
            self._average = loss
        self._average += (1 - self.smoothing) * (loss - self._average)
        if self._average < self._lowest * (1 - self.tolerance):
            self._lowest, self._waited = self._average, 0
        else:
            self._waited += 1
        return self._waited >= self.patience

    def restart(self) -> None:
        """Forget the past, because the loss is another one from now on."""
        self._average, self._lowest, self._waited = math.nan, math.inf, 0


@dataclass
class Settled:
    """The averaged output no longer moves by more than a share of what it removes.

    Attributes
    ----------
    patience : int
        Steps between the two averages that are compared.
    tolerance : float
        Root-mean-square move, relative to the root-mean-square residual, below
        which the output has settled.
    """

    patience: int
    tolerance: float = 0.05
    _before: Tensor | None = field(default=None, init=False)
    _steps: int = field(default=0, init=False)

    def reached(self, average: Tensor, target: Tensor) -> bool:
        """Take the next averaged output and return whether it has settled."""
        self._steps += 1
        if self._steps % self.patience:
            return False
        before, self._before = self._before, average.clone()
        if before is None:
            return False
        moved = float((average - before).square().mean())
        removed = float((average - target).square().mean())
        return moved < self.tolerance**2 * removed


class HeldOut:
    """Pixels left out of the fit are no longer predicted better.

    Square blocks scattered over the image are left out of the loss. They are wider
    than the noise is correlated, so that the middle of a block tells nothing of its
    own noise, and the error there falls as long as the fit learns the image and
    rises once it learns the noise.

    Parameters
    ----------
    shape : tuple of int
        ``(H, W)``.
    reach : int
        Pixels over which the noise is correlated; 0 for white noise.
    patience : int
        Steps without a better prediction that end the fit.
    rng : torch.Generator
        Places the blocks.
    share : float
        Share of the pixels left out.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        reach: int,
        patience: int,
        rng: torch.Generator,
        share: float = 0.08,
    ) -> None:
        # One block must not hide a whole small image.
        reach = min(reach, (min(shape) - 1) // 4)
        side = 2 * reach + 1
        drawn = torch.rand((1, 1, *shape), generator=rng, dtype=torch.float32)
        # Two hidden blocks may overlap, hence the exact share rather than share / side².
        chance = 1 - (1 - share) ** (1 / side**2)
        # Without any block every prediction would look perfect.
        self.middles = (drawn <= max(chance, float(drawn.min()))).float()
        hidden = F.max_pool2d(self.middles, side, 1, reach)
        self.fitted = 1 - hidden
        self.best: Tensor | None = None
        self._patience = patience
        self._lowest = math.inf
        self._waited = 0

    def to(self, device: str) -> HeldOut:
        """Move the masks to a device."""
        self.middles, self.fitted = self.middles.to(device), self.fitted.to(device)
        return self

    def reached(self, average: Tensor, target: Tensor) -> bool:
        """Take the next averaged output and return whether the fit should stop.

        ``best`` holds the average that predicted the hidden pixels best.
        """
        error = float(((average - target).square() * self.middles).sum())
        if error < self._lowest:
            self._lowest, self._waited, self.best = error, 0, average.clone()
        else:
            self._waited += 1
        return self._waited >= self._patience

    def filled(self, image: Tensor) -> Tensor:
        """Return the image with hidden pixels replaced by their visible surroundings."""
        filled, known = image * self.fitted, self.fitted
        while float(known.min()) == 0:
            total = F.avg_pool2d(filled, 3, 1, 1)
            count = F.avg_pool2d(known, 3, 1, 1)
            spread = total / count.clamp_min(1e-6)
            filled = torch.where(known > 0, filled, spread * (count > 0))
            known = torch.where(known > 0, known, (count > 0).float())
        return filled
