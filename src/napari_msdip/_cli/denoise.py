"""``napari-msdip denoise``: every input in turn, and a report on each."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from napari_msdip import io
from napari_msdip._cli.console import Interrupt
from napari_msdip._cli.engine import loaded, ready
from napari_msdip._cli.exits import Exit, UsageError, abort, naming
from napari_msdip._cli.flags import options_from
from napari_msdip._cli.made import made_of, previews_made_of, scales_made_with, told
from napari_msdip._cli.names import free_name, scale_path, scales_of
from napari_msdip._cli.selection import metadata_of
from napari_msdip._cli.tasks import in_short, prepare
from napari_msdip._cli.words import in_flags
from napari_msdip._judgement import in_words, judged
from napari_msdip._numbers import duration
from napari_msdip.events import Status, endings
from napari_msdip.io import FileError
from napari_msdip.planes import read_plane
from napari_msdip.steps import drive
from napari_msdip.stores import ZarrOut, describe, is_unfit, noting_copy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from napari_msdip._cli.console import Console
    from napari_msdip._cli.engine import Engine
    from napari_msdip._cli.tasks import Task
    from napari_msdip.events import Progress, Result, StackResult
    from napari_msdip.io import Metadata, Source
    from napari_msdip.options import Options

__all__ = ["denoise_files"]

_NOT_BEGUN = "not begun"


def denoise_files(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Denoise every input; one that fails does not keep the others from being done."""
    options = options_from(parsed)
    tasks, reports = prepare(parsed, options, console)
    try:
        _denoise_each(tasks, reports, parsed, options, console, load)
    except KeyboardInterrupt:
        return abort(console, reports)
    return _finish(reports, console)


def _denoise_each(
    tasks: list[Task],
    reports: list[dict[str, Any]],
    parsed: argparse.Namespace,
    options: Options,
    console: Console,
    load: Callable[[], Engine],
) -> None:
    """Do what is to do, adding a report on each to those that are there."""
    engine = _engine(tasks, parsed, options, load) if tasks else None
    client = _connect(parsed.scheduler) if parsed.scheduler else None
    stop = Interrupt(console)
    _sweep_skipped(reports)
    with client or contextlib.nullcontext(), stop.listening():
        for number, task in enumerate(tasks, 1):
            if stop.asked or engine is None:
                reports.append(task.report(task.target, _NOT_BEGUN))
                continue
            label = f"[{number}/{len(tasks)}] {task.source.name}"
            run = _Run(task, options, engine, console, stop, label, parsed, client)
            reports.append(run.denoise())


def _engine(
    tasks: list[Task],
    parsed: argparse.Namespace,
    options: Options,
    load: Callable[[], Engine],
) -> Engine:
    if parsed.scheduler and any(task.is_stack for task in tasks):
        # A head node need not have the device, or the weights, that its workers have.
        return loaded(load)
    return ready(load, options)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--scheduler: needs dask.distributed; pip install 'dask[array,distributed]'"
        ) from error
    try:
        return Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: no answer ({error})") from error


def _sweep_skipped(reports: Iterable[Mapping[str, Any]]) -> None:
    """Remove what is left if a kill came while the planes of a result were removed."""
    for report in reports:
        if report["status"] == "skipped":
            with contextlib.suppress(FileError):
                io.discard(io.partial_path(Path(report["output"])))


@dataclass(frozen=True)
class _Run:
    """One file being denoised."""

    task: Task
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
        for note in task.notes:
            self.console.note(f"{task.source}: {note}")
        try:
            self._refuse_if_done()
            with task.opened() as source:
                report = self._stack(source) if task.is_stack else self._image(source)
            if task.left_out:
                self.console.say(f"  {in_short(task.left_out)}")
        except Exception as error:  # Whatever this file does to a third-party reader.
            text = naming(task.source, error)
            self.console.error(text, error)
            report = self._report(task.target, "failed", error=text)
        return report

    def _refuse_if_done(self) -> None:
        """Refuse what another run has done since this one looked what there is to do."""
        task = self.task
        if task.left is not None and not task.left.store.exists():
            raise self._taken()
        if os.path.lexists(task.target) and not (self.parsed.overwrite or task.left):
            raise FileError(f"{task.target}: exists by now, so another run has made it")

    def _taken(self) -> FileError:
        return FileError(
            f"{self.task.store}: is gone, so another run has finished with it; let one at "
            "a time write there"
        )

    def _report(self, target: Path, status: str, **rest: Any) -> dict[str, Any]:
        return self.task.report(target, status, **rest)

    def _show(self, progress: Progress) -> None:
        where = f"scale {progress.nth_scale}/{progress.n_scales}"
        if progress.n_planes > 1:
            where = f"plane {progress.plane + 1}/{progress.n_planes}, {where}"
        label = f"{self.label}: {where}"
        self.console.show(label, progress.fraction, progress.eta_seconds)

    def _image(self, source: Source) -> dict[str, Any]:
        if self.parsed.scheduler:
            self.console.note(
                f"{source.path}: is a single image, so it is denoised on this machine, not "
                "on the cluster"
            )
        with io.reading(source.path):
            image = np.asarray(source.data)
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        layout = self.task.layout
        axis = layout.channel_axis
        steps = self.engine.iter_denoise(
            image, self.options, channel_axis=axis, should_stop=self.stop
        )
        result = drive(steps, self._show)
        completed = result.status is Status.COMPLETED
        if not (completed or result.scales):
            self.console.say(f"{source.path}: cancelled before there was anything to keep")
            return self._report(self.task.target, _NOT_BEGUN)
        target = self.task.target if completed else free_name(self.task.target)
        made = made_of(source, layout, [0], self.options)
        if completed:
            # Before: a kill in between must not leave it beside a result of another run.
            _tidy(io.partial_path(target), self.console)
        self._save(target, result, source, result.provenance() | made)
        if completed:
            for preview in previews_made_of(target, made):
                _tidy(preview, self.console)
        quality = self._judge(image, result.image, axis)
        return self._image_report(source, target, result, quality)

    def _image_report(
        self, source: Source, target: Path, result: Result, quality: dict[str, str]
    ) -> dict[str, Any]:
        say = self.console.say
        say(f"{source.path} -> {target} ({duration(result.seconds)})")
        say(f"  {in_words(quality)}")
        say(f"  {endings(result.scales)}")
        if result.status is not Status.COMPLETED:
            say("  cancelled: this is the best image so far, not the final one")
        return self._report(
            target,
            result.status.value,
            sigma=result.sigma,
            seconds=result.seconds,
            quality=quality,
            provenance=result.provenance(),
        )

    def _save(
        self, target: Path, result: Result, source: Source, provenance: dict[str, Any]
    ) -> None:
        """Write an image, after its scales: what is there has all that belongs to it."""
        overwrite, scales = self.parsed.overwrite, []
        before = self._scales_before(target) if overwrite else []
        for scale in result.scales if self.parsed.save_scales else ():
            scales.append(scale_path(target, scale.scale))
            io.save_image(
                scales[-1],
                scale.image,
                source.metadata.resampled(scale.zoom),
                # What a killed run left of them was looked at before.
                overwrite=overwrite or self.parsed.resume,
                provenance=provenance,
            )
        io.save_image(
            target,
            result.image,
            source.metadata,
            overwrite=overwrite,
            alpha=source.alpha,
            provenance=provenance,
        )
        for path in {*before} - {*scales}:
            _tidy(path, self.console)

    def _scales_before(self, target: Path) -> list[Path]:
        """Return the scales that a result loses its use for when it is replaced."""
        if self.parsed.save_scales:
            return scales_of(target)
        # Others may be results of their own, of an input that is called like a scale.
        before = told(target)
        return scales_made_with(target, before) if before.get("scales") else []

    def _stack(self, source: Source) -> dict[str, Any]:
        task = self.task
        planes = task.selection.planes
        metadata = metadata_of(source, planes, task.layout)
        if self.parsed.save_scales:
            self.console.note(f"{source.path}: is a stack, so no scales are saved")
        interim = task.target.suffix.lower() != ".zarr"
        if not (self.parsed.resume and task.store.exists()):
            # Not before: what is left is worth something until this run begins.
            io.discard(task.store)
        result = self.engine.denoise_stack(
            source.data,
            self.options,
            channel_axis=task.layout.channel_axis,
            planes=planes,
            out=ZarrOut(task.store, metadata, interim=interim, reordered=True),
            on_progress=self._show,
            should_stop=self.stop,
            client=self.client,
        )
        completed = result.status is Status.COMPLETED and not result.pending
        if completed and len(result.failed) == len(result.planes):
            self._refuse_copy(result)
        quality = self._judge_plane(source, result)
        if completed:
            try:
                self._settle(result, source, metadata)
            except Exception as error:
                if not task.store.exists():
                    raise self._taken() from error
                if not isinstance(error, FileError):
                    raise
                raise FileError(
                    f"{error}; the finished planes are kept in {task.store}, and --resume "
                    "goes on with them"
                ) from error
        report = self._stack_report(source, result, completed=completed)
        if quality:
            self.console.say(f"  plane {quality['plane']}: {in_words(quality)}")
        return report | {"quality": quality}

    def _settle(self, result: StackResult, source: Source, metadata: Metadata) -> None:
        """Give a stack its final name and format once every plane was tried."""
        task = self.task
        overwrite = self.parsed.overwrite or task.replaces_own
        if task.target.suffix.lower() == ".zarr":
            if task.store != task.target:
                stored = metadata.reordered(io.ngff_order(metadata.axes))
                describe(task.store, stored, name=io.split_suffix(task.target)[0])
                io.name_finished(task.store, task.target, overwrite=overwrite)
            return
        provenance = result.provenance()
        failed = provenance["failed"]
        if not task.is_copied(failed):
            done = [plane for plane in result.planes if plane not in result.failed]
            plan = {"plan of the last plane": provenance.pop("plan")}
            made = made_of(source, task.layout, done, self.options)
            with noting_copy(task.store, task.target.name, failed):
                io.save_image(
                    task.target,
                    result.image,
                    metadata,
                    overwrite=overwrite,
                    provenance=provenance | plan | made,
                )
        # Where planes failed, another run may have more luck with them.
        if not failed:
            _tidy(task.store, self.console)

    def _refuse_copy(self, result: StackResult) -> NoReturn:
        """Take nothing for a result if no plane could be denoised."""
        io.discard(self.task.store)
        plane, reason = next(iter(result.failed.items()))
        raise FileError(
            f"{self.task.source}: none of its {len(result.planes)} planes could be "
            f"denoised (plane {plane}: {in_flags(reason)})"
        )

    def _judge_plane(self, source: Source, result: StackResult) -> dict[str, Any] | None:
        """Compare the middle one of the denoised planes with its input."""
        untouched = {*result.pending, *result.failed}
        done = [plane for plane in result.planes if plane not in untouched]
        if not done:
            return None
        plane, layout = done[len(done) // 2], self.task.layout
        denoised_layout = self.task.selection.layout_within(layout)
        quality = self._judge(
            read_plane(source.data, layout, plane),
            read_plane(result.image, denoised_layout, result.planes.index(plane)),
            layout.plane_channel_axis,
        )
        return {"plane": plane, **quality}

    def _judge(self, noisy: Any, denoised: Any, channel_axis: int | None) -> dict[str, str]:
        return judged(
            self.engine.assess,
            noisy,
            denoised,
            channel_axis=channel_axis,
            hot_pixels_removed=self.options.remove_hot_pixels,
        )

    def _stack_report(
        self, source: Source, result: StackResult, *, completed: bool
    ) -> dict[str, Any]:
        target = self.task.target if completed else self.task.store
        say = self.console.say
        say(f"{source.path} -> {target} ({duration(result.seconds)})")
        for plane, reason in result.failed.items():
            self.console.error(f"{source.path}: plane {plane}: {in_flags(reason)}")
        if result.failed:
            n_failed, n_planes = len(result.failed), len(result.planes)
            hint = f"; {self._hint(result.failed.values())}" if completed else ""
            say(f"  {n_failed} of {n_planes} planes could not be denoised{hint}")
        status = "partly failed" if result.failed else result.status.value
        if not completed:
            status = "cancelled" if self.stop.asked else "unfinished"
            done = len(result.planes) - len(result.pending)
            say(f"  {status}: {done} of {len(result.planes)} planes done; --resume goes on")
        made = result.provenance() | {"status": status}
        made["failed"] = {key: in_flags(why) for key, why in made["failed"].items()}
        return self._report(target, **made)

    def _hint(self, reasons: Iterable[str]) -> str:
        """Say what can be done about planes that failed, and what is kept for that."""
        if all(is_unfit(reason) for reason in reasons):
            hint = "once they are mended in the input, --resume does them and no others"
        else:
            hint = "--resume tries them again"
        store = self.task.store
        if not store.exists() or store == self.task.target:
            return hint
        return f"{hint}; {store} is kept for that, delete it to take the result as it is"


def _tidy(path: Path, console: Console) -> None:
    """Remove what a result that is there leaves without a use; if it stays, no harm."""
    try:
        io.discard(path)
    except FileError as error:
        console.note(f"{error}; the result is whole, and nothing needs this any more")


def _finish(reports: list[dict[str, Any]], console: Console) -> Exit:
    counts = Counter(report["status"] for report in reports)
    if counts["cancelled"] or counts[_NOT_BEGUN]:
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
