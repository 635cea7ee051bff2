"""How the program ends, and what it says of an error."""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Any

from napari_msdip._cli.words import flag, in_flags
from napari_msdip.io import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_msdip._cli.console import Console

__all__ = ["Exit", "UsageError", "abort", "explained", "message", "naming", "refusing"]

# What is raised for one image that cannot be read, denoised or written.
_REFUSALS = (
    ArithmeticError,
    FileError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Exit(enum.IntEnum):
    """How the program ends.

    Attributes
    ----------
    OK
        All is done.
    FAILED
        Some files failed or are done in part, the others are done.
    USAGE
        The command cannot be carried out as given; nothing was begun.
    CANCELLED
        What was done is kept.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 130


class UsageError(Exception):
    """The command cannot be carried out as given; the message is for a person."""


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Refuse what cannot be read or written, before any work."""
    try:
        yield
    except (FileError, OSError) as error:
        raise UsageError(message(error)) from error


def abort(console: Console, files: Sequence[Mapping[str, Any]] = ()) -> Exit:
    """End at once, as a person wants, and tell of the files that were done before."""
    console.error("aborted")
    code = Exit.CANCELLED
    console.emit({"exit_code": int(code), "files": list(files)})
    return code


def naming(source: Path, error: Exception) -> str:
    """Say an error, the file in front."""
    text = explained(error)
    return text if text.startswith(str(source)) else f"{source}: {text}"


def explained(error: Exception) -> str:
    """Say an error; one that nobody foresaw is called that."""
    text = message(error)
    if isinstance(error, _REFUSALS):
        return text
    return f"unexpected {type(error).__name__}: {text}; this is a bug, --debug shows where"


def message(error: Exception) -> str:
    """Return what an error says, with flags for the arguments that it names."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, FileError):
        return _of_file(error)
    return in_flags(str(error)) or type(error).__name__


def _of_file(error: FileError) -> str:
    """Return what is said of a file, whose name may look like an argument."""
    text, cause = str(error), error.__cause__
    if isinstance(cause, ValueError) and text.endswith(str(cause)):
        text = text.removesuffix(str(cause)) + in_flags(str(cause))
    return text.replace("; overwrite=True ", f"; {flag('overwrite')} ")
