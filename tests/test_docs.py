"""Every Python block in README and docs runs."""

from __future__ import annotations

import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def with_blocks() -> list[Path]:
    return [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", with_blocks(), ids=name_of)
def test_python_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page run one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "docs"}
    text = page.read_text(encoding="utf-8")

    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        code = "\n" * line + block[1]
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            assert heading in anchors(file), f"{page.name}: {target}#{heading}"


def anchors(page: Path) -> set[str]:
    """Return what a page's headings are addressed by."""
    titles = HEADING.findall(page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


def test_readme_commands_are_those_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "bash tests/run.sh" in readme
    assert "bash tests/run.sh" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_python_reference_shows_no_markup_of_another_program() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = {
        name: pkgutil.resolve_name(name) for name in re.findall(r"^::: (\S+)", page, re.M)
    }
    members = {
        f"{name}.{member}": getattr(found, member)
        for name, found in shown.items()
        if inspect.isclass(found)
        for member in vars(found)
        if not member.startswith("_")
    }
    role = re.compile(r":(func|class|meth|mod|attr|data|exc):`")

    marked = [
        name
        for name, found in {**shown, **members}.items()
        if role.search(inspect.getdoc(found) or "")
    ]

    assert {"napari_msdip.denoise", "napari_msdip.stack.ZarrOut"} <= {*shown}
    assert marked == []


def test_command_line_page_names_every_flag_of_its_own() -> None:
    from napari_msdip._cli.parser import build_parser

    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    actions = next(a for a in build_parser()._actions if a.choices)
    flags = {
        flag
        for action in actions.choices["denoise"]._actions
        if not action.dest.startswith("option_")
        for flag in action.option_strings
        if flag.startswith("--")
    }

    assert sorted(flag for flag in flags - {"--help"} if f"`{flag}`" not in page) == []


NAME = re.compile(r"`((?:_?[a-z]\w*\.)+_?[A-Za-z]\w*)`")


def test_names_in_the_description_of_the_method_exist() -> None:
    pages = [ROOT / "docs" / page for page in ("method.md", "noise-measurement.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    names = [name for name in NAME.findall(text) if not name.endswith(".py")]

    assert len(names) > 30
    assert [name for name in names if not exists(f"napari_msdip.{name}")] == []


def exists(name: str) -> bool:
    """Whether a module, or what is in one, has this name."""
    try:
        return pkgutil.resolve_name(name) is not None
    except (AttributeError, ImportError):
        return False
