"""What a store says of how its planes came about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import zarr
from tests._stack.helpers import OPTIONS, random_stack

from napari_msdip import devices
from napari_msdip.stack import denoise_stack, iter_denoise_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_msdip import Progress

pytestmark = pytest.mark.usefixtures("quick_engine")


def test_a_store_says_what_its_result_does(tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    result = denoise_stack(random_stack(2, 16, 18), OPTIONS, out=out)

    noted = dict(zarr.open_group(str(out)).attrs["napari_msdip"])
    assert noted.pop("planes") is None
    assert set(noted) == {"complete", "failed", "options", "plan", "versions"}
    assert result.options == OPTIONS
    assert result.versions["torch"]
    told = json.loads(result.to_json())
    assert noted == {key: told[key] for key in noted}


def test_a_store_names_the_planes_that_were_selected(tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    result = denoise_stack(random_stack(4, 16, 18), OPTIONS, out=out, planes=slice(2, 4))

    noted = zarr.open_group(str(out)).attrs["napari_msdip"]
    assert noted["planes"] == result.provenance()["planes"] == [2, 3]


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


@pytest.mark.filterwarnings("ignore:.*pixels may differ:UserWarning")
class TestVersions:
    """What is told of the versions of three runs, of which each may be killed."""

    def run(self, version: str, out: Path, monkeypatch: Any, *, stops: int = 9) -> Any:
        """Denoise four planes, but no more than ``stops`` in this run."""
        monkeypatch.setattr(devices, "versions", lambda: {"torch": version, "numpy": "2"})
        steps = iter_denoise_stack(random_stack(4, 16, 18), OPTIONS, out=out)
        for _ in range(stops):
            if not finished_a_plane(steps):
                break
        else:
            steps.close()
        return dict(zarr.open_group(str(out)).attrs).get("napari_msdip", {})

    def test_a_run_with_nothing_to_do_is_not_among_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "o.zarr"
        before = self.run("1.0", out, monkeypatch)
        written = (out / "zarr.json").read_bytes()
        assert before["versions"]["torch"] == "1.0"

        assert self.run("2.0", out, monkeypatch) == before
        assert (out / "zarr.json").read_bytes() == written

    def test_they_are_those_of_every_run_that_finished_a_plane(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "o.zarr"
        self.run("1.0", out, monkeypatch, stops=1)
        self.run("1.10", out, monkeypatch, stops=1)
        self.run("1.0", out, monkeypatch, stops=1)
        noted = self.run("1.1", out, monkeypatch)

        assert noted["versions"] == {"torch": "1.0, 1.10, 1.1", "numpy": "2"}
        result = denoise_stack(random_stack(4, 16, 18), OPTIONS, out=out)
        assert result.versions == noted["versions"]


def finished_a_plane(steps: Iterator[Progress]) -> bool:
    """Go on until a plane is done; whether one was."""
    return any(step.finished_plane is not None for step in steps)
