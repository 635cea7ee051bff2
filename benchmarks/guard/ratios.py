"""Ratios of times measured in alternation, and the store they are held against."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Store", "clock", "paired_ratio", "timed"]

# In six runs on two cores with three to nine busy processes the ratios strayed by a tenth;
# the rest is left to other machines.
TOLERANCE = 1.25


# Of what other processes do meanwhile it counts hardly anything.
clock = time.process_time


def timed(work: Callable[[], object], times: list[float]) -> None:
    """Run a piece of work and append its seconds of processor time."""
    start = clock()
    work()
    times.append(clock() - start)


def paired_ratio(subject: Sequence[float], reference: Sequence[float]) -> float:
    """Return how many times longer the subject takes, from times taken in turn.

    The median over the pairs: a load that comes and goes hits both of a pair.

    Raises
    ------
    ValueError
        If there are no pairs, or some time has no partner.
    """
    if not subject:
        raise ValueError("paired_ratio: there are no times")
    return statistics.median(
        ours / theirs for ours, theirs in zip(subject, reference, strict=True)
    )


@dataclass(frozen=True)
class Store:
    """Ratios by name in a JSON file.

    Attributes
    ----------
    path : Path
        The file.
    update : bool
        Store what is measured instead of checking it.
    """

    path: Path
    update: bool = False

    def check(self, name: str, ratio: float) -> None:
        """Hold a ratio against the stored one.

        Raises
        ------
        AssertionError
            If it is more than ``TOLERANCE`` times the stored one, or none is stored.
        """
        ratios = json.loads(self.path.read_text()) if self.path.exists() else {}
        if self.update:
            ratios[name] = float(f"{ratio:.3g}")
            self.path.write_text(json.dumps(ratios, indent=2, sort_keys=True) + "\n")
            return
        if name not in ratios:
            raise AssertionError(f"{name}: no ratio is stored; run with --store-ratios")
        limit = TOLERANCE * ratios[name]
        if ratio > limit:
            raise AssertionError(
                f"{name}: {ratio:.3g} times the reference, stored {ratios[name]:.3g}, "
                f"allowed {limit:.3g}"
            )
