"""The denoise dock in a real viewer, driven with clicks as a user drives it."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.settings import get_settings
from napari.utils.notifications import notification_manager
from napari.utils.progress import progress
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QLabel,
    QLineEdit,
    QScrollArea,
    QSlider,
)
from tests.samples import cells

from napari_msdip._gui import run
from napari_msdip._gui.ensemble_widget import EnsembleWidget
from napari_msdip._gui.noise_widget import NoiseWidget
from napari_msdip._gui.widget import DenoiseWidget, State
from napari_msdip.options import Options


@pytest.fixture
def dock(viewer, engine):
    """Return a function that docks the widget over the viewer's layers."""

    def make(viewer=viewer, engine=engine):
        widget = DenoiseWidget(viewer, engine=engine)
        viewer.window.add_dock_widget(widget, name="Denoise")
        return widget

    return make


@pytest.fixture
def idle(qtbot):
    """Return a function that waits until a widget is idle and its threads are done."""

    def wait(*widgets):
        for widget in widgets:
            qtbot.waitUntil(lambda w=widget: w.state is State.IDLE, timeout=10_000)
        qtbot.waitUntil(
            lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000
        )
        QApplication.processEvents()

    return wait


@pytest.fixture
def held(engine, qtbot, click):
    """Return a function that starts a run and holds it after some iterations.

    A test that looks at a run half done must hold it: a window slow to draw would
    otherwise find it ended.
    """

    def start(widget, after=0):
        engine.gate.clear()
        engine.free = after
        engine.entered.clear()
        click(widget.button)
        qtbot.waitUntil(engine.entered.is_set, timeout=5000)
        assert widget.state is State.RUNNING

    return start


def names(viewer):
    return [layer.name for layer in viewer.layers]


# --------------------------------------------------------------------- a whole run


def test_a_run_adds_every_scale_and_the_result(viewer, dock, click, idle, engine):
    data = cells()
    viewer.add_image(data, name="cells")
    widget = dock()
    click(widget.button)
    idle(widget)
    assert names(viewer) == [
        "cells",
        "cells · MS-DIP · scale 2 (10×13)",
        "cells · MS-DIP · scale 1 (20×26)",
        "cells · MS-DIP · scale 0 (40×51)",
        "cells · MS-DIP",
    ]
    result = viewer.layers["cells · MS-DIP"]
    np.testing.assert_array_equal(result.data, engine.denoised(data))
    assert result.data.dtype == np.uint16
    assert [layer.visible for layer in viewer.layers] == [True, False, False, False, True]
    assert "Done" in widget.status.value


def test_a_result_lies_above_its_source_and_below_other_channels_and_labels(
    viewer, dock, click, idle
):
    viewer.add_image(cells((2, 40, 51)), channel_axis=0, name=["red", "green"])
    viewer.add_labels(np.zeros((40, 51), int), name="labels")
    widget = dock()
    widget.picker.image.value = viewer.layers["red"]
    click(widget.button)
    idle(widget)
    made = [
        "red · MS-DIP · scale 2 (10×13)",
        "red · MS-DIP · scale 1 (20×26)",
        "red · MS-DIP · scale 0 (40×51)",
        "red · MS-DIP",
    ]
    assert names(viewer) == ["red", *made, "green", "labels"]
    widget.scale_layers.value = False
    widget.picker.image.value = viewer.layers["red · MS-DIP"]
    click(widget.button)
    idle(widget)
    made.append("red · MS-DIP · MS-DIP")
    assert names(viewer) == ["red", *made, "green", "labels"]
    widget.picker.image.value = viewer.layers["red"]
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["red", *made, "red · MS-DIP [1]", "green", "labels"]


def test_scale_layers_can_be_switched_off(viewer, dock, click, idle, engine):
    data = cells()
    viewer.add_image(data, name="cells")
    widget = dock()
    widget.scale_layers.value = False
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["cells", "cells · MS-DIP"]
    np.testing.assert_array_equal(
        viewer.layers["cells · MS-DIP"].data, engine.denoised(data)
    )
    np.testing.assert_allclose(viewer.layers["cells · MS-DIP"].scale, (1, 1))
    np.testing.assert_allclose(viewer.layers["cells · MS-DIP"].translate, (0, 0))


def test_a_scaled_rotated_16_bit_layer_keeps_everything(viewer, dock, click, idle):
    source = viewer.add_image(
        cells(),
        name="cells",
        scale=(0.5, 0.25),
        translate=(3, -4),
        rotate=30,
        shear=[0.2],
        affine=np.array([[1, 0.1, 2], [0, 1.1, 1], [0, 0, 1.0]]),
        units=("um", "um"),
        axis_labels=("y", "x"),
        colormap="viridis",
        contrast_limits=(150, 900),
        gamma=0.8,
        interpolation2d="linear",
        metadata={"objective": "63x"},
    )
    source.contrast_limits_range = (0, 4000)
    widget = dock()
    click(widget.button)
    idle(widget)
    result = viewer.layers["cells · MS-DIP"]
    for name in (
        "units",
        "axis_labels",
        "contrast_limits",
        "contrast_limits_range",
        "gamma",
        "blending",
        "interpolation2d",
    ):
        assert getattr(result, name) == getattr(source, name), name
    assert result.colormap.name == "viridis"
    for layer in viewer.layers:
        rows, columns = layer.data.shape
        corners = [(-0.5, -0.5), (rows - 0.5, columns - 0.5)]
        np.testing.assert_allclose(
            [layer.data_to_world(corner) for corner in corners],
            [source.data_to_world(corner) for corner in ((-0.5, -0.5), (39.5, 50.5))],
            atol=1e-9,
            err_msg=layer.name,
        )
    assert result.metadata["objective"] == "63x"
    made = result.metadata["napari_msdip"]
    assert made["options"]["seed"] == 0
    assert made["versions"] == {"napari-msdip": "test"}
    assert [scale["stop_reason"] for scale in made["scales"]] == ["iterations"] * 3


@pytest.mark.parametrize("scale_layers", [True, False])
def test_a_layer_on_its_way_follows_its_source(
    viewer, dock, click, idle, engine, qtbot, scale_layers
):
    source = viewer.add_image(cells(), name="cells")
    widget = dock()
    widget.scale_layers.value = scale_layers
    engine.iterations, engine.pace = 10_000, 0.02
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    first = viewer.layers[1]
    source.scale = (0.5, 0.25)
    source.rotate = 30
    source.affine = [[1, 0.1, 3], [0, 1, 2], [0, 0, 1]]
    moved = []
    first.events.affine.connect(moved.append)
    qtbot.waitUntil(lambda: bool(moved), timeout=10_000)
    np.testing.assert_allclose(
        first.data_to_world(np.array(first.data.shape) - 0.5),
        source.data_to_world((39.5, 50.5)),
    )
    widget.cancel()
    idle(widget)


def test_the_result_takes_what_its_source_is_at_the_end(
    viewer, dock, held, idle, engine, qtbot
):
    source = viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget, after=2 * engine.iterations)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    source.contrast_limits = (200, 500)
    source.colormap = "green"
    source.units = ("um", "um")
    source.scale = (0.5, 0.25)
    source.name = "nuclei"
    engine.gate.set()
    idle(widget)
    for layer in viewer.layers:
        assert layer.units == source.units
        np.testing.assert_allclose(
            layer.data_to_world(np.array(layer.data.shape) - 0.5),
            source.data_to_world((39.5, 50.5)),
            err_msg=layer.name,
        )
    result = viewer.layers["nuclei · MS-DIP"]
    assert result.contrast_limits == [200, 500]
    assert result.colormap.name == "green"
    np.testing.assert_allclose(result.scale, (0.5, 0.25))


def test_a_source_whose_pixels_are_replaced_during_a_run_keeps_its_old_place(
    viewer, dock, held, idle, engine
):
    source = viewer.add_image(cells(), name="cells", scale=(0.5, 0.25))
    widget = dock()
    held(widget)
    source.data = cells((3, 20, 20))
    engine.gate.set()
    idle(widget)
    result = viewer.layers["cells · MS-DIP"]
    assert result.data.shape == (40, 51)
    np.testing.assert_allclose(result.scale[-2:], (0.5, 0.25))


def test_a_stack_renamed_during_its_run_keeps_that_name(
    viewer, dock, held, click, idle, engine, qtbot
):
    viewer.add_image(cells((5, 40, 51)), name="stack")
    widget = dock()
    widget.slices.value = "whole stack"
    held(widget, after=engine.n_scales * engine.iterations)
    qtbot.waitUntil(lambda: "stack · MS-DIP" in names(viewer), timeout=10_000)
    viewer.layers[-1].name = "mine"
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["stack", "mine (cancelled)"]


def test_an_rgb_image_stays_rgb(viewer, dock, click, idle, engine):
    viewer.add_image(cells((40, 51, 3), np.uint8), rgb=True, name="photo")
    widget = dock()
    assert widget.picker.letters.value == "YXC"
    click(widget.button)
    idle(widget)
    assert all(layer.rgb for layer in viewer.layers)
    assert viewer.layers["photo · MS-DIP"].data.shape == (40, 51, 3)
    assert engine.calls[0]["channel"] == -1


def test_an_rgb_image_that_would_turn_white_is_refused_before_the_run(viewer, dock, idle):
    viewer.add_image(cells((40, 51, 3), np.uint8), name="cells", rgb=True)
    widget = dock()
    widget.form.field("output_dtype").value = "float32"
    assert "choose 'input'" in widget.forecast.value
    assert not widget.button.enabled
    widget.form.field("output_dtype").value = "input"
    assert widget.button.enabled
    idle(widget)


def test_opacity_comes_through_a_run_without_scale_layers(viewer, dock, click, idle):
    data = cells((40, 51, 4), np.uint8)
    viewer.add_image(data, rgb=True, name="photo")
    widget = dock()
    widget.scale_layers.value = False
    click(widget.button)
    idle(widget)
    np.testing.assert_array_equal(
        viewer.layers["photo · MS-DIP"].data[..., 3], data[..., 3]
    )


def test_a_multiscale_layer_is_denoised_at_full_resolution(viewer, dock, click, idle):
    data = cells((64, 64))
    viewer.add_image([data, data[::2, ::2]], multiscale=True, name="pyramid")
    widget = dock()
    click(widget.button)
    idle(widget)
    result = viewer.layers["pyramid · MS-DIP"]
    assert not result.multiscale
    assert result.data.shape == (64, 64)


def test_only_image_layers_are_offered(viewer, dock):
    image = viewer.add_image(cells(), name="cells")
    viewer.add_labels(np.zeros((8, 8), int))
    viewer.add_points(np.zeros((1, 2)))
    widget = dock()
    assert list(widget.picker.image.choices) == [image]
    viewer.add_image(cells(), name="more")
    assert len(widget.picker.image.choices) == 2


@pytest.mark.parametrize("metadata", [{}, {"napari_msdip": {"role": "result"}}])
@pytest.mark.parametrize("visible", [True, False])
def test_the_selected_layer_is_the_one_offered(viewer, dock, idle, metadata, visible):
    viewer.add_image(cells(), name="first", metadata=metadata, visible=visible)
    viewer.add_image(cells(), name="second")
    viewer.layers.selection.active = viewer.layers["first"]
    widget = dock()
    assert widget.picker.layer.name == "first"
    idle(widget)


@pytest.mark.parametrize("selected", [True, False])
def test_a_dock_opened_again_offers_the_original(viewer, dock, click, idle, selected):
    viewer.add_image(cells(), name="cells", blending="additive")
    if not selected:
        viewer.layers.selection.clear()
    widget = dock()
    click(widget.button)
    idle(widget)
    viewer.window.remove_dock_widget(widget.native)
    again = dock()
    assert again.picker.layer.name == "cells"
    idle(again)


def test_a_dock_open_before_its_images_offers_the_one_in_view(viewer, dock, idle):
    widget = dock()
    viewer.add_image(cells(), name="truth", visible=False)
    viewer.add_image(cells(), name="cells")
    assert widget.picker.layer.name == "cells"
    viewer.add_image(cells(), name="next")
    assert widget.picker.layer.name == "next"
    idle(widget)


def test_a_layer_or_axes_set_by_hand_stay_when_another_image_is_opened(
    viewer, dock, qtbot, idle
):
    viewer.add_image(cells(), name="first")
    viewer.add_image(cells(), name="second")
    widget = dock()
    box = widget.picker.image.native
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Up)
    assert widget.picker.layer.name == "first"
    viewer.add_image(cells(), name="third")
    assert widget.picker.layer.name == "first"
    viewer.layers.remove("first")
    assert widget.picker.layer.name == "third"
    widget.picker.letters.value = "XY"
    viewer.add_image(cells(), name="fourth")
    assert widget.picker.layer.name == "third"
    assert widget.picker.letters.value == "XY"
    idle(widget)


@pytest.mark.parametrize("running", [False, True])
def test_a_layer_that_is_renamed_stays_chosen_with_its_axes(
    viewer, dock, held, idle, engine, running
):
    for name in ("first", "chosen", "last"):
        viewer.add_image(cells((3, 40, 51)), name=name)
    widget = dock()
    layer = viewer.layers["chosen"]
    widget.picker.image.value = layer
    widget.picker.letters.value = "CYX"
    if running:
        held(widget)
    layer.name = "renamed"
    assert widget.picker.layer == layer
    assert widget.picker.image.native.currentText() == "renamed"
    assert widget.picker.letters.value == "CYX"
    engine.gate.set()
    idle(widget)
    viewer.layers.remove(layer)
    assert widget.picker.layer.name == "last"


def test_a_run_neither_offers_its_own_results_nor_takes_an_image_opened_meanwhile(
    viewer, dock, held, idle, engine
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    viewer.add_image(cells(), name="other")
    engine.gate.set()
    idle(widget)
    assert "cells · MS-DIP" in names(viewer)
    assert widget.picker.layer.name == "cells"


def test_the_wheel_changes_neither_the_image_nor_the_slices(
    viewer, dock, idle, wheel, engine
):
    for name in ("first", "second", "third"):
        viewer.add_image(cells((3, 40, 51)), name=name)
    viewer.layers.selection.active = viewer.layers["first"]
    widget = dock()
    noise = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(noise)
    for combo in (widget.picker.image, widget.slices, noise.picker.image):
        combo.native.clearFocus()
        before = combo.value
        wheel(combo.native)
        assert combo.value == before
    idle(widget)


def test_without_an_image_there_is_nothing_to_run(viewer, dock, click):
    widget = dock()
    assert not widget.button.enabled
    assert "Open an image" in widget.forecast.value
    widget.run()
    assert widget.state is State.IDLE


def test_a_blending_that_adds_up_hides_the_original(viewer, dock, click, idle):
    viewer.add_image(cells(), name="cells", blending="additive")
    widget = dock()
    click(widget.button)
    idle(widget)
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert shown == ["cells · MS-DIP"]


@pytest.mark.parametrize("ending", ["result", "error"])
def test_a_blending_that_adds_up_from_now_on_hides_the_original_from_now_on(
    viewer, dock, held, idle, engine, qtbot, ending
):
    source = viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget, after=engine.iterations)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    source.blending = "additive"
    engine.free = engine.iterations
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    assert [layer.visible for layer in viewer.layers] == [False, False, True]
    if ending == "error":
        engine.broken.set()
    engine.gate.set()
    idle(widget)
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert shown == ["cells · MS-DIP" if ending == "result" else "cells"]
    notification_manager.records.clear()


@pytest.mark.parametrize("chosen", [["mine"], ["cells"], ["cells", "mine"], []])
def test_a_run_leaves_the_selection_alone(viewer, dock, click, idle, engine, chosen):
    viewer.add_image(cells(), name="cells")
    labels = viewer.add_labels(np.zeros((40, 51), int), name="mine")
    labels.mode = "paint"
    widget = dock()
    viewer.layers.selection.clear()
    viewer.layers.selection.update(viewer.layers[name] for name in chosen)
    click(widget.button)
    idle(widget)
    assert "cells · MS-DIP" in names(viewer)
    assert {layer.name for layer in viewer.layers.selection} == set(chosen)
    assert labels.mode == "paint"


def test_a_second_result_does_not_add_up_with_the_first(
    viewer, dock, click, idle, engine, qtbot
):
    viewer.add_image(cells(), name="other", blending="additive")
    viewer.add_image(cells(), name="cells", blending="additive")
    widget = dock()
    widget.scale_layers.value = False
    for _ in range(2):
        click(widget.button)
        idle(widget)

    def shown():
        return [layer.name for layer in viewer.layers if layer.visible]

    assert shown() == ["other", "cells · MS-DIP [1]"]
    engine.iterations, engine.pace = 10_000, 0.02
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 5, timeout=10_000)
    assert shown() == ["other", "cells · MS-DIP [2]"]
    click(widget.button)
    idle(widget)
    assert shown() == ["other", "cells · MS-DIP [1]"]


def test_results_do_not_add_up_after_their_source_was_renamed(viewer, dock, click, idle):
    source = viewer.add_image(cells(), name="cells", blending="additive")
    widget = dock()
    widget.scale_layers.value = False
    click(widget.button)
    idle(widget)
    source.name = "nuclei"
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["nuclei", "cells · MS-DIP", "nuclei · MS-DIP"]
    assert [layer.visible for layer in viewer.layers] == [False, False, True]


@pytest.mark.parametrize(
    ("blending", "slices", "said"),
    [
        ("additive", "current slice", True),
        ("additive", "whole stack", False),
        ("translucent", "current slice", False),
    ],
)
def test_a_run_says_if_it_hides_slices_that_it_did_not_denoise(
    viewer, dock, click, idle, blending, slices, said
):
    viewer.add_image(cells((3, 40, 51)), name="stack", blending=blending)
    widget = dock()
    widget.slices.value = slices
    click(widget.button)
    idle(widget)
    words = "Hidden, with all their other slices, until you press their eyes: stack"
    assert (words in widget.status.value) == said


def test_a_run_names_the_earlier_result_that_it_hides(viewer, dock, click, idle):
    viewer.add_image(cells((3, 40, 51)), name="stack", blending="additive")
    widget = dock()
    widget.scale_layers.value = False
    widget.slices.value = "whole stack"
    click(widget.button)
    idle(widget)
    widget.slices.value = "current slice"
    click(widget.button)
    idle(widget)
    assert [layer.visible for layer in viewer.layers] == [False, False, True]
    assert widget.status.value.endswith("press their eyes: stack · MS-DIP")


def test_results_of_other_slices_stay_in_view(viewer, dock, click, idle):
    viewer.add_image(cells((3, 40, 51)), name="stack", blending="additive")
    widget = dock()
    widget.scale_layers.value = False
    for n in (0, 2):
        viewer.dims.set_current_step(0, n)
        click(widget.button)
        idle(widget)
    assert [layer.visible for layer in viewer.layers] == [False, True, True]


# ------------------------------------------------------------------ before and while


def test_before_a_run_it_says_what_to_expect(viewer, dock, qtbot, idle):
    viewer.add_image(cells((64, 48)), name="cells")
    widget = dock()
    qtbot.waitUntil(lambda: "12.5" in widget.forecast.value, timeout=5000)
    words = widget.forecast.value
    assert "3 scales: 64×48, 32×24, 16×12" in words
    assert "1 min 15 s" in words and "2.0 GB on cpu" in words
    idle(widget)


def test_unfolding_the_advanced_options_keeps_the_forecast(
    viewer, dock, click, qtbot, idle
):
    viewer.add_image(cells((64, 48)), name="cells")
    widget = dock()
    qtbot.waitUntil(lambda: "64×48" in widget.forecast.value, timeout=5000)
    click(widget.form.fold)
    assert widget.form.unfolded
    assert "64×48" in widget.forecast.value
    idle(widget)


def test_a_run_started_before_the_forecast_does_not_wait_for_it(
    viewer, dock, held, idle, engine
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    assert "Measuring" not in widget.forecast.value
    engine.gate.set()
    idle(widget)


def test_the_forecast_of_another_image_is_taken_back_at_once(viewer, dock, qtbot, idle):
    viewer.add_image(cells((64, 48)), name="cells")
    widget = dock()
    qtbot.waitUntil(lambda: "64×48" in widget.forecast.value, timeout=5000)
    lines = widget.forecast.value.count("\n")
    viewer.add_image(cells((40, 32)), name="other")
    assert "Measuring" in widget.forecast.value
    assert widget.forecast.value.count("\n") == lines
    qtbot.waitUntil(lambda: "40×32" in widget.forecast.value, timeout=5000)
    idle(widget)


@pytest.mark.parametrize("slices", ["current slice", "whole stack"])
def test_a_forecast_is_renewed_only_if_the_slider_changes_what_is_denoised(
    viewer, dock, qtbot, idle, slices
):
    viewer.add_image(cells((5, 40, 51)), name="stack")
    widget = dock()
    widget.slices.value = slices
    qtbot.waitUntil(lambda: "12.5" in widget.forecast.value, timeout=5000)
    viewer.dims.set_current_step(0, 4)
    assert ("Measuring" in widget.forecast.value) == (slices == "current slice")
    idle(widget)


def test_a_forecast_that_fails_says_why_and_does_not_forbid_the_run(
    viewer, dock, qtbot, engine, idle
):
    def failing(*args, **kwargs):
        raise ValueError("device='cuda': there is none; choose cpu")

    engine.expected_cost = failing
    viewer.add_image(cells(), name="cells")
    widget = dock()
    qtbot.waitUntil(lambda: "choose cpu" in widget.forecast.value, timeout=5000)
    assert widget.button.enabled
    idle(widget)


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray, zarr.array])
@pytest.mark.parametrize("levels", [0, 2])
def test_the_way_out_of_nan_works_as_it_is_pasted(viewer, dock, qtbot, levels, wrap):
    bad = cells(dtype=np.float32)
    bad[3, 4], bad[5, 6] = np.nan, np.inf
    data = [wrap(bad), wrap(bad[::2, ::2])][:levels] or wrap(bad)
    layer = viewer.add_image(data, name="it's", contrast_limits=(0, 100))
    widget = dock()
    qtbot.waitUntil(lambda: "2 values" in widget.forecast.value, timeout=5000)
    # All that napari's console knows at its start, and what this is about.
    exec(widget.forecast.value.splitlines()[-1], {"viewer": viewer})
    assert layer.multiscale == bool(levels)
    finest = layer.data[0] if levels else layer.data
    assert finest.dtype == bad.dtype
    np.testing.assert_array_equal(finest, np.where(np.isfinite(bad), bad, 0))
    qtbot.waitUntil(lambda: "Noise level" in widget.forecast.value, timeout=5000)


def test_what_a_dock_says_can_be_copied(viewer, dock, qtbot):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    qtbot.waitUntil(lambda: "Noise level" in widget.forecast.value, timeout=5000)
    for label in (widget.forecast, widget.status):
        label.value = "σ 12.5"
        qtbot.mouseDClick(label.native, Qt.MouseButton.LeftButton, pos=QPoint(12, 8))
        qtbot.keyClick(label.native, "c", Qt.KeyboardModifier.ControlModifier)
        assert label.native.hasSelectedText()
        assert QApplication.clipboard().text() in label.value


def test_progress_is_shown_in_the_widget_and_in_the_activity_dock(
    viewer, dock, held, idle, engine, qtbot
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    bars = []
    held(widget, after=1)
    qtbot.waitUntil(lambda: "Iteration" in widget.status.value, timeout=5000)
    bars = [str(bar) for bar in progress._all_instances]
    assert "Scale 1 of 3 (10×13)" in widget.status.value
    assert "loss 0.25" in widget.status.value and "left" in widget.status.value
    assert any("scale" in bar for bar in bars)
    # What napari writes beside the bar: its ticks mean nothing.
    assert all(bar.split("|")[-1] == "" for bar in bars)
    assert 0 < widget.bar.value <= 1000
    engine.gate.set()
    idle(widget)
    assert not progress._all_instances


def test_nothing_in_the_window_spins_during_a_run(viewer, dock, held, idle, engine):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    labels = widget.native.window().findChildren(QLabel)
    (wheel,) = (label.movie() for label in labels if label.movie() is not None)
    assert wheel.state() is QMovie.MovieState.Paused
    engine.gate.set()
    idle(widget)
    assert wheel.state() is not QMovie.MovieState.Paused


def test_the_live_layer_improves_in_place(viewer, dock, click, idle, engine, qtbot):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    engine.n_scales, engine.iterations, engine.pace = 1, 10_000, 0.02
    seen = []
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=5000)
    live = viewer.layers[1]
    live.events.data.connect(lambda: seen.append(live.data.copy()))
    qtbot.waitUntil(lambda: len(seen) >= 2, timeout=20_000)
    assert live.name == "cells · MS-DIP · scale 0 (40×51)"
    widget.cancel()
    idle(widget)


def test_a_window_slow_to_draw_is_asked_less_often(
    viewer, dock, click, idle, engine, qtbot, monkeypatch
):
    monkeypatch.setattr(run, "_LONGEST_REST_SECONDS", 1.0)
    viewer.add_image(cells(), name="cells")
    widget = dock()
    engine.n_scales, engine.iterations, engine.pace = 1, 10_000, 0.02
    drawn = []

    def draw():
        time.sleep(0.1)
        drawn.append(time.monotonic())

    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=5000)
    viewer.layers[1].events.data.connect(draw)
    qtbot.waitUntil(lambda: len(drawn) >= 3, timeout=20_000)
    widget.cancel()
    idle(widget)
    assert np.diff(drawn).min() > 1.0


def cut_off(native):
    """Return the numbers in a dock that are wider than their boxes."""
    boxes = [box for box in native.findChildren(QAbstractSpinBox) if box.isVisible()]
    assert boxes
    edits = [box.findChild(QLineEdit) for box in boxes]
    return [
        edit.text()
        for edit in edits
        if edit.fontMetrics().horizontalAdvance(edit.text()) + 4 > edit.width()
    ]


def in_font(monkeypatch, size):
    monkeypatch.setattr(get_settings().appearance, "font_size", size)
    for _ in range(5):
        QApplication.processEvents()


def test_numbers_are_not_cut_off_in_a_larger_font(
    make_napari_viewer_proxy, dock, idle, engine, monkeypatch
):
    viewer = make_napari_viewer_proxy(strict_qt="raise", show=True)
    viewer.add_image(cells(), name="cells")
    widget = dock(viewer=viewer)
    widget.form.unfold(True)
    fuse = EnsembleWidget(viewer, engine=engine)
    fuse.sigma_spatial.value = 12.25
    viewer.window.add_dock_widget(fuse)
    for size in (20, 9):
        in_font(monkeypatch, size)
        for native in (widget.native, fuse.native):
            native.setFixedWidth(native.minimumSizeHint().width())
            QApplication.processEvents()
            assert cut_off(native) == []
    idle(widget)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_off_in_the_narrowest_dock(
    make_napari_viewer_proxy, dock, idle, theme
):
    viewer = make_napari_viewer_proxy(strict_qt="raise", show=True)
    viewer.theme = theme
    viewer.window.resize(900, 500)
    viewer.add_image(cells((3, 40, 51)), name="day3_" * 20 + "Series003.lif")
    widget = dock(viewer=viewer)
    widget.form.unfold(True)
    area = widget.native.findChild(QScrollArea)
    for _ in range(5):
        QApplication.processEvents()
    # What napari gives a dock at most, whatever the names of layers.
    assert widget.native.minimumSizeHint().width() < 400
    widget.native.setFixedWidth(widget.native.minimumSizeHint().width())
    for _ in range(5):
        QApplication.processEvents()
    assert area.verticalScrollBar().isVisible()
    assert area.widget().width() <= area.viewport().width()
    assert cut_off(area.widget()) == []
    idle(widget)


def test_the_tab_key_goes_from_top_to_bottom(make_napari_viewer_proxy, dock, idle, qtbot):
    viewer = make_napari_viewer_proxy(strict_qt="raise", show=True)
    viewer.add_image(cells((2, 3, 40, 51)), name="stack")
    widget = dock(viewer=viewer)
    widget.slices.value = "range"
    widget.form.unfold(True)
    viewer.layers["stack"].data = cells((4, 5, 40, 51))
    qtbot.waitUntil(lambda: widget.extents[0].native.isVisible(), timeout=5000)
    stops, here = [], widget.native.nextInFocusChain()
    while here is not widget.native:
        takes_tab = here.focusPolicy() & Qt.FocusPolicy.TabFocus
        if takes_tab and widget.native.isAncestorOf(here) and here.isVisible():
            stops.append(here)
        here = here.nextInFocusChain()
    first = stops.index(widget.native.findChild(QScrollArea))
    stops = [*stops[first:], *stops[:first]]
    heights = [stop.mapTo(widget.native, QPoint(0, 0)).y() for stop in stops]
    assert len(stops) > 20
    assert widget.picker.image.native in stops
    # Those of one row, such as the ends of a range, differ by a few pixels.
    assert np.diff(heights).min() > -10
    idle(widget)


@pytest.mark.parametrize("state", list(State))
def test_one_state_decides_every_control(viewer, dock, held, idle, engine, state):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    if state is not State.IDLE:
        held(widget)
    if state is State.CANCELLING:
        widget.cancel()
    assert widget.state is state
    text, enabled, form = {
        State.IDLE: ("Run", True, True),
        State.RUNNING: ("Cancel", True, False),
        State.CANCELLING: ("Cancelling…", False, False),
    }[state]
    assert widget.button.text == text
    assert widget.button.enabled == enabled
    assert widget.form.enabled == form
    engine.gate.set()
    idle(widget)
    assert widget.button.text == "Run"


# -------------------------------------------------------------------------- cancel


def test_cancelling_at_once_leaves_no_half_made_result(viewer, dock, held, click, idle):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["cells"]
    assert "nothing" not in names(viewer)
    assert "Cancelled" in widget.status.value


def test_cancelling_late_keeps_the_best_image_so_far(
    viewer, dock, held, click, idle, engine, qtbot
):
    data = cells()
    viewer.add_image(data, name="cells")
    widget = dock()
    held(widget, after=2 * engine.iterations)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    click(widget.button)
    assert widget.state is State.CANCELLING
    idle(widget)
    kept = viewer.layers["cells · MS-DIP (cancelled)"]
    np.testing.assert_array_equal(kept.data, engine.denoised(data))
    assert kept.metadata["napari_msdip"]["status"] == "cancelled"
    assert "kept the best image so far" in widget.status.value


@pytest.mark.parametrize(
    ("scale_layers", "left"),
    [(True, "cells · MS-DIP · scale 2 (10×13)"), (False, "cells · MS-DIP")],
)
@pytest.mark.parametrize("ending", ["cancel", "error", "source deleted"])
def test_what_a_run_leaves_half_done_is_not_taken_for_a_result(
    viewer, dock, click, idle, engine, qtbot, scale_layers, left, ending
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    widget.scale_layers.value = scale_layers
    engine.iterations, engine.pace = 10_000, 0.02
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    if ending == "cancel":
        click(widget.button)
    elif ending == "error":
        engine.broken.set()
    else:
        viewer.layers.remove("cells")
    idle(widget)
    assert names(viewer)[-1] == f"{left} (unfinished)"
    assert viewer.layers[-1].metadata["napari_msdip"]["role"] == "draft"
    if ending == "cancel":
        assert "unfinished" in widget.status.value


@pytest.mark.parametrize("scale_layers", [True, False])
@pytest.mark.parametrize("ending", ["cancel", "error"])
def test_an_original_hidden_for_a_result_is_back_if_there_is_none(
    viewer, dock, click, idle, engine, qtbot, scale_layers, ending
):
    viewer.add_image(cells(), name="cells", blending="additive")
    widget = dock()
    widget.scale_layers.value = scale_layers
    engine.iterations, engine.pace = 10_000, 0.02
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    assert [layer.visible for layer in viewer.layers] == [False, True]
    if ending == "cancel":
        click(widget.button)
    else:
        engine.broken.set()
    idle(widget)
    assert [layer.visible for layer in viewer.layers] == [True, False]
    notification_manager.records.clear()


def test_an_original_out_of_view_stays_so(viewer, dock, click, idle, engine, qtbot):
    viewer.add_image(cells(), name="cells", blending="additive", visible=False)
    widget = dock()
    engine.iterations, engine.pace = 10_000, 0.02
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    click(widget.button)
    idle(widget)
    assert [layer.visible for layer in viewer.layers] == [False, True]


def test_run_may_be_pressed_again_after_a_cancel(viewer, dock, held, click, idle, engine):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    click(widget.button)
    idle(widget)
    engine.gate.set()
    click(widget.button)
    idle(widget)
    assert "cells · MS-DIP" in names(viewer)


def test_running_twice_at_once_is_one_run(viewer, dock, held, idle, engine):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    widget.run()
    assert len(engine.calls) == 1
    engine.gate.set()
    idle(widget)


def test_a_double_click_on_run_is_one_run(viewer, dock, idle, engine, qtbot):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    engine.gate.clear()
    # What a window gets from a double click, one after the other.
    for event in (qtbot.mouseClick, qtbot.mouseDClick, qtbot.mouseRelease):
        event(widget.button.native, Qt.MouseButton.LeftButton)
    assert widget.state is State.RUNNING
    engine.gate.set()
    idle(widget)
    assert len(engine.calls) == 1
    assert "cells · MS-DIP" in names(viewer)


def test_two_runs_after_each_other_do_not_overwrite(viewer, dock, click, idle):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    widget.scale_layers.value = False
    for _ in range(2):
        click(widget.button)
        idle(widget)
    assert names(viewer) == ["cells", "cells · MS-DIP", "cells · MS-DIP [1]"]


# -------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("boom"), "boom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), "Crop the image"),
        (MemoryError(), "Out of memory"),
        (ValueError("iterations=0: give more"), "give more"),
    ],
)
def test_an_engine_that_raises_leaves_a_usable_window(
    viewer, dock, click, idle, engine, error, says
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    engine.error = error
    before = len(notification_manager.records)
    click(widget.button)
    idle(widget)
    assert says in widget.status.value
    assert len(notification_manager.records) == before + 1
    engine.error = None
    click(widget.button)
    idle(widget)
    assert "cells · MS-DIP" in names(viewer)
    notification_manager.records.clear()


def test_deleting_the_layer_stops_the_run_and_adds_nothing(
    viewer, dock, held, idle, engine
):
    viewer.add_image(cells(), name="other")
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    viewer.layers.remove("cells")
    idle(widget)
    assert names(viewer) == ["other"]
    assert "removed" in widget.status.value
    assert widget.picker.layer.name == "other"
    assert widget.button.enabled


def test_deleting_a_scale_layer_does_not_bring_it_back(
    viewer, dock, held, idle, engine, qtbot
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget, after=1)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=5000)
    del viewer.layers[1]
    engine.gate.set()
    idle(widget)
    assert "cells · MS-DIP · scale 2 (10×13)" not in names(viewer)
    assert "cells · MS-DIP" in names(viewer)


def test_closing_the_dock_stops_the_run(viewer, dock, held, qtbot, engine):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    viewer.window.remove_dock_widget(widget.native)
    qtbot.waitUntil(
        lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000
    )
    QApplication.processEvents()
    assert widget.state is State.IDLE
    assert names(viewer) == ["cells"]
    widget.native.deleteLater()
    del widget
    gc.collect()
    again = dock()
    engine.gate.set()
    again.run()
    qtbot.waitUntil(lambda: again.state is State.IDLE, timeout=10_000)
    assert "cells · MS-DIP" in names(viewer)


def test_a_closed_dock_measures_nothing_more_until_it_is_docked_again(
    viewer, dock, idle, engine, qtbot
):
    layer = viewer.add_image(cells((5, 40, 51)), name="stack")
    widget = dock()
    qtbot.waitUntil(lambda: "12.5" in widget.forecast.value, timeout=5000)
    viewer.window.remove_dock_widget(widget.native)
    asked = []
    measure = engine.expected_cost
    engine.expected_cost = lambda *args: asked.append(args) or measure(*args)
    viewer.dims.set_current_step(0, 1)
    layer.data = cells((4, 40, 51))
    viewer.add_image(cells((5, 96, 64)), name="other")
    qtbot.wait(800)
    assert not asked
    viewer.window.add_dock_widget(widget, name="again")
    qtbot.waitUntil(lambda: bool(asked), timeout=5000)
    idle(widget)


def test_closing_the_viewer_stops_the_run(viewer, dock, held, qtbot):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget)
    viewer.close()
    qtbot.waitUntil(
        lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000
    )
    QApplication.processEvents()
    assert widget.state is State.IDLE
    assert not progress._all_instances


def test_two_viewers_keep_their_results_apart(
    make_napari_viewer_proxy, dock, viewer, click, idle, engine
):
    other = make_napari_viewer_proxy(strict_qt="raise")
    viewer.add_image(cells(), name="one")
    other.add_image(cells(), name="two")
    first, second = dock(), dock(viewer=other)
    engine.pace = 0.02
    click(first.button)
    click(second.button)
    idle(first, second)
    assert {name.split(" ")[0] for name in names(viewer)} == {"one"}
    assert {name.split(" ")[0] for name in names(other)} == {"two"}
    assert len(viewer.layers) == len(other.layers) == 5


# -------------------------------------------------------------------------- stacks


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray, zarr.array])
def test_the_current_slice_of_a_4d_stack_lies_at_its_place(
    viewer, dock, click, idle, engine, wrap
):
    data = cells((2, 3, 40, 51))
    source = viewer.add_image(
        wrap(data), name="stack", scale=(1, 2, 0.5, 0.5), contrast_limits=(0, 1000)
    )
    widget = dock()
    viewer.dims.set_current_step((0, 1), (1, 2))
    click(widget.button)
    idle(widget)
    result = viewer.layers["stack · MS-DIP"]
    assert result.data.shape == (1, 1, 40, 51)
    np.testing.assert_array_equal(result.data[0, 0], engine.denoised(data[1, 2]))
    np.testing.assert_allclose(
        result.data_to_world((0, 0, 0, 0)), source.data_to_world((1, 2, 0, 0))
    )


TILTED = {
    "other units": {"scale": (2, 1, 1), "units": ("um",) * 3},
    "sheared": {"shear": (0.5, 0.1, 0)},
    "turned": {"scale": (3, 0.5, 0.4), "rotate": (10, 20, 30)},
    "affine": {
        "affine": np.array([[1, 0.1, 0, 2], [0, 1, 0, 5], [0, 0.2, 1, 6], [0, 0, 0, 1]])
    },
}


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("place", TILTED.values(), ids=TILTED)
def test_the_current_slice_is_the_one_on_screen(viewer, dock, idle, place):
    data = np.repeat(np.arange(9, dtype=np.uint16), 40 * 51).reshape(9, 40, 51)
    layer = viewer.add_image(data, name="stack", contrast_limits=(0, 8), **place)
    if "units" in place:
        viewer.add_image(data, scale=(2000, 1000, 1000), units=("nm",) * 3)
    widget = dock()
    widget.picker.image.value = layer
    seen = set()
    for step in range(viewer.dims.nsteps[0]):
        viewer.dims.set_current_step(0, step)
        on_screen = layer.__wrapped__._slice
        if not on_screen.empty:
            plane = int(np.asarray(on_screen.image.raw)[0, 0])
            assert widget.picker.current_plane() == ((plane, plane + 1),)
            seen.add(plane)
    assert len(seen) > 3
    idle(widget)


def test_in_three_dimensions_the_current_slice_is_where_the_slider_was(viewer, dock, idle):
    viewer.add_image(cells((6, 40, 51)), name="stack", scale=(2, 1, 1))
    widget = dock()
    viewer.dims.set_current_step(0, 4)
    viewer.dims.ndisplay = 3
    assert widget.picker.current_plane() == ((4, 5),)
    idle(widget)


@pytest.mark.parametrize("place", [(12, 0), (0, 2.4)], ids=["below", "above"])
def test_a_slider_beside_the_layer_chooses_no_slice_of_it(
    viewer, dock, click, qtbot, idle, place
):
    """What napari does not draw is no current slice."""
    first, scale = place
    viewer.add_image(cells((16, 40, 51)), name="long")
    short = viewer.add_image(cells((3, 40, 51)), name="short", translate=(first, 0, 0))
    short.scale = (scale or 1, 1, 1)
    widget = dock()
    assert widget.picker.layer == short
    on_screen = []
    for step in range(16):
        viewer.dims.set_current_step(0, step)
        on_screen.append(widget.button.enabled)
        assert on_screen[-1] is not short.__wrapped__._slice.empty
    assert any(on_screen)
    viewer.dims.set_current_step(0, 15 if scale else 2)
    assert "short has no slice at this slider position" in widget.forecast.value
    assert "it has 0 to 2" in widget.forecast.value
    widget.run()
    assert widget.state is State.IDLE
    assert len(viewer.layers) == 2
    assert widget.slices.native.isVisibleTo(widget.native)
    widget.slices.value = "whole stack"
    assert widget.button.enabled
    idle(widget)


def test_the_forecast_names_the_slice(viewer, dock, qtbot, idle):
    viewer.add_image(cells((2, 6, 40, 51)), name="stack")
    widget = dock()
    viewer.dims.set_current_step((0, 1), (1, 4))
    qtbot.waitUntil(lambda: "(T 1, Z 4)" in widget.forecast.value, timeout=5000)
    widget.slices.value = "whole stack"
    qtbot.waitUntil(lambda: "12 slices" in widget.forecast.value, timeout=5000)
    assert "(T" not in widget.forecast.value
    idle(widget)


def test_a_whole_stack_fills_slice_by_slice(viewer, dock, held, idle, engine, qtbot):
    data = cells((4, 40, 51))
    viewer.add_image(data, name="stack")
    widget = dock()
    widget.slices.value = "whole stack"
    assert not widget.scale_layers.enabled
    held(widget, after=engine.n_scales * engine.iterations)
    qtbot.waitUntil(lambda: "stack · MS-DIP" in names(viewer), timeout=10_000)
    part = viewer.layers["stack · MS-DIP"].data
    np.testing.assert_array_equal(part[0], data[0] // 2)
    qtbot.waitUntil(lambda: "of 4" in widget.status.value, timeout=5000)
    engine.gate.set()
    idle(widget)
    np.testing.assert_array_equal(viewer.layers["stack · MS-DIP"].data, data // 2)
    assert names(viewer) == ["stack", "stack · MS-DIP"]


def test_steps_that_a_busy_window_left_waiting_are_shown_one_after_the_other(
    viewer, dock, click, idle
):
    data = cells((60, 8, 9))
    viewer.add_image(data, name="stack")
    widget = dock()
    widget.slices.value = "whole stack"
    click(widget.button)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    idle(widget)
    np.testing.assert_array_equal(viewer.layers["stack · MS-DIP"].data, data // 2)
    assert viewer.layers["stack · MS-DIP"].metadata["napari_msdip"]["role"] == "result"
    assert widget.copy.enabled
    assert not progress._all_instances


def test_a_range_of_slices_lies_at_its_place(viewer, dock, click, idle):
    data = cells((6, 40, 51))
    source = viewer.add_image(data, name="stack", scale=(2, 1, 1), translate=(5, 0, 0))
    widget = dock()
    widget.slices.value = "range"
    widget.extents[0].value = (2, 4)
    click(widget.button)
    idle(widget)
    result = viewer.layers["stack · MS-DIP"]
    np.testing.assert_array_equal(result.data, data[2:5] // 2)
    np.testing.assert_allclose(
        result.data_to_world((0, 0, 0)), source.data_to_world((2, 0, 0))
    )
    assert widget.extents[0].value == (2, 4)


def test_the_handles_of_a_range_are_not_cut_off(
    make_napari_viewer_proxy, dock, idle, qtbot
):
    viewer = make_napari_viewer_proxy(strict_qt="raise", show=True)
    viewer.add_image(cells((30, 40, 51)), name="stack")
    widget = dock(viewer=viewer)
    widget.slices.value = "range"
    qtbot.waitUntil(lambda: widget.extents[0].visible, timeout=5000)
    (groove,) = widget.extents[0].native.findChildren(QSlider)
    picture = groove.grab().toImage()
    handle = range(4, 12)
    for edge in (0, picture.height() - 1):
        corner = picture.pixel(picture.width() // 2, edge)
        assert all(picture.pixel(x, edge) == corner for x in handle)
    idle(widget)


def test_an_axis_of_one_slice_has_no_range_to_leave(
    make_napari_viewer_proxy, dock, click, idle, qtbot
):
    viewer = make_napari_viewer_proxy(strict_qt="raise", show=True)
    viewer.add_image(cells((1, 3, 40, 51)), name="stack")
    widget = dock(viewer=viewer)
    widget.slices.value = "range"
    single, several = widget.extents
    qtbot.waitUntil(lambda: several.visible, timeout=5000)
    assert not single.visible
    click(widget.button)
    idle(widget)
    assert viewer.layers["stack · MS-DIP"].data.shape == (1, 3, 40, 51)


def test_cancelling_a_stack_keeps_the_finished_slices(
    viewer, dock, held, click, idle, engine, qtbot
):
    data = cells((5, 40, 51))
    viewer.add_image(data, name="stack")
    widget = dock()
    widget.slices.value = "whole stack"
    held(widget, after=engine.n_scales * engine.iterations)
    qtbot.waitUntil(lambda: "stack · MS-DIP" in names(viewer), timeout=10_000)
    click(widget.button)
    idle(widget)
    kept = viewer.layers["stack · MS-DIP (cancelled)"]
    assert len(kept.metadata["napari_msdip"]["planes"]) == 1
    np.testing.assert_array_equal(kept.data, data[:1] // 2)
    assert "kept 1 of 5 slices" in widget.status.value


def test_a_stack_in_which_every_slice_fails_gives_no_layer(
    viewer, dock, click, idle, engine
):
    viewer.add_image(cells((3, 40, 51)), name="stack", blending="additive")
    widget = dock()
    widget.slices.value = "whole stack"
    engine.bad = dict.fromkeys(range(3), "2 of 2040 pixels are NaN or Inf")
    before = len(notification_manager.records)
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["stack"]
    assert viewer.layers["stack"].visible
    assert "Nothing was denoised" in widget.status.value
    assert "NaN" in widget.status.value
    assert len(notification_manager.records) == before + 1
    assert not widget.copy.enabled
    notification_manager.records.clear()


def test_a_stack_in_which_some_slices_fail_says_which_and_why(
    viewer, dock, click, idle, engine
):
    data = cells((3, 40, 51))
    viewer.add_image(data, name="stack")
    widget = dock()
    widget.slices.value = "whole stack"
    engine.bad = {0: "2 of 2040 pixels are NaN or Inf"}
    click(widget.button)
    idle(widget)
    result = viewer.layers["stack · MS-DIP"].data
    np.testing.assert_array_equal(result[0], data[0])
    np.testing.assert_array_equal(result[1:], data[1:] // 2)
    assert "2 of 3 slices" in widget.status.value
    assert "(slice 0): 2 of 2040 pixels are NaN" in widget.status.value


def test_a_stack_cancelled_before_a_slice_succeeds_gives_no_layer(
    viewer, dock, held, idle, engine, qtbot, click
):
    viewer.add_image(cells((3, 40, 51)), name="stack")
    widget = dock()
    widget.slices.value = "whole stack"
    engine.bad = {0: "2 of 2040 pixels are NaN or Inf"}
    held(widget)
    qtbot.waitUntil(lambda: "stack · MS-DIP" in names(viewer), timeout=5000)
    click(widget.button)
    idle(widget)
    assert names(viewer) == ["stack"]
    assert "Cancelled before anything was denoised" in widget.status.value


def test_axes_can_be_corrected(viewer, dock, click, idle, engine):
    data = cells((2, 40, 51))
    viewer.add_image(data, name="two channels")
    widget = dock()
    assert widget.picker.letters.value == "ZYX"
    widget.picker.letters.value = "CYX"
    assert not widget.slices.visible
    click(widget.button)
    idle(widget)
    assert engine.calls[0]["channel"] == -3
    assert viewer.layers["two channels · MS-DIP"].data.shape == (2, 40, 51)


def test_axes_typed_by_hand_are_kept_for_their_layer(viewer, dock, idle):
    viewer.add_image(cells((2, 40, 51)), name="two channels")
    widget = dock()
    widget.picker.letters.value = "CYX"
    viewer.add_image(cells((2, 3, 40, 51)), name="more axes")
    assert widget.picker.letters.value == "CYX"
    viewer.dims.order = (0, 2, 1, 3)
    assert widget.picker.letters.value == "CYX"
    viewer.dims.order = (0, 1, 2, 3)
    viewer.layers.remove("more axes")
    assert widget.picker.layer.name == "two channels"
    assert widget.picker.letters.value == "CYX"
    other = viewer.add_image(cells((2, 40, 51)), name="stack")
    widget.picker.image.value = other
    assert widget.picker.letters.value == "ZYX"
    idle(widget)


def test_the_form_follows_data_that_are_replaced(viewer, dock, click, idle):
    layer = viewer.add_image(cells(), name="cells")
    widget = dock()
    layer.data = cells((6, 40, 51))
    assert widget.picker.letters.value == "ZYX"
    widget.slices.value = "range"
    widget.picker.letters.value = "TYX"
    layer.data = cells((3, 64, 51))
    assert widget.picker.letters.value == "TYX"
    assert widget.extents[0].value == (0, 2)
    click(widget.button)
    idle(widget)
    assert viewer.layers["cells · MS-DIP"].data.shape == (3, 64, 51)
    layer.data = cells()
    assert widget.picker.letters.value == "YX"
    assert not widget.slices.visible
    idle(widget)


def test_the_form_follows_axis_labels(viewer, dock, idle):
    layer = viewer.add_image(cells((2, 40, 51)), name="cells")
    widget = dock()
    layer.axis_labels = ("channel", "y", "x")
    assert widget.picker.letters.value == "CYX"
    idle(widget)


def test_a_range_that_has_shrunk_in_place_is_refused_in_words(viewer, dock, idle):
    data = zarr.array(cells((6, 40, 51)))
    viewer.add_image(data, name="stack", contrast_limits=(0, 1000))
    widget = dock()
    widget.slices.value = "range"
    data.resize((3, 40, 51))
    widget.run()
    assert widget.state is State.IDLE
    assert "Z 0 to 5: the layer has 3 slices" in widget.status.value
    idle(widget)


def test_wrong_axes_are_refused_before_the_run(viewer, dock):
    viewer.add_image(cells((2, 40, 51)), name="cells")
    widget = dock()
    widget.picker.letters.value = "YX"
    assert not widget.button.enabled
    assert "give 3 letters" in widget.forecast.value
    widget.picker.letters.value = "zyx"
    assert widget.button.enabled


def test_wrong_options_are_refused_before_the_run(viewer, dock):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    widget.form.field("widths").value = "8, many"
    assert not widget.button.enabled
    assert "widths" in widget.forecast.value


# -------------------------------------------------------------------- after the run


def test_copy_as_python_reproduces_the_result(viewer, dock, click, idle, engine):
    data = cells((3, 40, 51))
    viewer.add_image(data, name="it's")
    widget = dock()
    assert not widget.copy.enabled
    widget.form.field("seed").value = 5
    click(widget.button)
    idle(widget)
    click(widget.copy)
    code = QApplication.clipboard().text()
    result = viewer.layers["it's · MS-DIP"]
    assert code == result.metadata["napari_msdip"]["python"]
    asked = {}
    fake = SimpleNamespace(
        Options=Options,
        denoise=lambda image, options: asked.update(image=image, options=options),
    )
    lines = [line for line in code.splitlines() if not line.startswith("from napari_msdip")]
    exec("\n".join(lines), {"viewer": viewer, **vars(fake)})
    np.testing.assert_array_equal(asked["image"], engine.calls[0]["image"])
    assert asked["options"] == engine.calls[0]["options"]


@pytest.mark.parametrize("levels", [1, 2])
def test_copy_as_python_calls_the_layer_what_it_is_called_now(
    viewer, dock, click, idle, levels
):
    data = cells((64, 64))
    pyramid = [data[:: 2**level, :: 2**level] for level in range(levels)]
    layer = viewer.add_image(pyramid if levels > 1 else data, name="it's")
    widget = dock()
    click(widget.button)
    idle(widget)
    gc.collect()
    layer.name = 'day "3"'
    click(widget.copy)
    code = QApplication.clipboard().text()
    image = next(line for line in code.splitlines() if line.startswith("image = "))
    np.testing.assert_array_equal(
        eval(image.removeprefix("image = "), {"viewer": viewer}), data
    )
    viewer.layers.remove(layer)
    click(widget.copy)
    assert QApplication.clipboard().text() == code.replace(repr(layer.name), '"it\'s"')


def test_the_python_of_a_cancelled_run_says_that_it_goes_on_to_the_end(
    viewer, dock, held, click, idle, engine, qtbot
):
    viewer.add_image(cells(), name="cells")
    widget = dock()
    held(widget, after=2 * engine.iterations)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    click(widget.button)
    idle(widget)
    click(widget.copy)
    code = QApplication.clipboard().text()
    assert code.startswith("# The run was cancelled")
    kept = viewer.layers["cells · MS-DIP (cancelled)"]
    assert code == kept.metadata["napari_msdip"]["python"]
