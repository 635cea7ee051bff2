"""Numbers that are given as arguments: what is none, or only passes for one."""

from __future__ import annotations

import math
import operator
from typing import Any

__all__ = ["number", "real_number", "whole_number"]


def number(value: Any, name: str) -> float:
    """Return an argument as a number, infinite if it has no room in one.

    Raises
    ------
    TypeError
        If it is none; a boolean is not meant as one.
    """
    found = real_number(value)
    if found is None:
        raise TypeError(f"{name} must be a number, got {value!r}")
    return found


def real_number(value: Any) -> float | None:
    """Return a number as float, None for anything else, booleans included."""
    single = hasattr(value, "__float__") and not getattr(value, "ndim", 0)
    if not single or _is_boolean(value):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def whole_number(value: Any) -> int | None:
    """Return a whole number as int, None for anything else, booleans included."""
    if _is_boolean(value):
        return None
    try:
        return operator.index(value)
    except TypeError:
        # NumPy arrays have __index__ whatever their shape.
        return None


def _is_boolean(value: Any) -> bool:
    """Whether a value is true or false, NumPy's included: both pass for 1 and 0."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, bool) or getattr(dtype, "kind", None) == "b"
