from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr
from tests.fakes import fake_denoise

from napari_msdip import image as front
from napari_msdip import io
from napari_msdip._cli.engine import Engine
from napari_msdip._cli.exits import UsageError
from napari_msdip._cli.flags import options_from
from napari_msdip._cli.parser import build_parser
from napari_msdip.cli import main
from napari_msdip.events import (
    Progress,
    Result,
    ScaleResult,
    StackResult,
    Status,
    StopReason,
)
from napari_msdip.options import Options, declared_options
from napari_msdip.plan import Plan, ScalePlan
from napari_msdip.planes import PlaneLayout, read_plane, select
from napari_msdip.stack import denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 5


@dataclass
class FakeEngine:
    """Halves every image, so that a result is told from its input, and takes notes."""

    interrupts_at: int | None = None
    interrupts: int = 1
    refuses: str = ""
    loses: dict[int, str] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    judged: list[Any] = field(default_factory=list)

    def load(self) -> Engine:
        return Engine(
            self.check, self.iter_denoise, self.denoise_stack, self.sigma, self.assess
        )

    def check(self, options: Options) -> None:
        if options.device == "mps":
            raise ValueError("device='mps' is not available")

    def iter_denoise(self, image, options, *, channel_axis, should_stop):
        self.calls.append({"options": options, "channel_axis": channel_axis})
        if self.refuses and image.flat[0] == 99:
            raise ValueError(self.refuses)
        status = Status.COMPLETED
        for step in range(STEPS):
            self._interrupt(step)
            if should_stop():
                status = Status.CANCELLED
                break
            yield progress(step / STEPS)
        return result(image // 2, options, status)

    def _interrupt(self, step: int) -> None:
        if step == self.interrupts_at:
            for _ in range(self.interrupts):
                signal.raise_signal(signal.SIGINT)

    def denoise_stack(
        self, stack, options, *, channel_axis, planes, out, on_progress, should_stop, client
    ):
        self.calls.append(
            {"options": options, "channel_axis": channel_axis, "planes": planes, "out": out}
        )
        layout = PlaneLayout.of(stack.shape, channel_axis)
        chosen = select(planes, layout.n_planes)
        target = layout if planes is None else layout.selection(len(chosen))
        group = zarr.open_group(out.path, mode="a")
        if "0" not in group:
            group.create_array("0", shape=target.shape, dtype=stack.dtype)
        pending = []
        for position, plane in enumerate(chosen):
            self._interrupt(position)
            if should_stop() or plane in self.loses:
                pending.append(plane)
                continue
            denoised = read_plane(stack, layout, plane) // 2
            group["0"][target.key(position)] = denoised
            on_progress(progress(position / len(chosen)))
        status = Status.CANCELLED if should_stop() else Status.COMPLETED
        return StackResult(
            group["0"], chosen, self.loses, None, status, 1.0, tuple(pending)
        )

    def sigma(self, image, *, channel_axis) -> float:
        return float(image.mean())

    def assess(self, noisy, denoised, *, channel_axis):
        self.judged = [noisy, denoised]
        return SimpleNamespace(verdict=SimpleNamespace(value="safe"), reason="It is.")


def progress(fraction: float) -> Progress:
    return Progress(0, 1, 1, STEPS, fraction, 1.0, 0.1)


def result(image: np.ndarray, options: Options, status: Status) -> Result:
    shape = image.shape[:2]
    plan = Plan(
        options=options,
        shape=shape,
        channels=1,
        scales=(ScalePlan(shape, (1.0, 1.0), STEPS),),
        device="cpu",
        precision="float32",
        threads=1,
        seed=0,
        sigma=float("nan"),
    )
    scale = ScaleResult(
        image, shape, (1.0, 1.0), 1.0, 0.0, STEPS, StopReason.ITERATIONS, 1.0
    )
    return Result(image, (scale,), 3.0, plan, status, 1.0, {})


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path,
        np.full((20, 24), 100, np.uint16),
        imagej=True,
        resolution=(10, 10),
        metadata={"unit": "um"},
    )
    return path


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    path = tmp_path / "stack.ome.tif"
    planes = np.arange(6, dtype=np.uint16)[:, None, None] * 10 + np.zeros((20, 24))
    tifffile.imwrite(
        path,
        planes.astype(np.uint16),
        ome=True,
        photometric="minisblack",
        metadata={"axes": "ZYX", "PhysicalSizeZ": 0.5, "PhysicalSizeX": 0.1},
    )
    return path


def run(fake: FakeEngine, *arguments: object) -> int:
    return main([str(argument) for argument in arguments], load=fake.load)


def read(path: Path) -> np.ndarray:
    with io.open_image(path) as source:
        return np.asarray(source.data)


def metadata_of(path: Path) -> io.Metadata:
    with io.open_image(path) as source:
        return source.metadata


class TestOptions:
    @pytest.mark.parametrize("option", declared_options(), ids=lambda option: option.name)
    def test_every_option_has_a_flag(self, option) -> None:
        flag = f"--{option.name.replace('_', '-')}"
        if option.type is bool:
            words, value = [f"--no-{flag[2:]}"], False
        elif option.choices:
            words, value = [flag, option.choices[-1]], option.choices[-1]
        elif option.type is str:
            words, value = [flag, "file.npz"], "file.npz"
        else:
            number = option.type(option.setting.minimum)
            words = [flag, str(number)]
            value = (number,) if option.is_tuple else number

        parsed = build_parser().parse_args(["denoise", "a", "-o", "b", *words])

        assert getattr(options_from(parsed), option.name) == value

    def test_no_flags_give_the_preset(self) -> None:
        parsed = build_parser().parse_args(["denoise", "a", "-o", "b", "--preset", "paper"])

        assert options_from(parsed) == Options.preset("paper")

    def test_auto_is_none(self) -> None:
        words = ["denoise", "a", "-o", "b", "--max-scales", "auto"]

        assert options_from(build_parser().parse_args(words)).max_scales is None

    def test_limits_are_kept(self) -> None:
        words = ["denoise", "a", "-o", "b", "--learning-rate", "7"]

        with pytest.raises(UsageError, match="learning_rate"):
            options_from(build_parser().parse_args(words))


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
        def failing(*images: object, channel_axis: int | None) -> None:
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

    @pytest.mark.parametrize(
        ("text", "planes"),
        [("3", [3]), ("1,4", [1, 4]), ("1:3", slice(1, 3)), (":2", slice(None, 2))],
    )
    def test_ways_to_name_planes(
        self, fake: FakeEngine, stack_file: Path, tmp_path: Path, text: str, planes: object
    ) -> None:
        run(fake, "denoise", stack_file, "-o", tmp_path / "o.tif", "--planes", text)

        assert fake.calls[0]["planes"] == planes

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
        def appearing(*images: object, channel_axis: int | None) -> object:
            io.save_image(tmp_path / name, read(stack_file), metadata_of(stack_file))

            return FakeEngine.assess(fake, *images, channel_axis=channel_axis)

        monkeypatch.setattr(fake, "assess", appearing)
        assert run(fake, "denoise", stack_file, "-o", tmp_path / name) == 1

        kept = io.partial_path(tmp_path / name)
        np.testing.assert_array_equal(zarr.open_group(kept)["0"][:], read(stack_file) // 2)
        np.testing.assert_array_equal(read(tmp_path / name), read(stack_file))
        assert f"kept in {kept}" in capsys.readouterr().err

    def test_channels_are_planes_unless_told_otherwise(
        self, fake: FakeEngine, tmp_path: Path
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

    @pytest.mark.parametrize("text", ["6", "9:", "5:2", "1,1", "0:6:0", "-7"])
    def test_planes_that_are_not_there(
        self,
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


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
class TestPlanesThatFailed:
    """The engine of stacks is the real one here, with fits that take no time."""

    @pytest.fixture(autouse=True)
    def quick_fits(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(front, "iter_denoise_part", fake_denoise)
        self.write(tmp_path, bad=2)

    def stack(self) -> np.ndarray:
        return np.random.default_rng(0).normal(100, 9, (5, 20, 24)).astype(np.float32)

    def write(self, folder: Path, *, bad: int | None = None) -> None:
        stack = self.stack()
        if bad is not None:
            stack[bad, 3, 4] = np.nan
        metadata = {"axes": "ZYX"}
        tifffile.imwrite(folder / "in.tif", stack, imagej=True, metadata=metadata)

    def denoise(self, fake: FakeEngine, folder: Path, name: str, *words: str) -> int:
        def load() -> Engine:
            return dataclasses.replace(fake.load(), denoise_stack=denoise_stack)

        command = ["denoise", str(folder / "in.tif"), "-o", str(folder / name), "--json"]
        return main([*command, *words, "--threads", "1"], load=load)

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
            said.append({key: file[key] for key in file if key not in ("seconds", "plan")})

        assert said[0]["status"] == "partly failed"
        assert "NaN" in said[0]["failed"]["2"]
        assert said[0]["output"] == str(tmp_path / name)
        assert said[1] == said[2] == said[0]
        np.testing.assert_array_equal(
            read(tmp_path / name)[2], read(tmp_path / "in.tif")[2]
        )

    def test_resuming_tries_them_again_and_no_others(
        self, fake: FakeEngine, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.denoise(fake, tmp_path, name)
        self.write(tmp_path)
        fitted = []

        def noting(image: Any, *rest: Any, **settings: Any) -> Any:
            fitted.append(image)
            return fake_denoise(image, *rest, **settings)

        monkeypatch.setattr(front, "iter_denoise_part", noting)
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
            assert "480 of 480 pixels are NaN" in file["error"]
        assert os.listdir(tmp_path) == ["in.tif"]

    def test_result_is_not_written_again_if_it_stays_the_same(
        self, fake: FakeEngine, tmp_path: Path, name: str
    ) -> None:
        self.denoise(fake, tmp_path, name)
        before = (tmp_path / name).stat().st_ino

        self.denoise(fake, tmp_path, name, "--resume")

        assert (tmp_path / name).stat().st_ino == before

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
            patch.setattr(front, "iter_denoise_part", interrupted)
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


def unloaded(*arguments: object) -> int:
    """Run a command that must end before the engine is imported."""

    def load() -> Engine:
        raise AssertionError("the engine was loaded")

    return main([str(argument) for argument in arguments], load=load)


class TestChecksBeforeWork:
    def test_existing_output(
        self, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out.tif").write_bytes(b"precious")

        assert unloaded("denoise", image_file, "-o", tmp_path / "out.tif") == 2

        assert (tmp_path / "out.tif").read_bytes() == b"precious"
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "--overwrite" in error

    @pytest.mark.parametrize(
        "words",
        [
            ["missing.tif", "-o", "out.tif"],
            ["{image}", "-o", "out.jpg"],
            ["{image}", "-o", "{image}", "--overwrite"],
            ["{image}", "-o", "{image}/below.tif"],
            ["{image}", "-o", "new.zarr/"],
            ["{image}", "{stack}", "-o", "one.tif"],
            ["{image}", "-o", "out.tif", "--planes", "0"],
            ["{image}", "-o", "out.tif", "--planes", "a:b"],
            ["{image}", "-o", "out.tif", "--axes", "ZYX"],
            ["{image}", "-o", "out.tif", "--channel-axis", "C"],
            ["{stack}", "-o", "out.png"],
            ["{stack}", "-o", "out.tif", "--axes", "YXZ"],
            ["{stack}", "-o", "out.ome.tif", "--axes", "QYX"],
            ["{image}", "-o", "out.v2"],
            ["{image}", "-o", ""],
            ["", "-o", "out/"],
            ["{image}", "-o", f"{'long' * 70}.tif"],
            ["{image}", "-o", f"{'long' * 70}/out.tif"],
            [f"{'long' * 70}.tif", "-o", "out.tif"],
            ["{image}", "-o", "out.tif", "--iterations", "0"],
        ],
    )
    def test_wrong_usage(
        self,
        words: list[str],
        image_file: Path,
        stack_file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        words = [word.format(image=image_file, stack=stack_file) for word in words]

        assert unloaded("denoise", *words) == 2

        assert capsys.readouterr().err.count("\n") == 1
        assert sorted(os.listdir()) == ["cells.tif", "stack.ome.tif"]

    @pytest.mark.parametrize(
        "words",
        [["--preset", "best"], ["--device", "tpu"], ["--seed", "x"], ["--bogus"]],
    )
    def test_wrong_words(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert unloaded("denoise", "a.tif", "-o", "b.tif", *words, "--json") == 2

        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        report = json.loads(captured.out)
        assert captured.err == f"error: {report['error']}\n"
        assert report["exit_code"] == 2

    def test_device_that_is_not_there(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out.tif"

        assert run(fake, "denoise", image_file, "-o", out, "--device", "mps") == 2
        assert fake.calls == []

    def test_wide_integers_do_not_fit_ome_tiff(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tifffile.imwrite(tmp_path / "in.tif", np.zeros((20, 24), np.uint64))

        words = ["denoise", tmp_path / "in.tif", "-o", tmp_path / "out.ome.tif"]
        assert unloaded(*words) == 2

        assert "uint64" in capsys.readouterr().err

    def test_planes_of_several_dimensions_do_not_fit_ome_tiff(self, tmp_path: Path) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            np.zeros((3, 4, 20, 24), np.uint8),
            imagej=True,
            metadata={"axes": "TZYX"},
        )

        words = ["denoise", tmp_path / "in.tif", "-o", tmp_path / "out.ome.tif"]
        assert unloaded(*words, "--planes", "0:5") == 2

    def test_existing_scales_are_not_replaced(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out.scale1.tif").write_bytes(b"precious")
        words = ["denoise", image_file, "-o", tmp_path / "out.tif", "--save-scales"]

        assert unloaded(*words) == 2
        assert run(fake, *words, "--overwrite") == 0

    def test_scales_do_not_replace_an_input(
        self, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        image_file.rename(tmp_path / "o.scale0.tif")
        words = ["-o", tmp_path / "o.tif", "--save-scales", "--overwrite"]

        assert unloaded("denoise", tmp_path / "o.scale0.tif", *words) == 2

        assert "o.scale0.tif: is an input" in capsys.readouterr().err

    def test_scales_do_not_replace_another_result(
        self, image_file: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "cells.scale0.tif"
        other.write_bytes(image_file.read_bytes())
        words = ["-o", f"{tmp_path}/out/", "--save-scales", "--overwrite"]

        assert unloaded("denoise", image_file, other, *words) == 2

    @pytest.mark.parametrize(
        ("axes", "advice"),
        [("YXC", "--channel-axis C"), ("YZX", "--axes"), ("CYXZ", "--channel-axis Z")],
    )
    def test_order_of_dimensions_comes_with_a_way_out(
        self,
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

    def test_machines_are_told_too(
        self, image_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert unloaded("denoise", image_file, "-o", "out.jpg", "--json") == 2

        captured = capsys.readouterr()
        report = json.loads(captured.out)
        assert report["exit_code"] == 2
        assert "cannot write this type" in report["error"]
        assert report["files"] == []
        assert captured.err.startswith("error: ")


class TestManyFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "in"
        folder.mkdir()
        for number in range(3):
            image = np.full((20, 24), 98 + number, np.uint16)
            tifffile.imwrite(folder / f"{number}.tif", image)
        return folder

    def test_folder_to_folder(self, fake: FakeEngine, folder: Path, tmp_path: Path) -> None:
        assert run(fake, "denoise", folder, "-o", tmp_path / "out") == 0

        assert sorted(os.listdir(tmp_path / "out")) == ["0.tif", "1.tif", "2.tif"]

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

    def test_unreadable_file_does_not_stop_the_others(
        self, fake: FakeEngine, folder: Path, tmp_path: Path
    ) -> None:
        (folder / "1.tif").write_bytes(b"no image")

        assert run(fake, "denoise", folder, "-o", tmp_path / "out") == 1

        assert sorted(os.listdir(tmp_path / "out")) == ["0.tif", "2.tif"]

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

    def test_resume_skips_what_is_there(
        self, fake: FakeEngine, folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        run(fake, "denoise", folder / "0.tif", "-o", f"{out}/")

        assert run(fake, "denoise", folder, "-o", out, "--resume") == 0

        assert len(fake.calls) == 3

    @pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
    def test_resume_refuses_a_result_made_otherwise(
        self, fake: FakeEngine, folder: Path, tmp_path: Path, name: str
    ) -> None:
        out = ["-o", tmp_path / name, "--resume"]

        assert run(fake, "denoise", folder / "0.tif", *out) == 0
        assert unloaded("denoise", folder / "0.tif", *out, "--threads", "1") == 0
        assert unloaded("denoise", folder / "1.tif", *out) == 1
        assert unloaded("denoise", folder / "0.tif", *out, "--seed", "3") == 1

    @pytest.mark.parametrize("name", ["out.tif", "out.ome.tif"])
    def test_resume_refuses_a_result_of_other_planes(
        self,
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

    def test_same_name_twice(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        (folder / "0.tif").rename(other / "1.tif")

        assert unloaded("denoise", folder, other, "-o", tmp_path / "out") == 2

        error = capsys.readouterr().err
        assert f"both {folder / '1.tif'} and {other / '1.tif'}" in error


class TestCancel:
    def test_image_keeps_the_best_so_far_under_another_name(
        self, image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake = FakeEngine(interrupts_at=2)

        assert run(fake, "denoise", image_file, "-o", tmp_path / "out.tif") == 130

        assert (read(tmp_path / "out.unfinished.tif") == 50).all()
        assert not (tmp_path / "out.tif").exists()
        assert "best image so far" in capsys.readouterr().out

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

    @pytest.mark.parametrize("module", ["numpy", "napari_msdip._cli.denoise", "tifffile"])
    def test_interrupt_while_the_program_is_loaded_is_quiet(
        self, image_file: Path, module: str
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

    def test_signal_handlers_are_put_back(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        before = signal.getsignal(signal.SIGINT)

        run(fake, "denoise", image_file, "-o", tmp_path / "out.tif")

        assert signal.getsignal(signal.SIGINT) is before


class TestOutputForMachines:
    def test_json_holds_provenance_and_nothing_else_is_on_stdout(
        self,
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

    @pytest.mark.parametrize("words", [[], ["--json"]])
    @pytest.mark.parametrize(("number", "code"), [(errno.EPIPE, 0), (errno.ENOSPC, 1)])
    def test_results_that_nobody_can_read_do_not_cost_the_images(
        self,
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

    def test_nowhere_to_write_is_no_reason_to_stop(
        self,
        fake: FakeEngine,
        image_file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "stderr", None)

        assert run(fake, "denoise", image_file, "-o", tmp_path / "out.tif") == 0

    def test_what_tifffile_complains_about_is_a_note(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "in.tif").write_bytes(b"II*\0nonsense")

        unloaded("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif")

        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in lines] == ["note", "error"]

    def test_progress_is_silent_unless_asked_for(
        self,
        fake: FakeEngine,
        image_file: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run(fake, "denoise", image_file, "-o", tmp_path / "a.tif")
        assert capsys.readouterr().err == ""

        run(fake, "denoise", image_file, "-o", tmp_path / "b.tif", "--progress", "always")
        assert "40%, 1 s left" in capsys.readouterr().err


class TestNoise:
    def test_stack_gives_the_median_of_its_planes(
        self, fake: FakeEngine, stack_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(fake, "noise", stack_file, "--json") == 0

        (file,) = json.loads(capsys.readouterr().out)["files"]
        assert file["sigma"] == 25
        assert file["sigma_of_planes"] == [0, 10, 20, 30, 40, 50]

    def test_what_the_system_refuses_is_one_clear_error(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = f"{'long' * 70}.tif"

        assert unloaded("noise", name) == 2

        error = capsys.readouterr().err
        assert error.startswith(f"error: {name}: ")
        assert error.count("\n") == 1

    def test_failure_is_reported(
        self, fake: FakeEngine, image_file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "broken.tif").write_bytes(b"no image")

        assert run(fake, "noise", image_file, tmp_path / "broken.tif") == 1

    def test_failure_names_the_file(
        self,
        fake: FakeEngine,
        image_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def refuse(self: FakeEngine, image: object, *, channel_axis: int | None) -> float:
            raise ValueError("image: holds NaN")

        monkeypatch.setattr(FakeEngine, "sigma", refuse)

        run(fake, "noise", image_file)

        assert f"{image_file}: image: holds NaN" in capsys.readouterr().err


class TestDemo:
    def test_writes_everything_and_says_so(
        self, fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(fake, "demo", "-o", tmp_path / "demo") == 0

        names = sorted(os.listdir(tmp_path / "demo"))
        assert names == [
            "denoised.scale0.tif",
            "denoised.tif",
            "noisy.tif",
            "report.json",
            "side-by-side.png",
        ]
        said = capsys.readouterr().out
        assert all(name in said for name in names)
        assert "How far to trust it: safe: It is." in said

    def test_overwrites_nothing(self, fake: FakeEngine, tmp_path: Path) -> None:
        run(fake, "demo", "-o", tmp_path)

        assert unloaded("demo", "-o", tmp_path) == 2
        for name in ("noisy.tif", "denoised.tif", "side-by-side.png", "report.json"):
            (tmp_path / name).unlink()
        assert unloaded("demo", "-o", tmp_path) == 2
        assert run(fake, "demo", "-o", tmp_path, "--overwrite") == 0


def test_info_tells_versions_and_devices(
    fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "info", "--json") == 0

    info = json.loads(capsys.readouterr().out)
    assert info["versions"]["numpy"] == np.__version__
    assert "cpu" in info["devices"]
    assert "VGG-16 weights" in info
