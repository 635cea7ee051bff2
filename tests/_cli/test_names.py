"""No result takes the place of another, or of an input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests._cli.helpers import FakeEngine, run, unloaded

from napari_msdip._cli.names import free_name

if TYPE_CHECKING:
    from pathlib import Path


def test_folder_to_folder(fake: FakeEngine, folder: Path, tmp_path: Path) -> None:
    assert run(fake, "denoise", folder, "-o", tmp_path / "out") == 0

    assert sorted(os.listdir(tmp_path / "out")) == ["0.tif", "1.tif", "2.tif"]


def test_same_name_twice(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (folder / "0.tif").rename(other / "1.tif")

    assert unloaded("denoise", folder, other, "-o", tmp_path / "out") == 2

    error = capsys.readouterr().err
    assert f"both {folder / '1.tif'} and {other / '1.tif'}" in error


@pytest.mark.parametrize("command", ["denoise", "noise"])
def test_second_name_of_a_file_is_not_left_out_silently(
    fake: FakeEngine,
    folder: Path,
    tmp_path: Path,
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "9.tif").symlink_to("0.tif")
    words = ["-o", tmp_path / "out"] if command == "denoise" else []

    assert run(fake, command, folder, folder / "1.tif", *words) == 0

    assert capsys.readouterr().err == (
        f"note: {folder / '9.tif'}: is the same file as {folder / '0.tif'} and is left "
        "out\n"
    )


def test_scales_do_not_replace_an_input(
    image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image_file.rename(tmp_path / "o.scale0.tif")
    words = ["-o", tmp_path / "o.tif", "--save-scales", "--overwrite"]

    assert unloaded("denoise", tmp_path / "o.scale0.tif", *words) == 2

    assert "o.scale0.tif: is an input" in capsys.readouterr().err


def test_scales_do_not_replace_another_result(image_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "cells.scale0.tif"
    other.write_bytes(image_file.read_bytes())
    words = ["-o", f"{tmp_path}/out/", "--save-scales", "--overwrite"]

    assert unloaded("denoise", image_file, other, *words) == 2


def test_unfinished_image_does_not_meet_scales_of_another(tmp_path: Path) -> None:
    (tmp_path / "a.unfinished.scale1.tif").touch()
    (tmp_path / "a.unfinished-2.tif").touch()

    assert free_name(tmp_path / "a.tif") == tmp_path / "a.unfinished-3.tif"
