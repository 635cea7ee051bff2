"""Planes and dimensions are those that a person names, or are refused with a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests._cli.helpers import FakeEngine, metadata_of, run, unloaded

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "planes"),
    [("3", [3]), ("1,4", [1, 4]), ("1:3", slice(1, 3)), (":2", slice(None, 2))],
)
def test_ways_to_name_planes(
    fake: FakeEngine, stack_file: Path, tmp_path: Path, text: str, planes: object
) -> None:
    run(fake, "denoise", stack_file, "-o", tmp_path / "o.tif", "--planes", text)

    assert fake.calls[0]["planes"] == planes


@pytest.mark.parametrize("text", ["6", "9:", "5:2", "1,1", "0:6:0", "-7"])
def test_planes_that_are_not_there(
    stack_file: Path,
    tmp_path: Path,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["-o", tmp_path / "o.tif", "--planes", text]

    assert unloaded("denoise", stack_file, *words) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"error: {stack_file}: --planes {text}: ")
    assert "=" not in said


@pytest.mark.parametrize("text", ["--1", "²", "Y1", "5", "-4", "-"])
def test_channel_axis_that_is_not_there(
    stack_file: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-o", tmp_path / "o.tif", f"--channel-axis={text}"]

    assert unloaded("denoise", stack_file, *words) == 2

    said = capsys.readouterr().err
    assert said == (
        f"error: {stack_file}: --channel-axis {text}: its dimensions are ZYX; give one of "
        "these letters, a number from -3 to 2, or none\n"
    )


@pytest.mark.parametrize(("text", "letter"), [("Y", "Y"), ("1", "Y"), ("-1", "X")])
def test_no_channels_along_a_side_of_the_image(
    stack_file: Path,
    tmp_path: Path,
    text: str,
    letter: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["-o", tmp_path / "o.tif", f"--channel-axis={text}"]

    assert unloaded("denoise", stack_file, *words) == 2

    said = capsys.readouterr().err
    assert said == (
        f"error: {stack_file}: --channel-axis {text}: is {letter} of its dimensions ZYX; "
        "give one that is neither Y nor X, or none\n"
    )


def test_channels_are_planes_unless_told_otherwise(
    fake: FakeEngine, tmp_path: Path
) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.zeros((4, 2, 20, 24), np.uint8),
        imagej=True,
        metadata={"axes": "ZCYX"},
    )

    run(fake, "denoise", tmp_path / "in.tif", "-o", tmp_path / "a.tif")
    run(
        fake,
        "denoise",
        tmp_path / "in.tif",
        "-o",
        tmp_path / "b.tif",
        "--channel-axis",
        "c",
    )

    assert [call["channel_axis"] for call in fake.calls] == [None, 1]
    assert metadata_of(tmp_path / "b.tif").axes == "ZCYX"


@pytest.mark.parametrize(("photometric", "axis"), [("rgb", 2), ("minisblack", None)])
def test_only_samples_that_are_colours_are_denoised_together(
    fake: FakeEngine, tmp_path: Path, photometric: str, axis: int | None
) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.arange(1440, dtype=np.uint16).reshape(20, 24, 3),
        photometric=photometric,
        planarconfig="contig",
    )

    run(fake, "denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif")

    assert [call["channel_axis"] for call in fake.calls] == [axis]


@pytest.mark.parametrize(
    ("axes", "advice"),
    [("YXC", "--channel-axis C"), ("YZX", "--axes"), ("CYXZ", "--channel-axis Z")],
)
def test_order_of_dimensions_comes_with_a_way_out(
    tmp_path: Path,
    axes: str,
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = tuple({"Y": 20, "X": 24}.get(letter, 2) for letter in axes)
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.zeros(shape, np.uint8),
        photometric="minisblack",
        metadata={"axes": axes},
    )

    assert unloaded("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif") == 2

    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("axes", ["QYX", "TQYX", "CYX"])
def test_channels_taken_for_a_side_come_with_words_that_work(
    fake: FakeEngine,
    tmp_path: Path,
    axes: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = np.ones((2, 20, 24, 3)[-len(axes) :], np.uint16)
    path, metadata = tmp_path / "in.tif", {"axes": axes}
    tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata)
    command = ["denoise", path, "-o", tmp_path / "out.tif"]

    assert unloaded(*command) == 2
    advice = capsys.readouterr().err.partition("if the 3 are channels, give ")[2]

    assert run(fake, *command, *advice.split()) == 0
    assert [call["channel_axis"] for call in fake.calls] == [image.ndim - 1]


@pytest.mark.parametrize(
    ("shape", "words"),
    [((20, 3), []), ((5, 20, 3), []), ((20, 24, 3), ["--channel-axis", "0"])],
)
def test_planes_that_are_too_small_without_a_way_out(
    tmp_path: Path,
    shape: tuple[int, ...],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.ones(shape, np.uint16), photometric="minisblack")

    assert unloaded("denoise", path, "-o", tmp_path / "out.tif", *words) == 2

    said = capsys.readouterr().err
    assert "at least 8 pixels" in said
    assert "channels" not in said
