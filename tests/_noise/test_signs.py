import dataclasses

import numpy as np
import pytest

from napari_msdip._noise.model import NoiseModel
from napari_msdip._noise.signs import rise


def model(intensities, sigmas):
    return dataclasses.replace(
        NoiseModel.white(1, 1.0, 1),
        intensities=np.array(intensities, dtype=float),
        sigmas=np.array(sigmas, dtype=float),
    )


def test_levels_rise_with_the_intensity_or_fall():
    count = np.arange(16)
    assert rise(model(count, 3 + count)) == pytest.approx(1)
    assert rise(model(count, 30 - count)) == pytest.approx(-1)


def test_nothing_rises_where_all_is_alike():
    assert rise(model(np.arange(16), np.full(16, 3))) == 0
    assert rise(model(np.zeros(16), np.arange(16))) == 0
