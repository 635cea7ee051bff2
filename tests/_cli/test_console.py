"""The terminal gets what it should and nothing else, and costs no image."""

from __future__ import annotations

import errno
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, StringIO, TextIOWrapper
from typing import TYPE_CHECKING

import pytest
from tests._cli.helpers import FakeEngine, run

from napari_msdip._cli.console import Console

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.parametrize(("number", "code"), [(errno.EPIPE, 0), (errno.ENOSPC, 1)])
def test_results_that_nobody_can_read_do_not_cost_the_images(
    fake: FakeEngine,
    image_file: Path,
    stack_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    number: int,
    code: int,
) -> None:
    class Closed(StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "stdout", Closed())
    files = [image_file, stack_file]

    assert run(fake, "denoise", *files, "-o", f"{tmp_path}/out/", *words) == code

    assert sorted(os.listdir(tmp_path / "out")) == ["cells.tif", "stack.ome.tif"]


@pytest.mark.skipif(sys.platform != "linux", reason="names there are bytes")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_cannot_be_written_do_not_cost_the_images(
    fake: FakeEngine,
    image_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding=encoding))
    odd = image_file.rename(tmp_path / os.fsdecode(b"caf\xe9-\xc3\xa9.tif"))

    assert run(fake, "denoise", odd, "-o", f"{tmp_path}/out/", "--progress", "always") == 0

    assert os.listdir(tmp_path / "out") == [odd.name]
    assert b"caf\\udce9-" in written.getvalue()


def test_nowhere_to_write_is_no_reason_to_stop(
    fake: FakeEngine,
    image_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    assert run(fake, "denoise", image_file, "-o", tmp_path / "out.tif") == 0


def test_progress_is_silent_unless_asked_for(
    fake: FakeEngine,
    image_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(fake, "denoise", image_file, "-o", tmp_path / "a.tif")
    assert capsys.readouterr().err == ""

    run(fake, "denoise", image_file, "-o", tmp_path / "b.tif", "--progress", "always")
    assert "40%, 1 s left" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("letters", [1, 40, 70, 200])
def test_however_long_a_name_is_the_bar_tells_how_long_it_takes(
    columns: int, letters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()

    Console(None, terminal).show(f"[2/9] {'x' * letters}.tif: scale 1/3", 0.4, 60)

    line = terminal.getvalue().removeprefix("\r\x1b[K")
    assert line.startswith("[2/9] x")
    assert "scale 1/3 [##" in line
    assert line.endswith(".]  40%, 1 min 0 s left")
    assert len(line) < columns


def test_signal_handlers_are_put_back(
    fake: FakeEngine, image_file: Path, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)

    run(fake, "denoise", image_file, "-o", tmp_path / "out.tif")

    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_other_than_the_main_one_can_denoise(
    fake: FakeEngine, image_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.tif"
    with ThreadPoolExecutor() as threads:
        assert threads.submit(run, fake, "denoise", image_file, "-o", target).result() == 0
    assert target.exists()
