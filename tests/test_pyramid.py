"""The pyramid: its sizes are those of the paper, and resampling keeps the picture."""

from __future__ import annotations

import itertools

import pytest
import torch

from napari_msdip import devices
from napari_msdip.pyramid import resize, scale_shapes


def test_paper_pyramid_of_512_has_7_levels() -> None:
    shapes = scale_shapes((512, 512), factor=0.8, min_size=128)
    assert [height for height, _ in shapes] == [512, 410, 328, 262, 210, 168, 134]


def test_paper_pyramid_of_256_has_4_levels() -> None:
    shapes = scale_shapes((256, 256), factor=0.8, min_size=128)
    assert [height for height, _ in shapes] == [256, 205, 164, 131]


def test_short_side_decides() -> None:
    shapes = scale_shapes((300, 64), factor=0.5, min_size=32)
    assert shapes == ((300, 64), (150, 32))


@pytest.mark.parametrize("shape", [(512, 512), (301, 199), (17, 64), (1031, 97)])
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.71, 0.8, 0.9])
@pytest.mark.parametrize("min_size", [16, 64, 128])
def test_levels_shrink_and_keep_their_proportions(
    shape: tuple[int, int], factor: float, min_size: int
) -> None:
    shapes = scale_shapes(shape, factor=factor, min_size=min_size)

    assert shapes[0] == shape
    for finer, coarser in itertools.pairwise(shapes):
        assert coarser[0] < finer[0]
        assert coarser[1] < finer[1]
        assert min(coarser) >= min_size
        for axis in (0, 1):
            assert abs(coarser[axis] - factor * finer[axis]) <= 1
    left_out = [round(side * factor ** len(shapes)) for side in shape]
    assert min(left_out) < min_size


@pytest.mark.parametrize("shape", [(16, 16), (100, 127), (17, 4000)])
def test_small_image_is_its_own_only_level(shape: tuple[int, int]) -> None:
    assert scale_shapes(shape, factor=0.8, min_size=128) == (shape,)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_most_scales(most: int) -> None:
    shapes = scale_shapes((512, 512), factor=0.8, min_size=128, max_scales=most)
    assert shapes == scale_shapes((512, 512), factor=0.8, min_size=128)[:most]


@pytest.mark.parametrize("shape", [(31, 47), (13, 20), (61, 83), (31, 20), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resize_gives_size_dtype_and_constant(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    resized = resize(torch.full((1, 2, 31, 47), -3.5, dtype=dtype), shape)

    assert resized.shape == (1, 2, *shape)
    assert resized.dtype == dtype
    torch.testing.assert_close(resized, torch.full_like(resized, -3.5))


def test_same_size_is_the_same_image() -> None:
    image = torch.rand((1, 1, 9, 11))
    assert torch.equal(resize(image, (9, 11)), image)


def test_shrinking_averages_away_what_does_not_fit() -> None:
    stripes = torch.arange(64).remainder(2).float().expand(1, 1, 64, 64)

    smaller = resize(stripes, (25, 25))

    inner = smaller[..., 3:-3, 3:-3]
    assert float((inner - 0.5).abs().max()) < 0.15


def test_shrinking_keeps_the_picture_in_place() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)

    for side in (51, 32, 20):
        smaller = resize(ramp, (side, side))[0, 0, side // 2, 3:-3]
        centres = ((torch.arange(side) + 0.5) * 64 / side - 0.5) / 63
        torch.testing.assert_close(smaller, centres[3:-3], atol=2e-3, rtol=0)


def test_shrink_and_grow_give_a_smooth_picture_back() -> None:
    line = torch.linspace(0, 3, 80)
    smooth = torch.sin(line[:, None] + line[None, :])[None, None]

    back = resize(resize(smooth, (40, 40)), (80, 80))

    inner = (back - smooth)[..., 4:-4, 4:-4]
    assert float(inner.abs().max()) < 0.01


def test_gradients_flow_through_both_directions() -> None:
    image = torch.rand((1, 1, 16, 16), requires_grad=True)
    (resize(image, (8, 8)).sum() + resize(image, (24, 24)).sum()).backward()
    assert image.grad is not None
    assert float(image.grad.abs().min()) > 0


@pytest.mark.parametrize("new", [(12, 9), (31, 40), (20, 47), (40, 60)])
def test_a_device_that_does_not_resample_gives_the_same(
    new: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.rand((1, 2, 31, 47))
    images = [image.clone(), image.clone()]
    results = []
    for each, proven in zip(images, (("cpu",), ()), strict=True):
        monkeypatch.setattr(devices, "_PROVEN", proven)
        results.append(resize(each.requires_grad_(), new))
        results[-1].square().sum().backward()
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(images[1].grad, images[0].grad)


def test_half_precision_around_it_does_not_reach_the_resampling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = torch.rand((1, 1, 31, 47))
    expected = resize(image, (12, 9))
    monkeypatch.setattr(devices, "_PROVEN", ())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(resize(image, (12, 9)), expected)
