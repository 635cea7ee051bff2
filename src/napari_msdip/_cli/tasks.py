"""What is to do for each input: all that can be settled and refused before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip import io
from napari_msdip._cli.exits import UsageError, message, naming, refusing
from napari_msdip._cli.made import difference, has_scales, inputs_of, recorded, told
from napari_msdip._cli.names import called_as_scales, name_results, scales_of
from napari_msdip._cli.parts import Parts
from napari_msdip._cli.selection import (
    check_planes,
    check_size,
    layout_of,
    metadata_of,
    parse_planes,
)
from napari_msdip._cli.words import in_flags
from napari_msdip.io import FileError
from napari_msdip.pixels import result_dtype
from napari_msdip.planes import PlaneLayout
from napari_msdip.stores import Leftover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from napari_msdip._cli.console import Console
    from napari_msdip.options import Options

__all__ = ["Task", "in_short", "prepare"]


@dataclass(frozen=True)
class Task:
    """One file to denoise."""

    source: Path
    target: Path
    left: Leftover | None
    axes: str | None
    channel_axis: int | None
    planes: slice | list[int] | None
    is_stack: bool
    notes: tuple[str, ...]
    image: int | None
    left_out: int

    @property
    def store(self) -> Path:
        """Where the planes of a stack go until all are done."""
        return self.left.store if self.left else io.partial_path(self.target)

    @property
    def replaces_own(self) -> bool:
        """Whether a result that is there came of the same planes."""
        return self.left is not None and self.left.gave(self.target)

    def report(self, target: Path, status: str, **rest: Any) -> dict[str, Any]:
        """Return what is told of it, as :func:`report_on` does."""
        return report_on(
            self.source, target, status, notes=self.notes, left_out=self.left_out, **rest
        )

    def is_copied(self, failed: Mapping[str, str]) -> bool:
        """Whether the result that is there lacks just these planes."""
        copied = self.replaces_own and self.target.exists()
        return copied and self.left is not None and self.left.failed == failed


@refusing()
def prepare(
    parsed: argparse.Namespace, options: Options, console: Console
) -> tuple[list[Task], list[dict[str, Any]]]:
    """Return what to do, and reports on what needs or allows no work."""
    paths = inputs_of(parsed.inputs, console.note)
    targets = name_results(paths, parsed.output, options)
    planes = parse_planes(parsed.planes)
    inputs = io.places(paths)
    reports: list[dict[str, Any]] = []
    tasks = []
    parts = Parts(console.note)
    for path, target in zip(paths, targets, strict=True):
        if parts.leaves_out(path):
            continue
        left = _left_to_do(target) if parsed.resume else None
        if parsed.resume and target.exists() and left is None:
            reports.append(_skip(path, target, parsed, planes, options, parts, console))
            continue
        # What is left of a stack counts once it is known whether this is one.
        permitted = parsed.overwrite or left is not None
        io.check_output(target, overwrite=permitted, inputs=inputs)
        try:
            tasks.append(_plan(path, target, left, parsed, planes, options, parts))
        except Exception as error:  # Whatever this file does to a third-party reader.
            if len(paths) == 1 and isinstance(error, (FileError, OSError)):
                raise
            reports.append(_failed(path, target, error, console))
    like_scales = called_as_scales([*paths, *targets])
    for task in tasks:
        _check_scales(task, parsed, options, like_scales)
        _check_partial(task, parsed)
    return tasks, reports


def _skip(
    path: Path,
    target: Path,
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    options: Options,
    parts: Parts,
    console: Console,
) -> dict[str, Any]:
    """Return the report on a result that is there, if it is the one asked for."""
    try:
        made = recorded(target)
        with io.open_image(path, axes=parsed.axes, image=parsed.image) as source:
            parts.add(source)
            _, layout = layout_of(source, parsed.channel_axis)
            check_planes(path, parsed.planes, planes, layout)
            if made.get("options"):
                found = difference(made, source, layout, planes, options)
            else:
                found = ""
                console.note(
                    f"{target}: is there already and does not tell what it was made of, "
                    "so it is not compared"
                )
            wanted = parsed.save_scales and not layout.plane_axes
            if not found and wanted and not has_scales(target, made):
                found = "without its scales"
        if found:
            raise FileError(
                f"{target}: is there already, but was made otherwise ({found}); choose "
                "another output, or --overwrite without --resume to replace it"
            )
    except Exception as error:  # Whatever this file does to a third-party reader.
        return _failed(path, target, error, console)
    if source.left_out:
        console.note(f"{path}: {in_short(source.left_out)}")
    notes = map(in_flags, (*source.notes, *io.lost_in(target, source)))
    return report_on(path, target, "skipped", notes=notes, left_out=source.left_out)


def _failed(path: Path, target: Path, error: Exception, console: Console) -> dict[str, Any]:
    """Return the report on a file that an error ends, after saying it."""
    text = message(error) if isinstance(error, FileError) else naming(path, error)
    console.error(text, error)
    return report_on(path, target, "failed", error=text)


def _left_to_do(target: Path) -> Leftover | None:
    """Return where an earlier run left planes of a stack to do, None if nowhere."""
    unfinished = io.partial_path(target)
    if unfinished.exists():
        return Leftover.of(unfinished)
    if target.suffix.lower() == ".zarr" and target.exists():
        # All that such a store got when it was finished is another name.
        left = Leftover.of(target)
        return None if left.complete else left
    return None


def _plan(
    path: Path,
    target: Path,
    left: Leftover | None,
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    options: Options,
    parts: Parts,
) -> Task:
    """Look at a file's header and settle what to do with it.

    Raises
    ------
    FileError
        If it cannot be done.
    """
    with io.open_image(path, axes=parsed.axes, image=parsed.image) as source:
        parts.add(source)
        channel_axis, layout = layout_of(source, parsed.channel_axis)
        is_stack = bool(layout.plane_axes)
        check_size(source, layout)
        check_planes(path, parsed.planes, planes, layout)
        dtype = np.dtype(source.data.dtype)
        if dtype.kind not in "iuf":
            raise FileError(
                f"{path}: has pixels of type {dtype}, which cannot be denoised; give "
                "integers or real floating-point numbers"
            )
        made = result_dtype(dtype, options.output_dtype)
        shape = None if is_stack else source.data.shape
        io.check_format(target, metadata_of(source, planes, layout).axes, made, shape)
        notes = (*source.notes, *io.lost_in(target, source))
    return Task(
        source=path,
        target=target,
        left=left,
        axes=parsed.axes,
        channel_axis=channel_axis,
        planes=planes,
        is_stack=is_stack,
        notes=tuple(map(in_flags, notes)),
        image=parsed.image,
        left_out=source.left_out,
    )


def _check_scales(
    task: Task,
    parsed: argparse.Namespace,
    options: Options,
    like_scales: Mapping[Path, Path],
) -> None:
    """Make sure that the scales of an image would replace nothing of value."""
    if task.is_stack or not parsed.save_scales:
        return
    taken = like_scales.get(task.target.parent.resolve() / task.target.name)
    if taken is not None:
        raise UsageError(
            f"{taken}: is an input or another result, and --save-scales would write a "
            f"scale of {task.target} there; choose another name or folder"
        )
    if parsed.overwrite:
        return
    for found in scales_of(task.target):
        if parsed.resume and _is_the_same(found, task, options):
            continue
        raise UsageError(f"{found}: exists already; --overwrite replaces it")


def _is_the_same(scale: Path, task: Task, options: Options) -> bool:
    """Whether a scale was made as this image will be, by a run that was killed, say."""
    made = told(scale)
    if not made.get("options"):
        return False
    with io.open_image(task.source, axes=task.axes, image=task.image) as source:
        layout = PlaneLayout.of(source.data.shape, task.channel_axis)
        return not difference(made, source, layout, task.planes, options)


def _check_partial(task: Task, parsed: argparse.Namespace) -> None:
    """Make sure that what an earlier run left of a stack is not lost, nor replaces more."""
    left = task.store
    if parsed.overwrite or not left.exists():
        return
    if not task.is_stack:
        raise UsageError(
            f"{left}: is left of a stack with planes to do, but {task.source} is a single "
            "image with these flags; choose another output, or --overwrite to replace it"
        )
    if not parsed.resume:
        raise UsageError(
            f"{left}: is left of a run that did not finish; --resume goes on with "
            "it, --overwrite begins anew"
        )
    if os.path.lexists(task.target) and not task.replaces_own:
        raise UsageError(
            f"{task.target}: exists already, and {left} is left of another run that did "
            "not finish; with --overwrite as well, --resume goes on with that and "
            "replaces the file"
        )


def in_short(left_out: int) -> str:
    """Say that not all of a file is done, and how to get at the rest."""
    images = "1 image is" if left_out == 1 else f"{left_out} images are"
    return f"{images} left out; --image takes one at a time, counted from 0"


def report_on(
    source: Path,
    target: Path,
    status: str,
    *,
    notes: Iterable[str] = (),
    left_out: int = 0,
    **rest: Any,
) -> dict[str, Any]:
    """Return what is told of one input, to people and machines.

    A file of which images are left out is not done, whatever came of the one that is read.
    """
    if left_out:
        status = "partly failed" if status in ("completed", "skipped") else status
        rest["left_out"] = left_out
    common = {"input": str(source), "output": str(target), "status": status}
    return {**common, "notes": list(notes), **rest}
