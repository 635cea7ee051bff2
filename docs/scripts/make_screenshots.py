"""Make the screenshots of the tutorial by doing what it says.

Needs a display, such as the one of ``xvfb-run``::

    xvfb-run -a -s "-screen 0 1400x1000x24" python docs/scripts/make_screenshots.py

Everything is real: the viewer, the samples, the clicks and the engine. On a busy
computer ``--iterations`` shortens the runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_msdip._gui.widget import DenoiseWidget, State
from napari_msdip.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = Path(__file__).parents[1] / "images"
_COLOURS = 128
_PATIENCE_SECONDS = 1800


def main() -> None:
    """Make every screenshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, help="most iterations for each scale")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    options = Options(threads=arguments.threads)
    if arguments.iterations:
        options = options.replace(
            iterations=arguments.iterations, coarsest_iterations=arguments.iterations
        )
    IMAGES.mkdir(exist_ok=True)
    one_image(options)
    whole_stack(options)


def one_image(options: Options) -> None:
    """Denoise the cells, in the dark theme."""
    viewer, widget = opened("cells", "dark", options)
    until(lambda: "About" in widget.forecast.value)
    keep(viewer, "dock-before")
    click(widget.form.fold)
    wait(0.5)
    keep(viewer, "dock-advanced")
    click(widget.form.fold)
    click(widget.button)
    until(lambda: "scale 0" in viewer.layers[-1].name and widget.bar.value > 600)
    keep(viewer, "dock-running")
    until(lambda: widget.state is State.IDLE)
    wait(1)
    keep(viewer, "dock-done")
    viewer.close()


def whole_stack(options: Options) -> None:
    """Denoise some slices of the nuclei, in the light theme."""
    viewer, widget = opened("stack", "light", options)
    widget.slices.value = "range"
    widget.extents[0].value = (4, 7)
    viewer.dims.set_current_step(0, 4)
    until(lambda: "4 slices" in widget.forecast.value)
    click(widget.button)
    until(lambda: "MS-DIP" in viewer.layers[-1].name)
    wait(2)
    keep(viewer, "stack-running")
    click(widget.button)
    until(lambda: widget.state is State.IDLE)
    wait(1)
    keep(viewer, "stack-cancelled")
    viewer.close()


def opened(
    sample: str, theme: str, options: Options
) -> tuple[napari.Viewer, DenoiseWidget]:
    """Open a sample and the dock as the menus do."""
    viewer = napari.Viewer(show=True)
    viewer.theme = theme
    viewer.window.resize(1240, 860)
    viewer.open_sample("napari-msdip", sample)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-msdip", "Denoise")
    dock.raise_()
    widget.form.fill(options)
    wait(2)
    viewer.reset_view()
    return viewer, widget


def click(button: Any) -> None:
    """Click in the middle of a button."""
    QTest.mouseClick(button.native, Qt.MouseButton.LeftButton)


def wait(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def until(reached: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError("the window never got there")
        wait(0.1)


def keep(viewer: napari.Viewer, name: str) -> None:
    """Save a picture of the window, in few colours so that it stays small."""
    shot = viewer.window.screenshot(canvas_only=False, flash=False)
    picture = Picture.fromarray(shot).convert("RGB").quantize(_COLOURS)
    picture.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
