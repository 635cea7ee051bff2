"""Scales are fused by the paper's averages, or as far as each is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_msdip import Options, ScaleResult, StopReason, ensemble, resolve
from napari_msdip._fit.noise_bank import NoiseBank
from napari_msdip._noise.model import NoiseModel
from napari_msdip._run.fusing import Fitted, averaged, fused

if TYPE_CHECKING:
    from napari_msdip.plan import Plan

SIDE, SIGMA = 48, 0.1
NOISE = NoiseModel.white(1, SIGMA, 4)
LEVEL = torch.full((1, 1, SIDE, SIDE), SIGMA)


def fitted(image: Tensor) -> Fitted:
    """Return a scale whose generator always gives this image."""
    shape = (image.shape[-2], image.shape[-1])
    result = ScaleResult(
        image=image[0, 0].numpy(),
        shape=shape,
        zoom=(SIDE / shape[0], SIDE / shape[1]),
        sigma=SIGMA,
        weight=0.0,
        iterations=1,
        stop_reason=StopReason.ITERATIONS,
        seconds=0.0,
    )
    return Fitted(image, result, lambda _: image)  # type: ignore[arg-type]


def drawn(seed: int, side: int = SIDE) -> Tensor:
    return torch.randn((1, 1, side, side), generator=torch.Generator().manual_seed(seed))


def clean(side: int = SIDE) -> Tensor:
    return (torch.arange(side) / side).expand(1, 1, side, side).contiguous()


def bank() -> NoiseBank:
    return NoiseBank(torch.cat([drawn(seed) for seed in range(2, 8)]), LEVEL)


def plan(**changes: object) -> Plan:
    options = Options(device="cpu", precision="float32", threads=1)
    return resolve(options.replace(**changes), (SIDE, SIDE), SIGMA)


def error(image: Tensor) -> float:
    return float((image - clean()).square().mean().sqrt())


def test_averages_are_those_of_the_public_ensemble() -> None:
    scales = [clean() + SIGMA * drawn(0), clean(24)]
    expected = ensemble([scale[0, 0].numpy() for scale in scales])
    found = averaged([fitted(scale) for scale in scales])
    np.testing.assert_array_equal(found[0, 0].numpy(), expected)


@pytest.mark.parametrize("guard", [True, False])
def test_without_ensemble_coarser_scales_do_not_count(guard: bool) -> None:
    settings = plan(ensemble=False, guard=guard)
    noisy = clean() + SIGMA * drawn(1)
    one = [fitted(clean())]
    two = [*one, fitted(torch.zeros((1, 1, 24, 24)))]
    results = [fused(scales, noisy, LEVEL, None, NOISE, settings) for scales in (one, two)]
    assert torch.equal(*results)


def test_the_noisy_image_takes_the_place_of_a_result_that_is_wrong() -> None:
    noisy, wrong = clean() + SIGMA * drawn(1), clean().flip(-1)
    found = fused([fitted(wrong)], noisy, LEVEL, bank(), NOISE, plan())
    assert error(found) < 1.2 * error(noisy) < error(wrong)


def test_the_better_scale_counts_more() -> None:
    noisy = clean() + SIGMA * drawn(1)
    scales = [fitted(clean()), fitted(torch.zeros((1, 1, 24, 24)))]
    trusted = fused(scales, noisy, LEVEL, bank(), NOISE, plan())
    plain = fused(scales, noisy, LEVEL, None, NOISE, plan(guard=False))
    assert error(trusted) < 0.5 * error(plain)
