"""What the commands of the command line do."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import re
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from napari_msdip import io
from napari_msdip._cli.console import Interrupt, duration
from napari_msdip._cli.exits import Exit, UsageError, naming, refusing
from napari_msdip._cli.flags import options_from
from napari_msdip._cli.made import difference, made_of, recorded
from napari_msdip._judgement import in_words, judgement, undecided
from napari_msdip.events import Status
from napari_msdip.io import FileError, Source
from napari_msdip.planes import PlaneLayout, read_plane, select
from napari_msdip.sinks import Leftover, ZarrOut, note_copy
from napari_msdip.steps import drive

if TYPE_CHECKING:
    import argparse
    from collections.abc import (
        Callable,
        Generator,
        Iterable,
        Mapping,
        Sequence,
    )

    from napari_msdip._cli.console import Console
    from napari_msdip.events import Progress, Result, StackResult
    from napari_msdip.io import Metadata
    from napari_msdip.options import Options

__all__ = [
    "Engine",
    "denoise_files",
    "load_engine",
    "measure_noise",
    "ready",
    "scale_path",
    "show_info",
]

# What an engine raises for one image that it cannot denoise.
_REFUSALS = (ArithmeticError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Engine:
    """The part of the program that takes seconds to import.

    Attributes
    ----------
    check : callable
        Given Options, raises if this machine cannot fulfil them.
    iter_denoise, denoise_stack, estimate_sigma, assess : callable
        As in :mod:`napari_msdip`; ``iter_denoise`` copes with little memory.
    """

    check: Callable[[Options], None]
    iter_denoise: Callable[..., Generator[Progress, None, Result]]
    denoise_stack: Callable[..., StackResult]
    estimate_sigma: Callable[..., float]
    assess: Callable[..., Any]


def load_engine() -> Engine:
    """Import torch and everything that needs it."""
    from napari_msdip.noise import estimate_sigma
    from napari_msdip.quality import assess
    from napari_msdip.stack import denoise_stack

    return Engine(_check, _iter_denoise, denoise_stack, estimate_sigma, assess)


def _check(options: Options) -> None:
    from napari_msdip import devices, features

    devices.select(options.device)
    if options.vgg_weights is not None:
        features.check_weight_file(options.vgg_weights)
    if options.consistency == "vgg16":
        features.load_vgg16(options.vgg_weights)


def _iter_denoise(
    image: Any,
    options: Options,
    *,
    channel_axis: int | None,
    should_stop: Callable[[], bool],
) -> Generator[Progress, None, Result]:
    from napari_msdip import tiling
    from napari_msdip.plan import resolve

    layout = PlaneLayout.of(image.shape, channel_axis)
    plan = resolve(options, layout.size_yx, 0.0, channels=layout.channels)
    return tiling.iter_denoise_fitting(
        image,
        options,
        channel_axis=channel_axis,
        should_stop=should_stop,
        tile=tiling.choose_tile(plan),
    )


@dataclass(frozen=True)
class _Task:
    """One file to denoise."""

    source: Path
    target: Path
    left: Leftover | None
    axes: str | None
    channel_axis: int | None
    planes: slice | list[int] | None
    is_stack: bool

    @property
    def store(self) -> Path:
        """Where the planes of a stack go until all are done."""
        return self.left.store if self.left else io.partial_path(self.target)

    @property
    def replaces_own(self) -> bool:
        """Whether a result that is there came of the same planes."""
        return self.left is not None and self.left.gave(self.target)

    def is_copied(self, failed: Mapping[str, str]) -> bool:
        """Whether the result that is there lacks just these planes."""
        copied = self.replaces_own and self.target.exists()
        return copied and self.left is not None and self.left.failed == failed


def denoise_files(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Denoise every input; one that fails does not keep the others from being done."""
    options = options_from(parsed)
    tasks, reports = _prepare(parsed, options, console)
    engine = ready(load, options) if tasks else None
    client = _connect(parsed.scheduler) if parsed.scheduler else None
    stop = Interrupt(console)
    with client or contextlib.nullcontext(), stop.listening():
        for number, task in enumerate(tasks, 1):
            if stop.asked or engine is None:
                reports.append(_report(task.source, task.target, "not begun"))
                continue
            label = f"[{number}/{len(tasks)}] {task.source.name}"
            run = _Run(task, options, engine, console, stop, label, parsed, client)
            reports.append(run.denoise())
    return _finish(reports, console)


@refusing()
def _prepare(
    parsed: argparse.Namespace, options: Options, console: Console
) -> tuple[list[_Task], list[dict[str, Any]]]:
    """Return what to do, and reports on what needs or allows no work."""
    paths = io.expand(parsed.inputs)
    targets = _targets(paths, parsed.output, options)
    planes = _parse_planes(parsed.planes)
    inputs = io.places(paths)
    reports: list[dict[str, Any]] = []
    tasks = []
    for path, target in zip(paths, targets, strict=True):
        left = _left_to_do(target) if parsed.resume else None
        if parsed.resume and target.exists() and left is None:
            reports.append(_skip(path, target, parsed, planes, options, console))
            continue
        _check_target(target, left, parsed, inputs)
        try:
            tasks.append(_plan(path, target, left, parsed, planes, options))
        except FileError as error:
            if len(paths) == 1:
                raise
            console.error(str(error))
            reports.append(_report(path, target, "failed", error=str(error)))
    like_scales = _like_scales([*paths, *targets])
    for task in tasks:
        _check_scales(task, parsed, like_scales)
    for task in tasks:
        _check_partial(task, parsed)
    return tasks, reports


def _skip(
    path: Path,
    target: Path,
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    options: Options,
    console: Console,
) -> dict[str, Any]:
    """Return the report on a result that is there, if it is the one asked for."""
    try:
        made = recorded(target)
        if not made.get("options"):
            console.note(
                f"{target}: is there already and does not tell what it was made of, so "
                "it is not compared"
            )
            return _report(path, target, "skipped")
        with io.open_image(path, axes=parsed.axes) as source:
            _, layout = _layout(source, parsed.channel_axis)
            _check_planes(path, parsed.planes, planes, layout)
            found = difference(made, source, layout, planes, options)
        if found:
            raise FileError(
                f"{target}: is there already, but was made otherwise ({found}); choose "
                "another output, or --overwrite without --resume to replace it"
            )
    except FileError as error:
        console.error(str(error))
        return _report(path, target, "failed", error=str(error))
    return _report(path, target, "skipped")


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


def _check_target(
    target: Path,
    left: Leftover | None,
    parsed: argparse.Namespace,
    inputs: Mapping[Path, Path],
) -> None:
    """Make sure that the result can be written and replaces nothing of value."""
    own = left is not None and left.gave(target)
    if target.exists() and left is not None and not own and not parsed.overwrite:
        raise UsageError(
            f"{target}: exists already, and {left.store} is left of another run that did "
            "not finish; with --overwrite as well, --resume goes on with that and "
            "replaces the file"
        )
    io.check_output(target, overwrite=parsed.overwrite or own, inputs=inputs)


def ready(load: Callable[[], Engine], options: Options) -> Engine:
    """Load the engine and make sure that it can do what the options ask."""
    engine = load()
    try:
        engine.check(options)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error
    return engine


def _targets(paths: Sequence[Path], output: str, options: Options) -> list[Path]:
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


def _parse_planes(text: str | None) -> slice | list[int] | None:
    if text is None:
        return None
    try:
        if ":" not in text:
            return [int(part) for part in text.split(",")]
        parts = [int(part) if part else None for part in text.split(":")]
        return slice(*parts)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--planes {text}: give a number, a range such as 10:20, or a list such as "
            "3,5,8"
        ) from error


def _plan(
    path: Path,
    target: Path,
    left: Leftover | None,
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    options: Options,
) -> _Task:
    """Look at a file's header and settle what to do with it.

    Raises
    ------
    FileError
        If it cannot be done.
    """
    with io.open_image(path, axes=parsed.axes) as source:
        channel_axis, layout = _layout(source, parsed.channel_axis)
        is_stack = bool(layout.plane_axes)
        _check_planes(path, parsed.planes, planes, layout)
        dtype = np.dtype(source.data.dtype)
        if options.output_dtype == "float32":
            dtype = np.dtype(np.float32)
        io.check_format(target, _selected(source, planes, layout).axes, dtype)
    return _Task(path, target, left, parsed.axes, channel_axis, planes, is_stack)


def _selected(
    source: Source, planes: slice | list[int] | None, layout: PlaneLayout
) -> Metadata:
    """Return what holds for the planes that are denoised."""
    if planes is None:
        return source.metadata
    chosen = select(planes, layout.n_planes)
    return source.metadata.select(chosen, layout.shape, layout.channel_axis)


def _layout(source: Source, wanted: str | None) -> tuple[int | None, PlaneLayout]:
    axes, shape = source.metadata.axes, source.data.shape
    channel_axis = _channel_axis(source, wanted)
    spatial = [axis for axis in range(len(axes)) if axis != channel_axis][-2:]
    if [axes[axis] for axis in spatial] != ["Y", "X"]:
        raise FileError(
            f"{source.path}: its dimensions are {axes} {shape}, but Y and X have to be "
            f"the last ones beside the channel axis; {_way_out(axes)}"
        )
    try:
        return channel_axis, PlaneLayout.of(shape, channel_axis)
    except ValueError as error:
        raise FileError(f"{source.path}: {error}") from error


def _way_out(axes: str) -> str:
    """Say what makes dimensions in this order acceptable."""
    others = axes.replace("Y", "").replace("X", "")
    inner = [letter for letter in others if axes.index(letter) > axes.index("Y")]
    if len(inner) == 1 and inner[0] != "Q" and axes.index("Y") < axes.index("X"):
        return (
            f"--channel-axis {inner[0]} denoises all of {inner[0]} together, and --axes "
            "corrects the letters"
        )
    return "--axes corrects the letters"


def _channel_axis(source: Source, wanted: str | None) -> int | None:
    axes = source.metadata.axes
    if wanted is None:
        return axes.index("S") if "S" in axes else None
    if wanted.lower() == "none":
        return None
    if wanted.upper() in axes and len(wanted) == 1:
        return axes.index(wanted.upper())
    if wanted.lstrip("-").isdigit() and -len(axes) <= int(wanted) < len(axes):
        return int(wanted) % len(axes)
    raise FileError(f"{source.path}: --channel-axis {wanted}: its dimensions are {axes}")


def _check_planes(
    path: Path, text: str, planes: slice | list[int] | None, layout: PlaneLayout
) -> None:
    if planes is None:
        return
    if not layout.plane_axes:
        raise FileError(f"{path}: --planes {text}: this is a single image, not a stack")
    try:
        select(planes, layout.n_planes)
    except ValueError as error:
        # Without the Python in front, which nobody typed here.
        reason = str(error).partition(": ")[2]
        raise FileError(f"{path}: --planes {text}: {reason}") from error


def _check_partial(task: _Task, parsed: argparse.Namespace) -> None:
    """Decide about what an earlier, unfinished run left."""
    unfinished = io.partial_path(task.target)
    if not task.is_stack or parsed.resume or parsed.overwrite:
        return
    if unfinished.exists():
        raise UsageError(
            f"{unfinished}: is left of a run that did not finish; --resume goes on with "
            "it, --overwrite begins anew"
        )


def _like_scales(paths: Iterable[Path]) -> dict[Path, Path]:
    """Map results to the paths that are called as their scales would be."""
    found = {}
    for path in paths:
        stem, suffix = io.split_suffix(path)
        match = re.fullmatch(r"(.+)\.scale\d+", stem)
        if match:
            found[path.parent.resolve() / f"{match[1]}{suffix}"] = path
    return found


def _check_scales(
    task: _Task, parsed: argparse.Namespace, like_scales: Mapping[Path, Path]
) -> None:
    """Make sure that the scales of an image would replace nothing."""
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
    stem, suffix = io.split_suffix(task.target)
    for found in task.target.parent.glob(f"{glob.escape(stem)}.scale[0-9]*{suffix}"):
        raise UsageError(f"{found}: exists already; --overwrite replaces it")


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--scheduler: needs dask.distributed; pip install 'napari-msdip[cluster]'"
        ) from error
    try:
        return Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: no answer ({error})") from error


def _report(source: Path, target: Path, status: str, **rest: Any) -> dict[str, Any]:
    return {"input": str(source), "output": str(target), "status": status, **rest}


@dataclass(frozen=True)
class _Run:
    """One file being denoised."""

    task: _Task
    options: Options
    engine: Engine
    console: Console
    stop: Interrupt
    label: str
    parsed: argparse.Namespace
    client: Any

    def denoise(self) -> dict[str, Any]:
        """Denoise the file and return the report on it."""
        task = self.task
        try:
            with io.open_image(task.source, axes=task.axes) as source:
                for note in source.notes:
                    self.console.note(f"{task.source}: {note}")
                report = self._stack(source) if task.is_stack else self._image(source)
        except (FileError, *_REFUSALS) as error:
            if self.parsed.debug:
                raise
            text = naming(task.source, error)
            self.console.error(text)
            report = _report(task.source, task.target, "failed", error=text)
        return report

    def _show(self, progress: Progress) -> None:
        where = f"scale {progress.n_scales - progress.scale}/{progress.n_scales}"
        if progress.n_planes > 1:
            where = f"plane {progress.plane + 1}/{progress.n_planes}, {where}"
        label = f"{self.label}: {where}"
        self.console.show(label, progress.fraction, progress.eta_seconds)

    def _image(self, source: Source) -> dict[str, Any]:
        with io.reading(source.path):
            image = np.asarray(source.data)
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        axis = self.task.channel_axis
        steps = self.engine.iter_denoise(
            image, self.options, channel_axis=axis, should_stop=self.stop
        )
        result = drive(steps, self._show)
        completed = result.status is Status.COMPLETED
        target = self.task.target if completed else _free_name(self.task.target)
        layout = PlaneLayout.of(image.shape, axis)
        made = made_of(source, layout, [0], self.options)
        save = partial(
            io.save_image,
            overwrite=self.parsed.overwrite,
            provenance=result.provenance() | made,
        )
        save(target, result.image, source.metadata, alpha=source.alpha)
        if self.parsed.save_scales:
            for number, scale in enumerate(result.scales):
                metadata = source.metadata.resampled(scale.zoom)
                save(scale_path(target, number), scale.image, metadata)
        quality = self._judge(image, result.image, axis)
        self.console.say(f"{source.path} -> {target} ({duration(result.seconds)})")
        self.console.say(f"  {in_words(quality)}")
        if not completed:
            self.console.say(
                "  cancelled: this is the best image so far, not the final one"
            )
        return _report(
            source.path,
            target,
            result.status.value,
            sigma=result.sigma,
            seconds=result.seconds,
            quality=quality,
            provenance=result.provenance(),
        )

    def _stack(self, source: Source) -> dict[str, Any]:
        task = self.task
        layout = PlaneLayout.of(source.data.shape, task.channel_axis)
        metadata = _selected(source, task.planes, layout)
        if self.parsed.save_scales:
            self.console.note(f"{source.path}: is a stack, so no scales are saved")
        interim = task.target.suffix.lower() != ".zarr"
        if not self.parsed.resume and task.store.exists():
            # Not before: what is left is worth something until this run begins.
            shutil.rmtree(task.store)
        result = self.engine.denoise_stack(
            source.data,
            self.options,
            channel_axis=task.channel_axis,
            planes=task.planes,
            out=ZarrOut(task.store, metadata, interim=interim, reordered=True),
            on_progress=self._show,
            should_stop=self.stop,
            client=self.client,
        )
        completed = result.status is Status.COMPLETED and not result.pending
        if completed and len(result.failed) == len(result.planes):
            self._refuse_copy(result)
        quality = self._judge_plane(source, layout, result)
        if completed:
            try:
                _settle(task, result, source, metadata, self)
            except FileError as error:
                raise FileError(
                    f"{error}; the finished planes are kept in {task.store}, and --resume "
                    "goes on with them"
                ) from error
        report = self._stack_report(source, result, completed=completed)
        if quality:
            self.console.say(f"  plane {quality['plane']}: {in_words(quality)}")
        return report | {"quality": quality}

    def _refuse_copy(self, result: StackResult) -> NoReturn:
        """Take nothing for a result if no plane could be denoised."""
        shutil.rmtree(self.task.store)
        plane, reason = next(iter(result.failed.items()))
        raise FileError(
            f"{self.task.source}: none of its {len(result.planes)} planes could be "
            f"denoised (plane {plane}: {reason})"
        )

    def _judge_plane(
        self, source: Source, layout: PlaneLayout, result: StackResult
    ) -> dict[str, Any] | None:
        """Compare the middle one of the denoised planes with its input."""
        untouched = {*result.pending, *result.failed}
        done = [plane for plane in result.planes if plane not in untouched]
        if not done:
            return None
        plane = done[len(done) // 2]
        if self.task.planes is None:
            position, denoised_layout = plane, layout
        else:
            position = result.planes.index(plane)
            denoised_layout = layout.selection(len(result.planes))
        quality = self._judge(
            read_plane(source.data, layout, plane),
            read_plane(result.image, denoised_layout, position),
            layout.plane_channel_axis,
        )
        return {"plane": plane, **quality}

    def _judge(self, noisy: Any, denoised: Any, channel_axis: int | None) -> dict[str, str]:
        try:
            return judgement(self.engine.assess(noisy, denoised, channel_axis=channel_axis))
        except _REFUSALS as error:
            return undecided(error)

    def _stack_report(
        self, source: Source, result: StackResult, *, completed: bool
    ) -> dict[str, Any]:
        target = self.task.target if completed else self.task.store
        say = self.console.say
        say(f"{source.path} -> {target} ({duration(result.seconds)})")
        for plane, reason in result.failed.items():
            self.console.error(f"{source.path}: plane {plane}: {reason}")
        if result.failed:
            n_failed, n_planes = len(result.failed), len(result.planes)
            hint = f"; --resume tries them again{self._kept()}" if completed else ""
            say(f"  {n_failed} of {n_planes} planes could not be denoised{hint}")
        status = "partly failed" if result.failed else result.status.value
        if not completed:
            status = "cancelled" if self.stop.asked else "unfinished"
            done = len(result.planes) - len(result.pending)
            say(f"  {status}: {done} of {len(result.planes)} planes done; --resume goes on")
        return _report(
            source.path,
            target,
            status,
            planes=list(result.planes),
            failed=dict(result.failed),
            pending=list(result.pending),
            seconds=result.seconds,
            plan=result.plan.to_dict() if result.plan else None,
        )

    def _kept(self) -> str:
        """Name what is kept of a stack beside its result."""
        store = self.task.store
        beside = store.exists() and store != self.task.target
        return f", and {store} is kept for that" if beside else ""


def scale_path(target: Path, number: int) -> Path:
    """Return where the result of one scale goes, 0 being the finest."""
    stem, suffix = io.split_suffix(target)
    return target.with_name(f"{stem}.scale{number}{suffix}")


def _free_name(target: Path) -> Path:
    """Return a name that says that the image is unfinished and that is not taken."""
    stem, suffix = io.split_suffix(target)
    name = target.with_name(f"{stem}.unfinished{suffix}")
    number = 2
    while name.exists():
        name = target.with_name(f"{stem}.unfinished-{number}{suffix}")
        number += 1
    return name


def _settle(
    task: _Task, result: StackResult, source: Source, metadata: Metadata, run: _Run
) -> None:
    """Give a stack its final name and format once every plane was tried."""
    overwrite = run.parsed.overwrite or task.replaces_own
    if task.target.suffix.lower() == ".zarr":
        if task.store != task.target:
            stored = metadata.reordered(io.ngff_order(metadata.axes))
            io.annotate_zarr(task.store, stored, name=io.split_suffix(task.target)[0])
            io.name_finished(task.store, task.target, overwrite=overwrite)
        return
    failed = {str(plane): reason for plane, reason in result.failed.items()}
    if not task.is_copied(failed):
        layout = PlaneLayout.of(source.data.shape, task.channel_axis)
        done = [plane for plane in result.planes if plane not in result.failed]
        provenance = {
            **made_of(source, layout, done, run.options),
            "seconds": result.seconds,
            "planes": list(result.planes),
            "failed": failed,
            "plan of the last plane": result.plan.to_dict() if result.plan else None,
        }
        io.save_image(
            task.target, result.image, metadata, overwrite=overwrite, provenance=provenance
        )
    if failed:
        # Another run may have more luck with them.
        note_copy(task.store, task.target.name, failed)
    else:
        shutil.rmtree(task.store)


def _finish(reports: list[dict[str, Any]], console: Console) -> Exit:
    counts = Counter(report["status"] for report in reports)
    if counts["cancelled"] or counts["not begun"]:
        code = Exit.CANCELLED
    elif counts["failed"] or counts["partly failed"] or counts["unfinished"]:
        code = Exit.FAILED
    else:
        code = Exit.OK
    if len(reports) > 1:
        console.say(", ".join(f"{count} {status}" for status, count in counts.items()))
    elif counts["skipped"]:
        console.say(f"{reports[0]['output']}: is there already, nothing to do")
    console.emit({"exit_code": int(code), "files": reports})
    return code


def measure_noise(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Estimate the noise level of every input."""
    with refusing():
        paths = io.expand(parsed.inputs)
    planes = _parse_planes(parsed.planes)
    engine = load()
    reports = []
    for number, path in enumerate(paths, 1):
        try:
            report = _noise_of(path, parsed, planes, engine)
            console.say(
                f"{path}: {report['sigma']:.4g} ({report['share']:.2%} of its range)"
            )
        except (FileError, *_REFUSALS) as error:
            if parsed.debug:
                raise
            text = naming(path, error)
            console.error(text)
            report = {"input": str(path), "error": text}
        reports.append(report)
        console.show("noise", number / len(paths), None)
    console.clear()
    failed = any("error" in report for report in reports)
    code = Exit.FAILED if failed else Exit.OK
    console.emit({"exit_code": int(code), "files": reports})
    return code


def _noise_of(
    path: Path,
    parsed: argparse.Namespace,
    planes: slice | list[int] | None,
    engine: Engine,
) -> dict[str, Any]:
    with io.open_image(path, axes=parsed.axes) as source:
        _, layout = _layout(source, parsed.channel_axis)
        _check_planes(path, parsed.planes, planes, layout)
        sigmas, low, high = [], np.inf, -np.inf
        for index in select(planes, layout.n_planes):
            with io.reading(path):
                plane = read_plane(source.data, layout, index)
            axis = layout.plane_channel_axis
            sigmas.append(float(engine.estimate_sigma(plane, channel_axis=axis)))
            low, high = min(low, float(plane.min())), max(high, float(plane.max()))
    sigma = float(np.median(sigmas))
    share = sigma / (high - low) if high > low else 0.0
    report = {"input": str(path), "sigma": sigma, "range": [low, high], "share": share}
    return report if len(sigmas) == 1 else {**report, "sigma_of_planes": sigmas}


_PACKAGES = (
    "napari-msdip torch torchvision numpy scikit-image tifffile imagecodecs zarr napari "
    "npe2 magicgui dask distributed"
).split()


def show_info(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Show versions, devices, memory and weights."""
    info: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }
    if "torch" not in sys.modules:
        console.note("loading PyTorch, which can take a while")
    try:
        info |= _torch_info()
    except ImportError as error:
        info["devices"] = {"error": f"PyTorch cannot be loaded: {error}"}
    _say_tree(console, info)
    console.emit(info)
    return Exit.OK


def _version(name: str) -> str | None:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return None


def _torch_info() -> dict[str, Any]:
    import torch

    from napari_msdip import devices, features

    cores = devices.cpu_count()
    found = {"cpu": "1 core" if cores == 1 else f"{cores} cores"}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    chosen = devices.select("auto")
    free = {name: f"{devices.available_memory(name) / 2**30:.1f} GiB" for name in found}
    return {
        "devices": found,
        "auto device": chosen,
        "auto precision": devices.select_precision("auto", chosen),
        "free memory": free,
        "VGG-16 weights": features.weights_info(),
    }


def _say_tree(console: Console, tree: dict[str, Any], indent: str = "") -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            console.say(f"{indent}{key}:")
            _say_tree(console, value, indent + "  ")
        else:
            console.say(f"{indent}{key}: {'not installed' if value is None else value}")
