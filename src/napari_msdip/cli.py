"""The entry point of the command line: ``napari-msdip denoise | noise | demo | info``.

Light on purpose: the program itself takes a moment to import, and Ctrl-C in that
moment has to end it as it does later. Nothing but ``main`` may be imported first.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_msdip._cli.engine import Engine

__all__ = ["main"]

# What Exit.CANCELLED is, which takes a moment to import.
_CANCELLED = 130


def main(
    arguments: Sequence[str] | None = None,
    *,
    load: Callable[[], Engine] | None = None,
) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str or None
        The words after the program's name; None takes them from the system.
    load : callable or None
        Gives the engine; called only after everything that can be checked
        without it, because it takes seconds to import. None for the real one.
    """
    try:
        from napari_msdip._cli import program

        return program.run(arguments, load)
    except KeyboardInterrupt:
        return _CANCELLED


if __name__ == "__main__":
    sys.exit(main())
