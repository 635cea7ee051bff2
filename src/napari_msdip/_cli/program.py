"""The program behind the entry point: words to commands, errors to exit codes."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_msdip._cli.console import Console
from napari_msdip._cli.engine import load_engine
from napari_msdip._cli.exits import Exit, UsageError, abort, explained, message
from napari_msdip._cli.parser import build_parser
from napari_msdip._cli.words import in_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_msdip._cli.engine import Engine

__all__ = ["run"]


def run(words: Sequence[str], load: Callable[[], Engine] | None) -> int:
    """Run the command line; see :func:`napari_msdip.cli.main`."""
    try:
        parsed = build_parser().parse_args(words)
    except UsageError as error:
        console = Console(sys.stdout, sys.stderr, as_json="--json" in words)
        return _end(console, Exit.USAGE, message(error), error)
    console = Console(
        sys.stdout,
        sys.stderr,
        as_json=parsed.json,
        debug=parsed.debug,
        progress=_wanted(parsed.progress),
    )
    with warnings.catch_warnings(), _listening_to_tifffile(console):
        warnings.showwarning = partial(_show_warning, console)
        try:
            code = int(parsed.run(parsed, console, load or load_engine))
            return code or (Exit.FAILED if console.lost else Exit.OK)
        except UsageError as error:
            return _end(console, Exit.USAGE, message(error), error)
        except KeyboardInterrupt:
            return abort(console)
        except Exception as error:  # Too little room for the demo, or a bug.
            return _end(console, Exit.FAILED, explained(error), error)


def _end(console: Console, code: Exit, text: str, error: Exception) -> Exit:
    """Say why there are no results, to people and machines."""
    console.error(text, error)
    console.emit({"exit_code": int(code), "error": text, "files": []})
    return code


def _wanted(progress: str) -> bool | None:
    return {"auto": None, "always": True, "never": False}[progress]


def _show_warning(console: Console, warning: Warning | str, *rest: Any) -> None:
    console.note(in_flags(str(warning)))


class _Notes(logging.Handler):
    """Says what is logged as a note."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        self._console.note(record.getMessage())


@contextmanager
def _listening_to_tifffile(console: Console) -> Iterator[None]:
    """Say what tifffile logs, which would go across the progress bar otherwise."""
    logger, notes = logging.getLogger("tifffile"), _Notes(console)
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)
