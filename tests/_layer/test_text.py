"""What is said of a run and of its errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests._layer.helpers import job_on
from tests.samples import driven

from napari_msdip._layer import text
from napari_msdip._layer.axes import parse_axes
from napari_msdip._layer.job import Finished
from napari_msdip.events import Status


@pytest.fixture
def job():
    return job_on(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), "YX")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), text.Trouble.MEMORY),
        (MemoryError(), text.Trouble.MEMORY),
        (OSError("cannot read /data/allocation/cells.zarr/0.0"), text.Trouble.BROKEN),
        (RuntimeError("boom"), text.Trouble.BROKEN),
        (KeyError(), text.Trouble.BROKEN),
        (ValueError("device='cuda': not there; choose cpu"), text.Trouble.REFUSED),
    ],
)
def test_advice_depends_on_the_kind_of_error_and_on_the_dock(error, kind):
    assert text.trouble(error) is kind
    cause = text.explain(error)
    advice = {kind: "Do this."} if kind is not text.Trouble.REFUSED else {}
    assert text.advised(cause, kind, {}) == cause
    assert text.advised(cause, kind, advice).startswith(cause)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError("no weights. Use 'offline'."), "no weights. Use 'offline'."),
        (RuntimeError("boom."), "RuntimeError: boom."),
        (RuntimeError(), "RuntimeError."),
        (MemoryError(), "Out of memory (MemoryError)."),
    ],
)
def test_an_error_is_worded_once_and_plainly(error, words):
    assert text.explain(error) == words


def test_the_last_steps_of_an_image_are_no_iterations(job, engine):
    _, (fitting, *_, fitted) = driven(job.run(engine, job.buffer(), lambda: False))
    assert "Iteration 1 of at most 4" in text.running(fitting, (64, 64))
    assert "Finishing" in text.running(fitted, (64, 64))
    assert "Iteration" not in text.running(fitted, (64, 64))
    assert "Finishing" in text.running(replace(fitted, finished_scale=None), (64, 64))


def test_slices_that_failed_are_not_counted_as_done(job):
    several = replace(
        job,
        data=np.zeros((3, 64, 64)),
        source=replace(job.source, axes=parse_axes("ZYX", (3, 64, 64))),
        box=((0, 3),),
    )
    finished = Finished(
        planes=several.data,
        box=several.box,
        status=Status.COMPLETED,
        scales={},
        n_done=2,
        failed={1: "1 of 4096 pixels are NaN"},
        seconds=4.0,
        provenance={},
    )
    words = text.outcome(several, finished)
    assert words.startswith("Done: 2 of 3 slices in 4 s.")
    assert "slice 1" in words and "NaN" in words


def test_a_long_name_is_shortened_to_both_its_ends():
    assert text.short("cells") == "cells"
    name = "Experiment_2024_day3_" + "x" * 60 + "_Series003.lif"
    assert len(text.short(name)) < 40
    assert text.short(name).startswith("Experiment_2024")
    assert text.short(name).endswith("Series003.lif")
