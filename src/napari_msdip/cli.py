"""The entry point of the command line: ``napari-msdip denoise | noise | demo | info``.

Light on purpose: the program itself takes a moment to import, and Ctrl-C in that
moment has to end it as it does later. Nothing but ``main`` may be imported first.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    words = sys.argv[1:] if arguments is None else arguments
    with _terminated_as_interrupted():
        try:
            from napari_msdip._cli import program

            return program.run(words, load)
        except KeyboardInterrupt:
            if "--json" in words and sys.stdout is not None:
                sys.stdout.write(f"{json.dumps({'exit_code': _CANCELLED, 'files': []})}\n")
            return _CANCELLED


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, end the program as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        # Python gives signals to no other.
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
