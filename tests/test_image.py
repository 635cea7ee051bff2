"""One image from end to end: it comes back denoised, and nothing else changes."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import json
import math
import time
import urllib.error
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tests.pretended import DEVICE, pretended_device
from tests.samples import TINY, clean_picture, driven, noisy_picture, rms

from napari_msdip import (
    Options,
    Progress,
    Result,
    Status,
    StopReason,
    denoise,
    denoise_stack,
    devices,
    ensemble,
    estimate_sigma,
    iter_denoise,
    measured,
    tiling,
)
from napari_msdip import run as engine
from napari_msdip._run import fusing
from napari_msdip.features import Vgg16Features
from napari_msdip.fit import fit_scale
from napari_msdip.layer import denoise_layer
from napari_msdip.pyramid import scale_shapes
from napari_msdip.tiling import iter_denoise_fitting
from napari_msdip.vgg_weights import WeightsNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_msdip.generator import Generator

SHAPE = (40, 33)
DTYPES = ["uint8", "uint16", "int16", "int64", "float32", "float64"]


def run(noisy: Any, options: Any = TINY, **how: Any) -> tuple[Result, list[Progress]]:
    return driven(iter_denoise(noisy, options, **how))


@pytest.fixture(scope="module")
def vgg_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write small random weights in the documented format."""
    rng = np.random.default_rng(0)
    sizes = {"1_1": (64, 3), "1_2": (64, 64), "2_1": (128, 64), "2_2": (128, 128)}
    sizes |= {"3_1": (256, 128), "3_2": (256, 256), "3_3": (256, 256)}
    arrays = {}
    for name, size in sizes.items():
        spread = (2 / (9 * size[1])) ** 0.5
        weight = spread * rng.standard_normal((*size, 3, 3), dtype=np.float32)
        arrays[f"conv{name}.weight"] = weight
        arrays[f"conv{name}.bias"] = np.zeros(size[0], np.float32)
    path = tmp_path_factory.mktemp("weights") / "vgg16.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def paper(vgg_weights: Path) -> Options:
    """Return the paper preset, cut down to seconds."""
    return Options.preset("paper").replace(
        device="cpu",
        threads=1,
        widths=(8, 8),
        code_channels=4,
        min_size=16,
        iterations=3,
        vgg_weights=str(vgg_weights),
    )


# --- the same run again -----------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"stopping": "held-out", "guidance": True}])
def test_same_seed_gives_the_same_bits(changes: dict[str, Any]) -> None:
    noisy, options = noisy_picture(SHAPE, 3), TINY.replace(**changes)
    first, again = (denoise(noisy, options, channel_axis=-1) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    for one, two in zip(first.scales, again.scales, strict=True):
        np.testing.assert_array_equal(one.image, two.image)


def test_same_seed_gives_the_same_bits_in_the_paper_preset(paper: Options) -> None:
    noisy = noisy_picture(SHAPE)
    np.testing.assert_array_equal(denoise(noisy, paper).image, denoise(noisy, paper).image)


def test_global_seed_does_not_matter() -> None:
    noisy, found = noisy_picture(SHAPE), []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found.append(denoise(noisy, TINY).image)
    np.testing.assert_array_equal(*found)


def test_other_seed_gives_another_result() -> None:
    noisy = noisy_picture(SHAPE)
    first, other = (denoise(noisy, TINY.replace(seed=seed)).image for seed in (0, 1))
    assert not np.array_equal(first, other)


def test_denoise_only_drives_iter_denoise() -> None:
    noisy, seen = noisy_picture(SHAPE), []
    found = denoise(noisy, TINY, on_progress=seen.append)
    result, steps = run(noisy)
    np.testing.assert_array_equal(found.image, result.image)
    assert [step.fraction for step in seen] == [step.fraction for step in steps]


# --- on another device ------------------------------------------------------------


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "cuda" stand for a device that needs no accelerator, but is none the less one."""
    real = devices.select

    def select(device: str) -> str:
        return DEVICE.type if device == "cuda" else real(device)

    monkeypatch.setattr(devices, "select", select)


def assert_same_on_a_device(
    noisy: Any, options: Options, channel_axis: int | None = None
) -> set[str]:
    """Return what the device computed."""
    expected = denoise(noisy, options, channel_axis=channel_axis).image
    with pretended_device() as calls:
        result = denoise(noisy, options.replace(device="cuda"), channel_axis=channel_axis)
    assert result.plan.device == DEVICE.type
    # The first steps of Adam go by the signs of the gradients: rounding matters a little.
    assert rms(result.image - expected) < 0.1 * rms(noisy - expected)
    return set(calls)


@pytest.mark.parametrize(
    "changes",
    [
        {"fold": 2, "stopping": "held-out", "guidance": True},
        {"upsampling": "bilinear", "padding": "reflection", "stopping": "settled"},
        {"scale_weights": "equal", "consistency": "pixels", "bounded": False},
        {"scale_weights": "equal", "max_scales": 1},
    ],
)
@pytest.mark.usefixtures("accelerated")
def test_a_device_computes_all_by_itself(changes: dict[str, Any]) -> None:
    options = TINY.replace(iterations=2, **changes)
    calls = assert_same_on_a_device(noisy_picture(SHAPE), options)
    assert "aten.convolution_backward.default" in calls
    assert not any("bicubic" in name or "_aa" in name for name in calls)


@pytest.mark.usefixtures("accelerated")
def test_a_device_computes_channels_by_itself() -> None:
    assert_same_on_a_device(noisy_picture(SHAPE, 3), TINY, channel_axis=-1)


@pytest.mark.usefixtures("accelerated")
def test_a_device_that_resamples_computes_all_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_PROVEN", ("cpu", DEVICE.type))
    calls = assert_same_on_a_device(noisy_picture(SHAPE), TINY)
    assert "aten._upsample_bilinear2d_aa_backward.default" in calls


@pytest.mark.parametrize("kind", ["skewed", "correlated"])
@pytest.mark.usefixtures("accelerated")
def test_a_device_computes_other_noise_by_itself(kind: str) -> None:
    rng, clean = np.random.default_rng(0), clean_picture((64, 64))
    if kind == "skewed":
        noisy = rng.poisson(20 + 10 * clean).astype(np.float32)
    else:
        noisy = 100 * clean + gaussian_filter(rng.normal(0, 60, clean.shape), 1)
    assert_same_on_a_device(noisy, TINY.replace(max_scales=2))


@pytest.mark.usefixtures("accelerated")
def test_a_device_computes_crops_by_itself() -> None:
    cropped = TINY.replace(max_scales=2, step_pixels=4096)
    assert_same_on_a_device(noisy_picture((134, 137)), cropped)


@pytest.mark.usefixtures("accelerated")
def test_a_device_computes_the_paper_preset_by_itself(paper: Options) -> None:
    assert_same_on_a_device(noisy_picture(SHAPE), paper)


# --- extremes -----------------------------------------------------------------------


def test_a_weak_channel_gets_no_more_noise_than_it_has() -> None:
    options = TINY.replace(iterations=40, coarsest_iterations=40)
    clean = clean_picture((64, 64), 2)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1 * np.ptp(clean), clean.shape)
    weak = noisy * np.array([1.0, 1e-4])
    alike = denoise(noisy, options, channel_axis=-1).image
    found = denoise(weak, options, channel_axis=-1).image * np.array([1.0, 1e4])
    assert rms(found[..., 1] - clean[..., 1]) < 1.1 * rms(alike[..., 1] - clean[..., 1])


def test_one_pixel_does_not_decide_how_the_others_are_denoised() -> None:
    options = TINY.replace(iterations=40, coarsest_iterations=40, refine=False)
    noisy = noisy_picture((64, 64)).astype(np.float64)
    hot = noisy.copy()
    hot[30, 30] += 1e4 * np.ptp(noisy)
    expected, found = (denoise(each, options).image for each in (noisy, hot))
    far = np.ones(noisy.shape, bool)
    far[20:41, 20:41] = False
    change = rms(found[far] - expected[far])
    assert change < rms(noisy[far] - expected[far]) / 2
    assert abs(found[30, 30] - hot[30, 30]) < np.ptp(noisy)


# --- nothing else changes ---------------------------------------------------------


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_noise_reaches_over_fewer_pixels_of_a_coarser_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reaches = {}

    def watching(problem: Any, *given: Any, **how: Any) -> Any:
        reaches.setdefault(problem.target.shape[-1], problem.reach)
        return fit_scale(problem, *given, **how)

    monkeypatch.setattr(engine, "fit_scale", watching)
    rng, clean = np.random.default_rng(0), clean_picture((128, 128))
    noisy = 100 * clean + gaussian_filter(rng.normal(0, 120, clean.shape), 1.5)
    denoise(noisy, TINY.replace(scale_factor=0.5))
    assert max(reaches.values()) > 1
    assert reaches == {side: math.ceil(reaches[128] * side / 128) for side in reaches}
    assert len(reaches) > 1


def test_everything_computes_on_as_many_threads_as_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted, seen = torch.get_num_threads() + 1, {}

    def watched(module: Any, name: str) -> None:
        function = getattr(module, name)

        def watching(*given: Any, **how: Any) -> Any:
            seen.setdefault(name, set()).add(torch.get_num_threads())
            return function(*given, **how)

        monkeypatch.setattr(module, name, watching)

    for module, name in (
        (fusing, "weigh"),
        (engine, "with_local_means"),
        (engine, "resize"),
    ):
        watched(module, name)
    denoise(noisy_picture(SHAPE), TINY.replace(threads=wanted))
    assert set(seen) == {"weigh", "with_local_means", "resize"}
    assert set.union(*seen.values()) == {wanted}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "context",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.float16),
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "autocast", "float64", "float16", "device"],
)
def test_a_context_of_the_callers_changes_nothing(context: Any, precision: Any) -> None:
    noisy, options = noisy_picture(SHAPE), TINY.replace(precision=precision)
    expected = denoise(noisy, options).image
    with context():
        found = denoise(noisy, options).image
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_default_dtype_of_the_callers_changes_no_part_of_the_paper(
    paper: Options, dtype: torch.dtype
) -> None:
    noisy, options = noisy_picture(SHAPE), paper.replace(stopping="held-out")
    expected = denoise(noisy, options).image
    with default_dtype(dtype):
        found = denoise(noisy, options).image
    np.testing.assert_array_equal(found, expected)


def test_weights_from_a_file_leave_the_global_generator_as_it_was(paper: Options) -> None:
    state = torch.random.get_rng_state()
    denoise(noisy_picture(SHAPE), paper.replace(iterations=1))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("grad", [True, False])
def test_process_is_left_as_it_was(grad: bool) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    dtype = torch.get_default_dtype()
    with torch.set_grad_enabled(grad):
        # More threads than there were, so that forgetting them would show.
        options = TINY.replace(threads=threads + 1, iterations=1, coarsest_iterations=1)
        for _ in iter_denoise(noisy_picture(SHAPE), options):
            assert torch.is_grad_enabled() is grad
            assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]
    assert torch.get_default_dtype() == dtype
    assert not torch.are_deterministic_algorithms_enabled()


def test_abandoned_run_leaves_the_process_as_it_was() -> None:
    threads = torch.get_num_threads()
    steps = iter_denoise(noisy_picture(SHAPE), TINY)
    next(steps)
    steps.close()
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_image_is_not_modified(dtype: str) -> None:
    noisy = noisy_picture(SHAPE, high=200, dtype=dtype)
    kept = noisy.copy()
    noisy.setflags(write=False)

    found = denoise(noisy, TINY).image

    np.testing.assert_array_equal(noisy, kept)
    assert not np.shares_memory(found, noisy)
    assert found.flags.writeable


# --- shapes, axes, dtypes and ranges ----------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_position_of_the_channels_is_irrelevant(channels: int) -> None:
    last = noisy_picture((24, 20), channels)
    expected = denoise(last, TINY, channel_axis=-1).image
    assert expected.shape == last.shape
    for axis in (0, 1, 2, -3):
        found = denoise(np.moveaxis(last, -1, axis), TINY, channel_axis=axis).image
        np.testing.assert_array_equal(np.moveaxis(found, axis, -1), expected)


def test_lone_channel_is_a_gray_image() -> None:
    noisy = noisy_picture((24, 20))
    with_axis = denoise(noisy[np.newaxis], TINY, channel_axis=0).image
    np.testing.assert_array_equal(with_axis[0], denoise(noisy, TINY).image)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("channels", [None, 3])
def test_dtype_and_shape_come_back(dtype: str, channels: int | None) -> None:
    noisy = noisy_picture((24, 20), channels, high=200, dtype=dtype)
    axis = None if channels is None else -1

    result, steps = run(noisy, channel_axis=axis)

    assert result.image.dtype == noisy.dtype
    assert result.image.shape == noisy.shape
    assert not np.array_equal(result.image, noisy)
    assert rms(result.image - clean_picture((24, 20), channels) * 200) < 150
    shown = [step.preview for step in steps if step.preview is not None]
    for other in [*(scale.image for scale in result.scales), *shown]:
        assert other.dtype == noisy.dtype
        assert other.ndim == noisy.ndim


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_float32_may_be_asked_for(dtype: str) -> None:
    noisy = noisy_picture((24, 20), high=200, dtype=dtype)
    exact = denoise(noisy, TINY.replace(output_dtype="float32")).image
    assert exact.dtype == np.float32
    found = denoise(noisy, TINY).image
    if dtype == "float64":
        np.testing.assert_allclose(exact, found, rtol=1e-6)
    else:
        assert (exact != np.rint(exact)).any()
        assert np.abs(found - exact).max() < 1
        assert found.mean() == pytest.approx(exact.mean(), abs=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_saturated_and_black_areas_do_not_wrap_around(dtype: str) -> None:
    top = np.iinfo(dtype).max
    noisy = noisy_picture(SHAPE, low=-0.6 * top, high=1.6 * top, dtype=dtype)
    assert (noisy == 0).mean() > 0.05
    assert (noisy == top).mean() > 0.05

    found = denoise(noisy, TINY.replace(iterations=40, coarsest_iterations=40)).image

    clean = np.clip(clean_picture(SHAPE) * 2.2 * top - 0.6 * top, 0, top)
    assert rms(found.astype(float) - clean) < 0.3 * top


@pytest.mark.parametrize(("gain", "offset"), [(4.0, 0.0), (1e-3, 0.0), (50.0, -20.0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_are_irrelevant(gain: float, offset: float, dtype: str) -> None:
    noisy = noisy_picture(SHAPE, dtype=dtype)
    scaled = (gain * noisy.astype(float) + offset).astype(dtype)

    found, of_scaled = denoise(noisy, TINY), denoise(scaled, TINY)

    back = (of_scaled.image.astype(float) - offset) / gain
    np.testing.assert_allclose(back, found.image, atol=0.02)
    assert of_scaled.sigma == pytest.approx(gain * found.sigma, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high"), [(-5.0, -1.0), (0.0, 1e-6), (1e6, 1.001e6), (-3e4, 3e4)]
)
def test_range_of_floats_is_kept(low: float, high: float) -> None:
    noisy = noisy_picture(SHAPE, low=low, high=high, dtype="float64")
    found = denoise(noisy, TINY.replace(iterations=30, coarsest_iterations=30)).image
    margin = 0.3 * (high - low)
    assert noisy.min() - margin < found.min()
    assert found.max() < noisy.max() + margin
    assert found.mean() == pytest.approx(noisy.mean(), abs=margin)


@pytest.mark.parametrize("shape", [(16, 16), (17, 64), (31, 37), (97, 16), (8, 8)])
@pytest.mark.parametrize("channels", [None, 3])
def test_any_size(shape: tuple[int, int], channels: int | None) -> None:
    noisy = noisy_picture(shape, channels)
    result, steps = run(noisy, channel_axis=None if channels is None else -1)

    assert result.image.shape == noisy.shape
    assert np.isfinite(result.image).all()
    assert result.status is Status.COMPLETED
    assert [scale.shape for scale in result.scales] == list(
        scale_shapes(shape, factor=TINY.scale_factor, min_size=TINY.min_size)
    )
    for scale in result.scales:
        assert scale.image.shape[:2] == scale.shape
        assert scale.zoom[0] * scale.shape[0] == pytest.approx(shape[0])
    assert steps[-1].fraction == 1


@pytest.mark.parametrize("shape", [(16, 16), (17, 23)])
@pytest.mark.parametrize(
    "changes",
    [{"fold": 4}, {"padding": "reflection"}, {"stopping": "held-out"}, {"guidance": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_any_option_works_on_small_images(
    shape: tuple[int, int], changes: dict[str, Any]
) -> None:
    found = denoise(noisy_picture(shape), TINY.replace(widths=(8,) * 5, **changes))
    assert np.isfinite(found.image).all()


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("channels", [None, 3])
def test_constant_image_comes_back(dtype: str, channels: int | None) -> None:
    flat = np.full((20, 30) if channels is None else (20, 30, channels), 77, dtype)

    result, steps = run(flat, channel_axis=None if channels is None else -1)

    np.testing.assert_array_equal(result.image, flat)
    assert result.image.dtype == dtype
    assert not np.shares_memory(result.image, flat)
    assert result.sigma == 0
    assert [scale.stop_reason for scale in result.scales] == [StopReason.CONSTANT]
    assert sum(step.finished_scale is not None for step in steps) == 1
    assert steps[-1].fraction == 1


def test_nothing_is_left_of_a_hot_pixel_in_an_image_that_is_else_constant() -> None:
    dark = np.zeros((20, 30), np.uint16)
    dark[10, 10] = 1000
    assert denoise(dark, TINY.replace(remove_hot_pixels=True)).image.max() == 0


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", 2**53 + 1), ("uint64", 2**64 - 1), ("int64", -(2**63)), ("float64", 0.1)],
)
def test_no_digit_of_a_constant_image_is_lost(dtype: str, value: Any) -> None:
    flat = np.full((20, 30), value, dtype)
    found = denoise(flat, TINY)
    np.testing.assert_array_equal(found.image, flat)
    np.testing.assert_array_equal(found.scales[0].image, flat)


def test_an_image_of_channels_that_are_each_constant_comes_back() -> None:
    flat = np.full((20, 30, 3), (7, 0, 255), "uint8")
    found = denoise(flat, TINY, channel_axis=-1)
    np.testing.assert_array_equal(found.image, flat)
    assert [scale.stop_reason for scale in found.scales] == [StopReason.CONSTANT]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_a_constant_channel_comes_back_and_changes_no_other(dtype: str, axis: int) -> None:
    two = noisy_picture(SHAPE, 2, high=200, dtype=dtype)
    four = np.stack([two[..., 0], np.zeros(SHAPE), two[..., 1], np.full(SHAPE, 250)], -1)
    noisy = np.moveaxis(four.astype(dtype), -1, axis)

    alone, _ = run(two, channel_axis=-1)
    result, steps = run(noisy, channel_axis=axis)

    planes = np.moveaxis(result.image, axis, -1)
    np.testing.assert_array_equal(planes[..., ::2], alone.image)
    np.testing.assert_array_equal(planes[..., 1::2], four[..., 1::2])
    assert (result.image.shape, result.image.dtype) == (noisy.shape, dtype)
    assert result.plan.channels == 4
    assert result.sigma == alone.sigma
    shown = [step.finished_scale for step in steps if step.finished_scale is not None]
    for scale in (*result.scales, *shown):
        small = np.moveaxis(scale.image, axis, -1)
        assert small.shape == (*scale.shape, 4)
        assert np.unique(small[..., 3]) == 250


@pytest.mark.parametrize("level", [1.0, 1e20])
def test_one_channel_beside_a_constant_one_is_denoised_like_gray(level: float) -> None:
    gray = noisy_picture(SHAPE).astype(np.float64)
    constant = np.full_like(gray, level)
    found = denoise(np.stack([gray, constant]), TINY, channel_axis=0).image
    np.testing.assert_array_equal(found[0], denoise(gray, TINY).image)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_gray_that_is_saved_as_rgb_is_denoised_like_gray(dtype: str, axis: int) -> None:
    gray = noisy_picture(SHAPE, high=200, dtype=dtype)
    alone = denoise(gray, TINY)
    result, steps = run(np.stack([gray] * 3, axis), channel_axis=axis)
    assert result.plan.channels == 3
    assert result.sigma == alone.sigma
    shown = [step.finished_scale for step in steps if step.finished_scale is not None]
    for image, expected in [
        (result.image, alone.image),
        *((scale.image, alone.scales[scale.scale].image) for scale in shown),
    ]:
        np.testing.assert_array_equal(image, np.stack([expected] * 3, axis))


def test_a_channel_that_repeats_another_changes_no_other() -> None:
    two = noisy_picture(SHAPE, 2, high=200, dtype="uint8")
    first, second, empty = two[..., 0], two[..., 1], np.zeros(SHAPE, np.uint8)
    noisy = np.stack([empty, first, second, first, empty])
    found = denoise(noisy, TINY, channel_axis=0).image
    alone = np.moveaxis(denoise(two, TINY, channel_axis=-1).image, -1, 0)
    np.testing.assert_array_equal(found, [empty, alone[0], alone[1], alone[0], empty])


def test_previews_hold_constant_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PREVIEW_SECONDS", 0.0)
    noisy = noisy_picture(SHAPE, 3)
    noisy[..., 1] = 0.25
    _, steps = run(noisy, channel_axis=-1)
    previews = [step.preview for step in steps if step.preview is not None]
    assert previews
    for preview in previews:
        assert preview.shape[-1] == 3
        assert np.unique(preview[..., 1]) == 0.25


def test_mostly_empty_image() -> None:
    noisy = np.zeros(SHAPE, np.uint16)
    noisy[10:14, 10:14] = 900
    found = denoise(noisy, TINY).image
    assert found.dtype == np.uint16
    assert found.max() <= 900


# --- what is refused --------------------------------------------------------------

BAD_IMAGES: list[tuple[Any, Any, type[Exception], str]] = [
    (np.full((20, 20), np.nan), None, ValueError, "image"),
    (np.full((20, 20), np.inf), None, ValueError, "image"),
    (np.zeros((20, 20), complex), None, TypeError, "image"),
    (np.zeros((20, 20), object), None, TypeError, "image"),
    (np.zeros((20, 20), bool), None, TypeError, "image"),
    (np.zeros((0, 20)), None, ValueError, "image"),
    (np.zeros((20, 20, 0)), -1, ValueError, "image"),
    (np.zeros((20, 20, 3)), None, ValueError, "channel_axis"),
    (np.zeros((20, 20, 3)), 3, ValueError, "channel_axis=3"),
    (np.zeros((20, 20)), 0, ValueError, "channel_axis=0"),
    (np.zeros((20, 20, 3)), "last", TypeError, "channel_axis='last'"),
    (np.zeros((4, 20)), None, ValueError, "image"),
]


@pytest.mark.parametrize(("noisy", "axis", "error", "name"), BAD_IMAGES)
def test_bad_image_is_refused_before_the_first_step(
    noisy: Any, axis: Any, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        iter_denoise(noisy, TINY, channel_axis=axis)
    with pytest.raises(error, match=name):
        denoise(noisy, TINY, channel_axis=axis)


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ("slow", ValueError, "options.*'slow'"),
        (3, TypeError, "options=3"),
        ({"seed": 1}, TypeError, "options="),
    ],
)
def test_bad_options_are_refused_before_the_first_step(
    options: Any, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        iter_denoise(noisy_picture(SHAPE), options)


def test_missing_device_is_refused_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda'"):
        iter_denoise(noisy_picture(SHAPE), TINY.replace(device="cuda"))


def test_generator_without_any_input_is_refused_before_the_first_step() -> None:
    nothing = TINY.replace(code_channels=0, recorruption=0.0, guidance=False)
    with pytest.raises(ValueError, match=r"recorruption|code_channels"):
        iter_denoise(noisy_picture(SHAPE), nothing)


def test_missing_weights_are_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no network")

    def measure(*args: Any) -> None:
        pytest.fail("the noise was measured first")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr(measured, "measure", measure)
    options = TINY.replace(consistency="vgg16")

    with pytest.raises(WeightsNotFoundError, match="consistency='offline'"):
        iter_denoise(noisy_picture(SHAPE), options)
    # A single scale has nothing to agree with, and so needs no weights.
    monkeypatch.undo()
    iter_denoise(noisy_picture(SHAPE), options.replace(max_scales=1)).close()


# --- it denoises ------------------------------------------------------------------


@pytest.mark.parametrize("channels", [None, 3])
def test_error_drops_below_that_of_the_noisy_image(channels: int | None) -> None:
    shape, axis = (64, 72), None if channels is None else -1
    noisy, clean = noisy_picture(shape, channels), clean_picture(shape, channels)
    options = TINY.replace(
        widths=(16, 32, 32),
        iterations=60,
        coarsest_iterations=80,
        min_size=32,
        learning_rate=5e-3,
    )
    result = denoise(noisy, options, channel_axis=axis)
    assert rms(result.image - clean) < 0.7 * rms(noisy - clean)
    assert result.sigma == pytest.approx(0.1, rel=0.3)


# --- the paper's parts ------------------------------------------------------------


def test_every_part_of_the_paper_takes_part(
    monkeypatch: pytest.MonkeyPatch, paper: Options
) -> None:
    networks: list[Generator] = []
    compared: list[tuple[int, ...]] = []
    absolute: list[bool] = []
    shown: list[torch.Tensor] = []
    made, forward = engine.Network, Vgg16Features.forward
    loss = engine.fit_scale.__globals__["reconstruction_loss"]

    def network(config: Any) -> Generator:
        networks.append(made(config))
        networks[-1].register_forward_pre_hook(
            lambda _, args: shown.append(args[0].clone())
        )
        return networks[-1]

    def features(self: Vgg16Features, picture: torch.Tensor) -> torch.Tensor:
        compared.append(tuple(picture.shape[-2:]))
        return forward(self, picture)

    def reconstruction(*args: Any, **how: Any) -> torch.Tensor:
        absolute.append(how["absolute"])
        return loss(*args, **how)

    monkeypatch.setattr(engine, "Network", network)
    monkeypatch.setattr(Vgg16Features, "forward", features)
    monkeypatch.setattr("napari_msdip.fit.reconstruction_loss", reconstruction)
    noisy = noisy_picture(SHAPE, 3, sigma=0.3)

    result, steps = run(noisy, paper.replace(guard=False), channel_axis=-1)

    # The pyramid: r = 0.8 down to the smallest size; coarse to fine.
    shapes = [scale.shape for scale in result.scales]
    assert shapes == list(scale_shapes(SHAPE, factor=0.8, min_size=16))
    assert len(shapes) == 4
    assert [s.scale for s in steps if s.finished_scale] == [3, 2, 1, 0]
    # A new skip generator for each scale.
    assert len(networks) == 4
    assert {n.config.padding for n in networks} == {"reflection"}
    assert {n.config.upsampling for n in networks} == {"bilinear"}
    assert {n.config.skip_width for n in networks} == {4}
    # Its input: a code the size of the scale, perturbed at every step.
    assert [tuple(s.shape[-2:]) for s in shown[::3]] == shapes[::-1]
    assert not torch.equal(shown[0], shown[1])
    assert torch.corrcoef(torch.stack([shown[0].flatten(), shown[1].flatten()]))[0, 1] > 0.2
    # L1 first, then L2, at each scale.
    assert absolute == [True, False, False] * 4
    # Features of the downsampled output against those of the coarser result (eq. 3).
    assert compared == [s for s in shapes[:0:-1] for _ in range(4)]
    # The adaptive weight (eq. 4), which is nothing at the coarsest scale.
    units = [s.weight**2 / (s.sigma * (3 - n)) for n, s in enumerate(result.scales[:-1])]
    assert units == pytest.approx([units[0]] * 3, rel=0.02)
    assert units[0] > 0
    assert result.scales[-1].weight == 0
    # The pairwise joint bilateral ensemble (eq. 5), finest last.
    fused = ensemble([scale.image for scale in result.scales], channel_axis=-1)
    np.testing.assert_allclose(result.image, fused, atol=1e-4)
    assert not np.array_equal(result.image, result.scales[0].image)


def test_paper_is_trained_until_it_converges(paper: Options) -> None:
    options = paper.replace(
        iterations=200, patience=3, l1_fraction=0.02, max_scales=2, learning_rate=0.02
    )
    result = denoise(noisy_picture((20, 24)), options)
    assert {scale.stop_reason for scale in result.scales} == {StopReason.PLATEAU}
    assert all(scale.iterations < 200 for scale in result.scales)


def test_default_shows_the_generator_the_noisy_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    real = engine.fit_scale

    def spy(problem: Any, *args: Any, **how: Any) -> Any:
        asked.append(problem)
        return real(problem, *args, **how)

    monkeypatch.setattr(engine, "fit_scale", spy)
    denoise(noisy_picture(SHAPE), TINY)
    assert len(asked) == 2
    assert all(problem.noise is not None for problem in asked)
    assert asked[0].consistency is None
    assert asked[1].consistency is not None


def test_the_mean_intensity_of_an_area_stays() -> None:
    noisy = noisy_picture((96, 80), sigma=0.1)
    result = denoise(noisy, TINY.replace(scale_weights="risk"))
    for area in (np.s_[:48, :40], np.s_[48:, 40:]):
        assert result.image[area].mean() == pytest.approx(noisy[area].mean(), rel=0.02)


@pytest.mark.parametrize("refine", [True, False])
def test_the_mean_intensity_of_few_photons_stays(refine: bool) -> None:
    noisy = np.random.default_rng(0).poisson(0.05, (128, 128)).astype(np.uint16)
    result = denoise(noisy, TINY.replace(scale_weights="risk", refine=refine))
    assert result.image.mean() == pytest.approx(noisy.mean(), rel=0.02)


# --- large images ------------------------------------------------------------------

LARGE = (134, 137)
CROPPED = TINY.replace(step_pixels=4096)


@pytest.mark.parametrize("channels", [None, 2])
def test_a_large_image_is_denoised_on_crops_of_it(channels: int | None) -> None:
    clean = clean_picture(LARGE, channels)
    noisy = (clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)).astype("f4")
    options = CROPPED.replace(iterations=40, coarsest_iterations=40, learning_rate=0.01)
    axis = None if channels is None else -1

    result, steps = run(noisy, options, channel_axis=axis)

    assert [scale.crops for scale in result.plan.scales] == [1, 0, 0, 0]
    assert rms(result.image - clean) < 0.5 * rms(noisy - clean)
    assert rms(result.scales[0].image - clean) < rms(noisy - clean)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    again, _ = run(noisy, options, channel_axis=axis)
    np.testing.assert_array_equal(result.image, again.image)


def test_a_large_image_with_correlated_noise_is_fitted_twice_on_crops() -> None:
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, LARGE), 1)
    noisy = (clean_picture(LARGE) + 0.1 * noise / noise.std()).astype(np.float32)

    result, steps = run(noisy, CROPPED.replace(iterations=6))

    finest = [step.iteration for step in steps if step.scale == 0]
    assert finest == sorted(finest)
    assert result.scales[0].iterations == 6
    assert result.status is Status.COMPLETED


def test_small_images_are_the_same_whatever_a_step_may_see() -> None:
    noisy = noisy_picture(SHAPE)
    np.testing.assert_array_equal(
        denoise(noisy, TINY).image, denoise(noisy, TINY.replace(step_pixels=None)).image
    )


# --- each ablation is one option away ---------------------------------------------


def changed(options: Options, **changes: Any) -> tuple[Result, Result]:
    noisy = noisy_picture(SHAPE, sigma=0.3)
    return denoise(noisy, options), denoise(noisy, options.replace(**changes))


def test_without_ensemble_the_finest_scale_is_the_result() -> None:
    plain = TINY.replace(scale_weights="equal", refine=False, guard=False)
    fused, alone = changed(plain, ensemble=False)
    np.testing.assert_array_equal(alone.image, alone.scales[0].image)
    np.testing.assert_array_equal(alone.scales[0].image, fused.scales[0].image)
    assert not np.array_equal(fused.image, alone.image)


def test_risk_mixes_the_finest_scale_with_the_noisy_image_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fusing, "with_local_means", lambda fused, *_, **__: fused)
    noisy = noisy_picture(SHAPE, sigma=0.3)
    options = TINY.replace(scale_weights="risk", refine=False)

    fused, alone = (denoise(noisy, options.replace(ensemble=e)) for e in (True, False))

    finest = alone.scales[0].image
    assert (alone.image >= np.minimum(noisy, finest) - 1e-5).all()
    assert (alone.image <= np.maximum(noisy, finest) + 1e-5).all()
    assert not np.array_equal(fused.image, alone.image)


@pytest.mark.parametrize("weights", ["equal", "risk"])
def test_the_guard_keeps_what_a_poor_fit_would_lose(weights: Any) -> None:
    clean, noisy = clean_picture((64, 72)), noisy_picture((64, 72), sigma=0.02)
    options = TINY.replace(scale_weights=weights, refine=False)

    guarded, bare = (denoise(noisy, options.replace(guard=g)).image for g in (True, False))

    assert rms(bare - clean) > 2 * rms(noisy - clean)
    assert rms(guarded - clean) < 1.05 * rms(noisy - clean)


def test_where_faint_noise_may_be_texture_a_share_of_the_image_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noisy = noisy_picture(SHAPE, sigma=0.02)
    as_it_is = measured.measure_noise

    def denoised(share: float) -> Any:
        def doubtful(*image: Any) -> Any:
            return dataclasses.replace(as_it_is(*image), noisy_share=share)

        monkeypatch.setattr(measured, "measure_noise", doubtful)
        return denoise(noisy, TINY).image

    plain, insured = denoised(0.0), denoised(0.3)

    np.testing.assert_allclose(insured, 0.7 * plain + 0.3 * noisy, atol=1e-5)
    bare = TINY.replace(guard=False)
    assert not np.allclose(denoise(noisy, bare).image, insured, atol=1e-3)


def test_scale_weights_change_the_fusion_only() -> None:
    by_risk, alike = changed(TINY, scale_weights="equal")
    np.testing.assert_array_equal(by_risk.scales[0].image, alike.scales[0].image)
    assert not np.array_equal(by_risk.image, alike.image)


def test_refinement_changes_what_comes_after_the_scales_only() -> None:
    refined, fused = changed(TINY, refine=False)
    for one, other in zip(refined.scales, fused.scales, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert not np.array_equal(refined.image, fused.image)


def test_cancelling_the_refinement_keeps_the_fused_scales() -> None:
    noisy = noisy_picture(SHAPE, sigma=0.3)
    finished: list[Progress] = []

    def should_stop() -> bool:
        return any(seen.finished_scale and seen.scale == 0 for seen in finished)

    stopped = denoise(noisy, TINY, on_progress=finished.append, should_stop=should_stop)
    fused = denoise(noisy, TINY.replace(refine=False))
    assert stopped.status is Status.CANCELLED
    assert len(stopped.scales) == len(fused.scales)
    np.testing.assert_array_equal(stopped.image, fused.image)


def test_fixed_weight_replaces_the_adaptive_one() -> None:
    adaptive, fixed = changed(TINY.replace(iterations=6), fixed_weight=0.5)
    assert [scale.weight for scale in fixed.scales] == [0.5, 0.0]
    assert adaptive.scales[0].weight > 0
    assert not np.array_equal(adaptive.image, fixed.image)


def test_gain_multiplies_the_adaptive_weight() -> None:
    one, three = changed(TINY.replace(consistency_gain=1.0), consistency_gain=3.0)
    assert three.scales[0].weight == pytest.approx(3 * one.scales[0].weight)


def test_no_scale_consistency() -> None:
    held, free = changed(TINY.replace(fixed_weight=10.0), consistency="none")
    assert [scale.weight for scale in free.scales] == [0.0, 0.0]
    np.testing.assert_array_equal(held.scales[-1].image, free.scales[-1].image)
    assert not np.array_equal(held.scales[0].image, free.scales[0].image)


def test_kinds_of_scale_consistency_differ(vgg_weights: Path) -> None:
    noisy = noisy_picture(SHAPE, sigma=0.3)
    options = TINY.replace(fixed_weight=10.0, vgg_weights=str(vgg_weights))
    kinds = ("none", "pixels", "offline", "vgg16")
    found = [denoise(noisy, options.replace(consistency=k)).scales[0].image for k in kinds]
    for one, other in itertools.combinations(found, 2):
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("layer", ["relu1_2", "relu3_3"])
def test_feature_layer(vgg_weights: Path, layer: str) -> None:
    options = TINY.replace(
        consistency="vgg16", fixed_weight=10.0, vgg_weights=str(vgg_weights)
    )
    one, other = changed(options, feature_layer=layer)
    assert not np.array_equal(one.scales[0].image, other.scales[0].image)


@pytest.mark.parametrize(
    ("changes", "levels"),
    [({"max_scales": 1}, 1), ({"min_size": 33}, 1), ({"scale_factor": 0.8}, 4)],
)
def test_pyramid_options_change_the_scales(changes: dict[str, Any], levels: int) -> None:
    plain, other = changed(TINY, **changes)
    assert len(plain.scales) == 2
    assert len(other.scales) == levels


def test_iterations_are_those_asked_for() -> None:
    few, more = changed(TINY, iterations=5, coarsest_iterations=4)
    assert [scale.iterations for scale in few.scales] == [3, 3]
    assert [scale.iterations for scale in more.scales] == [5, 4]
    assert {scale.stop_reason for scale in more.scales} == {StopReason.ITERATIONS}


@pytest.mark.parametrize(
    "changes",
    [
        {"warm_start": "never"},
        {"symmetries": False},
        {"guidance": True},
        {"recorruption": 0.5},
        {"code_channels": 4},
        {"bounded": False},
        {"upsampling": "bilinear"},
        {"padding": "reflection"},
        {"skip_width": 0},
        {"fold": 2},
        {"average": 0.0},
        {"schedule": "constant"},
        {"learning_rate": 1e-4},
        {"l1_fraction": 1.0},
        {"stopping": "held-out"},
        {"precision": "bfloat16"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_other_option_has_an_effect(changes: dict[str, Any]) -> None:
    plain, other = changed(TINY, **changes)
    assert not np.array_equal(plain.image, other.image)
    assert np.isfinite(other.image).all()


# --- correlated noise -------------------------------------------------------------


def correlated_picture(shape: tuple[int, int] = (96, 88)) -> Any:
    drawn = np.random.default_rng(0).standard_normal(shape)
    field = gaussian_filter(drawn, 1.0, mode="wrap")
    return (clean_picture(shape) + field * (0.1 / field.std())).astype(np.float32)


def test_correlated_noise_is_measured_again_within_all_scales_but_the_coarsest() -> None:
    twice = TINY.replace(iterations=8)
    noisy = correlated_picture()

    once, _ = run(noisy, twice.replace(remeasure=False))
    result, progress = run(noisy, twice)

    assert not np.array_equal(result.image, once.image)
    *finer, coarsest = zip(result.scales, once.scales, strict=True)
    np.testing.assert_array_equal(coarsest[0].image, coarsest[1].image)
    assert len(finer) == 2
    for again, at_first in finer:
        assert not np.array_equal(again.image, at_first.image)
        assert again.iterations == 8
    finest = [p.iteration for p in progress if p.scale == 0 and p.finished_scale is None]
    assert finest[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    fractions = [p.fraction for p in progress]
    assert fractions == sorted(fractions)


def test_only_scales_in_between_continue_the_course_of_their_first_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = []
    real = engine.fit_scale

    def spy(problem: Any, *args: Any, **how: Any) -> Any:
        parts.append((problem.iterations, problem.before))
        return real(problem, *args, **how)

    monkeypatch.setattr(engine, "fit_scale", spy)
    options = TINY.replace(iterations=10, coarsest_iterations=10)
    assert len(denoise(correlated_picture(), options).scales) == 3
    coarsest, *parts_between, first_half, second_half = parts
    assert coarsest == (10, 0)
    assert parts_between == [(2, 0), (8, 2)]
    assert (first_half, second_half) == ((5, 0), (5, 0))


def test_white_noise_is_measured_once() -> None:
    noisy = noisy_picture((96, 88))
    once, _ = run(noisy, TINY.replace(remeasure=False))
    twice, _ = run(noisy, TINY)
    np.testing.assert_array_equal(twice.image, once.image)


@pytest.mark.parametrize(
    ("warm_start", "white", "correlated"),
    [("auto", 1, 2), ("always", 1, 1), ("never", 2, 2)],
)
def test_generators_start_cold_where_noise_is_correlated(
    monkeypatch: pytest.MonkeyPatch, warm_start: Any, white: int, correlated: int
) -> None:
    made = []
    real = engine.Network

    def network(config: Any) -> Generator:
        made.append(config)
        return real(config)

    monkeypatch.setattr(engine, "Network", network)
    options = TINY.replace(warm_start=warm_start, iterations=2)
    counts = []
    for noisy in (noisy_picture((96, 88)), correlated_picture()):
        made.clear()
        assert len(denoise(noisy, options.replace(max_scales=2)).scales) == 2
        counts.append(len(made))
    assert counts == [white, correlated]


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_few_iterations_are_split_all_the_same(iterations: int) -> None:
    result, _ = run(correlated_picture(), TINY.replace(iterations=iterations))
    assert result.scales[0].iterations == iterations
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize("after", [5, 22, 30])
def test_cancelling_either_half_keeps_what_there_is(after: int) -> None:
    options = TINY.replace(iterations=40, max_scales=1, coarsest_iterations=40)
    steps: list[Progress] = []
    result = denoise(
        correlated_picture(),
        options,
        on_progress=steps.append,
        should_stop=lambda: len(steps) >= after,
    )

    assert result.status is Status.CANCELLED
    # Too little of the first half is nothing; of the second, the first half stays.
    kept = {5: [], 22: [20], 30: [30]}
    assert [scale.iterations for scale in result.scales] == kept[after]
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize("after", [0, 1, 2, 40, 41, 45, 79])
def test_cancel_within_one_iteration_with_the_best_so_far(after: int) -> None:
    noisy = noisy_picture(SHAPE, 3, sigma=0.15, high=200, dtype="uint16")
    clean = 200 * clean_picture(SHAPE, 3)
    options = TINY.replace(
        iterations=40, coarsest_iterations=40, learning_rate=1e-2, stopping="none"
    )
    steps: list[Progress] = []

    result = denoise(
        noisy,
        options,
        channel_axis=-1,
        on_progress=steps.append,
        should_stop=lambda: sum(s.finished_scale is None for s in steps) >= after,
    )

    assert sum(step.finished_scale is None for step in steps) == after
    assert result.status is Status.CANCELLED
    finished = [step.finished_scale for step in steps if step.finished_scale is not None]
    assert finished == list(reversed(result.scales))
    assert result.image.shape == noisy.shape
    assert result.image.dtype == noisy.dtype
    assert rms(result.image - clean) <= 1.05 * rms(noisy - clean)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("int64", 6e16), ("uint64", 6e16), ("float64", 1e-3), ("uint8", 200)],
)
def test_cancelled_at_once_the_image_itself_comes_back(dtype: str, largest: float) -> None:
    noisy = (largest * np.random.default_rng(0).random(SHAPE)).astype(dtype)
    result = denoise(noisy, TINY, should_stop=lambda: True)
    assert result.status is Status.CANCELLED
    np.testing.assert_array_equal(result.image, noisy)
    assert result.image.dtype == noisy.dtype
    assert not np.shares_memory(result.image, noisy)


def test_cancel_after_the_last_step_comes_too_late() -> None:
    steps: list[Progress] = []
    result = denoise(
        noisy_picture(SHAPE),
        TINY.replace(refine=False),
        on_progress=steps.append,
        should_stop=lambda: len(steps) >= 7,
    )
    assert result.status is Status.COMPLETED


def test_cancelled_early_in_a_scale_falls_back_on_the_coarser_one() -> None:
    noisy, steps = noisy_picture((64, 64), sigma=0.3), []
    clean = clean_picture((64, 64))
    options = TINY.replace(
        iterations=40, coarsest_iterations=60, learning_rate=1e-2, max_scales=2
    )
    result = denoise(
        noisy,
        options,
        on_progress=steps.append,
        should_stop=lambda: bool(steps) and steps[-1].scale == 0,
    )
    assert result.status is Status.CANCELLED
    assert result.image.shape == noisy.shape
    assert [scale.scale for scale in result.scales] == [1]
    assert rms(result.image - clean) < 0.8 * rms(noisy - clean)


@pytest.mark.parametrize("name", ["on_progress", "should_stop"])
def test_what_cannot_be_called_is_named(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name}=True: give a function"):
        denoise(noisy_picture(SHAPE), TINY, **{name: True})  # type: ignore[arg-type]


# --- progress ---------------------------------------------------------------------


def test_progress_is_monotone_from_nothing_to_the_end() -> None:
    result, steps = run(noisy_picture(SHAPE))

    fractions = [step.fraction for step in steps]
    assert all(0 < fraction <= 1 for fraction in fractions)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {step.n_scales for step in steps} == {len(result.scales)}
    levels = [step.scale for step in steps]
    assert levels == sorted(levels, reverse=True)
    for step in steps:
        assert 1 <= step.iteration <= step.total
        assert np.isfinite(step.loss)
        assert step.loss > 0
        assert step.eta_seconds is None or step.eta_seconds >= 0
    assert steps[-1].eta_seconds == 0


def test_progress_ends_at_one_however_work_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    works = (0.3, 0.2, 0.1)
    assert works[2] + works[1] + works[0] > works[0] + works[1] + works[2]
    monkeypatch.setattr("napari_msdip.plan.Plan.works", works)
    options = TINY.replace(scale_factor=0.7, refine=False)
    _, steps = run(noisy_picture(SHAPE), options)
    assert steps[-1].fraction == 1
    assert all((step.eta_seconds or 0) >= 0 for step in steps)


@pytest.mark.parametrize("stopping", ["none", "settled"])
def test_each_scale_is_finished_once(stopping: str) -> None:
    options = TINY.replace(stopping=stopping, patience=1, min_size=16, scale_factor=0.7)
    result, steps = run(noisy_picture(SHAPE), options)
    finished = [step for step in steps if step.finished_scale is not None]
    assert [step.scale for step in finished] == [2, 1, 0]
    assert [s.finished_scale for s in finished] == list(reversed(result.scales))


def test_previews_are_copies_in_the_units_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_PREVIEW_SECONDS", 0.0)
    noisy = noisy_picture(SHAPE, 3, low=1000, high=3000, dtype="uint16")
    previews, scales = [], []
    for step in iter_denoise(noisy, TINY, channel_axis=-1):
        if step.preview is not None:
            previews.append(step.preview)
            scales.append(step.scale)
            assert step.preview.dtype == np.uint16
            assert 500 < step.preview.mean() < 3500
            step.preview[:] = 0
    assert scales == [1, 1, 1, 0, 0, 0]
    assert {p.shape for p in previews} == {(20, 16, 3), (40, 33, 3)}
    for one, other in itertools.combinations(previews, 2):
        assert not np.shares_memory(one, other)
    plain = denoise(noisy, TINY, channel_axis=-1)
    assert not (plain.image == 0).all()


def test_previews_are_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PREVIEW_SECONDS", 1e6)
    _, steps = run(noisy_picture(SHAPE))
    assert all(step.preview is None for step in steps)


def test_previews_that_take_long_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PREVIEW_SECONDS", 1e-9)
    monkeypatch.setattr(engine, "_CHEAP_PREVIEW", 1e-15)
    _, steps = run(noisy_picture(SHAPE))
    assert sum(step.preview is not None for step in steps) == 1


def test_measuring_counts_as_a_part_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: Any) -> Any:
        time.sleep(0.5)
        return measure(*args)

    measure = measured.measure
    monkeypatch.setattr(measured, "measure", slow)
    assert 0.5 < denoise(noisy_picture(SHAPE), TINY).seconds < 60


def test_an_image_is_cut_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "choose_tile", lambda plan: 128)
    noisy = noisy_picture((136, 128))
    result = denoise(noisy, TINY)
    assert result.image.shape == noisy.shape
    assert result.plan.shape == (128, 128)


def test_previews_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, found = noisy_picture(SHAPE), []
    for seconds in (0.0, 1e6):
        monkeypatch.setattr(engine, "_PREVIEW_SECONDS", seconds)
        found.append(denoise(noisy, TINY).image)
    np.testing.assert_array_equal(*found)


# --- provenance -------------------------------------------------------------------


def test_provenance_round_trips_and_repeats_the_run() -> None:
    noisy = noisy_picture(SHAPE)
    result = denoise(noisy, TINY.replace(seed=5))

    told = json.loads(result.to_json())

    assert told == result.provenance()
    assert told["plan"]["seed"] == 5
    assert told["plan"]["device"] == "cpu"
    assert told["versions"]["torch"] == torch.__version__
    assert set(told["versions"]) >= {"napari-msdip", "numpy"}
    again = denoise(noisy, Options(**told["plan"]["options"]))
    np.testing.assert_array_equal(again.image, result.image)


def test_result_tells_noise_that_channels_share() -> None:
    clean = clean_picture((128, 128), 3)
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((128, 128, 1)), (1, 1, 0))
    noisy = clean + 0.1 * noise / noise.std()
    assert estimate_sigma(noisy, channel_axis=2) < 0.05
    result = denoise(noisy, TINY, channel_axis=2)
    assert result.sigma == pytest.approx(0.1, rel=0.3)


def test_result_tells_the_noise_of_channels_in_their_own_units() -> None:
    """Weak channels are brought to the range of strong ones, but that is our business."""
    clean = clean_picture((96, 136), 2) * np.array([100.0, 1.0])
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    noisy = clean + noise * np.array([1.0, 0.3])
    expected = pytest.approx(math.sqrt((1.0 + 0.3**2) / 2), rel=0.15)
    whole = denoise(noisy, TINY, channel_axis=2)
    steps = iter_denoise_fitting(noisy, TINY, channel_axis=2, tile=96)
    tiled, _ = driven(steps)
    for result in (whole, tiled):
        assert result.plan.sigma == expected
        assert result.scales[0].sigma == expected
        assert result.sigma == expected


def test_result_tells_time_noise_and_plan() -> None:
    result = denoise(noisy_picture(SHAPE), TINY)
    assert result.plan.options == TINY
    assert result.plan.shape == SHAPE
    assert result.sigma == pytest.approx(0.1, rel=0.4)
    assert result.plan.sigma == pytest.approx(0.1, rel=0.4)
    assert 0 < sum(scale.seconds for scale in result.scales) <= result.seconds


def test_progress_is_reported_alike_for_images_and_stacks() -> None:
    def hint(function: Any) -> Any:
        return inspect.signature(function).parameters["on_progress"].annotation

    # What a callback returns is nobody's business: appending to a list will do.
    assert hint(denoise) == hint(denoise_stack) == hint(denoise_layer)
