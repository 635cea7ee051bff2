"""OME-Zarr stores: described, ordered as is wanted, and only our own gone on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from tests._stack.helpers import OPTIONS, random_stack

from napari_msdip._stack.zarr_sink import ZarrOut
from napari_msdip.io import Metadata
from napari_msdip.stack import denoise_stack, iter_denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

    from napari_msdip import Progress

pytestmark = pytest.mark.usefixtures("quick_engine")


def test_ome_zarr_is_described_and_chunked_by_plane(tmp_path: Path) -> None:
    stack = random_stack(2, 3, 2, 16, 18)
    out = tmp_path / "out.ome.zarr"
    result = denoise_stack(stack, OPTIONS, channel_axis=1, out=out)
    group = zarr.open_group(str(out), mode="r")
    (multiscale,) = group.attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["t", "c", "z", "y", "x"]
    array = group[multiscale["datasets"][0]["path"]]
    assert array.chunks == (1, 3, 1, 16, 18)
    assert array.dtype == stack.dtype
    np.testing.assert_array_equal(array[:], result.image[:])
    assert group.attrs["napari_msdip"]["complete"]
    assert group.attrs["napari_msdip"]["options"] == OPTIONS.to_dict()


def test_axes_that_ome_zarr_forbids_are_warned_about(tmp_path: Path) -> None:
    stack = random_stack(2, 16, 18, 3)
    with pytest.warns(UserWarning, match="order TCZYX"):
        denoise_stack(stack, OPTIONS, channel_axis=-1, out=tmp_path / "o.zarr")


def test_more_dimensions_than_ome_zarr_holds_are_warned_about(tmp_path: Path) -> None:
    stack = random_stack(1, 1, 2, 1, 16, 18)
    with pytest.warns(UserWarning, match="at most 5 dimensions and this output has VWTZYX"):
        result = denoise_stack(stack, OPTIONS, out=tmp_path / "o.zarr")
    assert result.image.shape == stack.shape
    denoise_stack(stack, OPTIONS, out=ZarrOut(tmp_path / "i.zarr", interim=True))


@pytest.mark.parametrize(
    ("axes", "channel_axis", "stored"),
    [
        ("TZCYX", 2, "TCZYX"),
        ("TZCYX", None, "TCZYX"),
        ("ZYXS", 3, "SZYX"),
        ("ZTYX", None, "TZYX"),
        ("CYX", None, "CYX"),
    ],
)
def test_axes_lie_on_disk_as_ome_zarr_wants_them(
    tmp_path: Path, axes: str, channel_axis: int | None, stored: str
) -> None:
    sizes = {"T": 2, "Z": 3, "C": 4, "S": 3, "Y": 16, "X": 18}
    stack = random_stack(*(sizes[axis] for axis in axes))
    expected = denoise_stack(stack, OPTIONS, channel_axis=channel_axis).image

    out = ZarrOut(tmp_path / "o.zarr", Metadata(axes), reordered=True)
    steps = iter_denoise_stack(stack, OPTIONS, channel_axis=channel_axis, out=out)
    next(steps)
    steps.close()
    result = denoise_stack(stack, OPTIONS, channel_axis=channel_axis, out=out)

    order = [axes.index(axis) for axis in stored]
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="r")
    np.testing.assert_array_equal(group["0"][:], expected.transpose(order))
    names = [axis["name"] for axis in group.attrs["ome"]["multiscales"][0]["axes"]]
    assert names == list(stored.lower().replace("s", "c"))
    assert result.image.shape == stack.shape
    assert result.image.dtype == stack.dtype
    np.testing.assert_array_equal(np.asarray(result.image), expected)
    for key in (np.s_[1], np.s_[..., :5], np.s_[-1, ..., 2:7], np.s_[:, 0]):
        np.testing.assert_array_equal(result.image[key], expected[key])


@pytest.mark.parametrize("axes", ["ZZX", "YYX", "YXZ", "zyx", "CCYX", "QTTYX"])
def test_axes_that_cannot_be_those_of_the_output_are_refused(
    tmp_path: Path, axes: str
) -> None:
    stack = random_stack(*[2] * (len(axes) - 2), 16, 18)
    out = ZarrOut(tmp_path / "o.zarr", Metadata(axes))
    with pytest.raises(ValueError, match=f"out: metadata with the axes '{axes}'"):
        denoise_stack(stack, OPTIONS, out=out)
    assert not (tmp_path / "o.zarr").exists()


def test_metadata_that_are_none_are_refused(tmp_path: Path) -> None:
    out: Any = ZarrOut(tmp_path / "o.zarr", "ZYX")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"metadata='ZYX': give a .*io\.Metadata or None"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)


@pytest.mark.parametrize(
    ("described", "match"),
    [
        ({"channel_names": ("a", "b")}, r"channel_names=\('a', 'b'\) .* give 3 names or"),
        ({"scale": {"X": "0.1 µm"}}, r"scale={'X': '0.1 µm'}; give a number above 0 for"),
        ({"scale": {"X": None}}, r"scale={'X': None}; give a number above 0"),
        ({"scale": {"Y": 0.0}}, r"scale={'Y': 0.0}; give a number above 0"),
        ({"scale": {"Y": float("nan")}}, r"scale={'Y': nan}; give a number above 0"),
        ({"scale": 0.1}, r"scale=0.1; give a number above 0"),
        ({"origin": {"X": "left"}}, r"origin={'X': 'left'}; give a number for"),
    ],
)
def test_metadata_that_cannot_be_written_are_refused_before_any_work(
    tmp_path: Path, described: Any, match: str
) -> None:
    out = ZarrOut(tmp_path / "o.zarr", Metadata("TCYX", **described))
    with pytest.raises(ValueError, match=f"out: metadata with {match}"):
        denoise_stack(random_stack(2, 3, 16, 18), OPTIONS, channel_axis=1, out=out)
    assert not (tmp_path / "o.zarr").exists()


def test_metadata_need_not_tell_everything(tmp_path: Path) -> None:
    metadata = Metadata("TCYX", {"X": np.float32(0.5)}, origin={"Y": -3, "X": 0})
    denoise_stack(
        random_stack(1, 2, 16, 18), OPTIONS, out=ZarrOut(tmp_path / "o.zarr", metadata)
    )


@pytest.mark.parametrize("begun", [0, 1])
def test_a_store_is_gone_on_with_in_the_order_it_was_begun_in(
    tmp_path: Path, begun: int
) -> None:
    # Three planes of three channels: the store has the same shape in either order.
    stack = random_stack(3, 3, 16, 18)
    path = tmp_path / "o.zarr"
    outs = [ZarrOut(path, Metadata("ZCYX"), reordered=True), path]
    denoise_stack(stack, OPTIONS, channel_axis=1, out=outs[begun])
    with pytest.raises(ValueError, match="the order of the axes on disk was"):
        denoise_stack(stack, OPTIONS, channel_axis=1, out=outs[1 - begun])


def test_nobody_reads_the_axes_of_an_interim_store(tmp_path: Path) -> None:
    out = ZarrOut(tmp_path / "o.zarr", Metadata("TZCYX"), interim=True)
    denoise_stack(random_stack(1, 2, 1, 16, 18), OPTIONS, out=out)


def test_foreign_output_is_left_alone(tmp_path: Path) -> None:
    stack = random_stack(2, 16, 18)
    existing = tmp_path / "mine.zarr"
    zarr.create_array(str(existing), data=stack)
    with pytest.raises(FileExistsError, match="remove it"):
        denoise_stack(stack, OPTIONS, out=existing)
    np.testing.assert_array_equal(zarr.open_array(str(existing), mode="r")[:], stack)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_output_inside_an_array_is_refused(tmp_path: Path, zarr_format: Any) -> None:
    group = zarr.create_group(tmp_path / "in.zarr", zarr_format=zarr_format)
    group.create_array("0", data=random_stack(2, 16, 18))
    inside = tmp_path / "in.zarr" / "0" / "deeper" / "o.zarr"
    with pytest.raises(
        ValueError, match=r"out: .* lies inside the zarr array .*in\.zarr.0,"
    ):
        denoise_stack(tmp_path / "in.zarr", OPTIONS, out=inside)
    assert not inside.parent.exists()
    denoise_stack(tmp_path / "in.zarr", OPTIONS, out=tmp_path / "in.zarr" / "clean")


def test_what_zarr_says_of_the_planes_is_on_disk_with_them(
    tmp_path: Path, durable: set[int]
) -> None:
    out = tmp_path / "o.zarr"

    def check(progress: Progress | None = None) -> None:
        for path in (tmp_path, out, out / "zarr.json", out / "0", out / "0/zarr.json"):
            assert path.stat().st_ino in durable

    denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out, on_progress=check)
    check()


@pytest.mark.parametrize("content", ["", "[]", '{"zarr_format": 9}'])
@pytest.mark.parametrize("place", ["zarr.json", "0/zarr.json"])
def test_a_damaged_store_is_named_with_a_way_out(
    tmp_path: Path, content: str, place: str
) -> None:
    out = tmp_path / "o.zarr"
    denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)
    (out / place).write_text(content)

    with pytest.raises(ValueError, match=rf"{place} is damaged .*; remove it or choose"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)
