"""Tiles agree on the range of their image, and shrink when memory ends."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.fake_fit import STEPS, fake_denoise
from tests.samples import driven

from napari_msdip import Options, Progress, Result, Status, cost, devices, piece, tiling
from napari_msdip._tiling import canvas
from napari_msdip._tiling.grid import tile_grid
from napari_msdip.image import iter_denoise
from napari_msdip.measured import Prepared
from napari_msdip.pixels import Normalisation, as_planes
from napari_msdip.plan import resolve
from napari_msdip.steps import drive
from napari_msdip.tiling import choose_tile, iter_denoise_fitting, out_of_memory
from napari_msdip.vgg_weights import WeightsNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = Options(device="cpu", precision="float32", threads=1)
TINY = OPTIONS.replace(widths=(4, 8), iterations=4, coarsest_iterations=4)


def use(monkeypatch: pytest.MonkeyPatch, engine: Any) -> None:
    monkeypatch.setattr(piece, "iter_denoise_part", engine)


def textured(height: int, width: int, channels: int | None = None) -> Any:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(1).integers(100, 4000, shape).astype("uint16")


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the engine by one that returns the noisy image; record measurements."""
    seen = []

    def copy(image: Any, options: Options, **kwargs: Any) -> Iterator[Progress]:
        seen.append(kwargs["shared"].measured if "shared" in kwargs else None)
        result, steps = driven(fake_denoise(image, options, **without(kwargs)))
        yield from steps
        image = image.astype(result.image.dtype)
        return Result(
            image, result.scales, result.sigma, result.plan, result.status, result.seconds
        )

    use(monkeypatch, copy)
    return seen


def without(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "shared"}


@pytest.mark.parametrize("channel_axis", [None, 0, 1, 2])
def test_copied_tiles_give_the_image_back(copying: list[Any], channel_axis: int) -> None:
    image = textured(150, 210, None if channel_axis is None else 3)
    if channel_axis is not None:
        image = np.moveaxis(image, -1, channel_axis)
    steps = iter_denoise_fitting(image, OPTIONS, channel_axis=channel_axis, tile=128)
    result, _ = driven(steps)
    np.testing.assert_array_equal(result.image, image)
    assert result.image.dtype == image.dtype
    (scale,) = result.scales
    assert scale.image.shape == image.shape
    assert scale.shape == (150, 210)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_what_every_tile_leaves_alone_keeps_all_its_digits(
    copying: list[Any], dtype: str
) -> None:
    image = (textured(150, 210) / 7 + 2**40 * (np.arange(210) > 100)).astype(dtype)
    result, _ = driven(iter_denoise_fitting(image, OPTIONS, tile=128))
    np.testing.assert_array_equal(result.image, image)


def test_padding_keeps_all_its_digits_with_the_real_engine() -> None:
    image = np.random.default_rng(0).normal(1e6, 10, (140, 210))
    image[:, 80:] = image[:40] = 1e6 + 1 / 3
    padding = image == 1e6 + 1 / 3
    result, _ = driven(iter_denoise_fitting(image, TINY, tile=128))
    np.testing.assert_array_equal(result.image == image, padding)


@pytest.mark.parametrize(("free", "tiles"), [(2**40, 1), (2**24, 6)])
def test_an_image_is_cut_only_if_memory_is_short(
    free: int, tiles: int, copying: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device: free)
    image = np.moveaxis(textured(150, 210, 3), -1, 0)
    steps = iter_denoise(image, OPTIONS, channel_axis=0)
    result, _ = driven(steps)
    assert len(copying) == tiles
    np.testing.assert_array_equal(result.image, image)


def test_constant_channels_are_left_out_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def inverting(image: Any, options: Options, **kwargs: Any) -> Iterator[Progress]:
        seen.append((len(image), kwargs["warm_start"]))
        result, steps = driven(fake_denoise(image, options, **without(kwargs)))
        yield from steps
        result.image[:] = 5000 - image
        return result

    use(monkeypatch, inverting)
    image, warm_starts = textured(150, 210, 3), {}
    image[..., 1] = 7
    arguments = {"channel_axis": -1, "tile": 128, "warm_starts": warm_starts}
    result, steps = driven(iter_denoise_fitting(image, OPTIONS, **arguments))
    for shown in (result.image, result.scales[0].image, steps[-1].preview):
        np.testing.assert_array_equal(shown[..., 1], 7)
    np.testing.assert_array_equal(result.image[..., ::2], 5000 - image[..., ::2])
    assert result.plan.channels == 3
    assert {channels for channels, _ in seen} == {2}
    driven(iter_denoise_fitting(textured(150, 210, 3), OPTIONS, **arguments))
    starts = [id(start) for _, start in seen]
    assert not {*starts[:4]} & {*starts[4:]}


def test_all_tiles_share_what_was_measured_on_the_image(copying: list[Any]) -> None:
    image = textured(150, 210)
    image[:, :100] //= 10
    driven(iter_denoise_fitting(image, OPTIONS, tile=128))
    assert len(copying) == len(tile_grid(image.shape, 128)) > 1
    assert copying[0].normalisation == Normalisation.of(image[np.newaxis])
    assert {measured.normalisation for measured in copying} == {copying[0].normalisation}
    assert {measured.bounds for measured in copying} == {copying[0].bounds}


def test_features_are_made_once_for_all_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    seen: list[object] = []

    def make(plan: Any) -> object:
        made.append(object())
        return made[-1]

    def listen(image: Any, options: Options, *, shared: Any, **kwargs: Any) -> Any:
        seen.append(shared.features)
        return fake_denoise(image, options, **kwargs)

    monkeypatch.setattr(piece, "features_of", make)
    use(monkeypatch, listen)
    driven(iter_denoise_fitting(textured(150, 210), OPTIONS, tile=128))
    assert len(seen) > 1
    assert seen == made * len(seen)


def test_missing_weights_are_told_before_the_image_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*args: Any) -> None:
        raise WeightsNotFoundError("no weights")

    def measure(*args: Any) -> None:
        pytest.fail("the noise was measured first")

    monkeypatch.setattr("napari_msdip.run.load_vgg16", missing)
    monkeypatch.setattr("napari_msdip.measured.measure", measure)
    options = TINY.replace(consistency="vgg16", min_size=64)
    with pytest.raises(WeightsNotFoundError):
        iter_denoise_fitting(textured(150, 210), options, tile=128)


def test_tiles_have_the_noise_of_where_they_lie(copying: list[Any]) -> None:
    levels = np.where(np.arange(260) < 130, 10.0, 40.0)
    noise = np.random.default_rng(0).normal(size=(150, 260))
    image = (500 + levels * noise).astype(np.float32)
    driven(iter_denoise_fitting(image, OPTIONS, tile=128))

    whole = Prepared.of(image, None, OPTIONS)
    assert whole.measured.noise.gains is not None
    expected = whole.measured.noise.sigma_map(whole.planar)
    tiles = tile_grid(image.shape, 128)
    for tile, measured in zip(tiles, copying, strict=True):
        window = tile.window
        found = measured.noise.sigma_map(whole.planar[:, *window])
        inner = (0, slice(16, -16), slice(16, -16))
        np.testing.assert_allclose(found[inner], expected[:, *window][inner], rtol=0.01)


def test_tiles_without_variation_tell_nothing_of_the_noise() -> None:
    image = np.zeros((200, 200), np.float32)
    image[:60, :60] = np.random.default_rng(0).normal(100, 10, (60, 60))
    result, _ = driven(iter_denoise_fitting(image, TINY, tile=128))
    whole, _ = driven(iter_denoise_fitting(image, TINY))
    assert result.sigma == pytest.approx(whole.sigma, rel=0.2)
    assert result.scales[0].stop_reason is whole.scales[0].stop_reason


def test_hot_pixels_go_before_the_image_is_cut(copying: list[Any]) -> None:
    image = 2000 + textured(150, 210) // 20
    image[75, 105] = 60000
    options = OPTIONS.replace(remove_hot_pixels=True)
    result, _ = driven(iter_denoise_fitting(image, options, tile=128))
    assert result.image.max() < 2500
    untouched = image < 2500
    np.testing.assert_array_equal(result.image[untouched], image[untouched])


def test_tiles_that_disagree_leave_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = iter((0.0, 100.0, 0.0, 100.0))

    def disagreeing(image: Any, options: Options, **kwargs: Any) -> Iterator[Progress]:
        result, steps = driven(fake_denoise(image, options, **without(kwargs)))
        yield from steps
        result.image[:] = next(offsets)
        return result

    use(monkeypatch, disagreeing)
    result, _ = driven(
        iter_denoise_fitting(np.zeros((150, 400), np.float32), OPTIONS, tile=256)
    )
    assert result.image.min() < 1
    assert result.image.max() > 99
    assert np.abs(np.diff(result.image, axis=1)).max() < 12


def test_progress_in_tiles(copying: list[Any]) -> None:
    image = textured(150, 210)
    result, seen = driven(iter_denoise_fitting(image, OPTIONS, tile=128))
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    previews = [progress.preview for progress in seen if progress.preview is not None]
    assert len(previews) == len(tile_grid(image.shape, 128)) > 1
    assert all(preview.shape == image.shape for preview in previews)
    (finished,) = [p.finished_scale for p in seen if p.finished_scale is not None]
    assert finished is result.scales[0]


def test_no_tile_is_held_once_it_is_blended_in(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []

    def noting(*args: Any, **kwargs: Any) -> Any:
        # The last one is still the caller's.
        assert not any(image() is not None for image in held[:-2])
        result = yield from fake_denoise(*args, **kwargs)
        images = result.image.copy(), result.scales[0].image
        held.extend(map(weakref.ref, images))
        return dataclasses.replace(result, image=images[0])

    use(monkeypatch, noting)
    driven(iter_denoise_fitting(textured(150, 210), OPTIONS, tile=128))
    assert len(held) > 4


@pytest.mark.parametrize("channel_axis", [None, 0, 2])
def test_a_preview_shows_another_tile_and_restores_no_other(
    monkeypatch: pytest.MonkeyPatch, channel_axis: int | None
) -> None:
    use(monkeypatch, fake_denoise)
    image = textured(300, 310, None if channel_axis is None else 2)
    if channel_axis == 0:
        image = np.moveaxis(image, -1, 0)
    restored, spied = [], canvas.restored

    def spy(values: Any, *arguments: Any) -> Any:
        restored.append(values.shape[1:])
        return spied(values, *arguments)

    monkeypatch.setattr(canvas, "restored", spy)
    steps = iter_denoise_fitting(image, OPTIONS, channel_axis=channel_axis, tile=128)
    _, seen = driven(steps)
    tiles = tile_grid((300, 310), 128)
    previews = [progress.preview for progress in seen if progress.preview is not None]
    noisy = as_planes(image, channel_axis)
    for number, preview in enumerate(previews):
        changed = as_planes(preview, channel_axis) != noisy
        for other, tile in enumerate(tiles):
            inner = tuple(slice(span.start + 60, span.stop - 60) for span in tile.window)
            assert changed[:, *inner].any() == (other <= number)
    assert restored.count((128, 128)) == len(tiles) - 1
    assert len(restored) == len(tiles) + 2


def cancelled(image: Any, after: int) -> Result:
    """Denoise in tiles of 128 pixels until asked so many times."""
    asked = itertools.count()
    steps = iter_denoise_fitting(
        image, OPTIONS, should_stop=lambda: next(asked) >= after, tile=128
    )
    return driven(steps)[0]


def test_cancelled_in_a_tile_keeps_the_rest_noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fake_denoise)
    image = textured(150, 210)
    result = cancelled(image, after=5)
    assert result.status is Status.CANCELLED
    np.testing.assert_array_equal(result.image[-20:], image[-20:])
    assert (result.image[:80, :60] != image[:80, :60]).any()


def test_cancelled_between_tiles_keeps_the_finished_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, fake_denoise)
    image = textured(150, 210)
    result = cancelled(image, after=STEPS)
    assert result.status is Status.CANCELLED
    assert (result.image[:80, :60] != image[:80, :60]).mean() > 0.9
    np.testing.assert_array_equal(result.image[128:], image[128:])
    np.testing.assert_array_equal(result.image[:, 128:], image[:, 128:])
    (scale,) = result.scales
    assert scale.iterations == STEPS
    np.testing.assert_array_equal(scale.image, result.image)


def test_cancelled_at_once_the_real_engine_returns_the_image_as_it_was() -> None:
    image = textured(150, 210)
    steps = iter_denoise_fitting(image, TINY, should_stop=lambda: True, tile=128)
    result, _ = driven(steps)
    assert result.status is Status.CANCELLED
    assert result.scales == ()
    np.testing.assert_array_equal(result.image, image)


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_cancelled_before_a_tile_no_digit_is_lost(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    use(monkeypatch, fake_denoise)
    image = (textured(150, 210) / 7 + 2**40 * (np.arange(210) > 100)).astype(dtype)
    steps = iter_denoise_fitting(image, OPTIONS, should_stop=lambda: True, tile=128)
    result, _ = driven(steps)
    np.testing.assert_array_equal(result.image, image)


def test_same_seed_same_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fake_denoise)
    image = textured(150, 210)
    first, _ = driven(iter_denoise_fitting(image, OPTIONS, tile=128))
    second, _ = driven(iter_denoise_fitting(image, OPTIONS, tile=128))
    other, _ = driven(iter_denoise_fitting(image, OPTIONS.replace(seed=1), tile=128))
    np.testing.assert_array_equal(first.image, second.image)
    assert (first.image != other.image).any()


def test_every_tile_starts_from_its_own_predecessor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, fake_denoise)
    image, warm_starts = textured(150, 210), {}
    for _ in range(2):
        driven(iter_denoise_fitting(image, OPTIONS, tile=128, warm_starts=warm_starts))
    driven(iter_denoise_fitting(image, OPTIONS, warm_starts=warm_starts))
    tiles = len(tile_grid(image.shape, 128))
    assert len(warm_starts) == tiles + 1
    seen = [start.weights[0]["rank"] for start in warm_starts.values()]
    assert seen == [2] * tiles + [1]


# --- memory ------------------------------------------------------------------------


def test_tile_is_the_largest_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_for(shape: tuple[int, int], channels: int, options: Options) -> int:
        return shape[0] * shape[1] * channels * 1000

    monkeypatch.setattr(cost, "expected_memory", bytes_for)
    plan = resolve(OPTIONS, (1000, 1000), 1.0, channels=2)
    for free, expected in ((10**10, None), (10**9, 256), (3 * 10**8, 128)):
        monkeypatch.setattr(devices, "available_memory", lambda device, free=free: free)
        assert choose_tile(plan) == expected


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_tiles_are_chosen_beside_what_the_whole_image_takes(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """A GPU's own memory is all for the tiles, but the image needs the machine's."""
    free = {"cpu": 10 * 2**30, "cuda": 8 * 2**30, "mps": 8 * 2**30}
    monkeypatch.setattr(devices, "available_memory", free.__getitem__)
    monkeypatch.setattr(cost, "expected_memory", lambda shape, *_: shape[0] * 10**7)
    plan = resolve(OPTIONS, (4000, 4000), 1.0, channels=4)
    plan = dataclasses.replace(plan, device=device)
    assert choose_tile(plan) == (192 if device == "cuda" else 128)
    too_large = dataclasses.replace(plan, shape=(9000, 9000))
    with pytest.raises(MemoryError, match=r"image: 4 × 9000 × 9000 .* 10\.0 GiB are free"):
        choose_tile(too_large)


def test_the_whole_image_takes_no_more_than_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, fake_denoise)
    image = textured(2048, 2048)
    steps = iter_denoise_fitting(image, OPTIONS, tile=512)
    tracemalloc.start()
    try:
        next(steps)
        measuring = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        drive(steps)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert measuring < (tiling._HELD_BYTES + tiling._MEASURING_BYTES) * image.size
    assert held < tiling._HELD_BYTES * image.size


@pytest.mark.parametrize(("channels", "side"), [(2, 1024), (6, 640)])
def test_small_planes_of_many_channels_take_no_more_either(
    channels: int, side: int
) -> None:
    image = textured(side, side, channels)
    tracemalloc.start()
    try:
        assert Prepared.of(image, -1, OPTIONS).measured.noise.sigmas.min() > 0
        measuring = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert measuring < (tiling._HELD_BYTES + tiling._MEASURING_BYTES) * image.size


@pytest.mark.parametrize("dtype", ["int64", "float64"])
@pytest.mark.parametrize("channels", [None, 3])
def test_the_widest_pixels_and_channels_unlike_each_other_are_counted(
    monkeypatch: pytest.MonkeyPatch, dtype: str, channels: int | None
) -> None:
    use(monkeypatch, fake_denoise)
    image = textured(768, 768, channels).astype(dtype)
    axis = None
    if channels:
        axis = -1
        image[..., 0] //= 50
    steps = iter_denoise_fitting(image, OPTIONS, channel_axis=axis, tile=192)
    tracemalloc.start()
    try:
        next(steps)
        tracemalloc.reset_peak()
        drive(steps)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < tiling._HELD_BYTES * image.size


def test_a_tile_may_be_as_dark_as_it_likes() -> None:
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    image[:40] *= 1e-20
    options = TINY.replace(iterations=2, coarsest_iterations=2)
    result, _ = driven(iter_denoise_fitting(image, options, tile=32))
    assert result.status is Status.COMPLETED


def test_tiles_overlap_no_more_than_their_number_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device: 20 * 2**30)
    side = choose_tile(resolve(Options(device="cpu"), (4096, 4096), 1.0))
    assert side == 1536
    assert len(tile_grid((4096, 4096), side)) == len(tile_grid((4096, 4096), 2048)) == 9


def test_a_piece_is_bounded_however_much_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device: 2**40)
    plan = resolve(OPTIONS, (30_000, 30_000), 1.0)
    side = choose_tile(plan)
    assert side is not None
    assert cost.expected_memory((side, side), 1, OPTIONS) <= 6 * 2**30


def test_a_limit_holds_however_much_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device: 2**40)
    plan = resolve(OPTIONS, (900, 900), 1.0)
    assert choose_tile(plan) is None
    assert choose_tile(plan, 500 * 2**20) is not None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("Invalid buffer size: 19.38 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("CUDA error: no kernel image is available"), False),
        (RuntimeError("diverged"), False),
        (ValueError("image"), False),
    ],
)
def test_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


@pytest.mark.parametrize("allocate", [torch.empty, np.empty])
def test_what_libraries_raise_is_recognised(allocate: Any) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate(2**56)
    assert out_of_memory(raised.value)


def hungry(limit: int, tried: list[tuple[str, int]]) -> Any:
    """Return an engine that runs out of memory on larger images, unless on the CPU."""

    def denoise(image: Any, options: Options, **kwargs: Any) -> Iterator[Progress]:
        tried.append((options.device, image.shape[-1]))
        inner = options.replace(device="cpu")
        steps = fake_denoise(image, inner, **without(kwargs))
        yield next(steps)
        if options.device != "cpu" and max(image.shape) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (yield from steps)

    return denoise


def test_out_of_memory_goes_on_with_smaller_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int]] = []
    use(monkeypatch, hungry(192, tried))
    monkeypatch.setattr(devices, "select", lambda device: device)
    options = OPTIONS.replace(device="cuda")
    with pytest.warns(RuntimeWarning) as warned:
        result, seen = driven(iter_denoise_fitting(textured(300, 300), options))
    assert [size for _, size in tried[:3]] == [300, 256, 192]
    assert "tiles of 256 pixels" in str(warned[0].message)
    assert "tiles of 192 pixels" in str(warned[1].message)
    assert result.status is Status.COMPLETED
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)


def test_out_of_memory_ends_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int]] = []
    use(monkeypatch, hungry(0, tried))
    monkeypatch.setattr(devices, "select", lambda device: device)
    options = OPTIONS.replace(device="cuda")
    with pytest.warns(RuntimeWarning) as warned:
        result, _ = driven(iter_denoise_fitting(textured(200, 200), options))
    assert tried == [("cuda", 200), ("cuda", 192), ("cuda", 128), ("cpu", 200)]
    assert "going on with the CPU" in str(warned[-1].message)
    assert result.status is Status.COMPLETED


def test_no_memory_at_all_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def starving(image: Any, options: Options, **kwargs: Any) -> Iterator[Progress]:
        raise MemoryError
        yield

    use(monkeypatch, starving)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(MemoryError, match="not even a tile of 128 pixels"):
            driven(iter_denoise_fitting(textured(200, 200), OPTIONS))


def test_an_image_that_cannot_be_measured_is_not_tried_in_smaller_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def starving(*args: Any) -> Any:
        calls.append(args)
        raise MemoryError("no room")

    monkeypatch.setattr(Prepared, "of", starving)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            MemoryError, match=r"image: 1 × 300 × 200 .* in tiles \(no room\)"
        ):
            iter_denoise_fitting(textured(300, 200), OPTIONS, tile=192)
    assert len(calls) == 1


def test_other_errors_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(image: Any, options: Options, **kwargs: Any) -> Iterator[Progress]:
        raise RuntimeError("diverged")
        yield

    use(monkeypatch, broken)
    with pytest.raises(RuntimeError, match="diverged"):
        driven(iter_denoise_fitting(textured(200, 200), OPTIONS))


def test_no_seam_with_the_real_engine() -> None:
    """The picture is as hard everywhere, so the error must be the same everywhere."""
    y, x = np.mgrid[:96, :208]
    clean = 100 + 40 * np.sin(x / 5) * np.sin(y / 6)
    noisy = clean + np.random.default_rng(0).normal(size=clean.shape) * 15
    options = OPTIONS.replace(
        widths=(16, 32), iterations=80, coarsest_iterations=80, max_scales=1
    )
    result, _ = driven(iter_denoise_fitting(noisy.astype("float32"), options, tile=128))
    error = (result.image - clean) ** 2
    first, second = (tile.window[1] for tile in tile_grid(clean.shape, 128))
    overlap = error[:, second.start : first.stop]
    elsewhere = np.concatenate(
        [error[:, 8 : second.start], error[:, first.stop : -8]], axis=1
    )
    assert np.sqrt(error.mean()) < 10
    assert np.sqrt(overlap.mean()) < 1.1 * np.sqrt(elsewhere.mean())
    bias = (result.image - noisy)[:, second.start : first.stop].mean()
    assert abs(bias) < 1
