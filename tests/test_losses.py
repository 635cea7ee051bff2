"""Losses: the numbers of equations 1, 3 and 4."""

from __future__ import annotations

import math

import pytest
import torch

from napari_msdip._fit.crops import Crops
from napari_msdip.features import DerivativeBank
from napari_msdip.losses import ScaleConsistency, adaptive_weight, reconstruction_loss
from napari_msdip.pyramid import resize


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("sigma", "scale", "n_scales", "weight"),
    [
        (0.1, 0, 7, math.sqrt(0.6)),
        (0.1, 5, 7, math.sqrt(0.1)),
        (0.25, 0, 2, 0.5),
        (25.0, 0, 5, 10.0),
        (0.1, 6, 7, 0.0),
        (0.0, 0, 7, 0.0),
    ],
)
def test_adaptive_weight_is_equation_4(
    sigma: float, scale: int, n_scales: int, weight: float
) -> None:
    assert adaptive_weight(sigma, scale, n_scales) == pytest.approx(weight)


def test_adaptive_weight_rises_with_noise_and_towards_the_finest() -> None:
    by_scale = [adaptive_weight(0.1, n, 5) for n in range(5)]
    by_noise = [adaptive_weight(sigma, 0, 5) for sigma in (0.01, 0.1, 0.5)]
    assert by_scale == sorted(by_scale, reverse=True)
    assert by_noise == sorted(by_noise)


def test_lone_scale_has_nothing_to_agree_with() -> None:
    assert adaptive_weight(0.3, 0, 1) == 0


@pytest.mark.parametrize(("absolute", "expected"), [(True, 2.0), (False, 4.0)])
def test_reconstruction_is_mean_absolute_or_squared(
    absolute: bool, expected: float
) -> None:
    target = drawn(1, 3, 8, 8)
    loss = reconstruction_loss(target + 2, target, absolute=absolute)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("absolute", [True, False])
def test_weight_of_ones_counts_every_pixel(absolute: bool) -> None:
    output, target = drawn(1, 3, 8, 9), drawn(1, 3, 8, 9, seed=1)
    plain = reconstruction_loss(output, target, absolute=absolute)
    weighted = reconstruction_loss(
        output, target, absolute=absolute, weight=torch.ones(1, 1, 8, 9)
    )
    torch.testing.assert_close(weighted, plain)


@pytest.mark.parametrize("absolute", [True, False])
def test_pixels_of_no_weight_do_not_count(absolute: bool) -> None:
    output, target = drawn(1, 2, 8, 8), drawn(1, 2, 8, 8, seed=1)
    weight = torch.ones(1, 1, 8, 8)
    weight[..., :3] = 0
    changed = output.clone()
    changed[..., :3] += 100

    loss = reconstruction_loss(output, target, absolute=absolute, weight=weight)

    again = reconstruction_loss(changed, target, absolute=absolute, weight=weight)
    torch.testing.assert_close(loss, again)
    alone = reconstruction_loss(output[..., 3:], target[..., 3:], absolute=absolute)
    torch.testing.assert_close(loss, alone)


def test_no_pixel_at_all_is_no_loss() -> None:
    weight = torch.zeros(1, 1, 8, 8)
    image = drawn(1, 1, 8, 8)
    assert float(reconstruction_loss(image + 1, image, absolute=True, weight=weight)) == 0


def test_consistency_compares_the_downsampled_output() -> None:
    finer = drawn(1, 3, 40, 30)
    coarser = resize(finer, (32, 24))

    assert float(ScaleConsistency(coarser, None)(finer)) == 0
    assert float(ScaleConsistency(coarser + 0.5, None)(finer)) == pytest.approx(0.25)


def test_relative_consistency_knows_no_unit() -> None:
    finer, coarser = drawn(1, 1, 20, 20), drawn(1, 1, 10, 10, seed=1)

    def measured(gain: float, offset: float = 0.0) -> float:
        consistency = ScaleConsistency(
            coarser, lambda image: gain * image + offset, relative=True
        )
        return float(consistency(finer))

    plain = float(ScaleConsistency(coarser, None)(finer))
    assert measured(1.0) == pytest.approx(plain / float(coarser.square().mean()), rel=1e-4)
    assert measured(1e4) == pytest.approx(measured(1e-3), rel=1e-4)
    dead = ScaleConsistency(coarser, torch.zeros_like, relative=True)
    assert float(dead(finer)) == 0


def test_consistency_compares_features() -> None:
    finer, coarser = drawn(1, 1, 20, 20), drawn(1, 1, 10, 10, seed=1)
    calls: list[torch.Size] = []

    def doubled(image: torch.Tensor) -> torch.Tensor:
        calls.append(image.shape)
        return 2 * image

    consistency = ScaleConsistency(coarser, doubled)
    loss = consistency(finer)
    consistency(finer)

    torch.testing.assert_close(loss, 4 * ScaleConsistency(coarser, None)(finer))
    # The coarser result's own features are computed once, then those of each output.
    assert calls == [(1, 1, 10, 10)] * 3


def test_crops_agree_where_the_whole_images_do() -> None:
    # A slope, so that what lies beyond a crop is not what its border repeats.
    slope = torch.arange(192.0).expand(1, 1, 192, 192)
    finer = (slope + 2 * slope.mT) / 500
    consistency = ScaleConsistency(resize(finer, (96, 96)), DerivativeBank())
    crops = Crops(((64, 32), (0, 128)), (64, 64))
    apart = consistency(finer + 0.02 * drawn(1, 1, 192, 192))

    alike = consistency.cropped(crops, (192, 192))(crops.cut(finer))

    assert float(alike) < 0.02 * float(apart)


def test_consistency_teaches_the_finer_output_only() -> None:
    finer = drawn(1, 1, 20, 20).requires_grad_()
    coarser = drawn(1, 1, 10, 10, seed=1).requires_grad_()

    ScaleConsistency(coarser, lambda image: 3 * image)(finer).backward()

    assert finer.grad is not None
    assert float(finer.grad.abs().max()) > 0
    assert coarser.grad is None
