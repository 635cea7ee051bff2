"""The noise level of every input, and a clear word where there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests._cli.helpers import FakeEngine, run, unloaded

if TYPE_CHECKING:
    from pathlib import Path


def test_stack_gives_the_median_of_its_planes(
    fake: FakeEngine, stack_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "noise", stack_file, "--json") == 0

    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["sigma"] == 25
    assert file["sigma_of_planes"] == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(("planes", "sigmas"), [("2", [20]), ("1:3", [10, 20])])
def test_planes_of_a_stack_are_told_however_few(
    fake: FakeEngine,
    stack_file: Path,
    planes: str,
    sigmas: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(fake, "noise", stack_file, "--json", "--planes", planes)

    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["sigma_of_planes"] == sigmas


def test_what_only_a_result_would_be_without_is_not_told(
    fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.zeros((32, 32), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", image, tile=(16, 16))

    run(fake, "noise", tmp_path / "in.tif", "--json")

    captured = capsys.readouterr()
    assert json.loads(captured.out)["files"][0]["notes"] == []
    assert "note" not in captured.err


def test_image_has_no_planes_to_tell(
    fake: FakeEngine, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(fake, "noise", image_file, "--json")

    assert "sigma_of_planes" not in capsys.readouterr().out


def test_what_is_left_out_is_in_the_report(
    fake: FakeEngine, stack_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = stack_file.read_bytes()
    stack_file.write_bytes(content.replace(b'SizeZ="6"', b'SizeZ="7"'))

    run(fake, "noise", stack_file, "--json")

    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert [note.split(" of ")[0] for note in file["notes"]] == ["lacks 1"]


def test_images_that_are_left_out_keep_it_from_being_all_done(
    fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(np.full((20, 24), 99, np.uint16))
        tif.write(np.full((30, 34), 100, np.uint16))

    assert run(fake, "noise", path, "--json") == 1
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert (file["sigma"], file["left_out"]) == (99, 1)
    assert run(fake, "noise", path, "--json", "--image", "1") == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["sigma"] == 100


def test_what_the_system_refuses_is_one_clear_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"{'long' * 70}.tif"

    assert unloaded("noise", name) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"error: {name}: ")
    assert error.count("\n") == 1


def test_failure_is_reported(fake: FakeEngine, image_file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"no image")

    assert run(fake, "noise", image_file, tmp_path / "broken.tif") == 1


def test_failure_names_the_file(
    fake: FakeEngine,
    image_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*args: object, channel_axis: int | None) -> float:
        raise ValueError("image: holds NaN")

    monkeypatch.setattr(fake, "sigma", refuse)

    run(fake, "noise", image_file)

    assert f"{image_file}: image: holds NaN" in capsys.readouterr().err


def test_a_plane_that_fails_is_left_out_and_named(
    fake: FakeEngine,
    stack_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(image: np.ndarray, *args: object, channel_axis: int | None) -> float:
        if image.flat[0] == 30:
            raise ValueError("image: holds NaN")
        return float(image.flat[0])

    monkeypatch.setattr(fake, "sigma", refuse)

    assert run(fake, "noise", stack_file, "--json") == 1

    said = capsys.readouterr()
    assert f"{stack_file}: plane 3: image: holds NaN" in said.err
    (file,) = json.loads(said.out)["files"]
    assert file["sigma"] == 20
    assert file["sigma_of_planes"] == [0, 10, 20, None, 40, 50]
    assert file["failed"] == {"3": "image: holds NaN"}

    assert run(fake, "noise", stack_file, "--json", "--planes", "3") == 1

    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert "plane 3: image: holds NaN" in file["error"]


def test_noise_that_neighbours_share_is_told_apart(
    fake: FakeEngine, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(fake, "noise", image_file)
    alike = capsys.readouterr().out
    fake.independent_share = 0.1
    run(fake, "noise", image_file)

    assert "independent" not in alike
    assert "of it independent from pixel to pixel" in capsys.readouterr().out


def test_what_a_file_lacks_is_said(
    fake: FakeEngine, stack_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = stack_file.read_bytes()
    stack_file.write_bytes(content.replace(b'SizeZ="6"', b'SizeZ="7"'))

    run(fake, "noise", stack_file)

    assert f"note: {stack_file}: lacks 1 of the planes" in capsys.readouterr().err
