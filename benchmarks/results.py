"""Rows of the results table: keyed, appended one by one, read back."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
    "trace",
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
    """Add one row, on a line of its own also where a power cut tore the last one.

    In a single write, and down to the disk, so that a killed run leaves whole rows.

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
    before = _line(COLUMNS) if is_new else "" if _ends_a_line(path) else "\n"
    line = _line([_text(row.get(column)) for column in COLUMNS])
    with path.open("ab") as file:
        file.write((before + line).encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, str]]:
    """Return all rows, none if there is no file; of equal keys the last counts.

    Lines that a full disk or a power cut tore are left out, and so measured again.

    Raises
    ------
    ValueError
        If the file is another table.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    _check_header(path)
    _, *found = _lines(path)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in found if _is_whole(row)]
    return list({row["key"]: row for row in rows}.values())


def _lines(path: Path) -> Iterator[list[str]]:
    # Each by itself: a quote that was opened on a torn line would swallow the next ones.
    # Torn may be a letter, too.
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield next(csv.reader([line]))


def _is_whole(row: Sequence[str]) -> bool:
    return len(row) == len(COLUMNS)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _check_header(path: Path) -> None:
    if tuple(next(_lines(path))) != COLUMNS:
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
