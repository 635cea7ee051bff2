"""What is to do for each input: all that can be settled and refused before any work."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_msdip import io
from napari_msdip._cli.exits import UsageError, message, naming, refusing
from napari_msdip._cli.made import difference, has_scales, inputs_of, recorded, told
from napari_msdip._cli.names import called_as_scales, name_results, scales_of
from napari_msdip._cli.parts import Parts
from napari_msdip._cli.selection import Selection, check_size, metadata_of
from napari_msdip._cli.words import in_flags
from napari_msdip.io import FileError
from napari_msdip.pixels import result_dtype
from napari_msdip.stores import Leftover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from napari_msdip._cli.console import Console
    from napari_msdip.io import Source
    from napari_msdip.options import Options
    from napari_msdip.planes import PlaneLayout

__all__ = ["Task", "in_short", "prepare"]


@dataclass(frozen=True)
class Task:
    """One file to denoise."""

    source: Path
    target: Path
    left: Leftover | None
    selection: Selection
    layout: PlaneLayout
    notes: tuple[str, ...]
    left_out: int

    @property
    def is_stack(self) -> bool:
        """Whether it is denoised plane by plane."""
        return bool(self.layout.plane_axes)

    @contextmanager
    def opened(self) -> Iterator[Source]:
        """Open the file again."""
        axes, image = self.selection.axes, self.selection.image
        with io.open_image(self.source, axes=axes, image=image) as source:
            if source.data.shape != self.layout.shape:
                raise FileError(f"{self.source}: has changed since it was looked at")
            yield source

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
    planner = _Planner(parsed, Selection.of(parsed), options, Parts(console.note), console)
    inputs = io.places(paths)
    reports: list[dict[str, Any]] = []
    tasks = []
    for path, target in zip(paths, targets, strict=True):
        if planner.parts.leaves_out(path):
            continue
        left = _left_to_do(target) if parsed.resume else None
        if parsed.resume and target.exists() and left is None:
            reports.append(planner.skip(path, target))
            continue
        # What is left of a stack counts once it is known whether this is one.
        permitted = parsed.overwrite or left is not None
        io.check_output(target, overwrite=permitted, inputs=inputs)
        try:
            tasks.append(planner.plan(path, target, left))
        except Exception as error:  # Whatever this file does to a third-party reader.
            if len(paths) == 1 and isinstance(error, (FileError, OSError)):
                raise
            reports.append(planner.failed(path, target, error))
    like_scales = called_as_scales([*paths, *targets])
    for task in tasks:
        planner.check_scales(task, like_scales)
        planner.check_partial(task)
    return tasks, reports


@dataclass(frozen=True)
class _Planner:
    """Looks at files before any work, to settle or refuse what is asked for."""

    parsed: argparse.Namespace
    selection: Selection
    options: Options
    parts: Parts
    console: Console

    def skip(self, path: Path, target: Path) -> dict[str, Any]:
        """Return the report on a result that is there, if it is the one asked for."""
        try:
            made = recorded(target)
            with self.selection.opened(path, self.parts) as (source, layout):
                found = self._difference(target, made, source, layout)
            if found:
                raise FileError(
                    f"{target}: is there already, but was made otherwise ({found}); choose "
                    "another output, or --overwrite without --resume to replace it"
                )
        except Exception as error:  # Whatever this file does to a third-party reader.
            return self.failed(path, target, error)
        if source.left_out:
            self.console.note(f"{path}: {in_short(source.left_out)}")
        notes = self._notes(target, source)
        return report_on(path, target, "skipped", notes=notes, left_out=source.left_out)

    def _difference(
        self, target: Path, made: Mapping[str, Any], source: Source, layout: PlaneLayout
    ) -> str:
        """Say in what a result differs from what is asked for, nothing if it does not."""
        found = ""
        if made.get("options"):
            found = difference(made, source, layout, self.selection.planes, self.options)
        else:
            self.console.note(
                f"{target}: is there already and does not tell what it was made of, so it "
                "is not compared"
            )
        wanted = self.parsed.save_scales and not layout.plane_axes
        if not found and wanted and not has_scales(target, made):
            return "without its scales"
        return found

    def failed(self, path: Path, target: Path, error: Exception) -> dict[str, Any]:
        """Return the report on a file that an error ends, after saying it."""
        text = message(error) if isinstance(error, FileError) else naming(path, error)
        self.console.error(text, error)
        return report_on(path, target, "failed", error=text)

    def plan(self, path: Path, target: Path, left: Leftover | None) -> Task:
        """Look at a file's header and settle what to do with it.

        Raises
        ------
        FileError
            If it cannot be done.
        """
        with self.selection.opened(path, self.parts) as (source, layout):
            if target.resolve() in source.parts:
                raise FileError(
                    f"{target}: is a part of the image in {path}; choose another name for "
                    "the output"
                )
            check_size(source, layout)
            dtype = np.dtype(source.data.dtype)
            if dtype.kind not in "iuf":
                raise FileError(
                    f"{path}: has pixels of type {dtype}, which cannot be denoised; give "
                    "integers or real floating-point numbers"
                )
            made = result_dtype(dtype, self.options.output_dtype)
            axes = metadata_of(source, self.selection.planes, layout).axes
            shape = self.selection.layout_within(layout).shape
            io.check_format(target, axes, made, shape)
        notes = tuple(self._notes(target, source))
        return Task(path, target, left, self.selection, layout, notes, source.left_out)

    def _notes(self, target: Path, source: Source) -> list[str]:
        """Return what a person should know of a file before it becomes this result."""
        dtype = result_dtype(source.data.dtype, self.options.output_dtype)
        notes = (*source.notes, *io.lost_in(target, source, dtype))
        return [in_flags(note) for note in notes]

    def check_scales(self, task: Task, like_scales: Mapping[Path, Path]) -> None:
        """Make sure that the scales of an image would replace nothing of value."""
        if task.is_stack or not self.parsed.save_scales:
            return
        taken = like_scales.get(task.target.parent.resolve() / task.target.name)
        if taken is not None:
            raise UsageError(
                f"{taken}: is an input or another result, and --save-scales would write a "
                f"scale of {task.target} there; choose another name or folder"
            )
        if self.parsed.overwrite:
            return
        for found in scales_of(task.target):
            if self.parsed.resume and self._is_the_same(found, task):
                continue
            raise UsageError(f"{found}: exists already; --overwrite replaces it")

    def _is_the_same(self, scale: Path, task: Task) -> bool:
        """Whether a scale was made as this image will be, by a run that was killed, say."""
        made, planes = told(scale), self.selection.planes
        if not made.get("options"):
            return False
        with task.opened() as source:
            return not difference(made, source, task.layout, planes, self.options)

    def check_partial(self, task: Task) -> None:
        """Make sure that what is left of a stack is not lost, nor replaces more."""
        left = task.store
        if self.parsed.overwrite or not left.exists():
            return
        if not task.is_stack:
            raise UsageError(
                f"{left}: is left of a stack with planes to do, but {task.source} is a "
                "single image with these flags; choose another output, or --overwrite to "
                "replace it"
            )
        if not self.parsed.resume:
            raise UsageError(
                f"{left}: is left of a run that did not finish; --resume goes on with "
                "it, --overwrite begins anew"
            )
        if os.path.lexists(task.target) and not task.replaces_own:
            raise UsageError(
                f"{task.target}: exists already, and {left} is left of another run that "
                "did not finish; with --overwrite as well, --resume goes on with that and "
                "replaces the file"
            )


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
