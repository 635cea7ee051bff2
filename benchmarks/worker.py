"""One measurement in a process of its own, so that its peak memory is its own.

Reads a job as JSON from standard input, writes the row as JSON to the file named
by its argument.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.data import Case, load
from benchmarks.methods import parse_method, with_threads
from benchmarks.metrics import affine_psnr, block_bias, psnr, ssim

__all__ = ["measure"]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job and return its measured columns and its trace.

    Parameters
    ----------
    job : dict
        ``case`` (fields of a Case), ``method``, ``crop``, ``seed``, ``threads``,
        ``trace``.
    """
    fields = job["case"]
    case = Case(
        **{**fields, "clean": Path(fields["clean"]), "noisy": Path(fields["noisy"])}
    )
    method = with_threads(parse_method(job["method"]), job["threads"])
    sample = load(case, crop=job["crop"])
    method.prepare()
    before, cpu_before = _peak_mb(), time.process_time()
    outcome = method.run(sample, job["seed"], job["trace"])
    peak, cpu = _peak_mb(), time.process_time() - cpu_before
    quality = psnr(outcome.image, sample.clean, sample.data_range)
    bias = block_bias(outcome.image, sample.noisy)
    row = {
        "psnr": quality,
        "gain": quality - psnr(sample.noisy, sample.clean, sample.data_range),
        "affine_psnr": affine_psnr(outcome.image, sample.clean, sample.data_range),
        "ssim": ssim(outcome.image, sample.clean, sample.data_range),
        "seconds": outcome.seconds,
        "cpu_seconds": cpu,
        "peak_mb": peak,
        "run_mb": peak - before,
        "bias_worst": bias.worst,
        "bias_mean": bias.mean,
        "bias_channel": bias.worst_channel,
        "bias_shift": bias.worst_shift,
        "data_range": sample.data_range,
        **outcome.details,
    }
    return {"row": row, "trace": outcome.trace}


def _peak_mb() -> float:
    # Linux counts the parent's memory at the start in a child's ru_maxrss, so a big
    # parent would show up here; the high-water mark of the process itself does not.
    status = Path("/proc/self/status")
    if status.exists():
        marks = re.findall(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if marks:
            return int(marks[0]) / 2**10
    # Bytes on macOS, kilobytes elsewhere.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(json.load(sys.stdin))))
