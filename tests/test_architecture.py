"""What docs/architecture.md says of the modules: which there are, and who imports whom."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.test_packaging import loaded_by

import napari_msdip

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(napari_msdip.__file__).parent
DOCUMENT = ROOT.parents[1] / "docs" / "architecture.md"
PATHS = {
    path.relative_to(ROOT).as_posix(): path
    for path in ROOT.rglob("*.py")
    if path.name not in ("__init__.py", "_version.py")
}
FRONT_ENDS = ("_gui", "_cli", "_layer", "cli", "__main__", "layer", "_sample_data")
GUI = {"napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt"}


def name_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


MODULES = {name_of(path): file for path, file in PATHS.items()}


def listed() -> Iterator[str]:
    """Yield the files that the document lists."""
    tree = DOCUMENT.read_text("utf-8").split("```")[1]
    folder = ""
    for indent, name in re.findall(r"^( *)([\w/]+(?:\.py)?) ", tree, re.MULTILINE):
        if len(indent) > 2:
            continue
        if name.endswith("/"):
            folder = name
        else:
            yield (folder if indent else "") + name


def imported(module: str) -> set[str]:
    """Return which of our modules one imports, be it within a function."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(MODULES[module].read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "napari_msdip"
        ):
            package = (node.module or "").partition(".")[2]
            for alias in node.names:
                whole = f"{package}.{alias.name}".strip(".")
                found.add(whole if whole in MODULES else package)
        waiting += ast.iter_child_nodes(node)
    return found


def test_every_file_is_listed_once() -> None:
    assert sorted(listed()) == sorted(PATHS)


def test_no_two_modules_import_each_other() -> None:
    order = TopologicalSorter({module: imported(module) for module in MODULES})
    order.prepare()


def shared(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a file takes from others of ours: module or package, and name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "napari_msdip."
        ):
            home = (node.module or "").partition(".")[2]
            for alias in node.names:
                # What the version is called is written by the build.
                if f"{home}.{alias.name}" not in MODULES and home != "_version":
                    yield home, alias.name


def told(path: Path) -> set[str]:
    """Return what a file says that it has for others."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_what_others_take_is_meant_for_them() -> None:
    homes = MODULES | {"io": ROOT / "io" / "__init__.py"}
    taken = {each for file in MODULES.values() for each in shared(file)}
    hidden = {(home, name) for home, name in taken if name not in told(homes[home])}

    assert not hidden


@pytest.mark.parametrize("part", ["_gui", "_cli", "_layer", "cli", "layer"])
def test_front_ends_are_imported_by_front_ends_only(part: str) -> None:
    users = {
        module.partition(".")[0]
        for module in MODULES
        if any(name.partition(".")[0] == part for name in imported(module))
    }
    assert users <= set(FRONT_ENDS)


def test_front_ends_know_the_engine_by_its_front_doors() -> None:
    front_ends = [name for name in MODULES if name.partition(".")[0] in FRONT_ENDS]
    inner = {
        (module, name)
        for module in front_ends
        for name in imported(module)
        if re.match(r"_\w+\.", name) and name.partition(".")[0] not in FRONT_ENDS
    }
    assert not inner


def test_engine_loads_no_gui() -> None:
    engine = [name for name in MODULES if name.partition(".")[0] not in FRONT_ENDS]
    loaded = loaded_by(*(f"napari_msdip.{name}" for name in engine))

    assert "torch" in loaded
    assert loaded.isdisjoint(GUI)


def test_qt_is_known_to_the_dock_alone() -> None:
    others = [name for name in MODULES if name.partition(".")[0] != "_gui"]
    loaded = loaded_by(*(f"napari_msdip.{name}" for name in others))

    assert loaded.isdisjoint(GUI - {"napari"})
