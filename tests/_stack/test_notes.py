"""What a store says of how its planes came about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import zarr
from tests._stack.helpers import OPTIONS, random_stack

from napari_msdip.stack import denoise_stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_engine")


def test_a_store_says_what_its_result_does(tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    result = denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)

    noted = dict(zarr.open_group(str(out)).attrs["napari_msdip"])
    assert noted.pop("planes") == 2
    assert set(noted) == {"complete", "failed", "options", "plan", "versions"}
    assert result.options == OPTIONS
    assert result.versions["torch"]
    told = json.loads(result.to_json())
    assert noted == {key: told[key] for key in noted}


def test_a_run_with_nothing_to_do_tells_the_plan_that_was_noted(tmp_path: Path) -> None:
    stack = random_stack(2, 16, 18)
    out = tmp_path / "o.zarr"
    result = denoise_stack(stack, OPTIONS, out=out)
    before = dict(zarr.open_group(str(out)).attrs["napari_msdip"])
    assert before["plan"]["threads"] == 1

    again = denoise_stack(stack, OPTIONS, out=out)

    assert again.plan == result.plan
    assert dict(zarr.open_group(str(out)).attrs["napari_msdip"]) == before


def test_a_plan_that_only_another_version_could_read_stays_noted(tmp_path: Path) -> None:
    stack = random_stack(2, 16, 18)
    out = tmp_path / "o.zarr"
    denoise_stack(stack, OPTIONS, out=out)
    group = zarr.open_group(str(out))
    before = group.attrs["napari_msdip"] | {"plan": {"threads": 1, "luck": 7}}
    group.attrs["napari_msdip"] = before

    assert denoise_stack(stack, OPTIONS, out=out).plan is None

    assert dict(zarr.open_group(str(out)).attrs["napari_msdip"]) == before
