"""How much the napari window costs a run, and a run the window.

Needs a display::

    xvfb-run -a -s "-screen 0 1280x1024x24" python -m benchmarks.gui

Runs the same image with the same options as a plain script and from the dock, in
turns, and compares the optimisation steps by their own times; while the dock runs, a
timer in the window measures how late the event loop serves it. The script is a
process of its own, as it is for users: once two threads of one process have used
OpenMP, each makes the other's parallel loops slower, window or not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer

from napari_msdip import _sample_data
from napari_msdip._gui.widget import DenoiseWidget, State
from napari_msdip._layer.engine import Engine
from napari_msdip.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from napari_msdip.events import Progress, Result

_BEAT_MS = 20
_POLL_MS = 200


class Stopwatch(Engine):
    """The real engine, noting how long each step took."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def iter_denoise(
        self, image: Any, options: Options, **settings: Any
    ) -> Generator[Progress, None, Result]:
        """Denoise one image step by step and time the steps at the finest scale."""
        steps = super().iter_denoise(image, options, **settings)
        while True:
            began = time.perf_counter()
            try:
                step = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            if step.scale == 0 and step.finished_scale is None:
                self.steps.append(time.perf_counter() - began)
            yield step


class Heartbeat:
    """How late a timer's beats come, in milliseconds."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._timer = QTimer()
        self._timer.setInterval(_BEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0

    def start(self) -> None:
        """Start to listen."""
        self._last = time.perf_counter()
        self._timer.start()

    def stop(self) -> None:
        """Stop to listen."""
        self._timer.stop()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.delays.append(max(1000 * (now - self._last) - _BEAT_MS, 0.0))
        self._last = now


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="image side in pixels")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--threads", type=int, help="CPU threads; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    options = Options(
        iterations=arguments.iterations,
        coarsest_iterations=arguments.iterations,
        stopping="none",
        threads=arguments.threads,
    )
    noisy, state, _ = _sample_data.cells(size=arguments.size)[1]
    if arguments.plain:
        plain_run(noisy, options)
        return
    viewer = napari.Viewer(show=True)
    viewer.add_image(noisy, **state)
    watch = Stopwatch()
    widget = DenoiseWidget(viewer, engine=watch)
    viewer.window.add_dock_widget(widget)
    widget.form.fill(options)
    heart, idle_heart = Heartbeat(), Heartbeat()
    idle_heart.start()
    live(lambda: bool(widget.forecast.value) and len(idle_heart.delays) > 200)
    idle_heart.stop()
    plain: list[float] = []
    docked: list[float] = []
    for _ in range(arguments.rounds):
        plain += script(arguments)
        heart.start()
        watch.steps = []
        run(widget)
        docked += watch.steps
        heart.stop()
    report(plain, docked, heart, idle_heart)
    viewer.close()


def script(arguments: argparse.Namespace) -> list[float]:
    """Return the times of the steps of a plain script."""
    command = [sys.executable, "-m", "benchmarks.gui", "--plain"]
    for name in ("size", "iterations", "threads"):
        if (value := getattr(arguments, name)) is not None:
            command += [f"--{name}", str(value)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    steps: list[float] = json.loads(done.stdout)
    return steps


def plain_run(image: np.ndarray[Any, Any], options: Options) -> None:
    """Be the plain script: run the engine in a loop and print the times of the steps."""
    watch = Stopwatch()
    for _ in watch.iter_denoise(
        image, options, channel_axis=None, should_stop=lambda: False
    ):
        pass
    print(json.dumps(watch.steps))


def run(widget: DenoiseWidget) -> None:
    """Run from the dock and wait for the end."""
    widget.run()
    live(lambda: widget.state is State.IDLE)


def live(reached: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    loop = QEventLoop()
    poll = QTimer()
    poll.setInterval(_POLL_MS)
    poll.timeout.connect(lambda: loop.quit() if reached() else None)
    poll.start()
    loop.exec()
    poll.stop()


def report(
    plain: list[float], docked: list[float], heart: Heartbeat, idle: Heartbeat
) -> None:
    """Print the numbers as a Markdown table."""
    ratio = float(np.median(docked) / np.median(plain))
    rows = {
        "step in a plain loop, median": f"{1000 * np.median(plain):.1f} ms",
        "step from the dock, median": f"{1000 * np.median(docked):.1f} ms",
        "ratio": f"{ratio:.2f}",
        "lateness of the event loop, 95th percentile": (
            f"{np.percentile(heart.delays, 95):.0f} ms"
        ),
        "the same with no run": f"{np.percentile(idle.delays, 95):.0f} ms",
        "load average": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    }
    print("| | |\n| --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
