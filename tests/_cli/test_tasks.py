"""What cannot be done is refused before anything is begun."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr
from tests._cli.helpers import FakeEngine, run, unloaded

if TYPE_CHECKING:
    from pathlib import Path


def test_existing_output(
    image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.tif").write_bytes(b"precious")

    assert unloaded("denoise", image_file, "-o", tmp_path / "out.tif") == 2

    assert (tmp_path / "out.tif").read_bytes() == b"precious"
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--overwrite" in error


@pytest.mark.parametrize(
    "words",
    [
        ["missing.tif", "-o", "out.tif"],
        ["{image}", "-o", "out.jpg"],
        ["{image}", "-o", "new/folder/out.jpg"],
        ["{stack}", "-o", "new/folder/out.png"],
        ["{image}", "-o", "new/folder/", "--planes", "0"],
        ["{image}", "-o", "{image}", "--overwrite"],
        ["{image}", "-o", "{image}/below.tif"],
        ["{image}", "-o", "new.zarr/"],
        ["{image}", "{stack}", "-o", "one.tif"],
        ["{image}", "-o", "out.tif", "--planes", "0"],
        ["{image}", "-o", "out.tif", "--planes", "a:b"],
        ["{image}", "-o", "out.tif", "--axes", "ZYX"],
        ["{image}", "-o", "out.tif", "--channel-axis", "C"],
        ["{stack}", "-o", "out.png"],
        ["{stack}", "-o", "out.png", "--planes", "0:2"],
        ["{stack}", "-o", "out.tif", "--axes", "YXZ"],
        ["{stack}", "-o", "out.ome.tif", "--axes", "QYX"],
        ["{image}", "-o", "out.v2"],
        ["{image}", "-o", ""],
        ["", "-o", "out/"],
        ["{image}", "-o", f"{'long' * 70}.tif"],
        ["{image}", "-o", f"{'long' * 70}/out.tif"],
        [f"{'long' * 70}.tif", "-o", "out.tif"],
        ["{image}", "-o", f"{'n' * 240}.tif"],
        ["{image}", "-o", "out.tif", "--iterations", "0"],
    ],
)
def test_wrong_usage(
    words: list[str],
    image_file: Path,
    stack_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.format(image=image_file, stack=stack_file) for word in words]

    assert unloaded("denoise", *words) == 2

    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(os.listdir()) == ["cells.tif", "stack.ome.tif"]


def test_device_that_is_not_there(
    fake: FakeEngine, image_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"

    assert run(fake, "denoise", image_file, "-o", out, "--device", "mps") == 2
    assert fake.calls == []


def test_wide_integers_do_not_fit_ome_tiff(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((20, 24), np.uint64))

    words = ["denoise", tmp_path / "in.tif", "-o", tmp_path / "out.ome.tif"]
    assert unloaded(*words) == 2

    assert "uint64" in capsys.readouterr().err


def test_pixels_that_are_no_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((20, 24), bool))

    assert unloaded("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif") == 2

    assert "pixels of type bool" in capsys.readouterr().err


def test_planes_of_several_dimensions_do_not_fit_ome_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.zeros((3, 4, 20, 24), np.uint8),
        imagej=True,
        metadata={"axes": "TZYX"},
    )

    words = ["denoise", tmp_path / "in.tif", "-o", tmp_path / "out.ome.tif"]
    assert unloaded(*words, "--planes", "0:5") == 2


def test_existing_scales_are_not_replaced(
    fake: FakeEngine, image_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.scale1.tif").write_bytes(b"precious")
    words = ["denoise", image_file, "-o", tmp_path / "out.tif", "--save-scales"]

    assert unloaded(*words) == 2
    assert run(fake, *words, "--overwrite") == 0


@pytest.mark.parametrize(("planes", "code"), [([], 2), (["--planes", "1:3"], 0)])
def test_more_dimensions_than_ome_zarr_holds_do_not_fit_it(
    fake: FakeEngine,
    tmp_path: Path,
    planes: list[str],
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = np.arange(4, dtype=np.uint8)[:, None, None] + np.zeros((20, 24), np.uint8)
    image = image.reshape(2, 1, 1, 2, 20, 24)
    zarr.create_array(tmp_path / "in.zarr", data=image)
    words = ["denoise", tmp_path / "in.zarr", *planes, "-o"]

    assert run(fake, *words, tmp_path / "out.ome.zarr") == code
    said = capsys.readouterr().err
    assert ("OME-Zarr holds at most 5 dimensions" in said) is bool(code)
    assert run(fake, *words, tmp_path / "out.tif") == 0


def test_samples_that_are_no_colours_do_not_fit_png(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "four.tif",
        np.zeros((20, 24, 4), np.uint8),
        photometric="rgb",
        extrasamples=["unspecified"],
    )

    assert unloaded("denoise", tmp_path / "four.tif", "-o", tmp_path / "out.png") == 2
