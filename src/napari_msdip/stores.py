"""A stack's store between two runs: what is left to do in it, what of it is a copy.

Light, as whoever asks may find that there is nothing to do: the engine is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_msdip._stack.durable import sync_description
from napari_msdip._stack.journal import JOURNAL, told_in
from napari_msdip._stack.notes import Leftover, is_unfit, noting_copy
from napari_msdip._stack.zarr_sink import ZarrOut
from napari_msdip.io import annotate_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from napari_msdip.io import Metadata

__all__ = ["Leftover", "ZarrOut", "begun_with", "describe", "is_unfit", "noting_copy"]


def begun_with(store: Path) -> dict[str, Any] | None:
    """Return what the run that a store is of was begun with, and what planes it was given.

    Parameters
    ----------
    store : Path
        Folder of the store, or any other file.

    Returns
    -------
    dict or None
        As the journal tells it, ``input`` being fingerprints by flat index; None for
        what no run of ours on a stack has written.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the journal is damaged.
    """
    journal = store / "0" / JOURNAL
    return told_in(journal) if journal.exists() else None


def describe(store: Path, metadata: Metadata, *, name: str) -> None:
    """Say anew what the axes of a store are, and have that outlive a power cut."""
    annotate_zarr(store, metadata, name=name)
    sync_description(store)
