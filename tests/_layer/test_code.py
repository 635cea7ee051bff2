"""The Python that is written of a job computes the same result."""

from __future__ import annotations

from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from tests._layer.helpers import finish, job_on
from tests.samples import Labelled

import napari_msdip
from napari_msdip._layer.code import as_python, options_code
from napari_msdip.options import PRESETS, Options

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("preset", PRESETS)
def test_options_are_written_as_the_nearest_preset(preset):
    options = Options.preset(preset).replace(seed=9, threads=2)
    code = options_code(options)
    assert eval(code, {"Options": Options}) == options
    assert len(code) < 80


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray, zarr.array, Labelled])
@pytest.mark.parametrize(
    ("letters", "shape", "box", "rgb"),
    [
        ("YX", (8, 9), (), False),
        ("YXC", (8, 9, 3), (), True),
        ("YXC", (8, 9, 4), (), True),
        ("ZYX", (5, 8, 9), ((3, 4),), False),
        ("ZYX", (5, 8, 9), ((1, 4),), False),
        ("TZYX", (2, 3, 8, 9), ((0, 2), (1, 2)), False),
        ("YXZ", (8, 9, 4), ((1, 3),), False),
        ("ZYXC", (3, 8, 9, 4), ((0, 2),), True),
    ],
)
def test_the_python_of_a_job_asks_for_the_same_pixels_and_options(
    engine, monkeypatch, wrap, letters, shape, box, rgb
):
    data = RANDOM.integers(0, 255, shape).astype(np.uint8)
    job = job_on(wrap(data), letters, box, Options(seed=4), rgb=rgb)
    finished = finish(job, engine)
    asked = {}

    def denoise(image, options, *, channel_axis=None):
        asked["image"] = engine.denoised(np.asarray(image))
        asked["options"] = options

    def denoise_stack(stack, options, *, channel_axis=None, planes):
        n_plane_axes = len(stack.shape) - len(job.source.axes.image_axes)
        flat = np.asarray(stack).reshape(-1, *stack.shape[n_plane_axes:])
        asked["image"] = engine.denoised(flat[planes])
        asked["options"] = options

    monkeypatch.setitem(vars(napari_msdip), "denoise", denoise)
    monkeypatch.setitem(vars(napari_msdip), "denoise_stack", denoise_stack)
    layers = {"cells": SimpleNamespace(data=job.data)}
    exec(as_python(job), {"viewer": SimpleNamespace(layers=layers)})
    planes = finished.planes[..., :3] if job.has_alpha else finished.planes
    np.testing.assert_array_equal(asked["image"].reshape(planes.shape), planes)
    assert asked["options"] == engine.calls[0]["options"]
