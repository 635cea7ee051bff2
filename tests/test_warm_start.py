"""A plane hands its generators on to the next, which needs fewer and smaller steps."""

from __future__ import annotations

import pytest

from napari_msdip.options import LEAST_RATE, Options
from napari_msdip.warm_start import WarmStart


@pytest.mark.parametrize("rate", [LEAST_RATE, 1.5 * LEAST_RATE, 0.003])
def test_any_learning_rate_can_be_handed_on(rate: float) -> None:
    remembered = WarmStart({0: {}})
    adapted = remembered.adapted(Options(learning_rate=rate))
    assert LEAST_RATE <= adapted.learning_rate <= rate


def test_a_plane_with_a_predecessor_takes_half_the_steps_at_half_the_rate() -> None:
    options = Options(learning_rate=0.004, iterations=101, coarsest_iterations=150)
    adapted = WarmStart({0: {}}).adapted(options)
    assert adapted.learning_rate == 0.002
    assert (adapted.iterations, adapted.coarsest_iterations) == (51, 75)


def test_the_first_plane_is_fitted_as_always() -> None:
    assert WarmStart().adapted(Options()) == Options()
