"""Times of the pieces that a run spends itself on, each against a fixed workload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.guard.ratios import clock
from napari_msdip import fusion, noise
from napari_msdip.image import iter_denoise
from napari_msdip.measured import measure
from napari_msdip.options import Options
from napari_msdip.refinement import refined
from napari_msdip.steps import drive

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Work = Callable[[], object]
    Guard = Callable[..., float]
    Array = npt.NDArray[Any]

pytestmark = pytest.mark.benchmark(timer=clock)

SIDE = 128
REFINED_SIDE = 96
SIGMA = 5.0


def _image(side: int) -> Array:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    smooth = np.stack([rows, columns, rows * columns], axis=-1)
    return (200 * smooth + rng.normal(20, SIGMA, smooth.shape)).astype(np.float32)


def _planes(side: int) -> Array:
    return np.ascontiguousarray(_image(side).transpose(2, 0, 1))


def _repeated(work: Work, times: int) -> Work:
    """Return a call that does a piece of work so often, to last as long as another."""

    def repeated() -> None:
        for _ in range(times):
            work()

    return repeated


def _step(options: Options) -> Work:
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


def _convolution() -> Work:
    """Return a call that does a bare 3x3 convolution with its gradients."""
    width, side = 64, SIDE // 2
    last = torch.channels_last
    image = torch.rand(1, width, side, side).to(memory_format=last)
    kernel = torch.rand(width, width, 3, 3).to(memory_format=last)
    image.requires_grad_()
    kernel.requires_grad_()
    return lambda: F.conv2d(image, kernel, padding=1).sum().backward()


def _flops(work: Work) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _enlargement(coarse: Array) -> Work:
    """Return a call that enlarges an image twice by bicubic interpolation."""
    planes = torch.from_numpy(coarse).permute(2, 0, 1)[None].contiguous()
    return lambda: F.interpolate(planes, scale_factor=2, mode="bicubic")


def _covariance(planes: Array) -> Work:
    """Return a call that gathers patches of an image, sorts and correlates them."""

    def covariance() -> None:
        windows = np.lib.stride_tricks.sliding_window_view(planes, (8, 8), axis=(1, 2))
        patches = windows[:, ::2, ::2].reshape(-1, 64)
        calm = patches[np.argsort(patches.var(axis=1))][: len(patches) // 2]
        np.linalg.eigvalsh(np.cov(calm, rowvar=False))

    return covariance


def _comparison(image: torch.Tensor) -> Work:
    """Return a call that compares patches at some shifts and solves as large systems."""
    matrices = torch.eye(48) + 0.01 * torch.rand(64, 48, 48)
    right = torch.rand(64, 48, 75)

    def comparison() -> None:
        for shift in range(64):
            squares = (image - image.roll(shift, -1)).square_().sum(1, keepdim=True)
            F.avg_pool2d(squares, 8, stride=4)
        torch.linalg.solve(matrices, right)

    return comparison


def test_fast_step_against_bare_convolutions(guard: Guard) -> None:
    step, convolution = _step(Options.preset("fast")), _convolution()
    many = 4
    guard(
        "fast step / as many FLOPs of convolution",
        _repeated(step, many),
        _repeated(convolution, round(many * _flops(step) / _flops(convolution))),
        rounds=15,
    )


def test_fast_step_against_paper_step(guard: Guard) -> None:
    # Pixels stand in for VGG-16, whose weights need not be there.
    paper = Options.preset("paper").replace(consistency="pixels")
    ratio = guard(
        "10 fast steps / paper step",
        _repeated(_step(Options.preset("fast")), 10),
        _step(paper),
        rounds=5,
    )
    assert ratio < 10


def test_fusion_against_bicubic_enlargement(guard: Guard) -> None:
    guide, coarse = _image(2 * SIDE), _image(SIDE)
    guard(
        "joint bilateral enlargement / 10 bicubic",
        lambda: fusion.joint_bilateral_upsample(coarse, guide, channel_axis=2),
        _repeated(_enlargement(coarse), 10),
        rounds=15,
    )


def test_noise_level_against_covariances_of_patches(guard: Guard) -> None:
    image = _image(SIDE)
    guard(
        "noise level / 10 covariances of patches",
        lambda: noise.estimate_sigma(image, channel_axis=2),
        _repeated(_covariance(_planes(SIDE)), 10),
        rounds=15,
    )


def test_measured_noise_against_covariances_of_patches(guard: Guard) -> None:
    planes = _planes(SIDE)
    guard(
        "measured noise / 50 covariances of patches",
        lambda: measure(planes, SIGMA),
        _repeated(_covariance(planes), 50),
    )


def test_refinement_against_bare_comparisons_of_patches(guard: Guard) -> None:
    planes = _planes(REFINED_SIDE)
    found = measure(planes, SIGMA)
    noisy = torch.from_numpy(found.normalisation.apply(planes))[None]
    pilot = F.avg_pool2d(noisy, 5, stride=1, padding=2, count_include_pad=False)
    level = SIGMA / found.normalisation.gain
    sigma = torch.full((1, 1, REFINED_SIDE, REFINED_SIDE), level)
    guard(
        "refinement / 60 comparisons of patches",
        lambda: drive(refined(noisy, pilot, sigma, found.noise)),
        _repeated(_comparison(noisy), 60),
        rounds=7,
    )
