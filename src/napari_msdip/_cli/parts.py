"""Images that lie in several files, each of which leads to all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_msdip.io import Source

__all__ = ["Parts"]


class Parts:
    """Which files were read along with another one, as parts of its image.

    Parameters
    ----------
    note : callable
        Told of every file that is left out as such a part.
    """

    def __init__(self, note: Callable[[str], object]) -> None:
        self._note = note
        self._wholes: dict[Path, Path] = {}

    def add(self, source: Source) -> None:
        """Remember which files an opened one leads to."""
        self._wholes |= dict.fromkeys(source.parts, source.path)

    def leaves_out(self, path: Path) -> bool:
        """Tell whether a file was read along with another one, and say so."""
        whole = self._wholes.get(Path(os.path.realpath(path)))
        if whole is not None:
            self._note(f"{path}: is a part of the image in {whole} and is left out")
        return whole is not None
