"""Planes of an array on disk, seen with its axes in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr

from napari_msdip._stack.zarr_planes import Reordered

STORED = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
ORDER = (0, 3, 1, 2)


@pytest.fixture
def view() -> Reordered:
    array = zarr.create_array({}, shape=STORED.shape, dtype=STORED.dtype)
    array[...] = STORED
    return Reordered(array, ORDER)


@pytest.fixture
def seen() -> Any:
    return np.transpose(STORED, np.argsort(ORDER))


def test_a_view_is_as_large_as_what_it_shows(view: Reordered, seen: Any) -> None:
    assert view.shape == seen.shape
    assert (len(view), view.size) == (len(seen), seen.size)
    np.testing.assert_array_equal(np.asarray(view), seen)


@pytest.mark.parametrize(
    "key",
    [1, np.int64(1), (0, slice(1, 3)), (..., 2), (slice(None), 1, ...), (1, 2, 3, 1)],
    ids=str,
)
def test_numbers_and_slices_select_as_in_memory(
    key: Any, view: Reordered, seen: Any
) -> None:
    np.testing.assert_array_equal(view[key], seen[key])


@pytest.mark.parametrize("key", [[0, 1], np.array([True, False]), (0, [1]), None])
def test_what_it_cannot_select_is_refused(key: Any, view: Reordered) -> None:
    with pytest.raises(IndexError, match="whole numbers and slices"):
        view[key]


@pytest.mark.parametrize("key", [(0, 0, 0, 0, 0), (..., 0, 0, 0, 0, 0)], ids=str)
def test_more_parts_than_axes_are_refused(key: Any, view: Reordered) -> None:
    with pytest.raises(IndexError, match="more parts than the 4 axes"):
        view[key]


def test_a_view_on_disk_cannot_do_without_a_copy(view: Reordered) -> None:
    with pytest.raises(ValueError, match="copy=False"):
        view.__array__(copy=False)
