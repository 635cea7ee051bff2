"""Where planes go: into an array, memory or a store, and what is refused at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import zarr
from tests._stack.helpers import OPTIONS, random_stack

from napari_msdip.stack import ZarrOut, denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_engine")


def test_given_array_is_written_into() -> None:
    stack = random_stack(2, 16, 18)
    out = np.zeros_like(stack)
    result = denoise_stack(stack, OPTIONS, out=out)
    assert result.image is out
    np.testing.assert_array_equal(out, denoise_stack(stack, OPTIONS).image)


@pytest.mark.parametrize(("order", "other"), [(">u2", "<u2"), ("<u2", ">u2")])
def test_output_may_have_another_byte_order(order: str, other: str) -> None:
    stack = random_stack(2, 16, 18, dtype=order)
    out = np.zeros(stack.shape, other)
    denoise_stack(stack, OPTIONS, out=out)
    np.testing.assert_array_equal(out, denoise_stack(stack, OPTIONS).image)


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.zeros((2, 16, 18), "uint8"), ValueError, "dtype"),
        (np.zeros((3, 16, 18), "uint16"), ValueError, "shape"),
        (3.5, TypeError, "out"),
        (torch.zeros(2, 16, 18), TypeError, "out: dtype torch.float32 of a Tensor"),
        ("s3://bucket/out.zarr", ValueError, "remote"),
        (f"{__file__}/out.zarr", OSError, "out: cannot write here"),
        (np.broadcast_to(np.uint16(0), (2, 16, 18)), ValueError, "out: .* read-only"),
    ],
)
def test_wrong_output_is_refused_at_once(
    out: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)


@pytest.mark.parametrize("wrap", [lambda path: path, ZarrOut])
def test_an_empty_path_does_not_stand_for_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="out='': is empty; give the path of a zarr store"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=wrap(""))
    assert not [*tmp_path.iterdir()]


def test_a_path_that_is_none_is_named() -> None:
    out: Any = ZarrOut(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="out: path=None: give the path of a zarr store"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)


def test_zarr_opened_for_reading_is_no_output(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "o.zarr"), shape=(2, 16, 18), dtype="uint16")
    out = zarr.open_array(str(tmp_path / "o.zarr"), mode="r")
    with pytest.raises(ValueError, match="out: the array is read-only"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)
