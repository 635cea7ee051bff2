"""Stopping: each criterion ends where it should on sequences whose end is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from napari_msdip.stopping import HeldOut, Plateau, Settled

if TYPE_CHECKING:
    from collections.abc import Callable


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first(steps: int, reached: Callable[[int], bool]) -> int | None:
    return next((step for step in range(1, steps + 1) if reached(step)), None)


def test_plateau_waits_while_the_loss_falls() -> None:
    plateau = Plateau(patience=20)
    assert first(500, lambda n: plateau.reached(0.99**n)) is None


def test_plateau_ends_once_the_loss_has_not_fallen() -> None:
    plateau = Plateau(patience=20)
    end = first(500, lambda n: plateau.reached(max(0.98**n, 0.98**100)))
    assert end is not None
    # The running average still falls for a while after the loss has stopped.
    assert 120 <= end <= 260


def test_plateau_ends_on_a_flat_loss_after_its_patience() -> None:
    plateau = Plateau(patience=20)
    assert first(100, lambda _: plateau.reached(1.0)) == 21


def test_plateau_sees_through_a_jittering_loss() -> None:
    rng = seeded()
    falling, flat = Plateau(patience=30), Plateau(patience=30)
    jitter = 1 + 0.1 * torch.randn(300, generator=rng)

    assert first(150, lambda n: falling.reached(float(jitter[n]) * 0.98**n)) is None
    assert first(300, lambda n: flat.reached(float(jitter[n - 1]))) is not None


def test_plateau_ends_when_the_loss_rises() -> None:
    plateau = Plateau(patience=20)
    assert first(100, lambda n: plateau.reached(1 + 0.01 * n)) is not None


def test_restarted_plateau_forgets_a_lower_loss() -> None:
    plateau = Plateau(patience=5)
    for _ in range(4):
        plateau.reached(0.01)
    plateau.restart()
    assert first(50, lambda n: plateau.reached(10 * 0.9**n)) is None


def test_settled_waits_while_the_output_moves() -> None:
    settled, target = Settled(patience=5), torch.zeros(1, 1, 8, 8)
    moving = torch.ones_like(target)
    assert first(100, lambda n: settled.reached(moving * 1.1**n, target)) is None


def test_settled_ends_when_the_output_stays() -> None:
    settled, target = Settled(patience=5), torch.zeros(1, 1, 8, 8)
    image = torch.ones_like(target)
    end = first(100, lambda n: settled.reached(image * (1 - 0.7**n), target))
    assert end is not None
    assert end % 5 == 0
    assert 10 <= end <= 30


def test_settled_counts_moves_against_what_is_removed() -> None:
    moved = torch.full((1, 1, 8, 8), 0.01)

    def end(removed: float) -> int | None:
        settled, target = Settled(patience=1), torch.zeros(1, 1, 8, 8)
        image = torch.full_like(target, removed)
        return first(20, lambda n: settled.reached(image + moved * (n % 2), target))

    assert end(removed=1.0) is not None
    assert end(removed=0.05) is None


def test_settled_compares_copies() -> None:
    settled, target = Settled(patience=1), torch.zeros(1, 1, 8, 8)
    average = torch.zeros_like(target)

    def reached(_: int) -> bool:
        average.add_(1.0)
        return settled.reached(average, target)

    assert first(10, reached) is None


@pytest.mark.parametrize("reach", [0, 1, 2, 4])
@pytest.mark.parametrize("shape", [(128, 96), (61, 67)])
def test_blocks_are_wide_enough_and_few(shape: tuple[int, int], reach: int) -> None:
    held = HeldOut(shape, reach, 10, seeded(), share=0.08)

    hidden = held.fitted == 0
    assert 0.02 < float(hidden.float().mean()) < 0.2
    middles = torch.nonzero(held.middles[0, 0])
    assert len(middles) > 0
    for y, x in middles.tolist():
        top, left = max(y - reach, 0), max(x - reach, 0)
        assert bool(hidden[0, 0, top : y + reach + 1, left : x + reach + 1].all())


def test_blocks_depend_on_their_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    first_one, again, other = (HeldOut((40, 40), 1, 5, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first_one.middles, again.middles)
    assert not torch.equal(first_one.middles, other.middles)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_held_out_ends_where_hidden_pixels_are_predicted_best() -> None:
    rng = seeded()
    clean = torch.sin(torch.linspace(0, 6, 96))[:, None] * torch.ones(96)
    clean = clean[None, None]
    noise = 0.3 * torch.randn(clean.shape, generator=rng)
    held = HeldOut((96, 96), 0, 10, rng)
    best = 25

    def average(step: int) -> torch.Tensor:
        """Approach the clean image, then the noise where it is seen and around."""
        error = math.exp(-step / 8) + max(step - best, 0) / 50
        return clean * (1 - math.exp(-step / 8)) + error * noise.roll(1, -1)

    end = first(200, lambda n: held.reached(average(n), clean + noise))

    assert end is not None
    assert held.best is not None
    assert torch.equal(held.best, average(end - 10))
    assert abs(end - 10 - best) <= 5


def test_held_out_keeps_a_copy_of_the_best() -> None:
    held = HeldOut((32, 32), 0, 3, seeded())
    target, average = torch.zeros(1, 1, 32, 32), torch.full((1, 1, 32, 32), 0.1)
    held.reached(average, target)
    average.add_(5)
    held.reached(average, target)
    assert held.best is not None
    assert float(held.best.max()) == pytest.approx(0.1)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_hidden_pixels_are_filled_from_around(reach: int) -> None:
    held = HeldOut((48, 40), reach, 5, seeded())
    image = torch.rand((1, 2, 48, 40), generator=seeded(1)) + 1
    hidden = held.fitted.expand_as(image) == 0
    spoilt = torch.where(hidden, torch.tensor(1e6), image)

    filled = held.filled(spoilt)

    assert torch.equal(filled[~hidden], image[~hidden])
    assert float(filled.min()) >= float(image.min()) - 1e-4
    assert float(filled.max()) <= float(image.max()) + 1e-4


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("shape", "reach"), [((16, 16), 4), ((8, 8), 4), ((8, 300), 4)])
def test_held_out_works_on_tiny_images(
    shape: tuple[int, int], reach: int, seed: int
) -> None:
    held = HeldOut(shape, reach, 5, seeded(seed))

    assert float(held.middles.sum()) > 0
    assert float(held.fitted.sum()) > 0
    assert bool(held.filled(torch.ones(1, 1, *shape)).isfinite().all())
