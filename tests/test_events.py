"""Events: provenance is plain JSON that tells how a result came about."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from napari_msdip import (
    Options,
    Progress,
    Result,
    ScaleResult,
    StackResult,
    Status,
    StopReason,
)
from napari_msdip.events import endings, time_left
from napari_msdip.plan import resolve


def made_result(status: Status = Status.COMPLETED) -> Result:
    options = Options(device="cpu", precision="float32", seed=11, widths=(8, 16))
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    scale = ScaleResult(
        image=image,
        shape=(64, 64),
        zoom=(1.0, 1.0),
        sigma=2.5,
        weight=0.25,
        iterations=7,
        stop_reason=StopReason.SETTLED,
        seconds=0.5,
    )
    return Result(
        image=image,
        scales=(scale,),
        sigma=2.5,
        plan=resolve(options, (64, 64), 2.5),
        status=status,
        seconds=1.5,
        versions={"torch": "2"},
    )


@pytest.mark.parametrize("status", list(Status))
def test_json_round_trips(status: Status) -> None:
    result = made_result(status)
    assert json.loads(result.to_json()) == result.provenance()
    assert json.loads(result.to_json(indent=2)) == result.provenance()


def test_provenance_tells_settings_machine_and_outcome() -> None:
    result = made_result()
    told = json.loads(result.to_json())

    assert Options(**told["plan"]["options"]) == result.plan.options
    assert told["plan"]["seed"] == 11
    assert told["plan"]["device"] == "cpu"
    assert told["plan"]["precision"] == "float32"
    assert told["versions"] == {"torch": "2"}
    assert told["status"] == "completed"
    assert told["sigma"] == 2.5
    (scale,) = told["scales"]
    assert (scale["scale"], scale["shape"]) == (0, [64, 64])
    assert scale["stop_reason"] == "settled"
    assert (scale["weight"], scale["iterations"]) == (0.25, 7)


def test_provenance_holds_no_pixels() -> None:
    assert len(made_result().to_json()) < 10_000


def test_a_stack_tells_its_settings_versions_and_planes() -> None:
    options = Options(device="cpu", precision="float32", seed=11)
    result = StackResult(
        image=np.zeros((3, 64, 64)),
        planes=(4, 5, 7),
        failed={5: "NaN"},
        plan=resolve(options, (64, 64), 2.5),
        status=Status.CANCELLED,
        seconds=1.5,
        pending=(7,),
        options=options,
        versions={"torch": "2"},
    )
    told = json.loads(result.to_json(indent=2))

    assert told == json.loads(result.to_json()) == result.provenance()
    assert Options(**told["options"]) == options
    assert told["plan"]["device"] == "cpu"
    assert told["versions"] == {"torch": "2"}
    assert (told["status"], told["complete"], told["seconds"]) == ("cancelled", False, 1.5)
    assert (told["planes"], told["failed"]) == ([4, 5, 7], {"5": "NaN"})
    assert told["pending"] == [7]


def test_a_stack_of_which_little_is_known_tells_that() -> None:
    result = StackResult(np.zeros((1, 8, 8)), (0,), {}, None, Status.COMPLETED, 1.0)
    told = json.loads(result.to_json())

    assert told["complete"]
    assert told["options"] is told["plan"] is None
    assert told["versions"] == {}


def test_progress_and_results_are_frozen() -> None:
    progress = Progress(0, 1, 1, 10, 0.1, None, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        progress.fraction = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_result().status = Status.CANCELLED


def test_progress_of_one_image_is_that_of_plane_0_of_1() -> None:
    progress = Progress(0, 1, 1, 10, 0.1, None, 0.5)
    assert (progress.plane, progress.n_planes) == (0, 1)
    assert progress.preview is progress.finished_scale is progress.finished_plane is None


def test_the_first_steps_do_not_tell_how_long_the_rest_will_take() -> None:
    assert time_left(5.0, 0.0) is None
    assert time_left(5.0, 0.01) is None
    assert time_left(5.0, 0.25) == pytest.approx(15.0)
    assert time_left(5.0, 1.0) == 0.0


def test_why_each_scale_ended_is_told_from_the_coarsest_on() -> None:
    (finest,) = made_result().scales
    coarser = dataclasses.replace(
        finest, scale=1, iterations=150, stop_reason=StopReason.ITERATIONS
    )
    assert endings([finest, coarser]) == (
        "Iterations, coarsest scale first: 150 (the most allowed), 7 (result had settled)"
    )


@pytest.mark.parametrize("reason", StopReason)
def test_every_reason_has_words(reason: StopReason) -> None:
    (finest,) = made_result().scales
    told = endings([dataclasses.replace(finest, stop_reason=reason)])
    assert "7 (" in told
    assert reason.name not in told


def test_scales_are_counted_as_they_are_fitted() -> None:
    step = Progress(
        scale=2,
        n_scales=3,
        iteration=1,
        total=5,
        fraction=0.1,
        eta_seconds=None,
        loss=1.0,
    )

    assert step.nth_scale == 1
    assert dataclasses.replace(step, scale=0).nth_scale == 3
