from __future__ import annotations

import numpy as np
import pytest
import tifffile
from benchmarks.flicker import SIDE, stacks
from skimage import io


def _save(folder, name, value, shape=(SIDE + 2, SIDE + 4)):
    io.imsave(folder / name, np.full(shape, value, np.uint8), check_contrast=False)


def test_all_repeats_of_each_field_follow_by_their_number(tmp_path):
    for number in range(1, 13):
        _save(tmp_path, f"cells_{number}.png", number)
    for number in (1, 2):
        _save(tmp_path, f"cells_2_{number}.png", 100 + number)
    _save(tmp_path, "mean.png", 200)
    found = stacks(tmp_path)
    frames = {name: series[:, 0, 0].tolist() for name, series in found.items()}
    assert frames == {"cells": list(range(1, 13)), "cells_2": [101, 102]}
    assert {series.shape[1:] for series in found.values()} == {(SIDE, SIDE)}


def test_a_stack_is_cut_to_its_centre(tmp_path):
    frames = np.zeros((5, SIDE + 2, SIDE + 4), np.uint16)
    frames[:, 1:-1, 2:-2] = 7
    tifffile.imwrite(tmp_path / "cells.tif", frames, photometric="minisblack")
    (series,) = stacks(tmp_path / "cells.tif").values()
    assert series.shape == (5, SIDE, SIDE)
    assert (series == 7).all()


@pytest.mark.parametrize("shape", [(SIDE - 1, SIDE), (SIDE, SIDE - 1)])
def test_frames_that_are_too_small_are_named(tmp_path, shape):
    _save(tmp_path, "cells_1.png", 1)
    _save(tmp_path, "cells_2.png", 1, shape)
    with pytest.raises(ValueError, match=rf"cells_2\.png: frames of {shape[0]}×{shape[1]}"):
        stacks(tmp_path)
