"""What is noted in a store: how its planes came about, and which file is a copy of it."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_msdip._stack.durable import sync_description
from napari_msdip.io import PROVENANCE_KEY, FileError, read_provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["UNFIT", "Leftover", "is_unfit", "note_outcome", "noting_copy"]

UNFIT = "cannot be denoised as it is: "
"""What is noted of a plane before the reason, if any run on its pixels would end alike."""


_COPY = f"{PROVENANCE_KEY}_copy"


def note_outcome(store: Path, provenance: Mapping[str, Any]) -> None:
    """Note in a store how its planes came about, if it says otherwise; warn if that fails.

    Parameters
    ----------
    store : Path
        Folder of the store.
    provenance : mapping
        How they came about, as plain JSON types.
    """
    import zarr

    group = zarr.open_group(str(store), mode="r+")
    if group.attrs.get(PROVENANCE_KEY) == provenance:
        return
    try:
        group.attrs[PROVENANCE_KEY] = dict(provenance)
        sync_description(store)
    except OSError as error:
        # The planes are what matters, and they are written.
        warnings.warn(
            f"out: how the planes came about could not be noted in {store}: {error}",
            stacklevel=3,
        )


def is_unfit(reason: str) -> bool:
    """Whether a plane failed because of its pixels, which have to be mended first."""
    return reason.startswith(UNFIT)


@dataclass(frozen=True)
class Leftover:
    """A store in which an earlier run left planes to do.

    Attributes
    ----------
    store : Path
        Its folder.
    complete : bool
        Whether nothing is left after all; a store without a note is taken for that.
    copy : str
        Name of the file that the store was copied to, failed planes included.
    failed : mapping of str to str or None
        Those failed planes, with the reason; None if it is not known to be a copy of
        what is in the store now, as a kill came in between.
    """

    store: Path
    complete: bool
    copy: str
    failed: Mapping[str, str] | None

    @classmethod
    def of(cls, store: Path) -> Leftover:
        """Read what is noted in a store."""
        import zarr

        try:
            notes: dict[str, Any] = dict(zarr.open_group(store, mode="r").attrs)
        except Exception:  # Whatever zarr raises for a damaged store.
            notes = {}
        copy = notes.get(_COPY, {})
        return cls(
            store=store,
            complete=notes.get(PROVENANCE_KEY, {}).get("complete", True),
            copy=copy.get("name", ""),
            failed=copy.get("failed"),
        )

    def gave(self, result: Path) -> bool:
        """Whether a file that is there came of the store, and nothing replaced it since."""
        if result == self.store:
            return True
        if result.name != self.copy:
            return False
        return self.failed is None or _failed_in(result) == self.failed


def _failed_in(result: Path) -> Any:
    """Return the planes that failed as a file tells them, None if it does not."""
    try:
        return read_provenance(result).get("failed")
    except FileError:
        return None


@contextmanager
def noting_copy(store: Path, name: str, failed: Mapping[str, str]) -> Iterator[None]:
    """Note in a store that it is being copied to a file, and afterwards that it was.

    A kill in between leaves a file that is known to be the store's; a failure leaves
    what was noted before.

    Parameters
    ----------
    store : Path
        Folder of the store.
    name : str
        Name of the file.
    failed : mapping of str to str
        The planes that both lack then, with the reason.
    """
    import zarr

    notes = zarr.open_group(store, mode="r+").attrs
    before = notes.get(_COPY, {})
    notes[_COPY] = {"name": name, "failed": None}
    sync_description(store)
    try:
        yield
    except Exception:
        notes[_COPY] = before
        raise
    notes[_COPY] = {"name": name, "failed": dict(failed)}
    sync_description(store)
