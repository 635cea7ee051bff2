"""The worker passes on what is worth showing, stops when asked, and fails politely."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
from tests._layer.helpers import job_on
from tests.samples import driven

from napari_msdip._gui.worker import (
    Failure,
    Handshake,
    RunWorker,
    in_background,
    ms_dip_run,
    start_worker,
)
from napari_msdip._layer import text
from napari_msdip.events import Status


@pytest.fixture
def job():
    return job_on(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), "YX")


def test_every_finished_scale_is_passed_on_however_fast_it_comes(job, engine):
    finished, seen = driven(ms_dip_run(Handshake(), job, engine, job.buffer()))
    assert [s.scale for s in seen if s.finished_scale is not None] == [2, 1, 0]
    assert finished.status is Status.COMPLETED


def test_at_most_five_updates_a_second_beside_the_finished_scales(job, engine):
    engine.iterations, engine.pace, engine.n_scales = 60, 0.01, 1
    handshake = Handshake()
    steps = ms_dip_run(handshake, job, engine, job.buffer())
    began = time.monotonic()
    seen = []
    for step in steps:
        seen.append(step)
        handshake.shown.set()
    seconds = time.monotonic() - began
    between = [step for step in seen if step.finished_scale is None]
    assert 2 <= len(between) <= 1 + seconds / 0.2
    assert all(step.preview is not None for step in between)


def test_a_window_that_shows_nothing_gets_no_queue_of_previews(job, engine):
    engine.iterations, engine.pace, engine.n_scales = 40, 0.01, 1
    _, seen = driven(ms_dip_run(Handshake(), job, engine, job.buffer()))
    assert len([step for step in seen if step.finished_scale is None]) == 1


def test_the_latest_preview_is_not_lost_to_the_throttle(job, engine):
    engine.n_scales, engine.iterations, engine.pace = 1, 10, 0.03
    whole = engine.iter_denoise

    def sparse(*args, **kwargs):
        steps = whole(*args, **kwargs)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            yield step if step.iteration == 2 else replace(step, preview=None)

    engine.iter_denoise = sparse
    handshake = Handshake()
    previews = 0
    for step in ms_dip_run(handshake, job, engine, job.buffer()):
        handshake.shown.set()
        previews += step.preview is not None
    assert previews == 1


def test_the_stop_flag_ends_the_run_with_what_there_is(job, engine):
    handshake = Handshake()
    steps = ms_dip_run(handshake, job, engine, job.buffer())
    next(steps)
    handshake.stop.set()
    finished, seen = driven(steps)
    assert seen == []
    assert finished.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (RuntimeError("boom"), "ERROR"),
        (MemoryError(), "ERROR"),
        (ValueError("sigma=-1: give more"), "INFO"),
    ],
)
def test_whatever_the_engine_raises_is_returned_and_logged(
    job, engine, caplog, error, level
):
    caplog.set_level("INFO", logger="napari_msdip")
    engine.error = error
    outcome, _ = driven(ms_dip_run(Handshake(), job, engine, job.buffer()))
    assert outcome == Failure(text.explain(error), text.trouble(error))
    assert "iter_denoise" in caplog.text
    assert [record.levelname for record in caplog.records] == [level]


def test_a_failure_holds_none_of_the_engines_memory(job, engine):
    class Tensor:
        pass

    alive = []

    def failing(*args, **kwargs):
        tensor = Tensor()
        alive.append(weakref.ref(tensor))
        raise RuntimeError("CUDA out of memory")
        yield tensor

    engine.iter_denoise = failing
    outcome, _ = driven(ms_dip_run(Handshake(), job, engine, job.buffer()))
    gc.collect()
    assert isinstance(outcome, Failure)
    assert alive[0]() is None


def test_quitting_returns_the_result_instead_of_dropping_it(job, engine, qtbot):
    engine.gate.clear()
    returned = []
    worker = start_worker(
        Handshake(), job, engine, job.buffer(), None, {"returned": returned.append}
    )
    assert isinstance(worker, RunWorker)
    with qtbot.waitSignal(worker.finished, timeout=5000):
        engine.entered.wait(5)
        worker.quit()
    assert returned[0].status is Status.CANCELLED


def test_an_error_ends_the_worker_and_raises_nothing(job, engine, qtbot):
    engine.error = RuntimeError("boom")
    returned, errors = [], []
    worker = start_worker(
        Handshake(),
        job,
        engine,
        job.buffer(),
        None,
        {"returned": returned.append, "errored": errors.append},
    )
    with qtbot.waitSignal(worker.finished, timeout=5000):
        pass
    assert "boom" in returned[0].cause
    assert errors == []


class Listener:
    def __init__(self):
        self.answers = []

    def hear(self, answer):
        self.answers.append(answer)


def test_a_background_call_answers_with_the_value_or_the_failure(qtbot):
    listener = Listener()
    in_background(listener.hear, divmod, 7, 2)
    qtbot.waitUntil(lambda: len(listener.answers) == 1, timeout=5000)
    in_background(listener.hear, divmod, 7, 0)
    qtbot.waitUntil(lambda: len(listener.answers) == 2, timeout=5000)
    assert listener.answers[0] == (3, 1)
    assert isinstance(listener.answers[1], Failure)


_LEAVES_AT_WORK = """
import sys, time
from pathlib import Path
from qtpy.QtWidgets import QApplication
from napari_msdip._gui.worker import in_background

class Listener:
    def hear(self, answer):
        pass

def work(path):
    Path(path, "began").touch()
    time.sleep(0.5)
    Path(path, "ended").touch()

application, listener = QApplication([]), Listener()
in_background(listener.hear, work, sys.argv[1])
while not Path(sys.argv[1], "began").exists():
    time.sleep(0.01)
"""


def test_python_ends_only_after_its_workers(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", _LEAVES_AT_WORK, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "ended").exists()
