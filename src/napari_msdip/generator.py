"""The generator: the encoder-decoder with skip connections of deep image prior.

Ulyanov, Vedaldi and Lempitsky, "Deep Image Prior", CVPR 2018, used at every scale
(section 3.2 of the paper). The defaults of :class:`GeneratorConfig` are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Generator", "GeneratorConfig", "usable_depth"]

_SLOPE = 0.2
# Batch normalisation needs several positions per channel, reflection at least two.
_SMALLEST_LEVEL = 4


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a :class:`Generator`.

    Attributes
    ----------
    in_channels, out_channels : int
        Channels of the input stack and of the image.
    widths : tuple of int
        Channels at each depth, finest first; their number is the depth.
    skip_width : int
        Channels of each skip connection, 0 for none.
    padding : {"reflection", "zeros"}
        How convolutions see beyond the border.
    upsampling : {"bilinear", "nearest"}
        How the decoder doubles its size.
    fold : int
        Blocks of ``fold`` x ``fold`` pixels enter and leave as channels, so the
        finest level costs ``fold``² times less.
    bounds : (float, float) or None
        Limits in which a sigmoid keeps the output; None for a linear output.
    """

    in_channels: int = 32
    out_channels: int = 3
    widths: tuple[int, ...] = (128,) * 5
    skip_width: int = 4
    padding: Literal["reflection", "zeros"] = "reflection"
    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    fold: int = 1
    bounds: tuple[float, float] | None = (0.0, 1.0)


def usable_depth(shape: tuple[int, int], depth: int, fold: int = 1) -> int:
    """Return how many of ``depth`` halvings an image of this shape allows."""
    side = min(shape) // fold
    usable = 1
    while usable < depth and side // 2 ** (usable + 1) >= _SMALLEST_LEVEL:
        usable += 1
    return usable


class Generator(nn.Module):
    """Map a stack of input maps to an image, coarse structure first.

    Its convolutions hold anything until :meth:`initialise` or other weights fill them.

    Parameters
    ----------
    config : GeneratorConfig
        Its shape.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        area = config.fold**2
        widths = config.widths
        inputs = (config.in_channels * area, *widths[:-1])
        # The last 1x1 convolution of a level already narrows to the next finer
        # one, before the upsampling that would make it four times dearer.
        outputs = (widths[0], *widths[:-1])
        self.skips = nn.ModuleList(_skip(n, config) for n in inputs)
        self.encoders = nn.ModuleList(
            _encoder(n, width, config) for n, width in zip(inputs, widths, strict=True)
        )
        self.decoders = nn.ModuleList(
            _decoder(width, out, config) for width, out in zip(widths, outputs, strict=True)
        )
        self.head = _Conv2d(widths[0], config.out_channels * area, 1)
        # Whatever PyTorch's default is, which is the caller's.
        self.float().to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Generate an image.

        Parameters
        ----------
        x : Tensor
            ``(B, in_channels, H, W)``, any H and W.

        Returns
        -------
        Tensor
            ``(B, out_channels, H, W)``.
        """
        height, width = x.shape[-2:]
        fold = self.config.fold
        if fold > 1:
            x = F.pixel_unshuffle(_padded(x, fold), fold)
        lateral = []
        for encode, skip in zip(self.encoders, self.skips, strict=True):
            lateral.append((skip(x), x.shape[-2:]))
            x = encode(x)
        for decode, (side, size) in zip(
            reversed(self.decoders), reversed(lateral), strict=True
        ):
            x = self._enlarge(x, size)
            x = decode(torch.cat([side, x], 1))
        x = self.head(x)
        if fold > 1:
            x = F.pixel_shuffle(x, fold)[..., :height, :width]
        if self.config.bounds is None:
            return x
        low, high = self.config.bounds
        return torch.sigmoid(x) * (high - low) + low

    def initialise(self, rng: torch.Generator) -> None:
        """Draw the weights anew, from this generator of random numbers alone.

        PyTorch's own default distributions: uniform within 1/sqrt(fan-in).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                bound = module.weight[0].numel() ** -0.5
                for parameter in module.parameters():
                    _fill_uniform(parameter, bound, rng)

    def start_at(self, level: Tensor) -> None:
        """Make the first output lie around an image's own level.

        Parameters
        ----------
        level : Tensor
            ``(C,)`` mean of each channel.
        """
        if self.config.bounds is not None:
            low, high = self.config.bounds
            level = torch.logit(((level - low) / (high - low)).clamp(0.01, 0.99))
        bias = self.head.bias
        assert bias is not None
        with torch.no_grad():
            bias.copy_(level.repeat_interleave(self.config.fold**2))

    def _enlarge(self, x: Tensor, size: torch.Size) -> Tensor:
        if self.config.upsampling == "nearest":
            return F.interpolate(x, size=size, mode="nearest")
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class _Conv2d(nn.Conv2d):
    """A convolution whose weights are not yet drawn."""

    def reset_parameters(self) -> None:
        """Leave them: PyTorch draws from the global generator, which is not ours."""


def _fill_uniform(parameter: Tensor, bound: float, rng: torch.Generator) -> None:
    with torch.no_grad():
        drawn = torch.rand(parameter.shape, generator=rng, dtype=parameter.dtype)
        parameter.copy_(drawn.mul_(2 * bound).sub_(bound))


def _padded(x: Tensor, multiple: int) -> Tensor:
    bottom, right = (-x.shape[-2]) % multiple, (-x.shape[-1]) % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def _convolution(
    inputs: int, outputs: int, kernel: int, config: GeneratorConfig, stride: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation, leaky ReLU."""
    # Where a kernel sees no neighbours, reflecting none of them would copy the image.
    reflects = config.padding == "reflection" and kernel > 1
    mode: Literal["reflect", "zeros"] = "reflect" if reflects else "zeros"
    return nn.Sequential(
        # The normalisation that follows has a bias of its own.
        _Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, padding_mode=mode, bias=False
        ),
        _normalisation(outputs),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _normalisation(channels: int) -> nn.Module:
    # A network that was fitted on crops is used with their statistics: the last ones.
    return nn.BatchNorm2d(channels, momentum=1.0)


def _skip(inputs: int, config: GeneratorConfig) -> nn.Module:
    if not config.skip_width:
        return _Nothing()
    return _convolution(inputs, config.skip_width, 1, config)


def _encoder(inputs: int, width: int, config: GeneratorConfig) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, width, 3, config, stride=2),
        _convolution(width, width, 3, config),
    )


def _decoder(width: int, out: int, config: GeneratorConfig) -> nn.Sequential:
    joined = config.skip_width + width
    return nn.Sequential(
        _normalisation(joined),
        _convolution(joined, width, 3, config),
        _convolution(width, out, 1, config),
    )


class _Nothing(nn.Module):
    """The skip connection of a generator without any: no channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :0]
