"""What is written outlives a power cut."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sync", "sync_directory", "sync_file"]

_CANNOT = frozenset([errno.EINVAL, errno.ENOTSUP])


def sync(path: Path) -> None:
    """Make a file durable, or a folder with all that it holds."""
    if not path.is_dir():
        sync_file(path)
        return
    for inner in path.iterdir():
        sync(inner)
    sync_directory(path)


def sync_file(path: Path) -> None:
    """Make what a file holds durable."""
    # Windows refuses it for a file that is open for reading only.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable; a no-op where the system cannot."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # As on some shares of a network.
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)
