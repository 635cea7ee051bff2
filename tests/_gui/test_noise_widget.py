"""The noise dock tells how noisy the image on screen is."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tests.samples import cells

from napari_msdip._gui.noise_widget import NoiseWidget
from napari_msdip._gui.widget import DenoiseWidget, State


def test_the_noise_of_the_slice_on_screen_is_estimated(viewer, engine, click, qtbot):
    data = cells((3, 40, 51))
    asked = []
    engine.noise_level = lambda image, *_, **axis: asked.append(image) or 12.5
    viewer.add_image(data, name="stack")
    viewer.dims.set_current_step(0, 2)
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "12.5" in widget.answer.value, timeout=5000)
    np.testing.assert_array_equal(asked[0], data[2])
    dark, bright = np.percentile(data[2], [1, 99])
    assert f"{12.5 / (bright - dark):.1%}" in widget.answer.value
    assert widget.answer.value.startswith("stack (Z 2):")
    assert widget.button.enabled


def test_an_estimate_is_not_taken_for_that_of_another_image(viewer, engine, click, qtbot):
    viewer.add_image(cells(), name="cells")
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "12.5" in widget.answer.value, timeout=5000)
    viewer.add_image(cells(), name="other")
    assert widget.picker.layer.name == "other"
    assert widget.answer.value == ""


def test_a_run_beside_the_noise_dock_does_not_change_its_image(
    viewer, engine, click, qtbot
):
    viewer.add_image(cells(), name="cells")
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    denoise = DenoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(denoise)
    engine.pace = 0.02
    click(denoise.button)
    qtbot.waitUntil(lambda: denoise.state is State.IDLE, timeout=10_000)
    assert len(viewer.layers) == 5
    assert widget.picker.layer.name == "cells"


def test_a_name_that_looks_like_a_tag_is_shown_as_it_is(viewer, engine):
    viewer.add_image(cells(), name="x<b>y</b>")
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    assert widget.answer.native.textFormat() == Qt.TextFormat.PlainText


def test_a_noise_estimate_that_fails_says_why(viewer, engine, click, qtbot):
    def failing(*_, **axis):
        raise ValueError("image: too small")

    engine.noise_level = failing
    viewer.add_image(cells(), name="cells")
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "too small" in widget.answer.value, timeout=5000)
    assert widget.button.enabled


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("boom")])
def test_the_noise_dock_gives_no_advice_that_it_has_no_field_for(
    viewer, engine, click, qtbot, error
):
    def failing(*_, **axis):
        raise error

    engine.noise_level = failing
    viewer.add_image(cells(), name="cells")
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "Estimating" not in widget.answer.value, timeout=5000)
    assert "Error" in widget.answer.value
    assert "device" not in widget.answer.value
    assert "run again" not in widget.answer.value


def test_without_an_image_the_noise_dock_asks_for_one(viewer, engine, click):
    widget = NoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    assert "Open an image" in widget.answer.value


def test_the_real_estimator_finds_the_noise_of_a_sample(viewer, click, qtbot):
    noisy = 500 + np.random.default_rng(0).normal(0, 20, (96, 96))
    viewer.add_image(noisy.astype(np.float32), name="flat")
    widget = NoiseWidget(viewer)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "σ" in widget.answer.value, timeout=60_000)
    sigma = float(widget.answer.value.split("≈")[1].split(",")[0])
    assert sigma == pytest.approx(20, rel=0.15)
