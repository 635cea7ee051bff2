"""How scales are weighed without ground truth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from napari_msdip._fit.noise_bank import NoiseBank
from napari_msdip.trust import Candidate, Trust, guarded, weigh, with_local_means

SIZE = 48
SIGMA = 0.1


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stripes() -> torch.Tensor:
    """Give fine stripes, which no smooth result can hold."""
    line = (torch.arange(SIZE) % 4 < 2).float()
    return line.expand(1, 1, SIZE, SIZE).contiguous()


def noise() -> NoiseBank:
    fields = torch.randn((8, 1, SIZE, SIZE), generator=seeded(1))
    return NoiseBank(fields=fields, sigma=torch.full((1, 1, SIZE, SIZE), SIGMA))


def weighed(
    clean: torch.Tensor, results: list[torch.Tensor], *, keeps_noisy: bool = True
) -> Trust:
    """Weigh fixed results, through which none of the noise comes."""
    noisy = clean + SIGMA * torch.randn(clean.shape, generator=seeded(2))
    candidates = [Candidate(image, lambda _, image=image: image) for image in results]
    return weigh_plainly(candidates, noisy, keeps_noisy=keeps_noisy)


def weigh_plainly(candidates: list[Candidate], noisy: torch.Tensor, **how: Any) -> Trust:
    settings = {
        "recorruption": 1.0,
        "margin": 1.0,
        "keeps_noisy": True,
        "symmetries": True,
        "precision": "float32",
    }
    return weigh(candidates, noisy, noise(), seeded(3), **settings | how)


def test_a_perfect_result_replaces_the_noisy_image() -> None:
    clean = stripes()

    trust = weighed(clean, [clean])

    assert trust.coarser == []
    assert trust.denoised.mean() > 0.9


def test_a_result_without_the_structure_leaves_the_noisy_image() -> None:
    clean = stripes()

    trust = weighed(clean, [torch.full_like(clean, 0.5)])

    assert trust.denoised.max() < 0.15


def test_an_unknown_level_brings_no_noise_back() -> None:
    clean = stripes()

    trust = weighed(clean, [torch.full_like(clean, 0.5)], keeps_noisy=False)

    assert torch.equal(trust.denoised, torch.ones_like(trust.denoised))


def test_the_better_scale_counts_more() -> None:
    clean = stripes()
    flat = torch.full((1, 1, SIZE // 2, SIZE // 2), 0.5)

    (share,) = weighed(clean, [clean, flat]).coarser

    assert share.max() < 0.15


def test_shares_lie_between_nothing_and_all() -> None:
    clean = stripes()
    results = [clean + 0.3, torch.zeros((1, 1, 24, 24)), torch.ones((1, 1, 12, 12))]

    trust = weighed(clean, results)

    for share in (*trust.coarser, trust.denoised):
        assert share.shape == (1, 1, SIZE, SIZE)
        assert share.min() >= 0
        assert share.max() <= 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_generators_compute_as_precisely_as_they_were_fitted(precision: str) -> None:
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    seen = []

    def generate(image: torch.Tensor) -> torch.Tensor:
        output = torch.nn.functional.conv2d(image, kernel, padding=1)
        seen.append(output.dtype)
        return output

    noisy = stripes() + SIGMA * torch.randn((1, 1, SIZE, SIZE), generator=seeded(2))
    trust = weigh_plainly([Candidate(stripes(), generate)], noisy, precision=precision)

    assert set(seen) == {getattr(torch, precision)}
    assert trust.denoised.dtype == torch.float32


@pytest.mark.parametrize("symmetries", [True, False])
def test_generators_are_judged_on_what_they_saw(symmetries: bool) -> None:
    # A ramp tells how an image is turned, whatever noise is on it.
    ramp = 10 * torch.arange(SIZE).float().expand(1, 1, SIZE, SIZE)
    turned = []

    def generate(image: torch.Tensor) -> torch.Tensor:
        turned.append(float((image - ramp).abs().mean()) > 5)
        return image

    weigh_plainly([Candidate(ramp, generate)], ramp, symmetries=symmetries)

    assert any(turned) is symmetries


def guarded_parts(error: float, kept: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Guard a result that is wrong in its left half; return what is wrong with either."""
    rng = torch.Generator().manual_seed(0)
    noise = SIGMA * torch.randn((1, 1, 160, 160), generator=rng)
    wrong = error * torch.randn((1, 1, 160, 160), generator=rng)
    wrong[..., 80:] = 0
    result, sigma = 0.5 + wrong + kept * noise, torch.full((1, 1, 160, 160), SIGMA)
    left = guarded(result, 0.5 + noise, sigma, margin=1.15) - 0.5
    return left[..., :40], left[..., 120:]


def test_the_noisy_image_stays_where_a_result_is_wrong() -> None:
    wrong, right = guarded_parts(4 * SIGMA)
    assert float(wrong.std()) < 1.05 * SIGMA
    assert float(right.std()) < 0.05 * SIGMA


def test_a_result_with_a_small_error_is_improved() -> None:
    wrong, _ = guarded_parts(SIGMA)
    # The best mixture of two errors of this size.
    assert float(wrong.std()) < 0.8 * SIGMA


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_noise_that_a_result_has_kept_does_not_bring_back_more(kept: float) -> None:
    _, right = guarded_parts(0.0, kept)
    assert float(right.std()) == pytest.approx(kept * SIGMA, abs=0.03 * SIGMA)


@pytest.mark.parametrize("is_white", [True, False])
def test_local_means_are_those_of_the_noisy_image(is_white: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    noisy = 0.5 + 0.1 * torch.randn((1, 2, 96, 96), generator=rng)
    sigma = torch.full((1, 1, 96, 96), 0.1)
    image = torch.full_like(noisy, 0.4)

    kept = with_local_means(image, noisy, sigma, is_white=is_white)

    blocks = F.avg_pool2d(kept, 48) - F.avg_pool2d(noisy, 48)
    assert float(blocks.abs().max()) < 0.005
    # It is the means that come back, not the noise.
    assert float(kept.std()) < 0.02


@pytest.mark.parametrize("shape", [(64, 128), (150, 200), (31, 47), (16, 300)])
def test_every_block_keeps_its_mean(shape: tuple[int, int]) -> None:
    rng = torch.Generator().manual_seed(0)
    noisy = 0.05 + 0.1 * torch.randn((1, 2, *shape), generator=rng).clamp(-3, 3)
    sigma = torch.full((1, 1, *shape), 0.1)
    bright = torch.zeros(shape)
    bright[: shape[0] // 3, : shape[1] // 3] = 0.03

    kept = with_local_means(bright.expand_as(noisy), noisy, sigma, is_white=True)

    side = [min(64, length) for length in shape]
    before, after = (F.avg_pool2d(image, side) for image in (noisy, kept))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_correlated_noise_is_averaged_over_more_pixels() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = F.avg_pool2d(torch.randn((1, 1, 135, 135), generator=rng), 8, stride=1)
    noisy = drawn / drawn.std()
    flat, sigma = torch.zeros_like(noisy), torch.ones_like(noisy)

    narrow, wide = (
        float(with_local_means(flat, noisy, sigma, is_white=is_white).std())
        for is_white in (True, False)
    )

    assert wide < 0.75 * narrow


@pytest.mark.parametrize("photon", [1.0, -1.0])
def test_few_photons_keep_their_mean(photon: float) -> None:
    rate = 0.03
    rng = torch.Generator().manual_seed(0)
    noisy = photon * torch.poisson(torch.full((1, 1, 128, 128), rate), generator=rng)
    sigma = torch.full_like(noisy, rate**0.5)

    kept = with_local_means(
        torch.zeros_like(noisy), noisy, sigma, is_white=True, asymmetry=photon
    )

    before, after = (F.avg_pool2d(image, 64) for image in (noisy, kept))
    torch.testing.assert_close(after, before, rtol=0.05, atol=0)


def test_a_hot_pixel_leaves_no_halo() -> None:
    noisy = torch.zeros((1, 1, 64, 64))
    noisy[..., 32, 32] = 1000.0
    sigma = torch.ones((1, 1, 64, 64))
    kept = with_local_means(torch.zeros_like(noisy), noisy, sigma, is_white=True)
    assert float(kept.max()) < 0.02
