"""Tiles cover an image once, and count less towards their edges."""

from __future__ import annotations

import numpy as np
import pytest

from napari_msdip._tiling.grid import tile_grid


@pytest.mark.parametrize("shape", [(300, 500), (128, 131), (257, 1031), (129, 4000)])
@pytest.mark.parametrize("side", [128, 192, 256])
def test_tiles_cover_the_image_with_weights_that_add_up_to_one(
    shape: tuple[int, int], side: int
) -> None:
    weight = np.zeros(shape)
    for tile in tile_grid(shape, side):
        rows, columns = tile.window
        assert rows.stop - rows.start == min(side, shape[0])
        assert columns.stop - columns.start == min(side, shape[1])
        assert 0 <= rows.start
        assert rows.stop <= shape[0]
        assert columns.stop <= shape[1]
        weight[tile.window] += np.outer(*tile.weights)
    np.testing.assert_allclose(weight, 1, atol=1e-5)


def test_one_tile_where_the_image_fits() -> None:
    (tile,) = tile_grid((100, 128), 128)
    assert tile.window == (slice(0, 100), slice(0, 128))
    np.testing.assert_array_equal(np.outer(*tile.weights), 1)


def test_weights_rise_smoothly_from_the_edge() -> None:
    inner = tile_grid((128, 600), 256)[1]
    rise = np.diff(inner.weights[1][:64])
    assert inner.weights[1][0] < 1e-3
    assert rise.max() < 0.1
