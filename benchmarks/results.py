"""Rows of the results table: keyed, appended one by one, read back."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["COLUMNS", "append", "key_of", "read"]

COLUMNS = (
    "key",
    "set",
    "image",
    "noise",
    "protocol",
    "crop",
    "method",
    "seed",
    "psnr",
    "gain",
    "affine_psnr",
    "ssim",
    "seconds",
    "cpu_seconds",
    "peak_mb",
    "run_mb",
    "bias_worst",
    "bias_mean",
    "bias_channel",
    "bias_shift",
    "sigma",
    "iterations",
    "stops",
    "scale_seconds",
    "weights",
    "peaks",
    "stop_losses",
    "note",
    "device",
    "precision",
    "threads",
    "data_range",
    "tag",
    "commit",
    "version",
)


def key_of(settings: Mapping[str, Any]) -> str:
    """Return a short hash of settings made of plain JSON types, whatever their order."""
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row, in a single write, so that a killed run leaves whole rows.

    Raises
    ------
    ValueError
        If the row has a column that the table lacks, or the file is another table.
    """
    unknown = set(row) - set(COLUMNS)
    if unknown:
        raise ValueError(f"row: no such columns: {', '.join(sorted(unknown))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists() or path.stat().st_size == 0
    if not is_new:
        _check_header(path)
    lines = [_line(COLUMNS)] if is_new else []
    lines.append(_line([_text(row.get(column)) for column in COLUMNS]))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, "".join(lines).encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[dict[str, str]]:
    """Return all rows, none if there is no file; of equal keys the last counts.

    Raises
    ------
    ValueError
        If the file is another table.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    _check_header(path)
    with path.open(newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    return list(rows.values())


def _check_header(path: Path) -> None:
    with path.open(newline="") as file:
        header = tuple(next(csv.reader(file)))
    if header != COLUMNS:
        raise ValueError(
            f"results={str(path)!r}: its columns are those of another version of this "
            "harness; give another --results"
        )


def _line(values: Any) -> str:
    from io import StringIO

    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
