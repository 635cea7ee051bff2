"""An image in several files is done once, whichever of them are named."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import tifffile
from tests._cli.helpers import FakeEngine, read, run

from napari_msdip import io

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("words", [[], ["--resume"]])
def test_series_gives_one_result(
    fake: FakeEngine,
    series: Path,
    tmp_path: Path,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["denoise", series, "-o", tmp_path / "out", "--json"]
    if words:
        run(fake, *command)
        capsys.readouterr()

    run(fake, *command, *words)

    captured = capsys.readouterr()
    assert os.listdir(tmp_path / "out") == ["0.ome.tif"]
    assert read(tmp_path / "out" / "0.ome.tif")[:, 0, 0].tolist() == [0, 5, 10]
    assert len(json.loads(captured.out)["files"]) == 1
    assert captured.err.count(f"is a part of the image in {series / '0.ome.tif'}") == 2


def test_no_part_of_a_series_is_replaced_by_its_result(
    fake: FakeEngine, series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = series / "0.ome.tif", series / "1.ome.tif"
    before = other.read_bytes()

    assert run(fake, "denoise", first, "-o", other, "--overwrite") == 2

    assert other.read_bytes() == before
    said = capsys.readouterr().err
    assert f"error: {other}: is a part of the image in {first}" in said


def test_noise_of_a_series_is_told_once(
    fake: FakeEngine, series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(fake, "noise", series, "--json")

    captured = capsys.readouterr()
    (file,) = json.loads(captured.out)["files"]
    assert file["sigma_of_planes"] == [0, 10, 20]
    assert captured.err.count("is a part of the image in") == 2


def test_file_of_another_image_of_its_set_is_not_taken_for_the_first(series: Path) -> None:
    first, other = (series / f"{number}.ome.tif" for number in range(2))
    xml = tifffile.tiffcomment(first)
    pixels = xml[xml.index("<Pixels") : xml.index("<TiffData")].replace('T="3"', 'T="1"')
    images = "".join(
        f'<Image ID="Image:{number}">{pixels}<TiffData IFD="0" PlaneCount="1"><UUID '
        f'FileName="{number}.ome.tif">urn:uuid:{number}</UUID></TiffData></Pixels></Image>'
        for number in range(2)
    )
    for number, path in enumerate((first, other)):
        head = xml[: xml.index("<Image")].replace("uuid:0", f"uuid:{number}")
        tifffile.tiffcomment(path, f"{head}{images}</OME>")

    with io.open_image(first) as source:
        assert (source.data.shape, source.parts) == ((20, 24), frozenset())
    with (
        pytest.raises(io.FileError, match=r"set of 2 images, .* lies in .*0\.ome\.tif"),
        io.open_image(other),
    ):
        pass
