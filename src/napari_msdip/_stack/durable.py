"""What is written outlives a power cut, and what a kill left of it is swept away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sweep", "sync_description", "sync_directory", "sync_file"]


def sync_file(path: Path) -> None:
    """Make what a file holds durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable; a no-op where the system cannot."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_description(root: Path) -> None:
    """Make durable what zarr wrote of a store: without it the planes are not found."""
    for folder in (root, root / "0"):
        sync_file(folder / "zarr.json")
        sync_directory(folder)
    sync_directory(root.parent)


def sweep(folder: Path) -> None:
    """Remove what a killed run was just writing."""
    for leftover in folder.glob("*.partial"):
        leftover.unlink(missing_ok=True)
