"""What is said of a store outlives a power cut; what a kill left of it is swept away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_msdip.io import sync_directory, sync_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sweep", "sync_description"]


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
