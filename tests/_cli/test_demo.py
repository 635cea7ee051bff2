"""The demo writes what it says, over nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests._cli.helpers import FakeEngine, run, unloaded

from napari_msdip import io
from napari_msdip._cli.demo import demo_image, side_by_side
from napari_msdip.io import FileError

if TYPE_CHECKING:
    from pathlib import Path


def test_writes_everything_and_says_so(
    fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "demo", "-o", tmp_path / "demo") == 0

    names = sorted(os.listdir(tmp_path / "demo"))
    assert names == [
        "denoised.scale0.tif",
        "denoised.tif",
        "noisy.tif",
        "report.json",
        "side-by-side.png",
    ]
    said = capsys.readouterr().out
    assert all(name in said for name in names)
    assert "How far to trust it: safe: It is." in said


def test_a_judgement_that_fails_does_not_cost_the_result(
    fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*arguments: Any, **settings: Any) -> None:
        raise MemoryError("no room to look")

    fake.assess = failing
    assert run(fake, "demo", "-o", tmp_path / "demo") == 0

    assert "denoised.tif" in os.listdir(tmp_path / "demo")
    assert "no room to look" in capsys.readouterr().out


def test_overwrites_nothing(fake: FakeEngine, tmp_path: Path) -> None:
    run(fake, "demo", "-o", tmp_path)

    assert unloaded("demo", "-o", tmp_path) == 2
    for name in ("noisy.tif", "denoised.tif", "side-by-side.png", "report.json"):
        (tmp_path / name).unlink()
    assert unloaded("demo", "-o", tmp_path) == 2
    assert run(fake, "demo", "-o", tmp_path, "--overwrite") == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileError("denoised.tif: cannot write (the disk is full)"), "the disk is full"),
        (MemoryError("memory is too small"), "memory is too small"),
        (KeyError("width"), "this is a bug, --debug shows where"),
    ],
)
def test_what_goes_wrong_once_it_runs_is_told_as_a_failure(
    fake: FakeEngine,
    tmp_path: Path,
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(io, "save_image", failing)

    assert run(fake, "demo", "-o", tmp_path, "--json") == 1

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["exit_code"] == 1
    assert said in report["error"]
    assert captured.err.endswith(f"error: {report['error']}\n")
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(("step", "shown"), [(0, False), (2, True)])
def test_a_cancelled_demo_shows_what_there_is(
    tmp_path: Path, step: int, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeEngine(interrupts_at=step)

    assert run(fake, "demo", "-o", tmp_path / "demo") == 130

    assert (tmp_path / "demo" / "denoised.tif").exists() == shown
    assert (tmp_path / "demo").exists() == shown
    said = capsys.readouterr().out
    assert ("Cancelled: what follows is the best image so far" in said) == shown
    assert ("Cancelled before there was anything to show" in said) != shown


def test_an_image_called_like_the_report_is_not_in_the_way(
    fake: FakeEngine, tmp_path: Path
) -> None:
    (tmp_path / "report.tif").touch()

    assert run(fake, "demo", "-o", tmp_path) == 0


def test_scales_of_an_earlier_run_do_not_stay(fake: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "denoised.scale3.tif").touch()

    assert run(fake, "demo", "-o", tmp_path, "--overwrite") == 0

    assert not (tmp_path / "denoised.scale3.tif").exists()


def test_values_beyond_those_of_the_picture_are_drawn_as_its_ends() -> None:
    noisy = demo_image()
    far = noisy.astype(np.float32)
    far[::2], far[1::2] = -3, 300

    with np.errstate(invalid="raise"):
        drawn = side_by_side(far, noisy)

    ends = np.where(far < 0, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(drawn[:, :100], side_by_side(ends, noisy)[:, :100])
