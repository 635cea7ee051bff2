"""A job reads the right pixels, and tells what came of them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from tests._layer.helpers import finish, job_on
from tests.samples import Labelled, driven

from napari_msdip import devices
from napari_msdip._layer import text
from napari_msdip._layer.axes import parse_axes
from napari_msdip._layer.forecast import forecast
from napari_msdip.options import Options
from napari_msdip.seeds import plane_seed

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray, zarr.array, Labelled])
@pytest.mark.parametrize(
    ("letters", "shape", "box"),
    [
        ("YX", (8, 9), ()),
        ("ZYX", (5, 8, 9), ((2, 3),)),
        ("ZYX", (5, 8, 9), ((1, 4),)),
        ("TZYX", (2, 3, 8, 9), ((0, 2), (1, 3))),
        ("YXZ", (8, 9, 4), ((1, 3),)),
        ("ZCYX", (3, 2, 8, 9), ((0, 2),)),
        ("YCXT", (8, 2, 9, 3), ((1, 2),)),
    ],
)
def test_the_planes_of_the_box_are_denoised_and_no_others(
    engine, wrap, letters, shape, box
):
    data = RANDOM.integers(0, 1000, shape).astype(np.uint16)
    job = job_on(wrap(data), letters, box)
    finished = finish(job, engine)
    index = [slice(None)] * data.ndim
    for axis, extent in zip(job.source.axes.plane_axes, box, strict=True):
        index[axis] = slice(*extent)
    wanted = engine.denoised(data[tuple(index)])
    np.testing.assert_array_equal(job.source.axes.restored(finished.planes), wanted)
    assert finished.planes.dtype == np.uint16
    assert finished.n_done == job.n_planes


@pytest.mark.parametrize(
    ("letters", "shape", "box"),
    [
        ("YX", (7, 9), None),
        ("ZYX", (3, 40, 7), None),
        ("ZYX", (3, 40, 7), ((1, 2),)),
        ("YXC", (9, 7, 40), None),
    ],
)
def test_small_planes_are_refused_in_the_words_of_axes(letters, shape, box):
    with pytest.raises(ValueError, match=rf"axes='{letters}': planes of .* px") as refusal:
        job_on(np.zeros(shape), letters, box)
    said = str(refusal.value)
    assert "channel_axis" not in said
    assert ("C is channels" in said) == (len(letters) > 2)


def test_a_plane_alone_has_the_seed_that_it_has_in_the_stack(engine):
    job = job_on(np.zeros((5, 8, 9)), "ZYX", ((3, 4),), Options(seed=11))
    finish(job, engine)
    assert engine.calls[0]["options"].seed == plane_seed(11, 3)


@pytest.mark.parametrize("n_planes", [1, 3])
def test_opacity_is_kept_and_not_denoised(engine, n_planes):
    data = RANDOM.integers(0, 255, (n_planes, 8, 9, 4)).astype(np.uint8)
    job = job_on(data, "ZYXC", rgb=True)
    assert job.channels == 3
    finished = finish(job, engine)
    assert all(call["image"].shape == (8, 9, 3) for call in engine.calls)
    np.testing.assert_array_equal(finished.planes[..., 3], data[..., 3])
    np.testing.assert_array_equal(finished.planes[..., :3], data[..., :3] // 2)


def cancelled_after(job, engine, n_planes):
    """Return what is left of a run cancelled as soon as so many planes are finished."""
    stop = SimpleNamespace(now=False)
    steps = job.run(engine, job.buffer(), lambda: stop.now)
    done = 0
    while done < n_planes:
        done += next(steps).finished_plane is not None
    stop.now = True
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    return end.value.value


@pytest.mark.parametrize(
    ("done", "box", "unreached"),
    [
        (2, ((1, 2), (1, 3)), ()),
        (3, ((1, 2), (1, 4)), ()),
        (4, ((1, 3), (1, 4)), (10, 11)),
    ],
)
@pytest.mark.parametrize("rgba", [False, True])
def test_a_cancelled_stack_keeps_what_is_finished_and_invents_nothing(
    engine, done, box, unreached, rgba
):
    data = RANDOM.integers(1, 255, (4, 4, 8, 9, *([4] if rgba else []))).astype(np.uint8)
    letters = "TZYXC" if rgba else "TZYX"
    job = job_on(data, letters, ((1, 4), (1, 4)), rgb=rgba)
    finished = cancelled_after(job, engine, done)
    assert finished.n_done == done
    assert finished.box == box
    assert finished.unreached == unreached
    wanted = data.copy()
    for plane in finished.provenance["planes"]:
        colours = wanted.reshape(16, *data.shape[2:])[plane]
        colours[..., : 3 if rgba else None] //= 2
    kept = wanted[tuple(slice(*extent) for extent in box)]
    np.testing.assert_array_equal(finished.planes, kept)
    if unreached:
        assert "2 beside them were not reached" in text.outcome(job, finished)


def test_a_plane_that_cannot_be_read_does_not_cost_the_finished_ones(engine):
    data = RANDOM.integers(1, 999, (8, 9, 2, 3)).astype(np.uint16)

    class Fragile:
        shape, dtype = data.shape, data.dtype

        def transpose(self, order):
            return data.transpose(order)

        def __getitem__(self, index):
            raise OSError("the disk is gone")

    job = dataclasses.replace(job_on(data, "YXTZ"), data=Fragile())
    finished = cancelled_after(job, engine, 4)
    wanted = data.transpose(2, 3, 0, 1) // 2
    np.testing.assert_array_equal(finished.planes[0], wanted[0])
    assert finished.n_done == 4
    assert set(finished.failed) == {4, 5}


class Counted:
    """A file's pixels, which counts those that are read."""

    def __init__(self, pixels):
        self.pixels, self.read = pixels, 0
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim

    def __getitem__(self, key):
        found = self.pixels[key]
        self.read += found.size
        return found


@pytest.mark.parametrize(
    ("letters", "shape", "rgb"),
    [
        ("ZYX", (50, 8, 9), False),
        ("YXZ", (8, 9, 50), False),
        ("ZYXC", (50, 8, 9, 4), True),
        ("YXZC", (8, 9, 50, 4), True),
    ],
)
def test_of_a_file_only_the_planes_of_the_box_are_read(engine, letters, shape, rgb):
    data = Counted(np.zeros(shape, np.uint8))
    job = job_on(data, letters, ((1, 3),), rgb=rgb)
    data.read = 0
    finish(job, engine)
    assert data.read < 3 * data.pixels.size // 50


@pytest.mark.parametrize("n_planes", [1, 2])
def test_masks_are_refused_in_words_before_the_run(engine, n_planes):
    job = job_on(np.zeros((n_planes, 8, 9), bool), "ZYX")
    with pytest.raises(TypeError, match="bool values: choose one with integers"):
        job.image()
    with pytest.raises(TypeError, match="bool values: choose one with integers"):
        finish(job, engine)


def test_masked_pixels_are_refused_in_words():
    data = np.ma.masked_equal(np.arange(72).reshape(8, 9), 5)
    with pytest.raises(TypeError, match=r"layer.data: 1 of 72 pixels are masked"):
        job_on(data, "YX").image()


def test_a_type_that_numpy_does_not_know_is_refused_by_its_name():
    with pytest.raises(TypeError, match=r"layer.data: dtype torch.float32 of a Tensor"):
        job_on(torch.ones(8, 9), "YX")


def test_pixels_that_are_no_numbers_are_refused_alike_by_forecast_and_run(engine):
    data = np.zeros((8, 9))
    data[2, 3], data[4, 5] = np.nan, np.inf
    job = job_on(data, "YX")
    for refused in (lambda: forecast(job, engine), lambda: finish(job, engine)):
        with pytest.raises(ValueError, match=r"2 values that are NaN .* napari's console"):
            refused()


def test_a_finished_image_is_judged_and_says_so(engine):
    data = RANDOM.integers(0, 1000, (64, 64)).astype(np.uint16)
    job = job_on(data, "YX", ())
    finished = finish(job, engine)
    # The engine of these tests halves every value.
    assert finished.judgement.startswith("intensity shifted: ")
    assert finished.provenance["verdict"] == "intensity-shifted"
    assert finished.judgement in text.outcome(job, finished)
    assert "Iterations, coarsest scale first: " in text.outcome(job, finished)


def test_an_image_edited_in_place_during_its_run_is_judged_as_it_was_read(engine):
    data = RANDOM.integers(0, 1000, (64, 64)).astype(np.uint16)
    undisturbed = finish(job_on(data.copy(), "YX", ()), engine)
    job = job_on(data, "YX", ())
    steps = job.run(engine, job.buffer(), lambda: False)
    next(steps)
    data[:] = 7
    finished, _ = driven(steps)
    assert finished.judgement == undisturbed.judgement


@pytest.mark.parametrize("wanted", [False, True])
def test_the_judge_is_told_that_hot_pixels_were_meant_to_go(engine, wanted):
    told = []
    judge = engine.assess

    def listening(*images, **settings):
        told.append(settings["hot_pixels_removed"])
        return judge(*images, **settings)

    engine.assess = listening
    data = RANDOM.integers(0, 1000, (64, 64)).astype(np.uint16)
    finish(job_on(data, "YX", (), Options(remove_hot_pixels=wanted)), engine)
    assert told == [wanted]


def test_more_slices_than_memory_holds_are_refused(engine):
    data = da.zeros((10**6, 4096, 4096), dtype=np.uint16, chunks=(1, 4096, 4096))
    with pytest.raises(ValueError, match="choose fewer slices"):
        job_on(data, "ZYX").buffer()
    assert job_on(data, "ZYX", ((3, 5),)).buffer().shape == (2, 4096, 4096)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_do_not_become_a_type_that_napari_shows_as_white(dtype):
    data = np.full((8, 9, 3), 200, dtype)
    shares = Options(output_dtype="float32")
    with pytest.raises(ValueError, match=r"output_dtype='float32': .* choose 'input'"):
        job_on(data, "YXC", options=shares, rgb=True)
    assert job_on(data, "YXC", rgb=True).result_bytes == data.nbytes
    assert job_on(data, "YXC", options=shares).channels == 3
    assert job_on(data / np.float32(255), "YXC", options=shares, rgb=True).channels == 3


@pytest.mark.parametrize("letters", ["YX", "ZYX"])
def test_an_image_larger_than_memory_is_refused_before_it_is_read(engine, letters):
    class Unread:
        shape = (9, 10**6, 10**6)[-len(letters) :]
        dtype = np.dtype(np.uint16)
        ndim = len(shape)

        def __getitem__(self, index):
            raise AssertionError("read")

    small = job_on(np.zeros((9, 8, 8)[-len(letters) :], np.uint16), letters)
    axes = parse_axes(letters, Unread.shape)
    large = dataclasses.replace(
        small,
        data=Unread(),
        source=dataclasses.replace(small.source, axes=axes),
        box=((2, 3),) * len(axes.plane_axes),
    )
    with pytest.raises(ValueError, match=r"1000000 × 1000000 pixels .* crop the layer"):
        forecast(large, engine)


def test_an_image_that_has_room_to_be_measured_is_read(monkeypatch):
    data = RANDOM.integers(0, 255, (100, 100, 4)).astype(np.uint8)
    job = job_on(data, "YXC", rgb=True)
    monkeypatch.setattr(devices, "available_memory", lambda device: 30_000 * 20)
    np.testing.assert_array_equal(job.image(), data[..., :3])
    monkeypatch.setattr(devices, "available_memory", lambda device: 30_000 * 10)
    with pytest.raises(ValueError, match="close other programs"):
        job.image()


def test_a_stack_has_the_memory_that_the_engine_has(monkeypatch):
    job = job_on(np.zeros((3, 8, 9)), "ZYX")
    monkeypatch.setattr(devices, "available_memory", lambda device: job.result_bytes - 1)
    with pytest.raises(ValueError, match="choose fewer slices"):
        job.buffer()
    monkeypatch.setattr(devices, "available_memory", lambda device: job.result_bytes)
    assert job.buffer().shape == (3, 8, 9)


@pytest.mark.parametrize(
    ("output_dtype", "words"), [("input", "12 MB"), ("float32", "24 MB")]
)
def test_the_forecast_of_a_stack_counts_what_its_result_takes(engine, output_dtype, words):
    data = da.zeros((6, 1000, 1000), dtype=np.uint16)
    stack = job_on(data, "ZYX", options=Options(output_dtype=output_dtype))
    assert stack.result_bytes == stack.buffer().nbytes
    known = forecast(stack, engine)
    said = text.forecast(stack, known.sigma, known.cost)
    assert f"for 6 slices and 2.0 GB on cpu, and {words} for the result" in said
    single = dataclasses.replace(stack, box=((2, 3),))
    assert "for the result" not in text.forecast(single, known.sigma, known.cost)


def test_a_judgement_that_fails_does_not_cost_the_result(engine, caplog):
    def failing(*args, **kwargs):
        raise MemoryError("no room to look")

    engine.assess = failing
    data = RANDOM.integers(0, 1000, (64, 64)).astype(np.uint16)
    finished = finish(job_on(data, "YX", ()), engine)
    np.testing.assert_array_equal(finished.planes, engine.denoised(data))
    assert finished.provenance["verdict"] == "undecided"
    assert "no room to look" in finished.judgement
    assert "MemoryError" in caplog.text


def test_a_cancelled_image_is_not_judged(engine):
    job = job_on(RANDOM.integers(0, 1000, (64, 64)).astype(np.uint16), "YX", ())
    steps = job.run(engine, job.buffer(), lambda: True)
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    assert end.value.value.judgement == ""


def test_provenance_is_plain_json(engine):
    import json

    for letters, shape in (("YX", (8, 9)), ("ZYX", (2, 8, 9))):
        provenance = finish(job_on(np.zeros(shape), letters), engine).provenance
        assert json.loads(json.dumps(provenance)) == provenance
        assert provenance["options"] == Options().to_dict()
        assert provenance["status"] == "completed"
        assert provenance["versions"]
