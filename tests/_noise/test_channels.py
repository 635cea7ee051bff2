"""How strongly channels share their noise."""

from __future__ import annotations

import numpy as np
import pytest

from napari_msdip._noise.channels import mean_correlation


@pytest.mark.parametrize("shared", [-0.4, 0.0, 0.6, 1.0])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6])
def test_correlation_is_that_of_the_noise_whatever_its_strength(
    shared: float, unit: float
) -> None:
    unlike = unit * np.array([1.0, 3.0, 50.0])
    correlation = np.full((3, 3), shared)
    np.fill_diagonal(correlation, 1)
    covariance = correlation * np.outer(unlike, unlike)
    assert mean_correlation(covariance) == pytest.approx(abs(shared))


def test_channels_without_noise_share_none() -> None:
    assert mean_correlation(np.diag([0.0, 1.0])) == 0
    assert mean_correlation(np.zeros((4, 4))) == 0
