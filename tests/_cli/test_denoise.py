"""Every input is denoised as its file demands, and what is done is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import tifffile
import zarr
from tests._cli.helpers import FakeEngine, RealStacks, metadata_of, read, run, unloaded
from tests.fake_fit import fake_denoise

from napari_msdip import io, piece, stack
from napari_msdip._cli import denoise, selection
from napari_msdip._stack import zarr_sink
from napari_msdip.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class TestImage:
    def test_result_is_written_with_its_metadata(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        assert run(fake, "denoise", image_file, "-o", tmp_path / "out.tif") == 0

        out = read(tmp_path / "out.tif")
        assert out.dtype == np.uint16
        assert (out == 50).all()
        assert metadata_of(tmp_path / "out.tif").scale == pytest.approx(
            {"X": 0.1, "Y": 0.1}
        )

    def test_colours_are_denoised_together(self, fake: FakeEngine, tmp_path: Path) -> None:
        tifffile.imwrite(
            tmp_path / "rgb.tif", np.zeros((20, 24, 3), np.uint8), photometric="rgb"
        )

        assert run(fake, "denoise", tmp_path / "rgb.tif", "-o", tmp_path / "out.png") == 0

        assert fake.calls[0]["channel_axis"] == 2

    def test_scales_on_request(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        run(fake, "denoise", image_file, "-o", tmp_path / "out.tif", "--save-scales")

        assert (tmp_path / "out.scale0.tif").exists()

    @pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
    def test_scales_of_an_earlier_run_do_not_stay_beside_the_new_ones(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path, suffix: str
    ) -> None:
        words = ["denoise", image_file, "-o", tmp_path / f"out{suffix}", "--save-scales"]
        run(fake, *words)
        (tmp_path / f"out.scale0{suffix}").rename(tmp_path / f"out.scale7{suffix}")
        others = [f"out.scale7b{suffix}", f"other.scale7{suffix}"]
        for name in others:
            (tmp_path / name).touch()

        assert run(fake, *words, "--overwrite") == 0

        expected = ["cells.tif", *others, f"out{suffix}", f"out.scale0{suffix}"]
        assert sorted(os.listdir(tmp_path)) == sorted(expected)

    def test_big_endian_file(self, fake: FakeEngine, tmp_path: Path) -> None:
        image = np.full((20, 24), 1000, ">u2")
        tifffile.imwrite(tmp_path / "in.tif", image, byteorder=">")

        run(fake, "denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif")

        assert (read(tmp_path / "out.tif") == 500).all()

    def test_options_arrive(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        run(fake, "denoise", image_file, "-o", tmp_path / "o.tif", "--seed", "7")

        assert fake.calls[0]["options"] == Options(seed=7)


class TestStack:
    def test_tiff_to_tiff(self, fake: FakeEngine, stack_file: Path, tmp_path: Path) -> None:
        assert run(fake, "denoise", stack_file, "-o", tmp_path / "out.tif") == 0

        np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(stack_file) // 2)
        assert metadata_of(tmp_path / "out.tif") == metadata_of(stack_file)
        assert sorted(os.listdir(tmp_path)) == ["out.tif", "stack.ome.tif"]

    def test_scales_of_a_stack_are_not_silently_missing(
        self,
        fake: FakeEngine,
        stack_file: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run(fake, "denoise", stack_file, "-o", tmp_path / "out.tif", "--save-scales")

        assert "no scales are saved" in capsys.readouterr().err

    @pytest.mark.parametrize(("name", "interim"), [("o.tif", True), ("o.zarr", False)])
    def test_only_a_zarr_result_is_held_to_the_rules_of_ome_zarr(
        self, fake: FakeEngine, stack_file: Path, tmp_path: Path, name: str, interim: bool
    ) -> None:
        run(fake, "denoise", stack_file, "-o", tmp_path / name)

        assert fake.calls[0]["out"].interim is interim

    @pytest.mark.parametrize("plane", [0, 4])
    def test_one_plane_fits_a_picture(
        self, fake: FakeEngine, stack_file: Path, tmp_path: Path, plane: int
    ) -> None:
        words = ["-o", tmp_path / "out.png", "--planes", str(plane)]

        assert run(fake, "denoise", stack_file, *words) == 0

        expected = read(stack_file)[plane] // 2
        np.testing.assert_array_equal(read(tmp_path / "out.png"), expected)
        assert sorted(os.listdir(tmp_path)) == ["out.png", "stack.ome.tif"]
        assert run(fake, "denoise", stack_file, *words, "--resume") == 0
        assert len(fake.calls) == 1

    def test_middle_plane_is_judged(
        self,
        fake: FakeEngine,
        stack_file: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        words = ["--planes", "1,4,5", "--json"]

        run(fake, "denoise", stack_file, "-o", tmp_path / "out.tif", *words)

        (file,) = json.loads(capsys.readouterr().out)["files"]
        assert file["quality"] == {"plane": 4, "verdict": "safe", "reason": "It is."}
        assert [float(plane.mean()) for plane in fake.judged] == [40, 20]

    @pytest.mark.parametrize("name", ["cells.tif", "stack.ome.tif"])
    @pytest.mark.parametrize("words", [[], ["--remove-hot-pixels"]])
    def test_judge_is_told_that_hot_pixels_were_meant_to_go(
        self,
        fake: FakeEngine,
        image_file: Path,
        stack_file: Path,
        tmp_path: Path,
        name: str,
        words: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        told = []

        def listening(*images: object, **settings: object) -> object:
            told.append(settings["hot_pixels_removed"])
            return FakeEngine.assess(fake, *images, **settings)

        monkeypatch.setattr(fake, "assess", listening)
        run(fake, "denoise", tmp_path / name, "-o", tmp_path / "o.tif", *words)

        assert told == [bool(words)]

    @pytest.mark.parametrize("name", ["cells.tif", "stack.ome.tif"])
    def test_judgement_that_fails_does_not_cost_the_result(
        self,
        fake: FakeEngine,
        image_file: Path,
        stack_file: Path,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def failing(*images: object, **settings: object) -> None:
            raise MemoryError("no room to look")

        monkeypatch.setattr(fake, "assess", failing)

        assert (
            run(fake, "denoise", tmp_path / name, "-o", tmp_path / "o.tif", "--json") == 0
        )

        (file,) = json.loads(capsys.readouterr().out)["files"]
        assert file["quality"]["verdict"] == "undecided"
        assert "no room to look" in file["quality"]["reason"]
        assert (tmp_path / "o.tif").exists()

    def test_planes_to_zarr(
        self, fake: FakeEngine, stack_file: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out.ome.zarr"

        assert run(fake, "denoise", stack_file, "-o", out, "--planes", "0:6:2") == 0

        np.testing.assert_array_equal(read(out), read(stack_file)[::2] // 2)
        assert metadata_of(out).scale["Z"] == 1.0

    def test_channels_of_a_stack_in_zarr_have_their_colours(
        self, fake: FakeEngine, tmp_path: Path
    ) -> None:
        metadata = {"axes": "CYX", "Channel": {"Name": ["a", "b"], "Color": [-1, 65535]}}
        image = np.zeros((2, 20, 24), np.uint8)
        tifffile.imwrite(tmp_path / "in.ome.tif", image, metadata=metadata)

        run(fake, "denoise", tmp_path / "in.ome.tif", "-o", tmp_path / "out.ome.zarr")

        channels = zarr.open_group(tmp_path / "out.ome.zarr").attrs["ome"]["omero"]
        window = {"min": 0, "max": 255, "start": 0, "end": 255}
        assert channels == {
            "channels": [
                {"color": "FFFFFF", "label": "a", "window": window},
                {"color": "0000FF", "label": "b", "window": window},
            ]
        }

    @pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
    def test_planes_that_a_full_disk_lost_can_be_resumed(
        self,
        stack_file: Path,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = ["denoise", stack_file, "-o", tmp_path / name]
        full = FakeEngine(loses={3: "cannot be written: the disk is full"})

        assert run(full, *command) == 1
        assert not (tmp_path / name).exists()
        assert "5 of 6 planes done; --resume goes on" in capsys.readouterr().out
        assert run(FakeEngine(), *command, "--resume") == 0

        np.testing.assert_array_equal(read(tmp_path / name), read(stack_file) // 2)

    @pytest.mark.skipif(os.name == "nt", reason="syncs no folders")
    def test_planes_are_removed_once_a_power_cut_spares_the_result(
        self,
        fake: FakeEngine,
        stack_file: Path,
        tmp_path: Path,
        durable: set[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        target, removed = tmp_path / "out.tif", []
        discard = io.discard

        def checking(path: Path) -> None:
            if path.exists():
                removed.append(path)
                assert {target.stat().st_ino, tmp_path.stat().st_ino} <= durable
            discard(path)

        monkeypatch.setattr(io, "discard", checking)
        assert run(fake, "denoise", stack_file, "-o", target) == 0

        assert removed == [io.partial_path(target)]

    @pytest.mark.skipif(os.name == "nt", reason="syncs no folders")
    def test_what_is_said_of_planes_in_zarr_is_on_disk_when_they_get_their_name(
        self,
        fake: FakeEngine,
        stack_file: Path,
        tmp_path: Path,
        durable: set[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        name_finished, named = io.name_finished, []

        def checking(store: Path, path: Path, *, overwrite: bool) -> None:
            named.append(path)
            assert (store / "zarr.json").stat().st_ino in durable
            name_finished(store, path, overwrite=overwrite)

        monkeypatch.setattr(io, "name_finished", checking)
        assert run(fake, "denoise", stack_file, "-o", tmp_path / "out.zarr") == 0

        assert named == [tmp_path / "out.zarr"]

    @pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
    def test_planes_outlive_a_result_that_appears_meanwhile(
        self,
        fake: FakeEngine,
        stack_file: Path,
        tmp_path: Path,
        name: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def appearing(*images: object, **settings: object) -> object:
            io.save_image(tmp_path / name, read(stack_file), metadata_of(stack_file))

            return FakeEngine.assess(fake, *images, **settings)

        monkeypatch.setattr(fake, "assess", appearing)
        assert run(fake, "denoise", stack_file, "-o", tmp_path / name) == 1

        kept = io.partial_path(tmp_path / name)
        np.testing.assert_array_equal(zarr.open_group(kept)["0"][:], read(stack_file) // 2)
        np.testing.assert_array_equal(read(tmp_path / name), read(stack_file))
        assert f"kept in {kept}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
class TestPlanesThatFailed(RealStacks):
    def test_resuming_says_what_the_first_run_said(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        said = []
        for words in ([], ["--resume"], ["--resume"]):
            assert self.denoise(fake, tmp_path, name, *words) == 1
            (file,) = json.loads(capsys.readouterr().out)["files"]
            said.append({key: file[key] for key in file if key != "seconds"})

        assert said[0]["status"] == "partly failed"
        assert "NaN" in said[0]["failed"]["2"]
        assert said[0]["options"]["seed"] == 0
        assert said[0]["plan"]["threads"] == 1
        assert not said[0]["complete"]
        assert said[0]["output"] == str(tmp_path / name)
        assert said[1] == said[2] == said[0]
        np.testing.assert_array_equal(
            read(tmp_path / name)[2], read(tmp_path / "in.tif")[2]
        )

    def test_pixels_that_no_run_can_denoise_are_to_be_mended(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.denoise(fake, tmp_path, name)

        captured = capsys.readouterr()
        (file,) = json.loads(captured.out)["files"]
        for said in (captured.err, file["failed"]["2"]):
            assert "1 of 480 values are NaN" in said
            assert "Process > Noise > Remove NaNs" in said
            assert "numpy" not in said
        assert "once they are mended in the input, --resume does them" in captured.err
        assert "tries them again" not in captured.err
        kept = io.partial_path(tmp_path / name)
        assert (f"{kept} is kept for that" in captured.err) == kept.exists()

    def test_what_may_pass_is_tried_again(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        fitted = []

        def failing_once(*arguments: Any, **settings: Any) -> Any:
            fitted.append(arguments)
            if len(fitted) == 2:
                raise RuntimeError("diverged")
            return fake_denoise(*arguments, **settings)

        monkeypatch.setattr(piece, "iter_denoise_part", failing_once)
        assert self.denoise(fake, tmp_path, name) == 1

        said = capsys.readouterr().err
        assert "RuntimeError: diverged" in said
        assert "--resume tries them again" in said

    def test_resuming_tries_them_again_and_no_others(
        self, fake: FakeEngine, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.denoise(fake, tmp_path, name)
        self.write(tmp_path)
        fitted = []

        def noting(image: Any, *rest: Any, **settings: Any) -> Any:
            fitted.append(image)
            return fake_denoise(image, *rest, **settings)

        monkeypatch.setattr(piece, "iter_denoise_part", noting)
        assert self.denoise(fake, tmp_path, name, "--resume") == 0

        np.testing.assert_array_equal(fitted, self.stack()[[2]])
        assert sorted(os.listdir(tmp_path)) == sorted(["in.tif", name])
        assert self.denoise(fake, tmp_path, f"whole-{name}") == 0
        np.testing.assert_array_equal(
            read(tmp_path / name), read(tmp_path / f"whole-{name}")
        )
        fitted.clear()
        assert self.denoise(fake, tmp_path, name, "--resume") == 0
        assert fitted == []

    def test_stack_without_a_good_plane_gives_no_result(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        nothing = np.full((3, 20, 24), np.nan, np.float32)
        metadata = {"axes": "ZYX"}
        tifffile.imwrite(tmp_path / "in.tif", nothing, imagej=True, metadata=metadata)

        for words in ([], ["--resume"]):
            assert self.denoise(fake, tmp_path, name, *words) == 1
            (file,) = json.loads(capsys.readouterr().out)["files"]
            assert file["status"] == "failed"
            assert "480 of 480 values are NaN" in file["error"]
        assert os.listdir(tmp_path) == ["in.tif"]

    def test_result_is_not_written_again_if_it_stays_the_same(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        before = (tmp_path / name).stat().st_ino

        self.denoise(fake, tmp_path, name, "--resume")

        assert (tmp_path / name).stat().st_ino == before

    @pytest.mark.parametrize("content", ["", "[]"])
    def test_damaged_store_ends_one_file_only(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        content: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.denoise(fake, tmp_path, name)
        store = tmp_path / name
        if not name.endswith(".zarr"):
            store = io.partial_path(store)
        store.rename(io.partial_path(tmp_path / name))
        store = io.partial_path(tmp_path / name)
        (store / "zarr.json").write_text(content)
        (tmp_path / name).unlink(missing_ok=True)

        assert self.denoise(fake, tmp_path, name, "--resume") == 1

        error = capsys.readouterr().err
        assert f"{store / 'zarr.json'} is damaged" in error
        assert self.denoise(fake, tmp_path, name, "--overwrite") == 1

    def test_resuming_with_other_options_leaves_the_result(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        before = read(tmp_path / name)

        assert self.denoise(fake, tmp_path, name, "--resume", "--seed", "3") == 1

        np.testing.assert_array_equal(read(tmp_path / name), before)

    def test_resuming_a_whole_result_compares_what_it_was_made_of(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.write(tmp_path)
        assert self.denoise(fake, tmp_path, name, "--planes", "0:2") == 0

        assert self.denoise(fake, tmp_path, name, "--resume", "--planes", "0:2") == 0
        assert self.denoise(fake, tmp_path, name, "--resume", "--planes", "2:4") == 1
        tifffile.imwrite(tmp_path / "in.tif", self.stack() + 1, imagej=True)
        assert self.denoise(fake, tmp_path, name, "--resume", "--planes", "0:2") == 1

    def test_stack_that_has_grown_is_not_taken_for_done(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        stack, metadata = self.stack(), {"axes": "ZYX"}
        for n_planes, code in ((3, 0), (5, 1)):
            tifffile.imwrite(
                tmp_path / "in.tif", stack[:n_planes], imagej=True, metadata=metadata
            )
            assert self.denoise(fake, tmp_path, name, "--resume") == code

    def test_interrupted_second_try_is_gone_on_with(
        self, fake: FakeEngine, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.denoise(fake, tmp_path, name)
        self.write(tmp_path)

        def interrupted(*arguments: Any, **settings: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return fake_denoise(*arguments, **settings)

        with monkeypatch.context() as patch:
            patch.setattr(piece, "iter_denoise_part", interrupted)
            assert self.denoise(fake, tmp_path, name, "--resume") == 130
        assert self.denoise(fake, tmp_path, name, "--resume") == 0

        assert self.denoise(fake, tmp_path, f"whole-{name}") == 0
        np.testing.assert_array_equal(
            read(tmp_path / name), read(tmp_path / f"whole-{name}")
        )

    def test_overwriting_begins_anew(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        assert self.denoise(fake, tmp_path, name) == 2
        self.write(tmp_path)

        assert self.denoise(fake, tmp_path, name, "--overwrite", "--seed", "3") == 0

        assert sorted(os.listdir(tmp_path)) == sorted(["in.tif", name])

    def test_unfinished_run_over_another_result_needs_permission(
        self, tmp_path: Path, name: str, stack_file: Path
    ) -> None:
        command = ["denoise", stack_file, "-o", tmp_path / name]
        run(FakeEngine(), *command)
        before = read(tmp_path / name)

        assert run(FakeEngine(interrupts_at=2), *command, "--overwrite") == 130
        assert run(FakeEngine(), *command, "--resume") == 2
        np.testing.assert_array_equal(read(tmp_path / name), before)
        assert run(FakeEngine(), *command, "--resume", "--overwrite") == 0

    def test_image_in_place_of_the_stack_is_not_taken_for_a_copy_of_it(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        self.write(tmp_path)
        together = ["--channel-axis", "Z"]
        assert self.denoise(fake, tmp_path, name, "--overwrite", *together) == 0
        before, n_fits = read(tmp_path / name), len(fake.calls)

        assert self.denoise(fake, tmp_path, name, "--resume", *together) == 0
        assert self.denoise(fake, tmp_path, name, "--resume") == 1

        np.testing.assert_array_equal(read(tmp_path / name), before)
        assert len(fake.calls) == n_fits

    def test_image_needs_permission_to_replace_the_stack_before_it_is_fitted(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        self.write(tmp_path)

        words = ["--channel-axis", "Z"]
        assert self.denoise(fake, tmp_path, name, "--resume", *words) == 2
        assert fake.calls == []
        assert self.denoise(fake, tmp_path, name, "--resume", "--overwrite", *words) == 0
        assert sorted(os.listdir(tmp_path)) == sorted(["in.tif", name])


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
class TestKilled(RealStacks):
    def test_store_that_was_being_removed_is_not_taken_for_finished(
        self, fake: FakeEngine, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(tmp_path)
        assert self.denoise(fake, tmp_path, f"whole-{name}") == 0
        seen = []

        def interrupted(image: Any, *rest: Any, **settings: Any) -> Any:
            seen.append(image)
            if len(seen) == 3:
                signal.raise_signal(signal.SIGINT)
            return fake_denoise(image, *rest, **settings)

        remove = shutil.rmtree

        def dying(folder: Path) -> None:
            remove(folder / "0" / "c")
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(piece, "iter_denoise_part", interrupted)
            assert self.denoise(fake, tmp_path, name) == 130
            patch.setattr(shutil, "rmtree", dying)
            with pytest.raises(Killed):
                self.denoise(fake, tmp_path, name, "--overwrite")
        assert self.denoise(fake, tmp_path, name, "--resume") == 0

        np.testing.assert_array_equal(
            read(tmp_path / name), read(tmp_path / f"whole-{name}")
        )
        assert sorted(os.listdir(tmp_path)) == sorted(["in.tif", name, f"whole-{name}"])


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
@pytest.mark.parametrize("begun", [False, True])
class TestTwoRunsAtOnce(RealStacks):
    POINTS: ClassVar = {
        "before": (denoise._Run, "_refuse_if_done"),
        "within": (denoise._Run, "_show"),
        "at the end": (zarr_sink.ZarrSink, "finish"),
        "after": (denoise._Run, "_settle"),
    }

    @pytest.mark.parametrize("point", POINTS)
    def test_the_later_one_says_that_another_was_there(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        name: str,
        begun: bool,
        point: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.write(tmp_path)
        if begun:
            with pytest.raises(Killed), monkeypatch.context() as patch:
                patch.setattr(stack, "finish", dying_after(2))
                self.denoise(fake, tmp_path, name)
        others = iter([partial(self.denoise, fake, tmp_path, name, "--resume")])
        owner, method = self.POINTS[point]
        go_on = getattr(owner, method)

        def after_the_other(*arguments: Any, **settings: Any) -> Any:
            for other in others:
                assert other() == 0
                capsys.readouterr()
            return go_on(*arguments, **settings)

        monkeypatch.setattr(owner, method, after_the_other)

        assert self.denoise(fake, tmp_path, name, "--resume") == 1

        told = json.loads(capsys.readouterr().out)["files"][0]["error"]
        assert "another run has" in told
        assert "does not exist" not in told
        assert sorted(os.listdir(tmp_path)) == ["in.tif", name]
        assert read(tmp_path / name).shape == self.stack().shape


def dying_after(count: int) -> Callable[..., Any]:
    """Return what finishes so many planes, and is killed then."""
    left, finish = iter(range(count)), stack.finish

    def finishing(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return finish(*arguments)

    return finishing


class TestKilledWhileCopied(RealStacks):
    """A stack that is denoised, and is just getting its final format."""

    def dying(self, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
        save, remove = io.save_image, shutil.rmtree

        def before_saving(*arguments: Any, **settings: Any) -> None:
            raise Killed

        def after_saving(*arguments: Any, **settings: Any) -> None:
            save(*arguments, **settings)
            raise Killed

        def before_removing(store: Path) -> None:
            if store.exists():
                raise Killed

        def while_removing(folder: Path) -> None:
            remove(folder / "0" / "c")
            raise Killed

        match point:
            case "before saving":
                monkeypatch.setattr(io, "save_image", before_saving)
            case "after saving":
                monkeypatch.setattr(io, "save_image", after_saving)
            case "before removing":
                monkeypatch.setattr(io, "discard", before_removing)
            case "while removing":
                monkeypatch.setattr(shutil, "rmtree", while_removing)

    @pytest.mark.parametrize(
        "point", ["before saving", "after saving", "before removing", "while removing"]
    )
    @pytest.mark.parametrize("words", [[], ["--overwrite"]])
    def test_resuming_needs_no_permission_and_fits_nothing(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        point: str,
        words: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.write(tmp_path)
        assert self.denoise(fake, tmp_path, "whole.tif") == 0
        if words:
            (tmp_path / "out.tif").write_bytes(b"an older result")

        with monkeypatch.context() as patch:
            self.dying(point, patch)
            with pytest.raises(Killed):
                self.denoise(fake, tmp_path, "out.tif", *words)
        monkeypatch.delattr(piece, "iter_denoise_part")
        assert self.denoise(fake, tmp_path, "out.tif", "--resume") == 0

        np.testing.assert_array_equal(
            read(tmp_path / "out.tif"), read(tmp_path / "whole.tif")
        )
        assert sorted(os.listdir(tmp_path)) == ["in.tif", "out.tif", "whole.tif"]

    def test_resuming_tells_the_plan_all_the_same(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.write(tmp_path)
        with monkeypatch.context() as patch:
            self.dying("before saving", patch)
            with pytest.raises(Killed):
                self.denoise(fake, tmp_path, "out.tif")
        noted = io.read_provenance(io.partial_path(tmp_path / "out.tif"))["plan"]
        capsys.readouterr()

        self.denoise(fake, tmp_path, "out.tif", "--resume")

        (file,) = json.loads(capsys.readouterr().out)["files"]
        told = io.read_provenance(tmp_path / "out.tif")["plan of the last plane"]
        assert file["plan"] == told == noted
        assert noted["threads"] == 1

    @pytest.mark.parametrize("point", ["before saving", "after saving"])
    def test_planes_that_failed_are_tried_again_all_the_same(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        point: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with monkeypatch.context() as patch:
            self.dying(point, patch)
            with pytest.raises(Killed):
                self.denoise(fake, tmp_path, "out.tif")

        assert self.denoise(fake, tmp_path, "out.tif", "--resume") == 1
        assert (read(tmp_path / "out.tif")[0] != self.stack()[0]).any()
        self.write(tmp_path)
        assert self.denoise(fake, tmp_path, "out.tif", "--resume") == 0
        assert sorted(os.listdir(tmp_path)) == ["in.tif", "out.tif"]

    def test_failure_to_save_does_not_make_another_result_its_own(
        self, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(tmp_path)

        def appearing(path: Path, *rest: Any, **settings: Any) -> None:
            path.write_bytes(b"precious")
            raise io.FileError(f"{path}: exists already; overwrite=True replaces it")

        with monkeypatch.context() as patch:
            patch.setattr(io, "save_image", appearing)
            assert self.denoise(fake, tmp_path, "out.tif") == 1

        assert self.denoise(fake, tmp_path, "out.tif", "--resume") == 2
        assert (tmp_path / "out.tif").read_bytes() == b"precious"

    def test_file_that_took_the_place_of_the_copy_is_not_replaced(
        self, fake: FakeEngine, tmp_path: Path
    ) -> None:
        self.denoise(fake, tmp_path, "out.tif")
        self.write(tmp_path)
        (tmp_path / "out.tif").write_bytes(b"precious")

        assert self.denoise(fake, tmp_path, "out.tif", "--resume") == 2
        assert (tmp_path / "out.tif").read_bytes() == b"precious"

    def test_planes_are_not_lost_to_an_image_of_the_same_name(
        self, fake: FakeEngine, tmp_path: Path
    ) -> None:
        self.denoise(fake, tmp_path, "out.tif")
        self.write(tmp_path)
        (tmp_path / "out.tif").unlink()

        assert self.denoise(fake, tmp_path, "out.tif", "--channel-axis", "Z") == 2
        assert self.denoise(fake, tmp_path, "out.tif", "--resume") == 0

    def test_planes_that_cannot_be_removed_do_not_cost_the_result(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.write(tmp_path)

        def refusing(folder: Path) -> None:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", refusing)
            assert self.denoise(fake, tmp_path, "out.tif") == 0

        captured = capsys.readouterr()
        assert json.loads(captured.out)["files"][0]["status"] == "completed"
        assert "cannot be removed" in captured.err


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    """A file of two images, of which the first is read."""
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(np.full((20, 24), 99, np.uint16))
        tif.write(np.full((30, 34), 100, np.uint16))
    return path


class TestWhatIsLeftOut:
    NOTES = (
        "holds 2 images that are no stack, and only the first is read; --image=1 reads "
        "the next",
    )

    @staticmethod
    def told(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, list[str]]]:
        files = json.loads(capsys.readouterr().out)["files"]
        return [(file["status"], file["notes"]) for file in files]

    def test_is_not_done_and_neither_is_the_file(
        self,
        fake: FakeEngine,
        two_images: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = ["denoise", two_images, "-o", tmp_path / "out.tif", "--json"]

        for _ in range(2):
            assert run(fake, *command, "--resume") == 1

            captured = capsys.readouterr()
            (file,) = json.loads(captured.out)["files"]
            assert (file["status"], file["left_out"]) == ("partly failed", 1)
            assert file["notes"] == [*self.NOTES]
            assert "1 image is left out; --image takes" in captured.err

    def test_can_be_had_by_its_number(
        self,
        fake: FakeEngine,
        two_images: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = ["denoise", two_images, "-o", tmp_path / "out.tif", "--json"]

        for words in ([], ["--resume"]):
            assert run(fake, *command, "--image", "1", *words) == 0
        assert run(fake, *command, "--image", "2", "--overwrite") == 2

        assert read(tmp_path / "out.tif").shape == (30, 34)

    @pytest.mark.parametrize("ending", ["ome.zarr", "tif"])
    def test_is_told_where_the_format_has_no_place_for_it(
        self,
        fake: FakeEngine,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        ending: str,
    ) -> None:
        image = np.arange(20 * 24 * 4, dtype=np.uint16).reshape(20, 24, 4)
        kind = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
        turned = [(274, 3, 1, 6, False)]
        tifffile.imwrite(tmp_path / "in.tif", image, **kind, extratags=turned)
        out = tmp_path / f"out.{ending}"
        expected = []
        if ending == "ome.zarr":
            expected = ["has opacity, an orientation, which its result will be without"]

        for _ in range(2):
            words = ["denoise", tmp_path / "in.tif", "-o", out, "--json", "--resume"]
            assert run(fake, *words) == 0
            assert self.told(capsys)[0][1] == expected

    def test_frames_that_were_saved_one_by_one_are_all_denoised(
        self, fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        frames = np.arange(4 * 480, dtype=np.uint16).reshape(4, 20, 24)
        for number, frame in enumerate(frames):
            tifffile.imwrite(tmp_path / "in.tif", frame, append=number > 0)
        command = ["denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--json"]

        assert run(fake, *command) == 0

        assert self.told(capsys)[0][0] == "completed"
        assert read(tmp_path / "out.tif").shape == frames.shape
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), frames // 2)
        assert run(fake, *command, "--resume") == 0
        assert self.told(capsys)[0][0] == "skipped"

    def test_is_in_the_report_of_what_fails(
        self, two_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake = FakeEngine(refuses="image: holds NaN")

        run(fake, "denoise", two_images, "-o", tmp_path / "out.tif", "--json")

        assert self.told(capsys) == [("failed", [*self.NOTES])]

    def test_is_in_the_report_of_what_is_not_begun(
        self,
        image_file: Path,
        two_images: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = ["denoise", image_file, two_images, "-o", f"{tmp_path}/out/", "--json"]

        run(FakeEngine(interrupts_at=1), *command)

        assert self.told(capsys) == [("cancelled", []), ("not begun", [*self.NOTES])]

    def test_is_in_the_report_of_a_stack(
        self,
        fake: FakeEngine,
        stack_file: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        content = stack_file.read_bytes()
        stack_file.write_bytes(content.replace(b'SizeZ="6"', b'SizeZ="7"'))

        run(fake, "denoise", stack_file, "-o", tmp_path / "out.tif", "--json")

        ((status, (note,)),) = self.told(capsys)
        assert status == "completed"
        assert note.startswith("lacks 1 of the planes")


class TestManyFiles:
    def test_one_failure_does_not_stop_the_others(
        self,
        folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        fake = FakeEngine(refuses="image: holds NaN")

        assert run(fake, "denoise", folder, "-o", tmp_path / "out", "--json") == 1

        captured = capsys.readouterr()
        report = json.loads(captured.out)
        statuses = [file["status"] for file in report["files"]]
        assert statuses == ["completed", "failed", "completed"]
        assert "1.tif: image: holds NaN" in captured.err
        assert "Traceback" not in captured.err

    @pytest.mark.parametrize("command", ["denoise", "noise"])
    @pytest.mark.parametrize("words", [[], ["--resume"]])
    def test_error_that_nobody_foresaw_ends_one_file_only(
        self,
        fake: FakeEngine,
        folder: Path,
        tmp_path: Path,
        command: str,
        words: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        layout_of, out = selection.layout_of, ["-o", f"{tmp_path}/out/"]
        if words:
            run(fake, "denoise", folder / "1.tif", *out)
            capsys.readouterr()

        def breaking(source: io.Source, wanted: str | None) -> Any:
            if source.path.name == "1.tif":
                raise IndexError("of an odd reader")
            return layout_of(source, wanted)

        monkeypatch.setattr(selection, "layout_of", breaking)
        if command == "noise":
            out, words = [], []

        assert run(fake, command, folder, *out, *words, "--json") == 1

        captured = capsys.readouterr()
        files = {file["input"]: file for file in json.loads(captured.out)["files"]}
        assert len(files) == 3
        assert files.pop(str(folder / "1.tif"))["error"] == (
            f"{folder / '1.tif'}: unexpected IndexError: of an odd reader; this is a bug, "
            "--debug shows where"
        )
        assert not any("error" in file for file in files.values())
        assert "Traceback" not in captured.err

    def test_error_that_nobody_foresaw_while_saving_ends_one_file_only(
        self,
        fake: FakeEngine,
        folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        save = io.save_image

        def breaking(path: Path, *rest: Any, **settings: Any) -> None:
            if path.name == "1.tif":
                raise IndexError("of an odd writer")
            save(path, *rest, **settings)

        monkeypatch.setattr(io, "save_image", breaking)
        command = ["denoise", folder, "-o", tmp_path / "out"]

        assert run(fake, *command, "--json") == 1

        files = json.loads(capsys.readouterr().out)["files"]
        statuses = [file["status"] for file in files]
        assert statuses == ["completed", "failed", "completed"]
        assert files[1]["error"].startswith(f"{folder / '1.tif'}: unexpected IndexError")

    @pytest.mark.parametrize("command", ["denoise", "noise"])
    @pytest.mark.parametrize("error", [IndexError, io.FileError])
    @pytest.mark.parametrize("words", [[], ["--debug"]])
    def test_tracebacks_cost_no_other_file(
        self,
        fake: FakeEngine,
        folder: Path,
        tmp_path: Path,
        command: str,
        error: type[Exception],
        words: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def breaking(real: Any) -> Any:
            def method(image: np.ndarray, *rest: Any, **settings: Any) -> Any:
                if image.flat[0] == 99:
                    raise error("of an odd file")
                return real(image, *rest, **settings)

            return method

        for name in ("sigma", "iter_denoise"):
            monkeypatch.setattr(fake, name, breaking(getattr(fake, name)))
        out = ["-o", tmp_path / "out"] if command == "denoise" else []

        assert run(fake, command, folder, *out, *words, "--json") == 1

        captured = capsys.readouterr()
        files = json.loads(captured.out)["files"]
        assert ["error" in file for file in files] == [False, True, False]
        assert captured.err.count("Traceback") == len(words)

    def test_unreadable_file_does_not_stop_the_others(
        self, fake: FakeEngine, folder: Path, tmp_path: Path
    ) -> None:
        (folder / "1.tif").write_bytes(b"no image")

        assert run(fake, "denoise", folder, "-o", tmp_path / "out") == 1

        assert sorted(os.listdir(tmp_path / "out")) == ["0.tif", "2.tif"]

    @pytest.mark.parametrize("command", ["denoise", "noise"])
    def test_link_that_leads_nowhere_is_not_silently_missing(
        self,
        fake: FakeEngine,
        folder: Path,
        tmp_path: Path,
        command: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (folder / "3.tif").symlink_to(folder / "3.tif")
        words = ["-o", tmp_path / "out"] if command == "denoise" else []

        assert run(fake, command, folder, *words) == 1

        assert f"{folder / '3.tif'}: is a link that leads" in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["denoise", "noise"])
    def test_file_without_pixels_does_not_stop_the_others(
        self,
        fake: FakeEngine,
        folder: Path,
        tmp_path: Path,
        command: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        zarr.create_array(folder / "1.zarr", shape=(0, 24), dtype="u1")
        (folder / "2.png").touch()
        words = ["-o", tmp_path / "out"] if command == "denoise" else []

        assert run(fake, command, folder, *words, "--json") == 1

        captured = capsys.readouterr()
        errors = [file.get("error", "") for file in json.loads(captured.out)["files"]]
        assert sum(map(bool, errors)) == 2
        assert captured.err.count("error: ") == 2
        assert "Traceback" not in captured.err


class TestCancel:
    def test_image_keeps_the_best_so_far_under_another_name(
        self, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake = FakeEngine(interrupts_at=2)

        assert run(fake, "denoise", image_file, "-o", tmp_path / "out.tif") == 130

        assert (read(tmp_path / "out.unfinished.tif") == 50).all()
        assert not (tmp_path / "out.tif").exists()
        assert "best image so far" in capsys.readouterr().out

    def test_image_that_has_nothing_to_keep_yet_leaves_no_file(
        self, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["denoise", image_file, "-o", tmp_path / "out.tif", "--json"]

        assert run(FakeEngine(interrupts_at=0), *words) == 130

        assert list(tmp_path.glob("out*")) == []
        captured = capsys.readouterr()
        assert json.loads(captured.out)["files"][0]["status"] == "not begun"
        assert "before there was anything to keep" in captured.err

    def test_scales_keep_their_numbers_where_the_finest_is_missing(
        self, image_file: Path, tmp_path: Path
    ) -> None:
        words = ["denoise", image_file, "-o", tmp_path / "out.tif", "--save-scales"]

        assert run(FakeEngine(interrupts_at=2), *words) == 130

        assert (tmp_path / "out.unfinished.scale1.tif").exists()
        assert not (tmp_path / "out.unfinished.scale0.tif").exists()

    @pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
    def test_previews_go_once_the_image_is_done(
        self, image_file: Path, tmp_path: Path, suffix: str
    ) -> None:
        target = tmp_path / f"out{suffix}"
        words = ["denoise", image_file, "-o", target, "--save-scales"]
        for _ in range(2):
            assert run(FakeEngine(interrupts_at=2), *words) == 130
        assert (tmp_path / f"out.unfinished-2{suffix}").exists()
        assert (tmp_path / f"out.unfinished-2.scale1{suffix}").exists()

        assert run(FakeEngine(), *words) == 0

        expected = ["cells.tif", f"out{suffix}", f"out.scale0{suffix}"]
        assert sorted(os.listdir(tmp_path)) == sorted(expected)

    @pytest.mark.parametrize("case", ["of another input", "finished", "foreign"])
    def test_nothing_else_goes_that_is_called_so(
        self, image_file: Path, tmp_path: Path, case: str
    ) -> None:
        words = ["denoise", image_file, "-o"]
        preview = tmp_path / "out.unfinished.tif"
        if case == "foreign":
            shutil.copy(image_file, preview)
        elif case == "finished":
            assert run(FakeEngine(), *words, preview) == 0
        else:
            assert run(FakeEngine(interrupts_at=2), *words, tmp_path / "out.tif") == 130
            tifffile.imwrite(image_file, np.full((20, 24), 90, np.uint16), imagej=True)
        before = preview.read_bytes()

        assert run(FakeEngine(), *words, tmp_path / "out.tif") == 0

        assert preview.read_bytes() == before

    @pytest.mark.parametrize("command", ["denoise", "noise"])
    def test_previews_are_inputs_only_if_they_are_named(
        self,
        folder: Path,
        tmp_path: Path,
        command: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        preview = folder / "0.unfinished.tif"
        cancelled = FakeEngine(interrupts_at=2)
        run(cancelled, "denoise", folder / "0.tif", "-o", f"{tmp_path}/o/")
        (tmp_path / "o" / preview.name).rename(preview)
        shutil.copy(folder / "0.tif", folder / "1.unfinished.tif")
        names = ["0.tif", "1.tif", "1.unfinished.tif", "2.tif"]
        out = ["-o", f"{tmp_path}/out/"] if command == "denoise" else []
        capsys.readouterr()

        for word, expected in (
            (folder, names),
            (f"{folder}/*", names),
            (preview, [preview.name]),
        ):
            assert run(FakeEngine(), command, word, *out, "--json") == 0
            captured = capsys.readouterr()
            inputs = [file["input"] for file in json.loads(captured.out)["files"]]
            assert inputs == [str(folder / name) for name in expected]
            said = f"{preview}: is what a cancelled run left" in captured.err
            assert said == (word != preview)
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert run(FakeEngine(), command, f"{folder}/0.unf*.tif", *out) == 2

    def test_stack_can_be_resumed(self, stack_file: Path, tmp_path: Path) -> None:
        command = ["denoise", stack_file, "-o", tmp_path / "out.tif"]

        assert run(FakeEngine(interrupts_at=2), *command) == 130
        assert not (tmp_path / "out.tif").exists()
        assert unloaded(*command) == 2
        assert run(FakeEngine(), *command, "--resume") == 0

        np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(stack_file) // 2)
        assert sorted(os.listdir(tmp_path)) == ["out.tif", "stack.ome.tif"]

    def test_unfinished_stack_outlives_a_command_that_cannot_begin(
        self, fake: FakeEngine, stack_file: Path, tmp_path: Path
    ) -> None:
        command = ["denoise", stack_file, "-o", tmp_path / "out.tif"]
        run(FakeEngine(interrupts_at=2), *command)

        assert run(fake, *command, "--overwrite", "--device", "mps") == 2
        assert io.partial_path(tmp_path / "out.tif").exists()
        assert run(fake, *command, "--overwrite") == 0

    def test_files_after_it_are_not_begun(
        self, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "later.tif").write_bytes(image_file.read_bytes())
        fake = FakeEngine(interrupts_at=2)

        files = [image_file, tmp_path / "later.tif"]
        assert run(fake, "denoise", *files, "-o", tmp_path / "out", "--json") == 130

        report = json.loads(capsys.readouterr().out)
        assert [file["status"] for file in report["files"]] == ["cancelled", "not begun"]

    def test_second_interrupt_aborts(self, image_file: Path, tmp_path: Path) -> None:
        fake = FakeEngine(interrupts_at=2, interrupts=2)

        assert run(fake, "denoise", image_file, "-o", tmp_path / "out.tif") == 130
        assert os.listdir(tmp_path) == ["cells.tif"]


def test_json_holds_provenance_and_nothing_else_is_on_stdout(
    fake: FakeEngine,
    image_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(fake, "denoise", image_file, "-o", tmp_path / "out.tif", "--json")

    report = json.loads(capsys.readouterr().out)
    (file,) = report["files"]
    assert report["exit_code"] == 0
    assert file["quality"]["verdict"] == "safe"
    assert file["provenance"]["plan"]["sigma"] is None


class TestScheduler:
    @pytest.fixture(autouse=True)
    def cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(denoise, "_connect", lambda address: nullcontext())

    def test_a_single_image_is_said_to_be_denoised_here(
        self,
        fake: FakeEngine,
        image_file: Path,
        stack_file: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        words = ["-o", f"{tmp_path}/out/", "--scheduler", "tcp://head:8786"]

        assert run(fake, "denoise", image_file, stack_file, *words) == 0

        said = capsys.readouterr().err
        assert f"{image_file}: is a single image, so it is denoised on this" in said
        assert str(stack_file) not in said

    def test_a_device_that_only_workers_have_is_taken_for_stacks(
        self, fake: FakeEngine, image_file: Path, stack_file: Path, tmp_path: Path
    ) -> None:
        words = ["-o", f"{tmp_path}/out/", "--scheduler", "tcp://head:8786"]

        assert run(fake, "denoise", stack_file, *words, "--device", "mps") == 0
        assert run(fake, "denoise", image_file, *words, "--device", "mps") == 2
