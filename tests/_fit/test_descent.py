"""Steps down the gradient: captured ones do what plain ones do, and reuse their inputs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from tests.samples import check_that_no_compiler_is_loaded
from torch import Tensor

from napari_msdip._fit.descent import CapturedDescent, Descent
from napari_msdip._fit.symmetry import SYMMETRIES, turned
from napari_msdip.generator import Generator, GeneratorConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    Pair = tuple[Tensor, Tensor]

SHAPE = (12, 16)


class Repeater:
    """Does what a CUDA graph does: the same work on what its inputs hold by then."""

    def __init__(self, room: bool = True) -> None:
        self.captured = 0
        self._room = room

    def has_room(self) -> bool:
        return self._room

    def capture(self, work: Callable[[], Pair]) -> Callable[[], Pair]:
        self.captured += 1
        results = torch.empty(()), torch.empty((1, 1, *SHAPE))

        def repeat() -> Pair:
            for kept, new in zip(results, work(), strict=True):
                kept.copy_(new)
            return results

        return repeat


def network() -> Generator:
    made = Generator(GeneratorConfig(in_channels=1, out_channels=1, widths=(8, 8)))
    made.initialise(torch.Generator().manual_seed(0))
    return made


def loss(output: Tensor, asked: Tensor, absolute: bool) -> Tensor:
    difference = output - asked
    return difference.abs().mean() if absolute else difference.square().mean()


def taken(descend: Descent, steps: int = 40) -> list[tuple[float, Tensor]]:
    """Losses and outputs of steps of all kinds."""
    rng = torch.Generator().manual_seed(1)
    found = []
    for n in range(steps):
        shown, asked = torch.rand((2, 1, 1, *SHAPE), generator=rng)
        turn = n % SYMMETRIES
        distance, output = descend(
            turned(shown, turn), asked, turn, 1e-3 * (n + 1), absolute=n < steps // 2
        )
        found.append((float(distance), output.clone()))
    return found


def test_a_step_lowers_the_loss() -> None:
    net = network()
    descend = Descent(net, loss)
    shown, asked = torch.rand((2, 1, 1, *SHAPE), generator=torch.Generator().manual_seed(1))
    losses = [float(descend(shown, asked, 0, 1e-2, absolute=False)[0]) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is None for p in net.parameters())


def test_output_is_that_of_the_input_before_it_was_turned() -> None:
    shown, asked = torch.rand((2, 1, 1, *SHAPE), generator=torch.Generator().manual_seed(1))
    for turn in range(SYMMETRIES):
        _, output = Descent(network(), loss)(shown, asked, 0, 0.0, absolute=False)
        there = turned(shown, turn)
        _, other = Descent(network(), loss)(there, asked, turn, 0.0, absolute=False)
        assert output.shape == other.shape == asked.shape


def test_captured_steps_do_what_plain_ones_do() -> None:
    repeater = Repeater()
    expected = taken(Descent(network(), loss))
    found = taken(CapturedDescent(network(), loss, repeater))
    for (distance, output), (known, image) in zip(found, expected, strict=True):
        assert distance == pytest.approx(known, rel=1e-5)
        torch.testing.assert_close(output, image, rtol=0, atol=1e-4)
    # One for every symmetry and either loss, whatever the number of steps.
    assert repeater.captured == 2 * SYMMETRIES


def test_nothing_is_captured_without_room() -> None:
    repeater = Repeater(room=False)
    found = taken(CapturedDescent(network(), loss, repeater))
    assert repeater.captured == 0
    for (distance, _), (known, _) in zip(
        found, taken(Descent(network(), loss)), strict=True
    ):
        assert distance == pytest.approx(known, rel=1e-5)


class Broken(Repeater):
    """Cannot capture the third kind of step."""

    def capture(self, work: Callable[[], Pair]) -> Callable[[], Pair]:
        if self.captured == 2:
            raise RuntimeError("operation not permitted\nwith more about it")
        return super().capture(work)


def test_steps_go_on_where_they_cannot_be_captured() -> None:
    with pytest.warns(RuntimeWarning, match=r"captured .*\(operation not permitted\)$"):
        found = taken(CapturedDescent(network(), loss, Broken()))
    for (distance, _), (known, _) in zip(
        found, taken(Descent(network(), loss)), strict=True
    ):
        assert distance == pytest.approx(known, rel=1e-5)


def test_inputs_are_left_alone() -> None:
    shown, asked = torch.rand((2, 1, 1, *SHAPE), generator=torch.Generator().manual_seed(1))
    before = shown.clone(), asked.clone()
    descend = CapturedDescent(network(), loss, Repeater())
    for _, absolute in itertools.product(range(3), (True, False)):
        descend(shown, asked, 0, 1e-3, absolute=absolute)
    assert torch.equal(shown, before[0])
    assert torch.equal(asked, before[1])


def test_captured_steps_import_nothing_that_ends_a_process_with_a_window() -> None:
    check_that_no_compiler_is_loaded(
        "from tests._fit.test_descent import *\n"
        "taken(CapturedDescent(network(), loss, Repeater()))"
    )
