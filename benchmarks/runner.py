"""Plan the measurements, leave out those done, run the rest in processes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.data import NOISES, Case
from benchmarks.methods import Method, parse_method, with_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Job", "plan", "run"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, eq=False)
class Job:
    """One measurement.

    Attributes
    ----------
    case : Case
        The image.
    method : Method
        The method.
    seed : int
        The method's seed.
    crop : int or None
        Side of the central square, in pixels.
    threads : int
        CPU threads of the process.
    trace : bool
        Whether to follow the quality along the run.
    tag : str
        The user's own label, for instance of a version of the code.
    """

    case: Case
    method: Method
    seed: int = 0
    crop: int | None = None
    threads: int = 1
    trace: bool = False
    tag: str = ""

    @property
    def key(self) -> str:
        """Hash of all that decides the result, the path to the data left out."""
        return results.key_of(
            {
                "set": self.case.set,
                "image": self.case.image,
                "noise": self.case.noise,
                "protocol": self.case.protocol,
                "crop": self.crop,
                "method": dict(self.method.settings),
                "name": self.method.name,
                "seed": self.seed,
                "threads": self.threads,
                "trace": self.trace,
                "tag": self.tag,
            }
        )

    def message(self) -> dict[str, Any]:
        """Return the job as the worker reads it."""
        case = dataclasses.asdict(self.case)
        return {
            "case": {name: str(value) for name, value in case.items()},
            "method": self.method.name,
            "crop": self.crop,
            "seed": self.seed,
            "threads": self.threads,
            "trace": self.trace,
        }

    def columns(self) -> dict[str, Any]:
        """Return what identifies the row."""
        return {
            "key": self.key,
            "set": self.case.set,
            "image": self.case.image,
            "noise": self.case.noise,
            "protocol": self.case.protocol,
            "crop": self.crop or "full",
            "method": self.method.name,
            "seed": self.seed,
            "trace": "yes" if self.trace else "no",
            "threads": self.threads,
            "tag": self.tag,
        }

    def __str__(self) -> str:
        case = self.case
        crop = self.crop or "full"
        return (
            f"{case.set}/{case.image} {case.noise} {case.protocol} {crop} "
            f"{self.method.name} seed {self.seed}"
        )


def plan(
    cases: Iterable[Case],
    methods: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    crop: int | None = None,
    threads: int = 1,
    trace: bool = False,
    tag: str = "",
) -> list[Job]:
    """List the measurements.

    Methods without chance, which have no run to trace either, are planned with seed 0
    and without a trace, lest the same be measured twice.
    """
    known = [with_threads(parse_method(name), threads) for name in methods]
    return [
        Job(case, method, seed, crop, threads, trace and method.stochastic, tag)
        for case in cases
        for method in known
        if method.suits(_sigma_known(case))
        for seed in (seeds if method.stochastic else (0,))
    ]


def _sigma_known(case: Case) -> bool:
    return case.noise in NOISES and NOISES[case.noise].sigma is not None


def run(
    jobs: Sequence[Job],
    table: Path,
    *,
    processes: int = 1,
    say: Callable[[str], None],
) -> int:
    """Run the jobs that the table lacks and append a row for each that succeeds.

    Parameters
    ----------
    jobs : sequence of Job
        See :func:`plan`.
    table : Path
        CSV file; traces go to ``traces/KEY.json`` beside it.
    processes : int
        Jobs at a time. Times are comparable only with 1 per idle core.
    say : callable
        Gets one line for each job that ends.

    Returns
    -------
    int
        Number of jobs that failed; they have no row and are tried again next time.
    """
    done = {row["key"] for row in results.read(table)}
    missing = list({job.key: job for job in jobs if job.key not in done}.values())
    say(f"{len(jobs) - len(missing)} of {len(jobs)} rows are there, {len(missing)} to go")
    versions = _versions()
    failures = 0
    for job, measured, error in _finished(missing, processes):
        if measured is None:
            failures += 1
            say(f"FAILED {job}\n{error}")
            continue
        row = {**job.columns(), **measured["row"], **versions}
        # The row last: once it is there nothing of the job is measured again.
        _keep_trace(table, job, measured["trace"])
        results.append(table, row)
        say(
            f"{job}: {row['psnr']:.2f} dB ({row['gain']:+.2f}), "
            f"{row['seconds']:.1f} s, {row['peak_mb']:.0f} MB"
        )
    return failures


def _finished(
    jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, dict[str, Any] | None, str]]:
    with ThreadPoolExecutor(processes) as pool:
        running = {pool.submit(_in_process, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield (running[future], *future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_process(job: Job) -> tuple[dict[str, Any] | None, str]:
    environment = os.environ | {
        name: str(job.threads)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.worker", str(answer)],
            input=json.dumps(job.message()),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            check=False,
        )
        if process.returncode != 0 or not answer.exists():
            return None, process.stderr[-2000:] or f"exit code {process.returncode}"
        return json.loads(answer.read_text()), ""


def _keep_trace(table: Path, job: Job, trace: list[dict[str, Any]]) -> None:
    if not trace:
        return
    path = table.parent / "traces" / f"{job.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**job.columns(), "points": trace}))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return {"commit": described.stdout.strip(), "version": version("napari-msdip")}
