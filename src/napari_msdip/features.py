"""Feature extractors phi for the scale-consistency loss (eq. 3).

VGG-16 is what the paper uses; the offline bank needs no weights at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

__all__ = [
    "VGG_LAYERS",
    "VGG_LAYOUT",
    "DerivativeBank",
    "Vgg16Features",
    "Weights",
    "vgg16_maps",
]

Weights = Mapping[str, npt.NDArray[np.float32]]

# Name, output channels; "pool" halves the size.
VGG_LAYOUT: tuple[tuple[str, int], ...] = (
    ("conv1_1", 64),
    ("conv1_2", 64),
    ("pool", 0),
    ("conv2_1", 128),
    ("conv2_2", 128),
    ("pool", 0),
    ("conv3_1", 256),
    ("conv3_2", 256),
    ("conv3_3", 256),
)
VGG_LAYERS: Mapping[str, str] = {
    "relu1_2": "conv1_2",
    "relu2_2": "conv2_2",
    "relu3_3": "conv3_3",
}


class DerivativeBank(nn.Module):
    """Features without weights: the image and its first derivatives at two widths.

    Comparing these compares brightness, edges and their smoothed versions,
    which is most of what early layers of a trained network respond to.
    """

    widths: tuple[int, ...] = (1, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Extract features.

        Parameters
        ----------
        image : Tensor
            ``(B, C, H, W)``.

        Returns
        -------
        Tensor
            ``(B, C * (1 + 2 * len(widths)), H, W)``.
        """
        maps = [image]
        for width in self.widths:
            size = 2 * width + 1
            smooth = F.avg_pool2d(
                F.pad(image, (width,) * 4, mode="replicate"), size, stride=1
            )
            across = F.pad(smooth, (width, width, 0, 0), mode="replicate")
            down = F.pad(smooth, (0, 0, width, width), mode="replicate")
            maps.append(across[..., 2 * width :] - across[..., : -2 * width])
            maps.append(down[..., 2 * width :, :] - down[..., : -2 * width, :])
        return torch.cat(maps, 1)


class Vgg16Features(nn.Module):
    """VGG-16 from the image up to one layer, frozen.

    Simonyan and Zisserman 2015; as a perceptual loss: Johnson et al. 2016.

    Parameters
    ----------
    weights : mapping of str to ndarray
        ``conv1_1.weight`` … in torch layout, RGB order, and ``mean`` and
        ``scale``, which normalise an RGB image in [0, 1].
    layer : {"relu1_2", "relu2_2", "relu3_3"}
        Where to stop.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, weights: Weights, layer: str = "relu2_2") -> None:
        super().__init__()
        last = VGG_LAYERS[layer]
        steps: list[nn.Module] = []
        channels = 3
        for name, width in VGG_LAYOUT:
            if name == "pool":
                steps.append(nn.MaxPool2d(2))
                continue
            # Its own first weights would be drawn from PyTorch's global generator, and in
            # its default dtype, which is the caller's.
            convolution = skip_init(  # type: ignore[no-untyped-call]
                nn.Conv2d, channels, width, 3, padding=1, dtype=torch.float32
            )
            with torch.no_grad():
                convolution.weight.copy_(torch.from_numpy(weights[f"{name}.weight"]))
                _bias(convolution).copy_(torch.from_numpy(weights[f"{name}.bias"]))
            steps += [convolution, nn.ReLU(inplace=True)]
            channels = width
            if name == last:
                break
        self.steps = nn.Sequential(*steps)
        self.register_buffer("mean", torch.from_numpy(weights["mean"]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.from_numpy(weights["scale"]).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Extract features.

        Parameters
        ----------
        image : Tensor
            ``(1, C, H, W)`` in [0, 1]. Three channels are taken as RGB; of any
            other number each channel is looked at as a gray image.

        Returns
        -------
        Tensor
            ``(B, F, h, w)``; B is 1 for RGB, C otherwise.
        """
        if image.shape[1] != 3:
            image = image.transpose(0, 1).expand(-1, 3, -1, -1)
        features: Tensor = self.steps((image - self.mean) * self.scale)
        return features


def vgg16_maps(layer: str) -> float:
    """Count maps of an image's size that comparing it by features takes.

    Those that VGG-16 keeps for its gradients, and of the features themselves what they
    are compared with and two gradients.

    Parameters
    ----------
    layer : {"relu1_2", "relu2_2", "relu3_3"}
        Whose features are compared.
    """
    width, share = 3, 1.0
    maps = width * share
    for name, channels in VGG_LAYOUT:
        if name == "pool":
            share /= 4
            # Where each value came from is kept as well, in integers of twice the size.
            maps += 3 * width * share
            continue
        width = channels
        maps += width * share
        if name == VGG_LAYERS[layer]:
            break
    return maps + 3 * width * share


def _bias(convolution: nn.Conv2d) -> Tensor:
    if convolution.bias is None:
        raise TypeError("a VGG-16 convolution has a bias")
    return convolution.bias
