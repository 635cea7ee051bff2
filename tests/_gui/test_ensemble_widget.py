"""The ensemble dock fuses layers of one scene, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool
from tests.samples import cells

from napari_msdip._gui.ensemble_widget import EnsembleWidget
from napari_msdip._gui.noise_widget import NoiseWidget
from napari_msdip._gui.widget import DenoiseWidget, State
from napari_msdip.layer import denoise_layer


def test_the_scales_of_the_last_run_are_fused(viewer, engine, click, qtbot):
    viewer.add_image(cells(), name="cells", scale=(0.5, 0.5), units=("um", "um"))
    denoise = DenoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(denoise)
    click(denoise.button)
    qtbot.waitUntil(lambda: denoise.state is State.IDLE, timeout=10_000)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    assert len(widget.scales.value) == 3
    widget.window.value = 7
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 3" in widget.status.value, timeout=5000)
    fused = viewer.layers["cells · MS-DIP · fused"]
    assert [scale.shape for scale in engine.calls[-1]["scales"]] == [
        (40, 51),
        (20, 26),
        (10, 13),
    ]
    assert engine.calls[-1]["window"] == 7
    assert fused.units == viewer.layers["cells"].units
    np.testing.assert_allclose(fused.scale, (0.5, 0.5))
    assert fused.metadata["napari_msdip"]["role"] == "ensemble"


def test_the_fused_layer_lies_above_its_scales_and_below_other_layers(
    viewer, engine, click, qtbot
):
    layer = viewer.add_image(cells(), name="cells")
    entries = denoise_layer(layer, scales=True, engine=engine)
    for data, state, _ in reversed(entries):
        viewer.add_image(data, **state)
    made = [each.name for each in viewer.layers]
    viewer.add_labels(np.zeros((40, 51), int), name="labels")
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: len(viewer.layers) == len(made) + 2, timeout=5000)
    assert [each.name for each in viewer.layers] == [
        *made,
        "cells · MS-DIP · fused",
        "labels",
    ]


def test_what_was_fused_does_not_add_up_with_the_fused_layer(viewer, engine, click, qtbot):
    viewer.add_image(cells((3, 40, 51)), name="stack", blending="additive")
    denoised_slices(viewer, engine, click, qtbot, 0)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 3" in widget.status.value, timeout=5000)
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert shown == ["stack · MS-DIP · fused"]


def denoised_slices(viewer, engine, click, qtbot, *slices):
    """Denoise slices of the viewer's stack, one run each."""
    denoise = DenoiseWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(denoise)
    denoise.picker.image.value = viewer.layers["stack"]
    denoise.slices.value = "range"
    for n in slices:
        denoise.extents[0].value = (n, n)
        click(denoise.button)
        qtbot.waitUntil(lambda: denoise.state is State.IDLE, timeout=10_000)
    return denoise


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_scales_of_one_run_are_chosen(viewer, engine, click, qtbot, cancelled):
    viewer.add_image(cells((3, 40, 51)), name="stack")
    denoise = denoised_slices(viewer, engine, click, qtbot, 0, 2)
    if cancelled:
        engine.iterations, engine.pace = 10_000, 0.02
        click(denoise.button)
        qtbot.waitUntil(lambda: len(viewer.layers) == 10, timeout=10_000)
        click(denoise.button)
        qtbot.waitUntil(lambda: denoise.state is State.IDLE, timeout=10_000)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    assert len(widget.scales.value) == 3
    assert {layer.metadata["napari_msdip"]["run"] for layer in widget.scales.value} == {
        viewer.layers["stack · MS-DIP [1]"].metadata["napari_msdip"]["run"]
    }
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 3" in widget.status.value, timeout=5000)
    assert viewer.layers["stack · MS-DIP · fused"].translate[0] == 2


def test_a_fuse_dock_opened_before_a_run_chooses_its_scales_until_a_person_does(
    viewer, engine, click, qtbot
):
    viewer.add_image(cells((3, 40, 51)), name="stack")
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    assert widget.scales.value == []
    denoise = denoised_slices(viewer, engine, click, qtbot, 0)
    assert len(widget.scales.value) == 3
    chosen = widget.scales.value[1:]
    widget.scales.value = chosen
    viewer.window.remove_dock_widget(denoise.native)
    denoised_slices(viewer, engine, click, qtbot, 2)
    assert widget.scales.value == chosen
    for layer in chosen:
        viewer.layers.remove(layer)
    last = viewer.layers["stack · MS-DIP [1]"].metadata["napari_msdip"]["run"]
    assert [layer.metadata["napari_msdip"]["run"] for layer in widget.scales.value] == (
        [last] * 3
    )


def test_a_layer_that_is_renamed_stays_chosen_for_fusing(viewer, engine):
    for name in ("first", "fine", "coarse"):
        viewer.add_image(cells(), name=name)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = [viewer.layers["fine"], viewer.layers["coarse"]]
    viewer.layers["fine"].name = "finest"
    assert {layer.name for layer in widget.scales.value} == {"finest", "coarse"}
    viewer.layers.remove("coarse")
    assert [layer.name for layer in widget.scales.value] == ["finest"]


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("rotate", [(0, 0, 0), (20, 10, 5)])
def test_scales_of_different_slices_are_refused(viewer, engine, click, qtbot, rotate):
    viewer.add_image(cells((3, 40, 51)), name="stack", scale=(2, 1, 1), rotate=rotate)
    denoised_slices(viewer, engine, click, qtbot, 0, 2)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    first, *rest = [layer for layer in viewer.layers if "scale" in layer.name]
    widget.scales.value = [first, rest[-1]]
    click(widget.button)
    assert "shows another slice" in widget.status.value


@pytest.mark.parametrize(
    "place",
    [
        {"translate": (20, 0)},
        {"translate": (1000, 1000), "scale": (2, 2)},
        {"scale": (2, 1)},
        {"scale": (2, 2), "rotate": 90},
    ],
)
def test_layers_of_other_areas_are_refused_by_name(viewer, engine, click, place):
    viewer.add_image(cells((40, 52)), name="whole")
    viewer.add_image(cells((20, 26)), name="part", **place)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    assert "part covers another area than whole" in widget.status.value


@pytest.mark.parametrize(
    "place",
    [
        {"scale": (2, 2)},
        {"scale": (2, 2), "translate": (1, 1)},
        {"scale": (2000, 2000), "units": ("nm", "nm")},
        {"scale": (2, 2), "units": ("pixel", "pixel")},
    ],
)
def test_layers_less_than_a_coarse_pixel_apart_are_fused(
    viewer, engine, click, qtbot, place
):
    viewer.add_image(cells((40, 51)), name="fine", units=("um", "um"))
    viewer.add_image(cells((20, 26)), name="coarse", **place)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 2" in widget.status.value, timeout=5000)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(
    "place",
    [
        {"scale": (3, 0.5, 0.4), "rotate": (10, 20, 30), "shear": (0.5, 0.1, 0.2)},
        {"affine": np.array([[1, 0.1, 0, 2], [0, 1, 0, 5], [0, 0.2, 1, 6], [0, 0, 0, 1]])},
    ],
)
def test_the_scales_of_a_tilted_layer_cover_the_same_area(
    viewer, engine, click, qtbot, place
):
    viewer.add_image(cells((3, 41, 53)), name="stack", **place)
    denoised_slices(viewer, engine, click, qtbot, 1)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 3" in widget.status.value, timeout=5000)


@pytest.mark.parametrize("widget", [NoiseWidget, EnsembleWidget])
def test_a_long_name_does_not_widen_the_dock(viewer, engine, widget):
    viewer.add_image(cells(), name="cells")
    made = widget(viewer, engine=engine)
    viewer.window.add_dock_widget(made)
    width = made.native.minimumSizeHint().width()
    viewer.add_image(cells(), name="day3_" * 40)
    assert made.native.minimumSizeHint().width() == width


def test_layers_that_cannot_be_fused_are_refused_with_the_reason(viewer, engine, click):
    viewer.add_image(cells(), name="one")
    viewer.add_image(cells((3, 40, 51)), name="stack")
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    click(widget.button)
    assert "two or more" in widget.status.value
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    assert "3 slices" in widget.status.value


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (True, bool, "mask holds bool values"),
        (np.nan, np.float32, "mask has 520 values that are NaN"),
    ],
)
def test_pixels_that_cannot_be_fused_are_refused_by_the_name_of_their_layer(
    viewer, engine, click, qtbot, value, dtype, words
):
    viewer.add_image(cells(), name="cells")
    viewer.add_image(np.full((20, 26), value, dtype), name="mask", scale=(2, 2))
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    qtbot.waitUntil(lambda: words in widget.status.value, timeout=5000)
    assert widget.button.enabled
    assert not engine.calls


def test_opacity_is_not_fused_but_kept(viewer, engine, click, qtbot):
    data = cells((40, 51, 4), np.uint8)
    viewer.add_image(data, rgb=True, name="result")
    viewer.add_image(data[::2, ::2, :3], rgb=True, name="scale 1", scale=(2, 2))
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 2" in widget.status.value, timeout=5000)
    assert all(scale.shape[-1] == 3 for scale in engine.calls[-1]["scales"])
    fused = viewer.layers["result · MS-DIP · fused"]
    np.testing.assert_array_equal(fused.data[..., 3], data[..., 3])


def test_fused_colours_stay_what_napari_shows_as_such(viewer, click, qtbot):
    data = cells((32, 32, 4), np.uint8)
    viewer.add_image(data, rgb=True, name="fine")
    viewer.add_image(data[::2, ::2], rgb=True, name="coarse", scale=(2, 2))
    widget = EnsembleWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 2" in widget.status.value, timeout=60_000)
    fused = viewer.layers["fine · MS-DIP · fused"].data
    assert fused.dtype == np.uint8
    assert fused[..., :3].max() > 1
    np.testing.assert_array_equal(fused[..., 3], data[..., 3])


def test_layers_with_other_channels_are_refused_by_name(viewer, engine, click):
    viewer.add_image(
        cells((40, 51, 3)), name="three", axis_labels=("y", "x", "c"), rgb=False
    )
    viewer.add_image(cells((20, 26, 2)), name="two", axis_labels=("y", "x", "c"), rgb=False)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    assert "two has 2 channels, three has 3" in widget.status.value


def test_the_fused_layer_has_the_contrast_slider_of_the_finest(
    viewer, engine, click, qtbot
):
    for name in ("one", "two"):
        layer = viewer.add_image(cells(), name=name, contrast_limits=(0, 500))
        layer.contrast_limits_range = (0, 4000)
    widget = EnsembleWidget(viewer, engine=engine)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 2" in widget.status.value, timeout=5000)
    assert viewer.layers[-1].contrast_limits_range == [0, 4000]


def test_the_real_ensemble_fuses_layers(viewer, click, qtbot):
    fine = cells((32, 32)).astype(np.float32)
    coarse = fine.reshape(16, 2, 16, 2).mean(axis=(1, 3))
    viewer.add_image(coarse, name="coarse", scale=(2, 2), translate=(0.5, 0.5))
    viewer.add_image(fine, name="fine")
    widget = EnsembleWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.scales.value = list(viewer.layers)
    click(widget.button)
    qtbot.waitUntil(lambda: "Fused 2" in widget.status.value, timeout=60_000)
    fused = viewer.layers["fine · MS-DIP · fused"]
    assert fused.data.shape == (32, 32)
    assert fused.data.std() < fine.std()
    assert QThreadPool.globalInstance().waitForDone(5000)
