"""Stacks: each plane as if alone, one at a time, surviving kills and bad planes."""

from __future__ import annotations

import errno
import inspect
import json
import os
import shutil
import signal
import tracemalloc
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from tests._stack.helpers import OPTIONS, random_stack
from tests.fake_fit import fake_denoise
from tests.samples import TINY

from napari_msdip import Options, Progress, Status, piece, tiling
from napari_msdip._stack.journal import JOURNAL
from napari_msdip._stack.zarr_sink import ZarrOut, ZarrSink
from napari_msdip.planes import PlaneLayout, chunked, select
from napari_msdip.seeds import plane_seed
from napari_msdip.stack import denoise_stack, iter_denoise_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_engine")


def alone(stack: Any, index: int, channel_axis: int | None = None) -> Any:
    layout = PlaneLayout.of(stack.shape, channel_axis)
    options = OPTIONS.replace(seed=plane_seed(OPTIONS.seed, index))
    plane = np.asarray(stack[layout.key(index)])
    steps = fake_denoise(plane, options, channel_axis=layout.plane_channel_axis)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.image


# --- which planes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "channel_axis", "plane_shape", "n_planes"),
    [
        ((16, 20), None, (16, 20), 1),
        ((5, 16, 20), None, (5, 16, 20)[1:], 5),
        ((3, 16, 20), 0, (3, 16, 20), 1),
        ((2, 3, 4, 16, 20), 1, (3, 16, 20), 8),
        ((4, 16, 20, 3), -1, (16, 20, 3), 4),
        ((4, 16, 3, 20), 2, (16, 3, 20), 4),
    ],
)
def test_layout_finds_the_planes(
    shape: tuple[int, ...],
    channel_axis: int | None,
    plane_shape: tuple[int, ...],
    n_planes: int,
) -> None:
    layout = PlaneLayout.of(shape, channel_axis)
    stack = random_stack(*shape)
    assert layout.n_planes == n_planes
    assert layout.plane_shape == plane_shape
    assert layout.size_yx == (16, 20)
    planes = [stack[layout.key(i)] for i in range(n_planes)]
    assert all(plane.shape == plane_shape for plane in planes)
    assert sum(int(plane.sum()) for plane in planes) == int(stack.sum())


@pytest.mark.parametrize(
    ("planes", "expected"),
    [
        (None, (0, 1, 2, 3, 4)),
        (slice(1, 4, 2), (1, 3)),
        ([4, 0], (4, 0)),
        (np.array([-1]), (4,)),
    ],
)
def test_select(planes: Any, expected: tuple[int, ...]) -> None:
    assert select(planes, 5) == expected


@pytest.mark.parametrize(
    ("planes", "error"),
    [
        (slice(5, 9), ValueError),
        (slice(0, 4, 0), ValueError),
        ([], ValueError),
        ([5], ValueError),
        ([1, 1], ValueError),
        ([1.5], TypeError),
        ([True], TypeError),
        (np.array([[0, 1]]), TypeError),
        (np.array(3), TypeError),
        (slice(0.5, 2), TypeError),
        ("12", TypeError),
        (3, TypeError),
    ],
)
def test_select_refuses(planes: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="plane"):
        select(planes, 5)


@pytest.mark.parametrize("function", [denoise_stack, iter_denoise_stack])
def test_type_checkers_take_an_array_of_planes(function: Any) -> None:
    declared = inspect.signature(function).parameters["planes"].annotation
    # An array is no sequence to them, but can be gone through.
    assert declared == "slice | Iterable[int] | None"


# --- same answer everywhere --------------------------------------------------------


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -1])
def test_each_plane_is_what_it_is_alone(channel_axis: int) -> None:
    stack = np.moveaxis(random_stack(2, 2, 3, 16, 18), 2, channel_axis)
    result = denoise_stack(stack, OPTIONS, channel_axis=channel_axis)
    assert result.image.shape == stack.shape
    assert result.image.dtype == stack.dtype
    assert result.planes == (0, 1, 2, 3)
    layout = PlaneLayout.of(stack.shape, channel_axis)
    for index in result.planes:
        expected = alone(stack, index, channel_axis)
        np.testing.assert_array_equal(result.image[layout.key(index)], expected)


def test_selected_planes_keep_their_order_and_the_channel_axis() -> None:
    stack = random_stack(2, 3, 4, 16, 18)
    whole = denoise_stack(stack, OPTIONS, channel_axis=1)
    some = denoise_stack(stack, OPTIONS, channel_axis=1, planes=[6, 1])
    assert some.planes == (6, 1)
    assert some.image.shape == (2, 3, 16, 18)
    np.testing.assert_array_equal(some.image[0], whole.image[1, :, 2])
    np.testing.assert_array_equal(some.image[1], whole.image[0, :, 1])


def test_every_kind_of_lazy_source_gives_the_same(tmp_path: Path) -> None:
    stack = random_stack(3, 16, 18)
    expected = denoise_stack(stack, OPTIONS).image
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=stack, chunks=(1, 16, 18))
    group = zarr.create_group(str(tmp_path / "g.zarr"))
    group.create_array("first", data=stack)
    sources = [
        da.from_array(stack, chunks=(2, 8, 8)),
        array,
        group,
        tmp_path / "a.zarr",
        stack.astype(">u2"),
    ]
    for source in sources:
        np.testing.assert_array_equal(denoise_stack(source, OPTIONS).image, expected)
    with tifffile.imread(tmp_path / "a.tif", aszarr=True) as store:
        np.testing.assert_array_equal(denoise_stack(store, OPTIONS).image, expected)


def test_float32_output() -> None:
    stack = random_stack(2, 16, 18)
    result = denoise_stack(stack, OPTIONS.replace(output_dtype="float32"))
    assert result.image.dtype == np.float32


def test_one_plane_in_memory_at_a_time(tmp_path: Path) -> None:
    plane = np.zeros((256, 256), np.float32)

    def peak(n_planes: int) -> int:
        stack = da.zeros((n_planes, *plane.shape), chunks=(1, *plane.shape), dtype="f4")
        out = zarr.create_array(
            str(tmp_path / f"{n_planes}.zarr"),
            shape=stack.shape,
            dtype="f4",
            chunks=(1, *plane.shape),
        )
        tracemalloc.start()
        denoise_stack(stack + 1, OPTIONS, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(2)
    assert peak(16) < peak(4) + 2 * plane.nbytes


# --- progress and cancelling -------------------------------------------------------


def test_progress_is_monotonic_and_reports_each_plane_once() -> None:
    stack = random_stack(4, 16, 18)
    stack_float = stack.astype("float32")
    stack_float[1, 3, 3] = np.nan
    seen: list[Progress] = []
    result = denoise_stack(stack_float, OPTIONS, on_progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert seen[-1].eta_seconds == 0
    assert all(progress.n_planes == 4 for progress in seen)
    finished = [progress for progress in seen if progress.finished_plane is not None]
    assert [progress.plane for progress in finished] == [0, 1, 2, 3]
    assert finished == [progress for progress in seen if progress.total == 0]
    for progress in finished:
        np.testing.assert_array_equal(progress.finished_plane, result.image[progress.plane])
    assert any(progress.finished_scale is not None for progress in seen)


def test_cancelling_keeps_the_finished_planes() -> None:
    stack = random_stack(4, 16, 18)
    whole = denoise_stack(stack, OPTIONS)
    finished = 0

    def count(progress: Progress) -> None:
        nonlocal finished
        finished += progress.finished_plane is not None

    result = denoise_stack(
        stack, OPTIONS, on_progress=count, should_stop=lambda: finished == 2
    )
    assert result.status is Status.CANCELLED
    assert result.pending == (2, 3)
    np.testing.assert_array_equal(result.image[:2], whole.image[:2])


def test_a_plane_cancelled_in_place_is_what_it_was() -> None:
    stack = random_stack(2, 16, 18)
    asked = iter(range(100))

    overwritten = stack.copy()
    result = denoise_stack(
        overwritten, OPTIONS, out=overwritten, should_stop=lambda: next(asked) == 3
    )

    assert result.pending == (0, 1)
    np.testing.assert_array_equal(overwritten, stack)


def test_cancelled_store_is_resumed(tmp_path: Path) -> None:
    stack = random_stack(3, 16, 18)
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == 6

    out = tmp_path / "out.ome.zarr"
    cancelled = denoise_stack(stack, OPTIONS, out=out, should_stop=stop)
    assert cancelled.status is Status.CANCELLED
    assert cancelled.pending == (1, 2)
    resumed = denoise_stack(stack, OPTIONS, out=out)
    np.testing.assert_array_equal(resumed.image[:], denoise_stack(stack, OPTIONS).image)


# --- planes that start from their neighbours ---------------------------------------

IN_CHUNKS = OPTIONS.replace(plane_chunk=3)


@pytest.mark.parametrize(
    ("planes", "row_length", "size", "expected"),
    [
        (range(7), 7, 3, [[0, 1, 2], [3, 4, 5], [6]]),
        (range(8), 4, 3, [[0, 1, 2], [3], [4, 5, 6], [7]]),
        (range(4, 8), 12, 3, [[0, 1], [2, 3]]),
        ((0, 2, 3, 8, 7), 12, 12, [[0], [1, 2], [3], [4]]),
        (range(3), 3, 1, [[0], [1], [2]]),
        ((5,), 1, 4, [[0]]),
    ],
)
def test_chunks_are_of_neighbours(
    planes: Any, row_length: int, size: int, expected: list[list[int]]
) -> None:
    assert chunked(planes, row_length, size) == expected


def ranks(stack: Any, image: Any) -> list[int]:
    """Return how many neighbours each plane started from, one after the other."""
    alone_ = [alone(stack, index).astype(int) for index in range(len(stack))]
    found = [np.asarray(image[n]) - plane for n, plane in enumerate(alone_)]
    return [int(np.median(difference)) for difference in found]


def test_a_plane_starts_from_its_neighbour_within_a_chunk() -> None:
    stack = random_stack(7, 16, 18) // 2
    whole = denoise_stack(stack, IN_CHUNKS)
    assert ranks(stack, whole.image) == [0, 1, 2, 0, 1, 2, 0]
    chunk = denoise_stack(stack, IN_CHUNKS, planes=slice(3, 6))
    np.testing.assert_array_equal(chunk.image, whole.image[3:6])


@pytest.mark.parametrize(("chunk", "kept"), [(1, False), (2, True)])
def test_generators_are_kept_only_for_a_plane_that_follows(
    monkeypatch: pytest.MonkeyPatch, chunk: int, kept: bool
) -> None:
    seen = []

    def noting(*args: Any, warm_start: Any, **kwargs: Any) -> Any:
        seen.append(warm_start is not None)
        return fake_denoise(*args, warm_start=warm_start, **kwargs)

    monkeypatch.setattr(piece, "iter_denoise_part", noting)
    denoise_stack(random_stack(2, 16, 18), OPTIONS.replace(plane_chunk=chunk))
    assert seen == [kept, kept]


def test_a_plane_that_cannot_be_denoised_is_passed_over() -> None:
    stack = (random_stack(3, 16, 18) // 2).astype("float32")
    stack[1, 0, 0] = np.nan
    result = denoise_stack(stack, IN_CHUNKS)
    assert list(result.failed) == [1]
    expected = alone(stack, 2) + 1
    np.testing.assert_allclose(result.image[2], expected, rtol=1e-6)


@pytest.mark.parametrize("finished", [1, 2, 3, 4])
def test_a_chunk_is_resumed_from_its_beginning(tmp_path: Path, finished: int) -> None:
    stack = random_stack(6, 16, 18) // 2
    out = tmp_path / "o.zarr"
    steps = iter_denoise_stack(stack, IN_CHUNKS, out=out)
    while finished:
        finished -= next(steps).finished_plane is not None
    steps.close()
    seen: list[Progress] = []
    resumed = denoise_stack(stack, IN_CHUNKS, out=out, on_progress=seen.append)
    np.testing.assert_array_equal(resumed.image[:], denoise_stack(stack, IN_CHUNKS).image)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    journal = (out / "0" / JOURNAL).read_bytes().splitlines()
    assert [json.loads(line)["plane"] for line in journal[1:]] == list(range(6))


def test_warm_planes_begin_near_the_end_and_take_half_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    picture = np.sin(np.arange(40) / 4) * 50 + 100
    stack = (picture + rng.normal(size=(2, 40, 40)) * 10).astype("float32")
    first_losses = []
    for size in (1, 2):
        options = TINY.replace(iterations=20, coarsest_iterations=40, plane_chunk=size)
        seen: list[Progress] = []
        result = denoise_stack(stack, options, on_progress=seen.append)
        first_losses.append(next(step.loss for step in seen if step.plane == 1))
    assert first_losses[1] < 0.5 * first_losses[0]
    assert result.plan is not None
    assert [scale.iterations for scale in result.plan.scales] == [10, 20]


# --- refused at once ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("client", "tcp://head:8786"), ("should_stop", True), ("on_progress", 5)],
)
def test_arguments_of_the_wrong_kind_are_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name}={value!r}: give a"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, **{name: value})


def unknown_size() -> Any:
    stack = da.from_array(random_stack(3, 16, 18))
    return stack[stack[:, 0, 0] > 0]


@pytest.mark.parametrize(
    ("stack", "channel_axis", "error", "match"),
    [
        (np.zeros((2, 16, 18), bool), None, TypeError, "dtype"),
        (np.zeros((2, 16, 18), complex), None, TypeError, "dtype"),
        (np.zeros((0, 16, 18)), None, ValueError, "no pixels"),
        (np.zeros((16, 18)), 0, ValueError, "Y and X"),
        (np.zeros((2, 16, 18)), 3, ValueError, "channel_axis"),
        (np.zeros((2, 16, 18)), "C", TypeError, "channel_axis"),
        (np.zeros((2, 16, 18)), True, TypeError, "channel_axis"),
        (np.zeros((2, 16, 18)), np.array([0]), TypeError, "channel_axis=array"),
        (np.zeros((4, 16, 18, 3)), None, ValueError, r"stack: .*channel_axis=-1"),
        (np.zeros((4, 16, 3)), 0, ValueError, r"stack: .*at least 8 px$"),
        (torch.zeros(2, 16, 18), None, TypeError, r"stack: .*stack.numpy\(\)"),
        (unknown_size(), None, ValueError, r"stack: .*compute_chunk_sizes"),
        (object(), None, TypeError, "stack"),
        (zarr.create_group({}), None, TypeError, "stack: .* holds no array at its top"),
        ("missing.zarr", None, FileNotFoundError, r"stack: .*missing\.zarr does not exist"),
        (__file__, None, ValueError, "stack: .* is no zarr store"),
    ],
)
def test_wrong_stack_is_refused_at_once(
    stack: Any, channel_axis: int | None, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        denoise_stack(stack, OPTIONS, channel_axis=channel_axis)


# --- bad planes --------------------------------------------------------------------


def test_masked_pixels_are_not_denoised_as_if_they_were_seen() -> None:
    stack = random_stack(3, 16, 18)
    masked = np.ma.masked_array(stack, np.zeros(stack.shape, bool))
    masked[1, 3, 4] = np.ma.masked
    with pytest.raises(TypeError, match=r"stack: 1 of 864 pixels are masked; fill them"):
        denoise_stack(masked, OPTIONS)

    result = denoise_stack(
        da.from_array(masked, chunks=(1, -1, -1), asarray=False), OPTIONS
    )
    assert list(result.failed) == [1]
    assert "masked" in result.failed[1]


def test_nan_and_constant_planes(tmp_path: Path) -> None:
    stack = random_stack(4, 16, 18).astype("float32")
    stack[1] = 7
    stack[2, 3, 4] = np.nan
    result = denoise_stack(stack, OPTIONS, out=tmp_path / "o.zarr")
    assert list(result.failed) == [2]
    assert "NaN" in result.failed[2]
    np.testing.assert_array_equal(result.image[2], stack[2])
    np.testing.assert_array_equal(result.image[3], alone(stack, 3))
    assert result.status is Status.COMPLETED


@pytest.mark.parametrize("bad", [0, 2])
def test_refused_pixels_are_their_planes_failure(tmp_path: Path, bad: int) -> None:
    stack = random_stack(3, 16, 18).astype("float32")
    stack[bad, 0, 0] = 1e30
    for _ in range(2):
        result = denoise_stack(stack, OPTIONS, out=tmp_path / "o.zarr")
        assert list(result.failed) == [bad]
        assert "scale them first" in result.failed[bad]
        np.testing.assert_array_equal(result.image[bad], stack[bad])
        np.testing.assert_array_equal(result.image[1], alone(stack, 1))


class Unreadable:
    """A stack whose plane 1 cannot be read until it is repaired."""

    def __init__(self, stack: Any) -> None:
        self.stack, self.shape, self.dtype = stack, stack.shape, stack.dtype
        self.broken = True

    def __getitem__(self, key: Any) -> Any:
        if self.broken and key[0] == 1:
            raise OSError("bad sector")
        return self.stack[key]


def test_unreadable_plane_is_reported_and_tried_again(tmp_path: Path) -> None:
    source = Unreadable(random_stack(3, 16, 18))
    out = tmp_path / "o.zarr"
    result = denoise_stack(source, OPTIONS, out=out)
    assert result.failed == {1: "cannot be read: OSError: bad sector"}
    np.testing.assert_array_equal(result.image[2], alone(source.stack, 2))
    assert not zarr.open_group(str(out)).attrs["napari_msdip"]["complete"]
    source.broken = False
    again = denoise_stack(source, OPTIONS, out=out)
    assert not again.failed
    np.testing.assert_array_equal(again.image[1], alone(source.stack, 1))


def test_a_finished_plane_need_not_be_read_again(tmp_path: Path) -> None:
    source = Unreadable(random_stack(3, 16, 18))
    source.broken = False
    out = tmp_path / "o.zarr"
    before = denoise_stack(source, OPTIONS, out=out).image[:]
    source.broken = True
    with pytest.warns(UserWarning, match=r"plane 1 cannot be read .*bad sector"):
        again = denoise_stack(source, OPTIONS, out=out)
    assert not again.failed
    np.testing.assert_array_equal(again.image[:], before)


@pytest.mark.parametrize("at_once", [True, False])
def test_failing_fit_leaves_the_plane(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    stack = random_stack(3, 16, 18)

    def failing(steps: Iterator[Progress]) -> Iterator[Progress]:
        yield next(steps)
        raise RuntimeError("diverged")

    def fragile(image: Any, *args: Any, **kwargs: Any) -> Iterator[Progress]:
        steps = fake_denoise(image, *args, **kwargs)
        if not np.array_equal(image, stack[1]):
            return steps
        if at_once:
            raise RuntimeError("diverged")
        return failing(steps)

    monkeypatch.setattr(piece, "iter_denoise_part", fragile)
    result = denoise_stack(stack, OPTIONS)
    assert result.failed == {1: "cannot be denoised: RuntimeError: diverged"}
    np.testing.assert_array_equal(result.image[1], stack[1])
    np.testing.assert_array_equal(result.image[2], alone(stack, 2))


def test_what_a_failed_fit_had_in_memory_is_free_for_the_next_plane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = random_stack(3, 16, 18)
    held: list[weakref.ref[Any]] = []

    def out_of_step(tensor: Any) -> None:
        try:
            raise IndexError(f"{tensor.shape}")
        except IndexError as error:
            raise RuntimeError("diverged") from error

    def fragile(image: Any, *args: Any, **kwargs: Any) -> Iterator[Progress]:
        if np.array_equal(image, stack[1]):
            tensor = np.ones(8)
            held.append(weakref.ref(tensor))
            out_of_step(tensor)
        assert not any(tensor() is not None for tensor in held)
        return (yield from fake_denoise(image, *args, **kwargs))

    monkeypatch.setattr(piece, "iter_denoise_part", fragile)
    assert list(denoise_stack(stack, OPTIONS).failed) == [1]
    assert held


@pytest.mark.parametrize(
    "error", [IndexError("2"), KeyError("a"), TypeError("b"), AssertionError(), OSError()]
)
def test_an_error_that_nobody_foresaw_is_its_planes_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stack = random_stack(3, 16, 18)

    def surprising(image: Any, *args: Any, **kwargs: Any) -> Iterator[Progress]:
        steps = fake_denoise(image, *args, **kwargs)
        yield next(steps)
        if np.array_equal(image, stack[1]):
            raise error
        return (yield from steps)

    monkeypatch.setattr(piece, "iter_denoise_part", surprising)
    for _ in range(2):
        result = denoise_stack(stack, OPTIONS, out=tmp_path / "o.zarr")
        assert list(result.failed) == [1]
        assert type(error).__name__ in result.failed[1]
        np.testing.assert_array_equal(result.image[1], stack[1])
        np.testing.assert_array_equal(result.image[2], alone(stack, 2))


def test_error_before_the_first_step_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*args: Any, **kwargs: Any) -> Iterator[Progress]:
        raise RuntimeError("no weights")
        yield

    monkeypatch.setattr(piece, "iter_denoise_part", refusing)
    with pytest.raises(RuntimeError, match="no weights"):
        denoise_stack(random_stack(3, 16, 18), OPTIONS)


def test_a_resumed_run_passes_a_plane_that_fails_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, out = random_stack(3, 16, 18), tmp_path / "o.zarr"

    def fragile(image: Any, *args: Any, **kwargs: Any) -> Iterator[Progress]:
        if np.array_equal(image, stack[1]):
            raise RuntimeError("cannot be measured")
        return (yield from fake_denoise(image, *args, **kwargs))

    monkeypatch.setattr(piece, "iter_denoise_part", fragile)
    steps = iter_denoise_stack(stack, OPTIONS, out=out)
    while next(steps).finished_plane is None:
        pass
    steps.close()
    for _ in range(2):
        result = denoise_stack(stack, OPTIONS, out=out)
        assert list(result.failed) == [1]
        np.testing.assert_array_equal(result.image[2], alone(stack, 2))


def test_an_interrupt_within_a_plane_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(image: Any, *args: Any, **kwargs: Any) -> Iterator[Progress]:
        yield next(fake_denoise(image, *args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(piece, "iter_denoise_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        denoise_stack(random_stack(3, 16, 18), OPTIONS)


def test_full_disk_spares_the_other_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = random_stack(3, 16, 18)
    put = ZarrSink.put

    def full_once(self: ZarrSink, position: int, plane: Any) -> None:
        if position == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, position, plane)

    monkeypatch.setattr(ZarrSink, "put", full_once)
    out = tmp_path / "o.zarr"
    result = denoise_stack(stack, OPTIONS, out=out)
    assert list(result.failed) == [1]
    assert "No space left" in result.failed[1]
    assert result.pending == (1,)
    monkeypatch.setattr(ZarrSink, "put", put)
    again = denoise_stack(stack, OPTIONS, out=out)
    assert not again.failed
    assert not again.pending
    np.testing.assert_array_equal(again.image[1], alone(stack, 1))


def test_no_fit_is_wasted_on_a_disk_that_stays_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ZarrSink, position: int, plane: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ZarrSink, "put", full)
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    seen: list[Progress] = []
    result = denoise_stack(
        random_stack(3, 16, 18), OPTIONS, out=tmp_path / "o.zarr", on_progress=seen.append
    )
    assert list(result.failed) == [0, 1, 2]
    assert result.pending == (0, 1, 2)
    assert {progress.plane for progress in seen if progress.total} == {0}


# --- crash safety ------------------------------------------------------------------


def killed_at(call: int, stack: Any, options: Options, out: Path) -> bool:
    """Run in a child that is killed at its ``call``-th durable step; was it killed?"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        count = 0
        fsync, rename = os.fsync, os.replace

        def die() -> None:
            nonlocal count
            count += 1
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)

        def deadly_fsync(descriptor: int) -> None:
            die()
            fsync(descriptor)

        def deadly_rename(*args: Any, **kwargs: Any) -> None:
            die()
            rename(*args, **kwargs)

        os.fsync, os.replace = deadly_fsync, deadly_rename
        try:
            denoise_stack(stack, options, out=out)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
@pytest.mark.parametrize("options", [OPTIONS, IN_CHUNKS], ids=["alone", "in chunks"])
def test_killed_at_any_step_and_resumed_gives_the_same(
    tmp_path: Path, options: Options
) -> None:
    stack = random_stack(2, 16, 18)
    expected = denoise_stack(stack, options).image
    call, killed = 0, True
    while killed:
        call += 1
        out = tmp_path / f"{call}.ome.zarr"
        killed = killed_at(call, stack, options, out)
        seen: list[Progress] = []
        result = denoise_stack(stack, options, out=out, on_progress=seen.append)
        np.testing.assert_array_equal(result.image[:], expected)
        assert not list(out.rglob("*.partial"))
    assert call > 15
    assert not seen  # The last child was not killed: nothing was left to do.


def test_only_unfinished_planes_are_redone(tmp_path: Path) -> None:
    stack = random_stack(4, 16, 18)
    out = tmp_path / "o.zarr"
    denoise_stack(stack, OPTIONS, out=out)
    journal = out / "0" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:9])
    seen: list[Progress] = []
    denoise_stack(stack, OPTIONS, out=out, on_progress=seen.append)
    assert {progress.plane for progress in seen} == {2, 3}
    assert seen[0].fraction > 0.5
    records = [json.loads(line) for line in journal.read_bytes().splitlines()]
    assert [record["plane"] for record in records[1:]] == [0, 1, 2, 3]


def test_resuming_refuses_other_options_and_input(tmp_path: Path) -> None:
    stack = random_stack(3, 16, 18)
    out = tmp_path / "o.zarr"
    denoise_stack(stack, OPTIONS, out=out)
    with pytest.raises(
        ValueError, match=rf"with iterations={OPTIONS.iterations}, not iterations=10"
    ):
        denoise_stack(stack, OPTIONS.replace(iterations=10), out=out)
    with pytest.raises(ValueError, match="the shape of the stack was"):
        denoise_stack(stack[:2], OPTIONS, out=out)
    with pytest.raises(ValueError, match=r"with planes=None, not planes=\[0, 1, 2\]"):
        denoise_stack(stack, OPTIONS, planes=[0, 1, 2], out=out)
    with pytest.raises(ValueError, match="plane 1 is not what it was"):
        changed = stack.copy()
        changed[1, 0, 0] += 1
        denoise_stack(changed, OPTIONS, out=out)


def test_a_run_that_finished_no_plane_leaves_the_options_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*args: Any, **kwargs: Any) -> Iterator[Progress]:
        raise FileNotFoundError("no weights")
        yield

    stack = random_stack(2, 16, 18)
    out = tmp_path / "o.zarr"
    with monkeypatch.context() as patched:
        patched.setattr(piece, "iter_denoise_part", refusing)
        with pytest.raises(FileNotFoundError, match="no weights"):
            denoise_stack(stack, OPTIONS.replace(iterations=7), out=out)
    with pytest.raises(ValueError, match="the dtype of the stack was"):
        denoise_stack(stack.astype("int32"), OPTIONS, out=out)
    result = denoise_stack(stack, OPTIONS, out=out)
    np.testing.assert_array_equal(result.image[:], denoise_stack(stack, OPTIONS).image)
    first = (out / "0" / JOURNAL).read_bytes().splitlines()[0]
    assert json.loads(first)["options"] == OPTIONS.to_dict()


@pytest.mark.parametrize("taken", ["begun anew", "finished"])
def test_a_run_that_loses_its_store_ends_and_leaves_it_as_it_is(
    tmp_path: Path, taken: str
) -> None:
    stack = random_stack(3, 16, 18)
    out, final = tmp_path / "o.zarr", tmp_path / "final.zarr"
    unseen = iter_denoise_stack(stack, OPTIONS.replace(seed=7), out=out)
    steps = [next(unseen)]
    expected = denoise_stack(stack, OPTIONS, out=out).image[:]
    if taken == "finished":
        out.rename(final)
        out = final

    with pytest.raises(OSError, match=r"out: another run has begun .* let one at a time"):
        steps.extend(unseen)

    assert {step.plane for step in steps} == {0}
    kept = zarr.open_group(out, mode="r")
    assert kept.attrs["napari_msdip"]["failed"] == {}
    np.testing.assert_array_equal(kept["0"][:], expected)
    # Planes of the same run are the same, whoever writes them.
    resumed = denoise_stack(stack, OPTIONS, out=out)
    assert not resumed.failed


def test_a_resumed_run_keeps_the_tiles_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = random_stack(2, 16, 18)
    tiles: list[int | None] = []
    fitting = tiling.iter_denoise_fitting

    def spy(*args: Any, tile: int | None, **kwargs: Any) -> Any:
        tiles.append(tile)
        return fitting(*args, tile=tile, **kwargs)

    monkeypatch.setattr(tiling, "iter_denoise_fitting", spy)
    monkeypatch.setattr(tiling, "choose_tile", lambda *_: 256)
    out = ZarrOut(tmp_path / "o.zarr")
    steps = iter_denoise_stack(stack, OPTIONS, out=out)
    while next(steps).finished_plane is None:
        pass
    steps.close()
    monkeypatch.setattr(tiling, "choose_tile", lambda *_: None)
    denoise_stack(stack, OPTIONS, out=out)
    assert tiles == [256, 256]
