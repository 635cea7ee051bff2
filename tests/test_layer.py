"""A layer denoised from a script follows the same rules as in the dock."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer
from tests.samples import cells

from napari_msdip import denoise
from napari_msdip.layer import denoise_layer
from napari_msdip.options import Options


def test_denoise_layer_follows_the_same_rules_as_the_dock(engine):
    data = cells()
    layer = Image(
        data,
        name="cells",
        scale=(0.5, 0.25),
        rotate=20,
        colormap="magma",
        metadata={"a": 1},
    )
    result, *scales = denoise_layer(layer, Options(seed=3), scales=True, engine=engine)
    out = Layer.create(*result)
    np.testing.assert_array_equal(out.data, engine.denoised(data))
    assert out.name == "cells · MS-DIP"
    assert out.colormap.name == "magma"
    assert out.metadata["a"] == 1
    assert out.metadata["napari_msdip"]["options"]["seed"] == 3
    assert [entry[1]["name"] for entry in scales] == [
        "cells · MS-DIP · scale 0 (40×51)",
        "cells · MS-DIP · scale 1 (20×26)",
        "cells · MS-DIP · scale 2 (10×13)",
    ]
    for entry in (result, *scales):
        other = Layer.create(*entry)
        rows, columns = other.data.shape
        np.testing.assert_allclose(
            other.data_to_world((rows - 0.5, columns - 0.5)),
            layer.data_to_world((39.5, 50.5)),
            atol=1e-9,
        )


@pytest.mark.parametrize(
    ("planes", "index"),
    [
        (np.int64(2), slice(2, 3)),
        (np.array([2]), slice(2, 3)),
        (2, slice(2, 3)),
        (-1, slice(4, 5)),
        (slice(1, 3), slice(1, 3)),
        (None, slice(None)),
    ],
)
def test_denoise_layer_takes_the_planes_asked_for(engine, planes, index):
    data = cells((5, 40, 51))
    (result,) = denoise_layer(Image(data), planes=planes, engine=engine)
    np.testing.assert_array_equal(result[0], data[index] // 2)


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (7, "there are 5 planes"),
        ((0, 1), "1 plane axes"),
        (slice(3, 3), "some planes"),
        (slice(0, 5, 2), "step 1"),
    ],
)
def test_denoise_layer_refuses_planes_that_are_not_there(engine, planes, message):
    with pytest.raises(ValueError, match=message):
        denoise_layer(Image(cells((5, 40, 51))), planes=planes, engine=engine)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (None, "select one Image layer"),
        (Labels(np.zeros((8, 9), int)), "is of type Labels: give an Image"),
        (np.zeros((8, 9)), "is of type ndarray: give an Image"),
    ],
)
def test_denoise_layer_refuses_what_is_no_image_layer(engine, layer, message):
    with pytest.raises(TypeError, match=message):
        denoise_layer(layer, engine=engine)


@pytest.mark.parametrize(
    ("options", "error", "words"), [(5, TypeError, "options=5"), ("", ValueError, "preset")]
)
def test_denoise_layer_refuses_options_in_the_words_of_denoise(
    engine, options, error, words
):
    for call in (
        lambda: denoise(cells(), options),
        lambda: denoise_layer(Image(cells()), options, engine=engine),
    ):
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize("name", ["on_progress", "should_stop"])
def test_denoise_layer_refuses_no_functions_in_the_words_of_denoise(engine, name):
    for call in (
        lambda: denoise(cells(), **{name: 3}),
        lambda: denoise_layer(Image(cells()), **{name: 3}, engine=engine),
    ):
        with pytest.raises(TypeError, match=f"{name}=3: give a function or None"):
            call()


@pytest.mark.parametrize("planes", ["2", 1.5, (None,)])
def test_denoise_layer_refuses_planes_that_are_no_numbers(engine, planes):
    with pytest.raises(TypeError, match="give an index or a slice"):
        denoise_layer(Image(cells((5, 40, 51))), planes=planes, engine=engine)


def test_denoise_layer_returns_nothing_if_stopped_before_the_first_step(engine):
    assert denoise_layer(Image(cells()), should_stop=lambda: True, engine=engine) == []


def test_denoise_layer_warns_of_planes_that_failed(engine):
    engine.bad = {1: "1 of 2040 pixels are NaN"}
    data = cells((3, 40, 51))
    with pytest.warns(UserWarning, match=r"\(slice 1\): 1 of 2040 pixels") as warned:
        ((result, *_),) = denoise_layer(Image(data), engine=engine)
    assert warned[0].filename == __file__
    np.testing.assert_array_equal(result[1], data[1])
    np.testing.assert_array_equal(result[2], engine.denoised(data[2]))


def test_denoise_layer_refuses_a_stack_of_which_every_plane_failed(engine):
    engine.bad = dict.fromkeys(range(3), "2040 of 2040 pixels are NaN")
    with pytest.raises(ValueError, match=r"Nothing was denoised \(slice 0, 1, 2\): 2040"):
        denoise_layer(Image(cells((3, 40, 51))), engine=engine)


def test_denoise_layer_warns_of_failures_before_it_was_stopped(engine):
    engine.bad = {0: "1 of 2040 pixels are NaN"}
    seen = []
    with pytest.warns(UserWarning, match="Cancelled before anything was denoised"):
        assert not denoise_layer(
            Image(cells((3, 40, 51))),
            on_progress=seen.append,
            should_stop=lambda: bool(seen),
            engine=engine,
        )


def test_denoise_layer_tells_its_progress(engine):
    seen = []
    denoise_layer(Image(cells()), on_progress=seen.append, engine=engine)
    assert seen[-1].fraction == 1.0


def test_denoise_layer_reads_axes_from_labels_or_takes_them(engine):
    layer = Image(cells((2, 40, 51)), axis_labels=("channel", "y", "x"))
    denoise_layer(layer, engine=engine)
    assert engine.calls[-1]["channel"] == -3
    denoise_layer(layer, axes="ZYX", planes=0, engine=engine)
    assert engine.calls[-1]["channel"] is None
