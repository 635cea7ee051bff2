"""Costs: positive, quick to get, and larger for what takes longer."""

from __future__ import annotations

import time

import pytest
from tests.samples import TINY

from napari_msdip import Options, cost, resolve
from napari_msdip.cost import expected_cost, expected_memory


def test_memory_grows_with_the_area() -> None:
    sides = (64, 256, 1024, 4096)
    whole = Options(step_pixels=None)
    needed = [expected_memory((side, side), 1, whole) for side in sides]
    assert needed == sorted(needed)
    assert needed[-1] - needed[-2] == pytest.approx(15 * (needed[-2] - needed[0]), rel=0.1)


def test_memory_grows_with_channels_and_widths() -> None:
    shape = (512, 512)
    least = expected_memory(shape, 1, TINY)
    assert least < expected_memory(shape, 3, TINY)
    assert least < expected_memory(shape, 1, TINY.replace(widths=(64, 64)))
    assert least < expected_memory(shape, 1, TINY.replace(code_channels=32))


def test_memory_counts_what_vgg16_compares() -> None:
    shape, paper = (512, 512), Options.preset("paper")
    needed = {
        (channels, consistency): expected_memory(
            shape, channels, paper.replace(consistency=consistency)
        )
        for channels in (1, 3, 8)
        for consistency in ("vgg16", "offline")
    }
    one, three, eight = (needed[c, "vgg16"] - needed[c, "offline"] for c in (1, 3, 8))
    # Three channels are looked at as one image in colour, others each on its own.
    assert one == pytest.approx(three, abs=1)
    assert eight == pytest.approx(8 * one, abs=8)
    second = resolve(paper, shape, 0.1).scales[1].shape
    assert one > 4 * (64 + 64) * second[0] * second[1]


def test_crops_need_less_memory_than_the_whole() -> None:
    cropped, whole = (
        [
            expected_memory((side, side), 1, Options(step_pixels=n))
            for side in (362, 1024, 4096)
        ]
        for n in (2**16, None)
    )
    assert cropped == sorted(cropped)
    assert cropped[0] == whole[0]
    assert cropped[1] < 0.8 * whole[1]
    assert cropped[2] < 0.5 * whole[2]


def test_512_rgb_is_expected_to_fit_into_3_gb() -> None:
    assert 0 < expected_memory((512, 512), 3, Options()) < 3e9


def test_cost_is_that_of_the_plan_and_quick_to_get() -> None:
    options = TINY.replace(device="cpu")
    started = time.process_time()

    found = expected_cost((256, 200), options, channels=2)

    assert time.process_time() - started < 10
    assert found.seconds > 0
    assert found.device == "cpu"
    assert found.scales == resolve(options, (256, 200), 0.0, channels=2).scales
    assert found.memory_bytes == expected_memory((256, 200), 2, options)


def test_more_steps_take_longer() -> None:
    fit = TINY.replace(refine=False)
    few = expected_cost((64, 64), fit).seconds
    many = expected_cost(
        (64, 64), fit.replace(iterations=300, coarsest_iterations=300)
    ).seconds
    # A hundred times the steps; the probe is only as exact as the machine is quiet.
    assert many > 10 * few


@pytest.mark.parametrize("shape", [(16, 16), (17, 300)])
def test_any_size_has_a_cost(shape: tuple[int, int]) -> None:
    assert expected_cost(shape, TINY).seconds > 0


def test_paper_has_a_cost_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_msdip.run.load_vgg16", lambda *_: pytest.fail("asked"))
    paper = Options.preset("paper").replace(device="cpu", threads=1, widths=(8, 8))
    assert expected_cost((256, 256), paper, channels=3).seconds > 0


def test_a_step_of_a_probe_sees_all_of_its_pixels() -> None:
    probe = cost._Probe(TINY.replace(step_pixels=4096), 128, 1)
    assert [scale.step_pixels for scale in probe.plan.scales] == [probe.pixels]


class Machine:
    """A probe of a machine with a known pace."""

    start, pixel, measuring = 2e-3, 1e-8, 1e-6

    def __init__(self, options: Options, side: int, channels: int) -> None:
        self.pixels = side * side

    @property
    def step(self) -> float:
        return self.start + self.pixel * self.pixels


@pytest.mark.parametrize("side", [512, 700, 2048])
def test_starts_of_steps_are_told_from_their_pixels(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_Probe", Machine)
    plan = resolve(TINY, (side, side), 0.0)
    steps = sum(scale.iterations for scale in plan.scales)
    pixels = sum(scale.work for scale in plan.scales) + plan.refining
    expected = 2e-3 * steps + 1e-8 * pixels + 2e-6 * side**2
    assert expected_cost((side, side), TINY).seconds == pytest.approx(expected)


def test_long_steps_are_tried_on_a_small_image_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Machine):
        pixel = 1e-5

        @property
        def step(self) -> float:
            assert self.pixels <= 128**2
            return super().step

    monkeypatch.setattr(cost, "_Probe", Slow)
    assert expected_cost((512, 512), TINY).seconds > 0
