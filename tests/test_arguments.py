"""Numbers given as arguments: a boolean is none."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from napari_msdip.arguments import number, real_number, whole_number

BOOLEANS = [True, False, np.True_, np.array(False)]


@pytest.mark.parametrize("value", BOOLEANS)
def test_booleans_are_no_numbers(value: Any) -> None:
    assert real_number(value) is None
    assert whole_number(value) is None
    with pytest.raises(TypeError, match=r"^gain must be a number, got "):
        number(value, "gain")


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3), np.uint64(3)])
def test_whole_numbers_of_any_kind_are_plain_ones(value: Any) -> None:
    assert whole_number(value) == number(value, "gain") == 3
    assert type(whole_number(value)) is int


@pytest.mark.parametrize("value", [2.5, np.float32(2.5), Fraction(5, 2), np.array(2.5)])
def test_other_numbers_are_not_whole(value: Any) -> None:
    assert number(value, "gain") == 2.5
    assert whole_number(value) is None


@pytest.mark.parametrize("value", ["3", None, [3], np.ones(1), object()])
def test_what_is_no_number_is_told_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^gain must be a number, got "):
        number(value, "gain")
    assert whole_number(value) is None


def test_a_number_without_room_is_infinite() -> None:
    assert number(10**400, "gain") == math.inf
