"""What the package promises about itself: light imports, one-way dependencies."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from importlib.resources import files

import pytest

import napari_msdip

HEAVY = ["torch", "torchvision", "napari", "qtpy", "PyQt6", "PySide6", "magicgui", "zarr"]


def loaded_by(*modules: str) -> set[str]:
    """Tell which top-level modules a fresh interpreter has after importing some."""
    code = (
        "import json, sys\n"
        f"import {', '.join(modules)}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["napari_msdip", "napari_msdip._cli.program"])
def test_import_is_light(module: str) -> None:
    assert loaded_by(module).isdisjoint(HEAVY)


def test_entry_point_is_there_before_anything_slow() -> None:
    assert loaded_by("napari_msdip.cli").isdisjoint([*HEAVY, "numpy", "argparse"])


def test_cluster_is_loaded_only_when_used() -> None:
    assert loaded_by("napari_msdip.stack").isdisjoint(["distributed", "dask_jobqueue"])


@pytest.mark.parametrize("name", napari_msdip.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(napari_msdip, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = napari_msdip.nothing


def test_version_is_that_of_the_distribution() -> None:
    assert napari_msdip.__version__ == metadata.version("napari-msdip")


def test_no_qt_binding_is_required() -> None:
    required = metadata.requires("napari-msdip") or []
    always = [text.lower() for text in required if "extra ==" not in text]

    assert always
    assert not [text for text in always if text.startswith(("pyqt", "pyside", "napari"))]


def test_entry_points() -> None:
    found = {
        (point.group, point.value)
        for point in metadata.entry_points(name="napari-msdip")
        if point.dist is not None and point.dist.name == "napari-msdip"
    }

    assert ("console_scripts", "napari_msdip.cli:main") in found
    assert ("napari.manifest", "napari_msdip:napari.yaml") in found


@pytest.mark.parametrize("path", ["py.typed", "napari.yaml", "data/hubble.png"])
def test_data_files_ship(path: str) -> None:
    assert files("napari_msdip").joinpath(path).is_file()


def test_manifest_is_valid_and_its_commands_exist() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-msdip")
    manifest.validate_imports()

    assert manifest.contributions.widgets
