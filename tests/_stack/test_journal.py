"""The record of finished planes: one that is damaged, or of other versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests._stack.helpers import OPTIONS, random_stack

from napari_msdip import devices
from napari_msdip._stack.journal import JOURNAL
from napari_msdip.stack import denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_engine")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:100],
        lambda whole: b"[]\n",
        lambda whole: whole.replace(b'"pinned"', b'"pinnes"'),
        lambda whole: whole + b"\0" * 10 + b"\n",
        lambda whole: whole + b"5\n",
        lambda whole: whole + b'{"plane": "x", "input": ""}\n',
    ],
    ids=["empty", "cut", "list", "lacking", "zeros", "number", "no plane"],
)
def test_a_damaged_journal_is_called_that(tmp_path: Path, damage: Any) -> None:
    out = tmp_path / "o.zarr"
    denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)
    journal = out / "0" / JOURNAL
    damaged = damage(journal.read_bytes())
    journal.write_bytes(damaged)

    with pytest.raises(ValueError, match=r"out: .* is no journal of ours or is damaged"):
        denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)

    assert journal.read_bytes() == damaged


def test_other_versions_are_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = random_stack(2, 16, 18)
    out = tmp_path / "o.zarr"
    denoise_stack(stack, OPTIONS, out=out)
    monkeypatch.setattr(devices, "versions", lambda: {"torch": "0.0"})
    with pytest.warns(UserWarning, match="pixels may differ"):
        denoise_stack(stack, OPTIONS, out=out)
