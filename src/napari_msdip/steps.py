"""Generators that yield how far the work is, and return its result."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

__all__ = ["changed", "check_callable", "drive", "never"]

Step = TypeVar("Step")
NewStep = TypeVar("NewStep")
Outcome = TypeVar("Outcome")


def drive(
    steps: Generator[Step, None, Outcome], show: Callable[[Step], object] | None = None
) -> Outcome:
    """Run a generator to its end and return its result; ``show`` is given every step.

    The generator is closed also if ``show`` raises.
    """
    # The traceback of what is raised here would keep the generator alive, unclosed.
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            if show is not None:
                show(step)


def changed(
    steps: Generator[Step, None, Outcome],
    change: Callable[[Step], NewStep],
    *,
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Generator[NewStep, None, Outcome]:
    """Yield every step as ``change`` returns it, and return what the generator returns.

    Every step is made ``within`` a context of its own, none is left open in between.
    Closing this closes the generator.
    """
    with closing(steps):
        while True:
            try:
                with within():
                    step = next(steps)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            yield change(step)


def never() -> bool:
    """Answer whether to stop where nobody asks for that."""
    return False


def check_callable(name: str, value: object) -> None:
    """Raise TypeError unless an argument is a function or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}={value!r}: give a function or None")
