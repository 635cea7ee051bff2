"""Times of the pieces that a run spends itself on, each against a fixed workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from napari_msdip import fusion, noise
from napari_msdip.image import iter_denoise
from napari_msdip.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    Guard = Callable[..., float]

SIDE = 128
CHANNELS = 3


def _image(side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    smooth = np.stack([rows, columns, rows * columns], axis=-1)
    return (200 * smooth + rng.normal(20, 5, smooth.shape)).astype(np.float32)


def _steps(options: Options) -> Callable[[], object]:
    """Return a call that takes one step of a run on its finest scale."""
    endless = options.replace(
        coarsest_iterations=1,
        iterations=100_000,
        patience=10_000,
        max_scales=2,
        min_size=SIDE // 4,
        threads=1,
        device="cpu",
        # What pays differs between machines; float32 is everywhere.
        precision="float32",
    )
    steps = iter_denoise(_image(SIDE), endless, channel_axis=2)
    while next(steps).scale != 0:
        pass
    return lambda: next(steps)


def _convolutions(flops: int) -> Callable[[], object]:
    """Return bare 3x3 convolutions, gradients included, of about so much arithmetic."""
    width = 64
    last = torch.channels_last
    image = torch.rand(1, width, SIDE, SIDE).to(memory_format=last)
    kernel = torch.rand(width, width, 3, 3).to(memory_format=last)
    image.requires_grad_()
    kernel.requires_grad_()

    def convolution() -> None:
        F.conv2d(image, kernel, padding=1).sum().backward()

    repeats = max(1, round(flops / _flops(convolution)))

    def convolutions() -> None:
        for _ in range(repeats):
            convolution()

    return convolutions


def _flops(work: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def test_fast_step_against_bare_convolutions(guard: Guard) -> None:
    step = _steps(Options.preset("fast"))
    guard(
        "fast step / as many FLOPs of convolution",
        step,
        _convolutions(_flops(step)),
        rounds=30,
    )


def test_fast_step_against_paper_step(guard: Guard) -> None:
    # Pixels stand in for VGG-16, whose weights need not be there.
    paper = Options.preset("paper").replace(consistency="pixels")
    ratio = guard(
        "fast step / paper step", _steps(Options.preset("fast")), _steps(paper), rounds=5
    )
    assert ratio < 1


def test_fusion_against_bicubic_enlargement(guard: Guard) -> None:
    guide, coarse = _image(2 * SIDE), _image(SIDE)
    planes = torch.from_numpy(coarse).permute(2, 0, 1)[None].contiguous()

    def enlarge() -> None:
        F.interpolate(planes, scale_factor=2, mode="bicubic")

    guard(
        "joint bilateral enlargement / bicubic",
        lambda: fusion.joint_bilateral_upsample(coarse, guide, channel_axis=2),
        enlarge,
    )


def test_noise_estimate_against_a_covariance(guard: Guard) -> None:
    image = _image(SIDE)
    patches = np.random.default_rng(1).normal(size=((SIDE // 3) ** 2, 64 * CHANNELS))
    guard(
        "noise level / covariance of as many patches and its eigenvalues",
        lambda: noise.estimate_sigma(image, channel_axis=2),
        lambda: np.linalg.eigvalsh(np.cov(patches, rowvar=False)),
    )
