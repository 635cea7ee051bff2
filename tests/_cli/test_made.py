"""A result that is there counts only if it is the one that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests._cli.helpers import FakeEngine, run, unloaded

if TYPE_CHECKING:
    from pathlib import Path


def test_resume_skips_what_is_there(fake: FakeEngine, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(fake, "denoise", folder / "0.tif", "-o", f"{out}/")

    assert run(fake, "denoise", folder, "-o", out, "--resume") == 0

    assert len(fake.calls) == 3


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
def test_resume_refuses_a_result_made_otherwise(
    fake: FakeEngine, folder: Path, tmp_path: Path, name: str
) -> None:
    out = ["-o", tmp_path / name, "--resume"]

    assert run(fake, "denoise", folder / "0.tif", *out) == 0
    assert unloaded("denoise", folder / "0.tif", *out, "--threads", "1") == 0
    assert unloaded("denoise", folder / "1.tif", *out) == 1
    assert unloaded("denoise", folder / "0.tif", *out, "--seed", "3") == 1


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif"])
def test_resume_refuses_a_result_of_other_planes(
    fake: FakeEngine,
    stack_file: Path,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["denoise", stack_file, "-o", tmp_path / name, "--resume", "--planes"]

    assert run(fake, *command, "0:2") == 0
    assert unloaded(*command, "0:2") == 0
    assert unloaded(*command, "2:4") == 1

    assert "made otherwise (from other planes)" in capsys.readouterr().err
