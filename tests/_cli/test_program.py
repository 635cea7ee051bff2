"""Errors are one clear line and an exit code, whatever they are and whenever they come."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests._cli.helpers import FakeEngine, run, unloaded

from napari_msdip._cli import selection
from napari_msdip.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from napari_msdip._cli.engine import Engine


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


@pytest.mark.parametrize("words", [["b.tif"], ["--guard", "off"], ["--bogus"]])
def test_words_too_many_lead_to_the_help_on_the_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert unloaded("denoise", "a.tif", "-o", "out/", *words) == 2

    assert capsys.readouterr().err == (
        f"error: unrecognized arguments: {words[-1]} (see napari-msdip denoise --help)\n"
    )


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


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
@pytest.mark.parametrize("command", ["denoise", "noise", "demo"])
def test_pytorch_that_is_broken_is_one_clear_error(
    image_file: Path,
    tmp_path: Path,
    command: str,
    error: type[Exception],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> Engine:
        raise error("libcudart.so.12: no such file")

    inputs = [] if command == "demo" else [str(image_file)]
    out = [] if command == "noise" else ["-o", str(tmp_path / "out")]

    assert main([command, *inputs, *out, "--json"], load=broken) == 2

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["exit_code"] == 2
    assert "libcudart.so.12" in report["error"]
    assert "pip install" in report["error"]
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["denoise", "demo"])
def test_options_that_suit_no_image_at_all_are_refused_once(
    folder: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [str(folder)] if command == "denoise" else []
    words = ["-o", f"{tmp_path}/out/", "--recorruption", "0", "--json"]

    assert main([command, *inputs, *words]) == 2

    report = json.loads(capsys.readouterr().out)
    assert "leave the generator nothing to see" in report["error"]
    assert report["files"] == []


def test_what_tifffile_complains_about_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.tif").write_bytes(b"II*\0nonsense")

    unloaded("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif")

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["note", "error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
class TestAborted:
    @pytest.fixture(autouse=True)
    def heeded(self) -> Iterator[None]:
        """Heed interrupts, which a shell lets what it runs in the background ignore."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def test_before_the_first_step_it_tells_what_was_there(
        self,
        fake: FakeEngine,
        folder: Path,
        tmp_path: Path,
        number: signal.Signals,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = [
            "denoise",
            str(folder),
            "-o",
            str(tmp_path / "out"),
            "--resume",
            "--json",
        ]
        run(fake, "denoise", folder / "0.tif", "-o", f"{tmp_path}/out/")
        capsys.readouterr()

        def stopping() -> Engine:
            signal.raise_signal(number)
            return fake.load()

        before = signal.getsignal(number)
        assert main(command, load=stopping) == 130

        assert signal.getsignal(number) is before
        report = json.loads(capsys.readouterr().out)
        assert report["exit_code"] == 130
        assert [file["status"] for file in report["files"]] == ["skipped"]

    def test_between_files_it_tells_those_that_were_done(
        self,
        fake: FakeEngine,
        folder: Path,
        number: signal.Signals,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def stopping(image: np.ndarray, *_: object, channel_axis: int | None) -> float:
            if image.flat[0] == 99:
                signal.raise_signal(number)
            return 1.0

        monkeypatch.setattr(fake, "sigma", stopping)

        assert run(fake, "noise", folder, "--json") == 130

        report = json.loads(capsys.readouterr().out)
        assert report["exit_code"] == 130
        assert [file["input"] for file in report["files"]] == [str(folder / "0.tif")]

    def test_while_files_are_looked_at_there_is_nothing_to_tell(
        self,
        image_file: Path,
        tmp_path: Path,
        number: signal.Signals,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(selection, "layout_of", lambda *_: signal.raise_signal(number))

        assert unloaded("denoise", image_file, "-o", tmp_path / "o.tif", "--json") == 130

        captured = capsys.readouterr()
        assert json.loads(captured.out) == {"exit_code": 130, "files": []}
        assert captured.err == "error: aborted\n"


def test_it_runs_beside_the_main_thread(fake: FakeEngine, image_file: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, fake, "noise", image_file).result() == 0


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("module", ["numpy", "napari_msdip._cli.denoise", "tifffile"])
def test_interrupt_while_the_program_is_loaded_is_quiet(
    image_file: Path, module: str, number: str
) -> None:
    code = (
        "import signal, sys\n"
        # A shell's background jobs ignore SIGINT, and hand that on.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {module!r}:\n"
        f"            signal.raise_signal(signal.{number})\n"
        "from napari_msdip.cli import main\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        f"sys.exit(main(['noise', {str(image_file)!r}, '--json']))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 130
    assert json.loads(done.stdout) == {"exit_code": 130, "files": []}
    assert done.stderr in ("", "error: aborted\n")


def test_it_is_there_without_the_command_on_the_path() -> None:
    command = [sys.executable, "-m", "napari_msdip", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("napari-msdip ")
