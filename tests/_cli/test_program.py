"""Errors are one clear line and an exit code, whatever they are and whenever they come."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests._cli.helpers import unloaded

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "words",
    [["--preset", "best"], ["--device", "tpu"], ["--seed", "x"], ["--bogus"]],
)
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert unloaded("denoise", "a.tif", "-o", "b.tif", *words, "--json") == 2

    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    report = json.loads(captured.out)
    assert captured.err == f"error: {report['error']}\n"
    assert report["exit_code"] == 2


def test_machines_are_told_too(
    image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unloaded("denoise", image_file, "-o", "out.jpg", "--json") == 2

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["exit_code"] == 2
    assert "cannot write this type" in report["error"]
    assert report["files"] == []
    assert captured.err.startswith("error: ")


def test_what_tifffile_complains_about_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.tif").write_bytes(b"II*\0nonsense")

    unloaded("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif")

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["note", "error"]


@pytest.mark.parametrize("module", ["numpy", "napari_msdip._cli.denoise", "tifffile"])
def test_interrupt_while_the_program_is_loaded_is_quiet(
    image_file: Path, module: str
) -> None:
    code = (
        "import signal, sys\n"
        # A shell's background jobs ignore SIGINT, and hand that on.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {module!r}:\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from napari_msdip.cli import main\n"
        f"sys.exit(main(['noise', {str(image_file)!r}]))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 130
    assert done.stderr in ("", "error: aborted\n")
