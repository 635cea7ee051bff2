"""``napari-msdip noise``: how strong the noise of each input is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip import io
from napari_msdip._cli.engine import loaded
from napari_msdip._cli.exits import Exit, abort, message, naming, refusing
from napari_msdip._cli.made import inputs_of
from napari_msdip._cli.parts import Parts
from napari_msdip._cli.selection import Selection
from napari_msdip._cli.words import in_flags
from napari_msdip.options import Options
from napari_msdip.planes import read_plane, select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_msdip._cli.console import Console
    from napari_msdip._cli.engine import Engine
    from napari_msdip.io import Source
    from napari_msdip.planes import PlaneLayout

__all__ = ["estimate_noise"]

# Share of the noise that is independent from pixel to pixel, below which that is said.
_MOSTLY_SHARED = 0.7


def estimate_noise(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Estimate the noise level of every input."""
    with refusing():
        paths = inputs_of(parsed.inputs, console.note)
    selection = Selection.of(parsed)
    reports: list[dict[str, Any]] = []
    try:
        _add_reports(reports, paths, selection, loaded(load), console)
    except KeyboardInterrupt:
        return abort(console, reports)
    console.clear()
    lacking = ("error", "failed", "left_out")
    failed = any(report.get(key) for report in reports for key in lacking)
    code = Exit.FAILED if failed else Exit.OK
    console.emit({"exit_code": int(code), "files": reports})
    return code


def _add_reports(
    reports: list[dict[str, Any]],
    paths: list[Path],
    selection: Selection,
    engine: Engine,
    console: Console,
) -> None:
    parts = Parts(console.note)
    for number, path in enumerate(paths):
        if parts.leaves_out(path):
            continue
        show = _showing(console, number, len(paths))
        try:
            report = _noise_of(path, selection, engine, parts, console, show)
            console.say(f"{path}: {_in_words(report)}")
        except Exception as error:  # Whatever this file does to a third-party reader.
            text = naming(path, error)
            console.error(text, error)
            report = {"input": str(path), "error": text}
        reports.append(report)
        show(1.0)


def _showing(console: Console, number: int, n_files: int) -> Callable[[float], None]:
    return lambda done: console.show("noise", (number + done) / n_files, None)


def _noise_of(
    path: Path,
    selection: Selection,
    engine: Engine,
    parts: Parts,
    console: Console,
    show: Callable[[float], None],
) -> dict[str, Any]:
    with selection.opened(path, parts) as (source, layout):
        notes = [in_flags(note) for note in source.notes]
        for note in notes:
            console.note(f"{path}: {note}")
        chosen = select(selection.planes, layout.n_planes)
        measured = _measured(source, layout, chosen, engine, show)
    failed = {index: why for index, why in measured.items() if isinstance(why, str)}
    problems = [f"plane {index}: {reason}" for index, reason in failed.items()]
    found = [plane for plane in measured.values() if isinstance(plane, _Plane)]
    if not found:
        raise ValueError(problems[0])
    for problem in problems:
        console.error(f"{path}: {problem}")
    report = {"input": str(path), **_summary(found), "notes": notes}
    if source.left_out:
        report["left_out"] = source.left_out
    if not layout.plane_axes:
        return report
    levels = [
        plane.sigma if isinstance(plane, _Plane) else None for plane in measured.values()
    ]
    return {**report, "sigma_of_planes": levels, "failed": failed}


def _measured(
    source: Source,
    layout: PlaneLayout,
    chosen: Sequence[int],
    engine: Engine,
    show: Callable[[float], None],
) -> dict[int, _Plane | str]:
    """Return the noise of each plane, or why it could not be measured."""
    measured: dict[int, _Plane | str] = {}
    for index in chosen:
        with io.reading(source.path):
            plane = read_plane(source.data, layout, index)
        try:
            measured[index] = _Plane.of(plane, layout.plane_channel_axis, engine)
        except ValueError as error:
            if not layout.plane_axes:
                raise
            measured[index] = message(error)
        show(len(measured) / len(chosen))
    return measured


@dataclass(frozen=True)
class _Plane:
    """Noise of a plane, in all and independent from pixel to pixel, and its range."""

    sigma: float
    independent: float
    low: float
    high: float

    @classmethod
    def of(cls, plane: Any, channel_axis: int | None, engine: Engine) -> _Plane:
        return cls(
            sigma=engine.noise_level(plane, Options(), channel_axis=channel_axis),
            independent=engine.estimate_sigma(plane, channel_axis=channel_axis),
            low=float(plane.min()),
            high=float(plane.max()),
        )


def _summary(planes: list[_Plane]) -> dict[str, Any]:
    sigma = float(np.median([plane.sigma for plane in planes]))
    low, high = min(plane.low for plane in planes), max(plane.high for plane in planes)
    return {
        "sigma": sigma,
        "independent": float(np.median([plane.independent for plane in planes])),
        "range": [low, high],
        "share": sigma / (high - low) if high > low else 0.0,
    }


def _in_words(report: dict[str, Any]) -> str:
    words = f"{report['sigma']:.4g} ({report['share']:.2%} of its range)"
    if report["independent"] < _MOSTLY_SHARED * report["sigma"]:
        words += f", {report['independent']:.4g} of it independent from pixel to pixel"
    return words
