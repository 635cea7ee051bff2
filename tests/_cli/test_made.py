"""A result that is there counts only if it is the one that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from tests._cli.helpers import FakeEngine, RealStacks, run, unloaded

from napari_msdip import io, planes
from napari_msdip._cli import made

if TYPE_CHECKING:
    from pathlib import Path

    from napari_msdip.planes import PlaneLayout


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


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
class TestStack(RealStacks):
    @pytest.fixture(autouse=True)
    def whole(self, tmp_path: Path) -> None:
        self.write(tmp_path)

    def test_every_plane_of_the_input_counts(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        for plane in range(5):
            changed = self.stack()
            changed[plane, 3, 4] += 1
            metadata = {"axes": "ZYX"}
            tifffile.imwrite(tmp_path / "in.tif", changed, imagej=True, metadata=metadata)

            assert self.denoise(fake, tmp_path, name, "--resume") == 1
        self.write(tmp_path)
        assert self.denoise(fake, tmp_path, name, "--resume") == 0

    def test_what_the_dimensions_are_counts(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.denoise(fake, tmp_path, name, "--planes", "1:3")
        words = ["--planes", "1:3", "--resume"]

        assert self.denoise(fake, tmp_path, name, *words, "--axes", "zyx") == 0
        assert self.denoise(fake, tmp_path, name, *words, "--axes", "tyx") == 1
        assert "the axes were" in capsys.readouterr().err

    def test_channels_that_are_denoised_otherwise_are_named(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        stack = np.stack([self.stack()] * 2)
        metadata = {"axes": "ZCYX"}
        tifffile.imwrite(tmp_path / "in.tif", stack, imagej=True, metadata=metadata)
        self.denoise(fake, tmp_path, name, "--channel-axis", "C")

        assert self.denoise(fake, tmp_path, name, "--resume", "--channel-axis", "1") == 0
        assert self.denoise(fake, tmp_path, name, "--resume") == 1
        assert "with --channel-axis=1, not --channel-axis=none" in capsys.readouterr().err

    def test_it_tells_with_which_versions(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)

        assert "torch" in io.read_provenance(tmp_path / name)["versions"]

    def test_evenly_spread_planes_stand_for_many(
        self, fake: FakeEngine, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.denoise(fake, tmp_path, name)
        monkeypatch.setattr(planes, "_MOST_COMPARED", 2)
        read_plane, read = made.read_plane, []

        def noting(source: Any, layout: PlaneLayout, index: int) -> Any:
            read.append(index)
            return read_plane(source, layout, index)

        monkeypatch.setattr(made, "read_plane", noting)
        found = made.recorded(tmp_path / name)["input"]

        if name.endswith(".zarr"):
            assert list(found) == ["0", "3"]
        self.denoise(fake, tmp_path, f"again-{name}")
        assert read == ([] if name.endswith(".zarr") else [0, 3])


def test_resume_refuses_a_result_without_the_scales_that_are_asked_for(
    fake: FakeEngine, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", image_file, "-o", tmp_path / "out.tif", "--resume"]
    run(fake, *command)

    assert unloaded(*command, "--save-scales") == 1

    assert "made otherwise (without its scales)" in capsys.readouterr().err
    assert run(fake, *command[:-1], "--overwrite", "--save-scales") == 0
    assert unloaded(*command, "--save-scales") == 0


class Killed(BaseException):
    """Ends the program where it stands."""


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
class TestScales:
    def test_those_of_another_run_are_not_taken_for_its_own(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path, suffix: str
    ) -> None:
        out, scale = tmp_path / f"out{suffix}", tmp_path / f"out.scale0{suffix}"
        command = ["denoise", image_file, "-o", out, "--save-scales"]
        run(fake, *command)
        scale.rename(tmp_path / "other")
        run(fake, *command, "--seed", "3", "--overwrite")
        assert unloaded(*command, "--seed", "3", "--resume") == 0

        io.discard(scale)
        (tmp_path / "other").rename(scale)

        assert unloaded(*command, "--seed", "3", "--resume") == 1

    def test_they_go_with_the_result_that_they_belong_to(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path, suffix: str
    ) -> None:
        scale = tmp_path / f"out.scale0{suffix}"
        command = ["denoise", image_file, "-o", tmp_path / f"out{suffix}"]
        run(fake, *command, "--save-scales")

        run(fake, *command, "--overwrite")
        assert not scale.exists()
        run(fake, "denoise", image_file, "-o", scale, "--seed", "3")
        run(fake, *command, "--overwrite")

        assert scale.exists()

    def test_kill_while_they_are_written_can_be_resumed(
        self,
        fake: FakeEngine,
        image_file: Path,
        tmp_path: Path,
        suffix: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out, scale = tmp_path / f"out{suffix}", tmp_path / f"out.scale0{suffix}"
        command = ["denoise", image_file, "-o", out, "--save-scales", "--resume"]
        save = io.save_image

        def dying(path: Path, *rest: Any, **settings: Any) -> None:
            if path == out:
                raise Killed
            save(path, *rest, **settings)

        with monkeypatch.context() as patch:
            patch.setattr(io, "save_image", dying)
            with pytest.raises(Killed):
                run(fake, *command)
        assert (out.exists(), scale.exists()) == (False, True)

        assert unloaded(*command, "--seed", "3") == 2
        assert run(fake, *command) == 0
        assert unloaded(*command) == 0
