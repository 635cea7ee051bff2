"""Generators of progress: every step is seen, the result returned, the end passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_msdip.steps import changed, drive

if TYPE_CHECKING:
    from collections.abc import Generator


def counting(closed: list[str]) -> Generator[int, None, str]:
    try:
        yield 1
        yield 2
    finally:
        closed.append("closed")
    return "result"


def test_driven_to_the_result() -> None:
    seen: list[int] = []
    assert drive(counting([]), seen.append) == "result"
    assert seen == [1, 2]
    assert drive(counting([])) == "result"


def test_a_failing_listener_ends_the_work() -> None:
    def failing(step: int) -> None:
        raise ValueError("listener")

    closed: list[str] = []
    steps = counting(closed)
    with pytest.raises(ValueError, match="listener"):
        drive(steps, failing)
    assert closed


def test_changed_steps_and_the_same_result() -> None:
    seen: list[str] = []
    assert drive(changed(counting([]), str), seen.append) == "result"
    assert seen == ["1", "2"]


def test_closing_reaches_the_generator_within() -> None:
    closed: list[str] = []
    steps = changed(counting(closed), str)
    next(steps)
    assert not closed
    steps.close()
    assert closed


def test_what_fails_within_fails_without() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise ValueError("within")

    steps = changed(failing(), str)
    next(steps)
    with pytest.raises(ValueError, match="within"):
        drive(steps)
