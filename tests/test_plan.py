"""Plans: nothing in them is left to decide, and they are stored with a result."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_msdip import Options, Plan, resolve
from napari_msdip import devices as machine
from napari_msdip._fit.crops import CROP_SIDE
from napari_msdip.generator import Generator, GeneratorConfig
from napari_msdip.pyramid import scale_shapes
from napari_msdip.vgg_weights import WeightsNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

CPU = Options(device="cpu", precision="float32")


def test_every_auto_is_decided() -> None:
    plan = resolve(Options(coarsest_iterations=None), (256, 200), 3.0)

    assert plan.device in ("cpu", "cuda", "mps")
    assert plan.precision in ("float32", "bfloat16")
    assert plan.threads == machine.cpu_count()
    assert all(scale.iterations > 0 for scale in plan.scales)


def test_plan_holds_what_it_was_given() -> None:
    options = CPU.replace(seed=9, threads=3)
    plan = resolve(options, (256, 200), 3.0, channels=4)

    assert plan.options == options
    assert (plan.shape, plan.channels, plan.sigma) == ((256, 200), 4, 3.0)
    assert (plan.seed, plan.threads, plan.device) == (9, 3, "cpu")
    assert plan.precision == "float32"


def test_scales_are_those_of_the_pyramid() -> None:
    options = CPU.replace(scale_factor=0.8, min_size=128)
    plan = resolve(options, (512, 300), 1.0)

    shapes = tuple(scale.shape for scale in plan.scales)
    assert shapes == scale_shapes((512, 300), factor=0.8, min_size=128)
    for scale in plan.scales:
        assert scale.zoom[0] * scale.shape[0] == pytest.approx(512)
        assert scale.zoom[1] * scale.shape[1] == pytest.approx(300)


@pytest.mark.parametrize(("coarsest", "expected"), [(None, 50), (70, 70), (20, 20)])
def test_coarsest_scale_may_take_another_number_of_steps(
    coarsest: int | None, expected: int
) -> None:
    options = CPU.replace(iterations=50, coarsest_iterations=coarsest, min_size=32)
    counts = [scale.iterations for scale in resolve(options, (128, 128), 1.0).scales]
    assert counts == [50, 50, expected]


def test_each_pyramid_option_changes_the_scales() -> None:
    options = CPU.replace(scale_factor=0.5, min_size=32)

    def levels(changed: Options) -> int:
        return len(resolve(changed, (256, 256), 1.0).scales)

    assert levels(options) == 4
    assert levels(options.replace(max_scales=2)) == 2
    assert levels(options.replace(min_size=100)) == 2
    assert levels(options.replace(scale_factor=0.8)) > 4


@pytest.mark.parametrize(
    ("min_size", "fold", "widths"),
    [
        (64, 1, (16, 32, 64, 64)),
        (128, 1, (16, 32, 64, 64, 64)),
        (64, 2, (16, 32, 64)),
        (16, 1, (16, 32)),
    ],
)
def test_widths_are_those_that_the_coarsest_scale_has_room_for(
    min_size: int, fold: int, widths: tuple[int, ...]
) -> None:
    options = CPU.replace(min_size=min_size, fold=fold)
    plan = resolve(options, (256, 300), 1.0)
    assert plan.widths == widths
    assert plan.to_dict()["widths"] == list(widths)


@pytest.mark.parametrize("changes", [{"fold": 2, "max_scales": 1}, {"min_size": 256}])
def test_crops_have_room_for_what_is_reflected(changes: dict[str, Any]) -> None:
    options = CPU.replace(padding="reflection", widths=(8,) * 6, **changes)
    plan = resolve(options, (1024, 1024), 1.0)
    assert plan.scales[0].crops
    config = GeneratorConfig(1, 1, plan.widths, padding="reflection", fold=options.fold)
    network = Generator(config)
    network.initialise(torch.Generator().manual_seed(0))
    crops = torch.rand(2, 1, CROP_SIDE, CROP_SIDE)
    assert network(crops).shape == crops.shape


@pytest.mark.parametrize(
    ("shape", "cropped"),
    [((443, 443), [0, 0]), ((444, 444), [24, 0]), ((1600, 900), [24, 24])],
)
def test_large_scales_are_fitted_on_crops(
    shape: tuple[int, int], cropped: list[int]
) -> None:
    scales = resolve(CPU, shape, 1.0).scales
    assert [scale.crops for scale in scales[:2]] == cropped
    assert all(scale.crops == 0 for scale in scales[2:])
    for scale in scales:
        whole = dataclasses.replace(scale, crops=0)
        assert whole.work == whole.iterations * whole.shape[0] * whole.shape[1]
        assert (scale.work < 0.6 * whole.work) is bool(scale.crops)


@pytest.mark.parametrize(
    "changes",
    [
        {"step_pixels": None},
        {"step_pixels": 10**6},
        {"code_channels": 4},
        {"guidance": True},
        {"recorruption": 0.0, "code_channels": 4},
        {"consistency": "vgg16"},
        {"stopping": "held-out"},
        {"stopping": "plateau"},
    ],
    ids=str,
)
def test_crops_need_a_generator_of_the_noisy_image_alone(changes: dict[str, Any]) -> None:
    scales = resolve(CPU.replace(**changes), (1024, 1024), 1.0).scales
    assert all(scale.crops == 0 for scale in scales)


def test_no_crops_where_an_image_is_narrower() -> None:
    assert resolve(CPU, (63, 20_000), 1.0).scales[0].crops == 0


def test_the_paper_never_uses_crops() -> None:
    plan = resolve(Options.preset("paper").replace(device="cpu"), (2048, 2048), 1.0)
    assert all(scale.crops == 0 for scale in plan.scales)


def test_refining_costs_by_the_pixel() -> None:
    small, large = (resolve(CPU, (side, side), 1.0) for side in (256, 1024))
    assert large.refining == 16 * small.refining > 0
    assert resolve(CPU, (256, 256), 1.0, channels=30).refining > 10 * small.refining
    assert resolve(CPU.replace(refine=False), (256, 256), 1.0).refining == 0


def test_starting_a_step_counts_on_a_gpu_alone() -> None:
    here = resolve(CPU, (256, 256), 1.0)
    assert here.works == tuple(scale.work for scale in here.scales)
    there = dataclasses.replace(here, device="cuda")
    for work, plain, scale in zip(there.works, here.works, there.scales, strict=True):
        assert work > plain + 1000 * scale.iterations


def test_missing_device_is_an_error_naming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda'"):
        resolve(CPU.replace(device="cuda"), (64, 64), 1.0)


def test_generator_needs_an_input() -> None:
    nothing = CPU.replace(code_channels=0, recorruption=0.0, guidance=False)
    with pytest.raises(ValueError, match=r"code_channels=0.*recorruption=0"):
        resolve(nothing, (64, 64), 1.0)
    for enough in ({"code_channels": 1}, {"recorruption": 1.0}, {"guidance": True}):
        resolve(nothing.replace(**enough), (64, 64), 1.0)


def test_plan_survives_json() -> None:
    plan = resolve(CPU, (256, 200), 3.0, channels=3)

    told = json.loads(json.dumps(plan.to_dict()))

    assert told == plan.to_dict()
    assert Plan.from_dict(told) == plan
    assert Options(**told["options"]) == plan.options
    assert set(told) == {*Plan.__dataclass_fields__, "widths"}


def test_same_wishes_give_the_same_plan() -> None:
    assert resolve(CPU, (99, 101), 1.0) == resolve(CPU, (99, 101), 1.0)


def test_a_fold_too_coarse_for_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fold=4 .*at most 2"):
        resolve(Options(fold=4), (8, 8), 0.1)


def test_too_small_an_image_is_refused_as_such() -> None:
    with pytest.raises(ValueError, match="image of 1×96 pixels is too small"):
        resolve(CPU, (1, 96), 1.0)


def test_a_weight_file_must_be_there_even_if_it_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "nosuch.pth"
    with pytest.raises(WeightsNotFoundError, match=r"vgg_weights=.*nosuch\.pth"):
        resolve(CPU.replace(vgg_weights=path), (64, 64), 1.0)
    path.touch()
    resolve(CPU.replace(vgg_weights=path), (64, 64), 1.0)


def test_options_may_be_given_by_a_presets_name() -> None:
    assert resolve("fast", (64, 64), 1.0) == resolve(Options(), (64, 64), 1.0)


@pytest.mark.parametrize("shape", [(0, 0), (7, 64)])
def test_what_is_too_small_is_refused_before_its_pyramid(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="too small"):
        resolve(Options(), shape, 1.0)


@pytest.mark.parametrize("sigma", [-5, -1e-9, math.nan, math.inf, 10**400])
def test_a_noise_level_is_finite_and_not_negative(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"^sigma={sigma}: .* from 0 on"):
        resolve(CPU, (64, 64), sigma)
    assert resolve(CPU, (64, 64), 0).sigma == 0


@pytest.mark.parametrize("sigma", [True, np.True_, "3", None, [1.0], np.ones(2)])
def test_a_noise_level_is_a_number(sigma: Any) -> None:
    with pytest.raises(TypeError, match=r"^sigma must be a number, got "):
        resolve(CPU, (64, 64), sigma)


@pytest.mark.parametrize("channels", [True, 2.5, math.nan, "3", None])
def test_channels_are_a_whole_number(channels: Any) -> None:
    with pytest.raises(TypeError, match=f"^channels={channels!r}: give a whole number"):
        resolve(CPU, (64, 64), 1.0, channels=channels)


@pytest.mark.parametrize("side", [64.0, math.nan, True, "64", None])
def test_sides_are_whole_numbers(side: Any) -> None:
    for shape in ((side, 64), (64, side)):
        with pytest.raises(TypeError, match=r"^shape=.*: give whole numbers"):
            resolve(CPU, shape, 1.0)


@pytest.mark.parametrize("shape", [64, (64,), (3, 64, 64), None])
def test_an_image_has_two_sides(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"^shape=.*: give height and width"):
        resolve(CPU, shape, 1.0)


def test_numpy_numbers_become_plain_ones() -> None:
    size = np.array([64, 80])
    plan = resolve(CPU, size, np.float32(2), channels=np.int64(3))
    assert plan == resolve(CPU, (64, 80), 2.0, channels=3)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_an_image_has_channels() -> None:
    with pytest.raises(ValueError, match="channels=0"):
        resolve(Options(), (64, 64), 1.0, channels=0)
