"""The dock with the engine that users get, on a picture small enough to wait for."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import Qt, QThreadPool

from napari_msdip import _sample_data
from napari_msdip._gui.widget import DenoiseWidget, State
from napari_msdip.options import Options


def test_a_run_on_a_sample_removes_noise(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(strict_qt="raise")
    clean, noisy = (entry[0][2] for entry in _sample_data.stack((4, 64, 64)))
    viewer.add_image(noisy, name="nuclei", scale=(0.2, 0.2), units=("um", "um"))
    widget = DenoiseWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.form.fill(
        Options(min_size=32, iterations=60, coarsest_iterations=60, device="cpu", threads=1)
    )
    qtbot.mouseClick(widget.button.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=240_000)
    result = viewer.layers["nuclei · MS-DIP"]
    assert "Done" in widget.status.value
    assert [layer.name for layer in viewer.layers] == [
        "nuclei",
        "nuclei · MS-DIP · scale 1 (32×32)",
        "nuclei · MS-DIP · scale 0 (64×64)",
        "nuclei · MS-DIP",
    ]
    assert result.data.dtype == np.uint16
    error = np.mean((result.data.astype(float) - clean) ** 2)
    assert error < 0.5 * np.mean((noisy.astype(float) - clean) ** 2)
    made = result.metadata["napari_msdip"]
    assert made["plan"]["device"] == "cpu"
    assert made["versions"]["torch"]
    qtbot.waitUntil(lambda: "About" in widget.forecast.value, timeout=120_000)
    assert QThreadPool.globalInstance().waitForDone(60_000)


@pytest.mark.parametrize("planes", ["current slice", "whole stack"])
def test_a_plane_alone_is_what_it_is_in_the_stack(make_napari_viewer_proxy, qtbot, planes):
    from napari_msdip import denoise, denoise_stack

    viewer = make_napari_viewer_proxy(strict_qt="raise")
    data = np.random.default_rng(0).normal(100, 20, (3, 32, 32)).astype(np.float32)
    viewer.add_image(data, name="stack")
    viewer.dims.set_current_step(0, 2)
    widget = DenoiseWidget(viewer)
    viewer.window.add_dock_widget(widget)
    options = Options(iterations=5, coarsest_iterations=5, device="cpu", seed=3, threads=1)
    widget.form.fill(options)
    widget.slices.value = planes
    qtbot.mouseClick(widget.button.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.state is State.IDLE, timeout=240_000)
    result = viewer.layers["stack · MS-DIP"]
    code = result.metadata["napari_msdip"]["python"]
    scope = {"viewer": viewer, "denoise": denoise, "denoise_stack": denoise_stack}
    exec(code, scope)
    np.testing.assert_allclose(
        np.asarray(result.data).squeeze(), scope["result"].image, rtol=1e-5
    )
    whole = denoise_stack(data, options)
    np.testing.assert_allclose(np.asarray(result.data)[-1], whole.image[2], rtol=1e-5)
    assert QThreadPool.globalInstance().waitForDone(60_000)


@pytest.mark.parametrize("consistency", ["offline", "vgg16"])
def test_a_fit_loads_no_second_compiler(consistency, tmp_path):
    # Importing triton kills a process in which Mesa has loaded its own LLVM, as it
    # has wherever napari draws with it; torch.optim.Adam and torchvision.models would
    # import it, the latter for an advice where no weights are found, too.
    code = f"""
import sys
import numpy
import napari_msdip
from napari_msdip.vgg_weights import WeightsNotFoundError

options = napari_msdip.Options(
    iterations=2, coarsest_iterations=2, device="cpu", min_size=32,
    consistency={consistency!r},
)
try:
    napari_msdip.denoise(numpy.random.default_rng(0).random((64, 64)), options)
except WeightsNotFoundError as error:
    assert {consistency!r} == "vgg16", error
print(sorted({{"triton", "torch._dynamo"}} & set(sys.modules)))
"""
    # Without a network or a cache the look-up goes all the way to the advice.
    elsewhere = os.environ | {
        "TORCH_HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "no_proxy": "",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=elsewhere
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
