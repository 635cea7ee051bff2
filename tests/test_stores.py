"""A stack's store between two runs: it tells what it is of, and says anew what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests._stack.helpers import OPTIONS, random_stack

from napari_msdip._stack import durable
from napari_msdip._stack.journal import JOURNAL
from napari_msdip.io import Metadata, stored_names
from napari_msdip.planes import digest
from napari_msdip.stack import denoise_stack
from napari_msdip.stores import begun_with, describe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_engine")


def test_a_store_tells_what_it_was_begun_with(tmp_path: Path) -> None:
    stack, out = random_stack(3, 16, 18), tmp_path / "o.zarr"
    denoise_stack(stack, OPTIONS, planes=[0, 2], out=out)
    begun = begun_with(out)
    assert begun is not None
    assert (begun["planes"], begun["options"]) == ([0, 2], OPTIONS.to_dict())
    assert begun["input"] == {str(n): digest(stack[n]) for n in (0, 2)}


def test_what_no_run_on_a_stack_wrote_tells_nothing(tmp_path: Path) -> None:
    file = tmp_path / "image.tif"
    file.touch()
    for other in (tmp_path, file, tmp_path / "nosuch.zarr"):
        assert begun_with(other) is None


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    denoise_stack(random_stack(2, 16, 18), OPTIONS, out=tmp_path)
    (tmp_path / "0" / JOURNAL).write_bytes(b"")
    with pytest.raises(ValueError, match="not enough values"):
        begun_with(tmp_path)


def test_a_new_description_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "o.zarr"
    denoise_stack(random_stack(3, 16, 18), OPTIONS, out=out)
    before = stored_names(out)
    synced: list[tuple[str, list[str]]] = []

    def noting(path: Path) -> None:
        synced.append((path.relative_to(out).as_posix(), stored_names(out)))

    monkeypatch.setattr(durable, "sync_file", noting)
    describe(out, Metadata("TYX"), name="other")
    now = stored_names(out)
    assert now != before
    assert synced == [("zarr.json", now), ("0/zarr.json", now)]
