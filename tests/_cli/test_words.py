"""Arguments and options of Python in the words of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests._cli.helpers import FakeEngine, run, unloaded

from napari_msdip._cli.words import in_flags
from napari_msdip.options import declared_options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image: too small; give channel_axis=-1",
            "image: too small; give --channel-axis=-1",
        ),
        ("use consistency='offline', or", "use --consistency='offline', or"),
        ("fold=5 leaves too little (widths=4)", "--fold=5 leaves too little (--widths=4)"),
        ("a.tif: exists; overwrite=True helps", "a.tif: exists; --overwrite helps"),
        ("recorruption=0 and guidance=False", "--recorruption=0 and --no-guidance"),
        ("--overwrite replaces it", "--overwrite replaces it"),
        ("/data/seed=3/a.tif: is empty", "/data/seed=3/a.tif: is empty"),
        ("dtype=bool: nothing of ours", "dtype=bool: nothing of ours"),
    ],
)
def test_what_python_is_told_is_a_flag_here(text: str, expected: str) -> None:
    assert in_flags(text) == expected


@pytest.mark.parametrize("option", declared_options(), ids=lambda option: option.name)
def test_every_option_is_known(option) -> None:
    assert in_flags(f"{option.name}=1: no") == f"--{option.name.replace('_', '-')}=1: no"


def test_an_existing_result_says_which_flag_replaces_it(
    image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "o.tif"
    target.write_bytes(b"precious")

    assert unloaded("denoise", image_file, "-o", target) == 2

    said = capsys.readouterr().err
    assert said == f"error: {target}: exists already; --overwrite replaces it\n"


def test_an_error_of_the_engine_names_the_flag(
    image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(image_file, np.full((20, 24), 99, np.uint16))
    fake = FakeEngine(refuses="image: too small; give channel_axis=-1")

    run(fake, "denoise", image_file, "-o", tmp_path / "o.tif")

    assert "too small; give --channel-axis=-1" in capsys.readouterr().err


def test_what_the_machine_lacks_is_named_by_its_flag(
    image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["denoise", image_file, "-o", tmp_path / "o.tif", "--device", "mps"]

    assert run(FakeEngine(), *words) == 2

    assert capsys.readouterr().err == "error: --device='mps' is not available\n"
