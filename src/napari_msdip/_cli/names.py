"""What results are called, so that none replaces another."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_msdip import io
from napari_msdip._cli.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_msdip.options import Options

__all__ = [
    "called_as_preview",
    "called_as_scales",
    "free_name",
    "name_results",
    "previews_of",
    "scale_path",
    "scales_of",
]

_UNFINISHED = r"\.unfinished(-\d+)?"


def name_results(paths: Sequence[Path], output: str, options: Options) -> list[Path]:
    """Return where the result of each input goes."""
    if not output:
        raise UsageError("--output: is empty; name a file or a folder")
    out = Path(output)
    names_folder = output.endswith(("/", os.sep)) or not out.suffix
    if names_folder and out.suffix.lower() == ".zarr":
        raise UsageError(
            f"{output}: would be a folder of results with the name of a zarr; leave out "
            "the / at the end, or choose another name"
        )
    if not names_folder and (not out.is_dir() or out.suffix.lower() == ".zarr"):
        if len(paths) > 1:
            raise UsageError(
                f"{output}: is one file, but there are {len(paths)} inputs; "
                "name a folder (with a / at its end)"
            )
        return [out]
    targets = [out / _result_name(path, options) for path in paths]
    _check_distinct(paths, targets)
    return targets


def _check_distinct(paths: Sequence[Path], targets: Sequence[Path]) -> None:
    sources: dict[Path, Path] = {}
    for path, target in zip(paths, targets, strict=True):
        other = sources.setdefault(target, path)
        if other is not path:
            raise UsageError(
                f"{target}: both {other} and {path} would be written here; denoise them "
                "into different folders"
            )


def _result_name(path: Path, options: Options) -> str:
    stem, suffix = io.split_suffix(path)
    kind = suffix.lower()
    if kind in (".png", ".jpg", ".jpeg"):
        return f"{stem}.tif" if options.output_dtype == "float32" else f"{stem}.png"
    if kind == ".lsm":
        return f"{stem}.ome.tif"
    return path.name if kind.endswith(io.WRITABLE) else f"{path.name}.ome.zarr"


def scale_path(target: Path, number: int) -> Path:
    """Return where the result of one scale goes, 0 being the finest."""
    stem, suffix = io.split_suffix(target)
    return target.with_name(f"{stem}.scale{number}{suffix}")


def scales_of(target: Path) -> list[Path]:
    """Return the scales of a result that are there."""
    stem, suffix = io.split_suffix(target)
    return _called(target, rf"{re.escape(stem)}\.scale\d+{re.escape(suffix)}")


def previews_of(target: Path) -> list[Path]:
    """Return what is there and called as :func:`free_name` would have called it."""
    stem, suffix = io.split_suffix(target)
    return _called(target, rf"{re.escape(stem)}{_UNFINISHED}{re.escape(suffix)}")


def _called(target: Path, pattern: str) -> list[Path]:
    """Return what lies beside a result and is called so."""
    if not target.parent.is_dir():
        return []
    called = re.compile(pattern)
    return [path for path in target.parent.iterdir() if called.fullmatch(path.name)]


def called_as_preview(path: Path) -> bool:
    """Whether a path is called as an unfinished image, or as one of its scales."""
    stem, _ = io.split_suffix(path)
    return re.search(rf"{_UNFINISHED}(\.scale\d+)?\Z", stem) is not None


def called_as_scales(paths: Iterable[Path]) -> dict[Path, Path]:
    """Map results to the paths that are called as their scales would be."""
    found = {}
    for path in paths:
        stem, suffix = io.split_suffix(path)
        match = re.fullmatch(r"(.+)\.scale\d+", stem, re.DOTALL)
        if match:
            found[path.parent.resolve() / f"{match[1]}{suffix}"] = path
    return found


def free_name(target: Path) -> Path:
    """Return a name that says that the image is unfinished, free for its scales too."""
    stem, suffix = io.split_suffix(target)
    name = target.with_name(f"{stem}.unfinished{suffix}")
    number = 2
    while os.path.lexists(name) or scales_of(name):
        name = target.with_name(f"{stem}.unfinished-{number}{suffix}")
        number += 1
    return name
