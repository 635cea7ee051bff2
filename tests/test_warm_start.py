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


def test_the_first_plane_is_fitted_as_always() -> None:
    assert WarmStart().adapted(Options()) == Options()
