"""Crops: where they lie, in an image and in a smaller one of the same scene."""

from __future__ import annotations

import pytest
import torch

from napari_msdip import Options, resolve
from napari_msdip._fit.crops import CROP_SIDE, Crops


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(height: int, width: int) -> torch.Tensor:
    return torch.arange(float(height * width)).reshape(1, 1, height, width)


def test_what_is_cut_is_what_lies_there() -> None:
    image = numbered(20, 30)

    cut = Crops(((0, 0), (5, 7)), (4, 6)).cut(image)

    assert cut.shape == (2, 1, 4, 6)
    assert torch.equal(cut[0], image[0, :, :4, :6])
    assert torch.equal(cut[1], image[0, :, 5:9, 7:13])


def test_what_is_cut_is_a_copy() -> None:
    image = numbered(8, 8)
    Crops(((2, 2),), (4, 4)).cut(image).zero_()
    assert torch.equal(image, numbered(8, 8))


def test_crops_may_lie_anywhere_in_the_image_and_nowhere_else() -> None:
    corners = Crops.drawn(seeded(), (9, 12), (4, 4), 500).corners
    tops, lefts = (set(axis) for axis in zip(*corners, strict=True))
    assert tops == set(range(6))
    assert lefts == set(range(9))


def test_a_crop_may_be_the_whole_image() -> None:
    assert set(Crops.drawn(seeded(), (4, 5), (4, 5), 3).corners) == {(0, 0)}


def test_same_random_numbers_give_the_same_places() -> None:
    first, again, other = (Crops.drawn(seeded(s), (90, 70), (8, 8), 4) for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("size", [(80, 96), (81, 97), (79, 95)])
def test_the_same_places_in_a_smaller_image(size: tuple[int, int]) -> None:
    small = (40, 48)
    crops = Crops.drawn(seeded(), size, (16, 16), 200)

    smaller = crops.resized(size, small)

    assert smaller.shape == (8, 8)
    for (top, left), (y, x) in zip(crops.corners, smaller.corners, strict=True):
        assert 0 <= y <= small[0] - 8
        assert 0 <= x <= small[1] - 8
        assert abs(y - top * small[0] / size[0]) <= 0.75
        assert abs(x - left * small[1] / size[1]) <= 0.75


@pytest.mark.parametrize("size", [(128, 160), (130, 171)])
def test_places_are_spread_without_overlap_at_even_pixels(size: tuple[int, int]) -> None:
    image = torch.randn((1, 2, *size), generator=seeded())

    crops = Crops.spread(image, 16, 24, seeded())

    seen = torch.zeros((1, 1, *size))
    for top, left in crops.corners:
        assert top % 2 == left % 2 == 0
        seen[..., top : top + 16, left : left + 16] += 1
    assert seen.max() == 1
    assert seen.sum() == 24 * 16 * 16


@pytest.mark.parametrize("size", [(127, 1549), (64, 3073), (191, 1030), (444, 443)])
def test_the_smallest_scales_that_get_crops_have_room_for_them(
    size: tuple[int, int],
) -> None:
    scale = resolve(Options(device="cpu"), size, 1.0).scales[0]
    assert scale.crops == 24

    crops = Crops.spread(torch.zeros((1, 1, *size)), CROP_SIDE, scale.crops, seeded())

    assert len(set(crops.corners)) == scale.crops


def test_rare_things_are_seen() -> None:
    image = torch.zeros((1, 1, 512, 512))
    image[..., 300:306, 100:106] = 1

    crops = Crops.spread(image, 16, 20, seeded()).cut(image)

    assert crops.amax(dim=(1, 2, 3)).sum() > 0
    assert (crops.amax(dim=(1, 2, 3)) == 0).sum() >= 10
