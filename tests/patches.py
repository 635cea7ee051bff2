"""What tests of filters for similar patches share: texture, noise, a run to its end."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_msdip._noise.model import NoiseModel

SIGMA = 0.1


def model(channels: int = 1, spread: float = 0.0) -> NoiseModel:
    """Noise that is white, or correlated as if blurred by a Gaussian of this width."""
    offsets = np.arange(-4, 5)
    distance = np.hypot(offsets[:, np.newaxis], offsets)
    correlation = np.exp(-np.square(distance) / (4 * max(spread, 1e-3) ** 2))
    level = np.array([SIGMA])
    return NoiseModel.separable(correlation, np.eye(channels), np.zeros(1), level)


def clean(shape: tuple[int, int], channels: int = 1) -> Tensor:
    """Stripes on a ramp: the same texture all over."""
    y, x = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    gray = 0.5 + 0.15 * torch.sin(1.5 * x + 0.2 * y) + 0.002 * y
    return torch.stack([gray * (1 - 0.2 * c) for c in range(channels)])[None]


def noise(shape: torch.Size, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return SIGMA * torch.randn(shape, generator=rng)


def error(image: Tensor, truth: Tensor) -> float:
    return float((image - truth).square().mean().sqrt())
