"""An output that lies where planes are still to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from tests._stack.helpers import OPTIONS, random_stack
from tests.samples import Labelled

from napari_msdip.stack import denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_engine")


def test_a_stack_can_be_overwritten_in_place_only() -> None:
    stack = random_stack(4, 16, 18)
    expected = denoise_stack(stack, OPTIONS).image
    for planes, out in (([2, 0, 1, 3], stack), (None, stack[::-1]), ([1, 2], stack[:2])):
        with pytest.raises(ValueError, match="out: shares memory with the stack"):
            denoise_stack(stack, OPTIONS, planes=planes, out=out)
    denoise_stack(stack, OPTIONS, out=stack)
    np.testing.assert_array_equal(stack, expected)


@pytest.mark.parametrize("kind", ["zarr", "in a group", "in memory", "memmap", "view"])
def test_a_file_can_be_overwritten_in_place_only(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = random_stack(4, 16, 18)
    monkeypatch.chdir(tmp_path)
    group = zarr.create_group("g.zarr")
    group.create_array("0", data=stack, chunks=(1, 16, 18))
    store = zarr.storage.MemoryStore()
    zarr.create_array(store, data=stack, chunks=(1, 16, 18))
    np.concatenate([stack[:1], stack]).tofile("a.raw")

    def mapped(mode: Any) -> Any:
        return np.memmap("a.raw", "u2", mode, stack[0].nbytes, stack.shape)

    def from_start() -> Any:
        return np.memmap(tmp_path / "a.raw", "u2", "r+", 0, (5, 16, 18))[1:]

    opened = {
        "zarr": lambda: (zarr.open("g.zarr/0", mode="r"), zarr.open(tmp_path / "g.zarr/0")),
        "in a group": lambda: (tmp_path / "g.zarr", zarr.open_group("g.zarr")["0"]),
        "in memory": lambda: (zarr.open(store, mode="r"), zarr.open(store)),
        "memmap": lambda: (mapped("r"), mapped("r+")),
        "view": lambda: (np.asarray(mapped("r")), from_start()),
    }
    source, out = opened[kind]()
    with pytest.raises(ValueError, match=r"out: shares its (zarr|file) with the stack"):
        denoise_stack(source, OPTIONS, planes=[3, 2, 1, 0], out=out)
    np.testing.assert_array_equal(out[:], stack)
    denoise_stack(source, OPTIONS, out=out)
    np.testing.assert_array_equal(out[:], denoise_stack(stack, OPTIONS).image)


@pytest.mark.parametrize("kind", ["zarr", "inlined", "tifffile", "tifffile in dask"])
def test_lazy_views_of_the_output_are_refused(tmp_path: Path, kind: str) -> None:
    stack = random_stack(4, 16, 18)
    stored = zarr.create_array(str(tmp_path / "a.zarr"), data=stack, chunks=(1, 16, 18))
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    mapped = tifffile.memmap(tmp_path / "a.tif", mode="r+")
    tiff = tifffile.imread(tmp_path / "a.tif", aszarr=True)
    source, out = {
        "zarr": lambda: (da.from_zarr(str(tmp_path / "a.zarr"))[::-1], stored),
        "inlined": lambda: (da.from_array(stored, inline_array=True) + 1, stored),
        "tifffile": lambda: (tiff, mapped),
        "tifffile in dask": lambda: (da.from_zarr(tiff).rechunk((1, 8, 18)), mapped),
    }[kind]()

    with pytest.raises(ValueError, match=r"out: shares .* what the stack is read from"):
        denoise_stack(source, OPTIONS, out=out)

    np.testing.assert_array_equal(out[:], stack)
    denoise_stack(source, OPTIONS, out=np.zeros_like(stack))
    tiff.close()


def test_an_array_with_labels_is_known_for_what_it_holds() -> None:
    stack = random_stack(4, 16, 18)
    expected = denoise_stack(stack, OPTIONS).image
    for held in (stack, da.from_array(stack, chunks=(1, 16, 18))):
        out = np.zeros_like(stack)
        denoise_stack(Labelled(held), OPTIONS, out=out)
        np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="out: shares memory with the stack"):
        denoise_stack(Labelled(stack), OPTIONS, out=stack[::-1])


@pytest.mark.parametrize("mapped", [False, True])
def test_views_that_only_interleave_are_independent(tmp_path: Path, mapped: bool) -> None:
    stack = random_stack(3, 16, 18)
    shape = (3, 2, 16, 18)
    both = (
        np.memmap(tmp_path / "a", "u2", "w+", 0, shape) if mapped else np.zeros(shape, "u2")
    )
    both[:, 0] = stack

    denoise_stack(both[:, 0], OPTIONS, planes=[2, 1, 0], out=both[:, 1])

    np.testing.assert_array_equal(both[:, 0], stack)
    np.testing.assert_array_equal(both[::-1, 1], denoise_stack(stack, OPTIONS).image)


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_a_file_of_its_own_may_be_written_in_any_order(tmp_path: Path, mode: Any) -> None:
    stack = random_stack(3, 16, 18)
    for name in ("a.raw", "b.raw"):
        stack.tofile(tmp_path / name)
    source = np.memmap(tmp_path / "a.raw", "u2", "r", shape=stack.shape)
    # What is written to a private copy does not reach the file.
    name = "a.raw" if mode == "c" else "b.raw"
    out = np.memmap(tmp_path / name, "u2", mode, shape=stack.shape)

    denoise_stack(source, OPTIONS, planes=[2, 1, 0], out=out)

    np.testing.assert_array_equal(source, stack)
    expected = denoise_stack(stack, OPTIONS, planes=[2, 1, 0]).image
    np.testing.assert_array_equal(out, expected)
