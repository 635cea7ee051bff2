"""Arguments and options of Python in the words of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests._cli.helpers import FakeEngine, run, unloaded

from napari_msdip._cli.words import in_flags
from napari_msdip.options import declared_options
from napari_msdip.pixels import checked_image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image: too small; give channel_axis=-1",
            "image: too small; give --channel-axis=-1",
        ),
        ("use consistency='offline', or", "use --consistency=offline, or"),
        ("fold=5 leaves too little (widths=4)", "--fold=5 leaves too little (--widths=4)"),
        ("a.tif: exists; overwrite=True helps", "a.tif: exists; --overwrite helps"),
        ("recorruption=0 and guidance=False", "--recorruption=0 and --no-guidance"),
        ("--overwrite replaces it", "--overwrite replaces it"),
        ("give it as vgg_weights=FILE.", "give it as --vgg-weights=FILE."),
        (r"vgg_weights='C:\\w s.npz': no", r'--vgg-weights="C:\w s.npz": no'),
        ("widths=(4, 8), not widths=(4,)", "--widths=4,8, not --widths=4"),
        ("fixed_weight=None or planes=None", "--fixed-weight=auto or all planes"),
        ("channel_axis=None.", "--channel-axis=none."),
        ("out: a.zarr exists", "--output: a.zarr exists"),
        ("dtype=bool: nothing of ours", "dtype=bool: nothing of ours"),
    ],
)
def test_what_python_is_told_is_a_flag_here(text: str, expected: str) -> None:
    assert in_flags(text) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/data/seed=3/a.tif",
        "seed=3/a.tif",
        "seed=7.tif",
        "p (seed=3)/text.tif",
        "a seed=True.tif",
        "seed=planes=3",
    ],
)
def test_path_that_looks_like_an_argument_stays_as_it_is(path: str) -> None:
    assert in_flags(f"out: {path}: exists") == f"--output: {path}: exists"


@pytest.mark.parametrize(
    "words",
    [
        ["seed=3", "-o", "o/"],
        ["a.tif", "-o", "seed=3"],
        ["seed=3/a.tif", "-o", "o/"],
        ["p seed=3 q.tif", "-o", "o/"],
        ["a.tif", "-o", "x seed=3 y.gif"],
        ["a.tif", "-o", "b.tif", "--seed", "seed=3"],
        ["a.tif", "-o", "o/", "--planes", "planes=3"],
        ["a.tif", "-o", "o/", "--channel-axis", "seed=3"],
    ],
)
def test_what_a_person_typed_stays_as_it_is(
    words: list[str],
    image_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    image_file.rename("a.tif")
    for name in ("seed=3", "o"):
        (tmp_path / name).mkdir()
    for name in ("seed=3/a.tif", "p seed=3 q.tif", "seed=3/b.tif"):
        (tmp_path / name).write_text("no image")

    assert unloaded("denoise", *words) in (1, 2)

    said = capsys.readouterr().err
    assert "=3" in said
    assert "--seed=" not in said
    assert "--planes=" not in said


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

    assert capsys.readouterr().err == "error: --device=mps is not available\n"


def test_advice_needs_no_python() -> None:
    with pytest.raises(ValueError, match="NaN") as refusal:
        checked_image(np.full((9, 9), np.nan), None)

    said = in_flags(str(refusal.value))

    assert "Process > Noise > Remove NaNs" in said
    assert "numpy" not in said
