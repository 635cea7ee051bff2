"""``napari-msdip noise``: how strong the noise of each input is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip import io
from napari_msdip._cli.exits import Exit, abort, naming, refusing
from napari_msdip._cli.parts import Parts
from napari_msdip._cli.selection import check_planes, layout_of, parse_planes
from napari_msdip._stack.planes import read_plane, select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from napari_msdip._cli.console import Console
    from napari_msdip._cli.engine import Engine

__all__ = ["estimate_noise"]


def estimate_noise(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Estimate the noise level of every input."""
    with refusing():
        paths = io.expand(parsed.inputs, console.note)
    planes = parse_planes(parsed.planes)
    reports: list[dict[str, Any]] = []
    try:
        _add_reports(reports, paths, parsed, planes, load(), console)
    except KeyboardInterrupt:
        return abort(console, reports)
    console.clear()
    failed = any("error" in report for report in reports)
    code = Exit.FAILED if failed else Exit.OK
    console.emit({"exit_code": int(code), "files": reports})
    return code


def _add_reports(
    reports: list[dict[str, Any]],
    paths: list[Path],
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    engine: Engine,
    console: Console,
) -> None:
    parts = Parts(console.note)
    for number, path in enumerate(paths, 1):
        if parts.leaves_out(path):
            continue
        try:
            report = _noise_of(path, parsed, planes, engine, parts, console)
            console.say(
                f"{path}: {report['sigma']:.4g} ({report['share']:.2%} of its range)"
            )
        except Exception as error:  # Whatever this file does to a third-party reader.
            text = naming(path, error)
            console.error(text, error)
            report = {"input": str(path), "error": text}
        reports.append(report)
        console.show("noise", number / len(paths), None)


def _noise_of(
    path: Path,
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    engine: Engine,
    parts: Parts,
    console: Console,
) -> dict[str, Any]:
    with io.open_image(path, axes=parsed.axes) as source:
        for note in source.notes:
            console.note(f"{path}: {note}")
        parts.add(source)
        _, layout = layout_of(source, parsed.channel_axis)
        check_planes(path, parsed.planes, planes, layout)
        sigmas, low, high = [], np.inf, -np.inf
        for index in select(planes, layout.n_planes):
            with io.reading(path):
                plane = read_plane(source.data, layout, index)
            axis = layout.plane_channel_axis
            try:
                sigmas.append(float(engine.estimate_sigma(plane, channel_axis=axis)))
            except ValueError as error:
                if layout.plane_axes:
                    raise ValueError(f"plane {index}: {error}") from error
                raise
            low, high = min(low, float(plane.min())), max(high, float(plane.max()))
    sigma = float(np.median(sigmas))
    share = sigma / (high - low) if high > low else 0.0
    report = {"input": str(path), "sigma": sigma, "range": [low, high], "share": share}
    report["notes"] = list(source.notes)
    return {**report, "sigma_of_planes": sigmas} if layout.plane_axes else report
