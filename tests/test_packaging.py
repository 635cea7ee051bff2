"""What the package promises about itself: light imports, one-way dependencies."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

import napari_msdip

ROOT = Path(__file__).parents[1]
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


@pytest.mark.parametrize(
    "module",
    [
        "napari_msdip",
        "napari_msdip._cli.program",
        "napari_msdip.planes",
        "napari_msdip.stores",
    ],
)
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


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported_in(folder: Path) -> set[str]:
    """Return the top-level packages that the files of a folder import anywhere."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found


def test_every_package_that_is_imported_is_declared() -> None:
    declared = project()["project"]
    optional = declared["optional-dependencies"].values()
    texts = [*declared["dependencies"], *(text for group in optional for text in group)]
    named = {re.split(r"[\[<>=]", text)[0].lower() for text in texts}
    distributions = {"PIL": "pillow", "skimage": "scikit-image"}
    # What dask[distributed], magicgui and napari cannot do without.
    named |= {"distributed", "psygnal", "qtpy", "superqt"}

    ours = imported_in(ROOT / "src") - {*sys.stdlib_module_names} - {"napari_msdip"}

    assert {distributions.get(name, name).lower() for name in ours} <= named


def test_source_distribution_holds_what_its_tests_need() -> None:
    included = project()["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    own = {name for name in imported_in(ROOT / "tests") if (ROOT / name).is_dir()}

    assert "benchmarks" in own
    assert {f"/{name}" for name in own | {".ci", "docs", "src"}} <= {*included}


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
