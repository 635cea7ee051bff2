"""VGG-16 with weights of our own, as torchvision and the original keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.models.vgg import make_layers

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


def torchvision_stack(seed: int) -> nn.Sequential:
    """Return torchvision's own layers up to conv3_3 with weights of our own."""
    stack = make_layers([64, 64, "M", 128, 128, "M", 256, 256, 256])
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=rng))
    return stack


def state_dict(seed: int) -> dict[str, Tensor]:
    """Return what torchvision's file holds, the classifier in small."""
    layers = torchvision_stack(seed).state_dict()
    state = {f"features.{name}": value for name, value in layers.items()}
    return state | {"classifier.0.weight": torch.zeros(4000, 1000)}


def caffe_arrays(seed: int) -> dict[str, Any]:
    names = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3")
    layers = list(torchvision_stack(seed).parameters())
    arrays = {}
    for index, name in enumerate(names):
        arrays[f"conv{name}.weight"] = layers[2 * index].detach().numpy()
        arrays[f"conv{name}.bias"] = layers[2 * index + 1].detach().numpy()
    return arrays


def written_npz(folder: Path, seed: int) -> Path:
    path = folder / f"weights{seed}.npz"
    np.savez(path, **caffe_arrays(seed))
    return path


def drawn(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))
