"""A record of finished planes that survives a kill at any moment.

One JSON object a line. The first line says what the run is; it is written to a
temporary name and renamed, so it is there whole or not at all. Every further
line is one finished plane, written only after the plane itself is on disk. A
kill in the middle of a line leaves a torn tail, which is cut off on reopening.
"""

from __future__ import annotations

import json
import os
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_msdip.io import sync_directory
from napari_msdip.planes import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JOURNAL", "Journal", "begun_by", "told_in"]

JOURNAL = ".napari-msdip.jsonl"
"""What it is called, in the folder of the array that it is of."""

# What an entry that is no argument is called in the refusal.
_NAMES = {
    "shape": "the shape of the stack",
    "dtype": "the dtype of the stack",
    "order": "the order of the axes on disk",
}

# Entries that are compared in their own way.
_SPECIAL = ("options", "versions", "pinned", "run")


class Journal:
    """The finished planes of one run.

    Parameters
    ----------
    path : path
        Where the journal lies; its folder must exist.
    header : mapping
        What the run is: ``options`` (a mapping), ``versions`` (a mapping) and
        further entries, all plain JSON types. A journal that is already there
        must agree in everything but ``versions``, which is only warned about,
        and ``pinned``, which the new run has to take from it. While no plane is
        finished, ``options``, ``versions`` and ``pinned`` become those of the new run.

    Attributes
    ----------
    path : Path
        Where the journal lies.
    header : dict
        What the run was begun with, and ``run``: an id that is new whenever the
        header is written.
    done : dict
        Fingerprint of the input of every finished plane, by flat index.

    Raises
    ------
    ValueError
        If the journal there belongs to a different run; it says what differs. If it
        is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.header: dict[str, Any] = {}
        self.done: dict[int, str] = {}
        now = json.loads(_line(header))
        if self.path.exists():
            self._reopen(now)
        else:
            self._create(now)

    def _create(self, header: Mapping[str, Any]) -> None:
        self.header = {**header, "run": uuid.uuid4().hex}
        temporary = self.path.with_name(self.path.name + ".partial")
        with temporary.open("wb") as file:
            file.write(_line(self.header))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        sync_directory(self.path.parent)

    def _reopen(self, header: Mapping[str, Any]) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            self.header, done = _parsed(whole)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"out: {self.path} is no journal of ours or is damaged ({error}); "
                "choose another output"
            ) from error
        self._compare(self.header, header, with_options=bool(done))
        self.done.update(done)
        if not done:
            # Nothing was made with what that run was begun with.
            self._create(header)
        elif len(whole) < len(content):
            os.truncate(self.path, len(whole))

    def _compare(
        self, then: Mapping[str, Any], now: Mapping[str, Any], *, with_options: bool
    ) -> None:
        differences = [
            _difference(key, then.get(key), now.get(key))
            for key in dict.fromkeys((*now, *then))
            if key not in _SPECIAL and then.get(key) != now.get(key)
        ]
        before, wanted = then["options"], now["options"]
        names = {*before, *wanted} if with_options else ()
        differences += [
            _difference(name, before.get(name), wanted.get(name))
            for name in sorted(names)
            if before.get(name) != wanted.get(name)
        ]
        if differences:
            raise ValueError(
                f"out: {self.path.parent} was begun by a different run and is not "
                f"resumed: {'; '.join(differences)}. Give what it was begun with, or "
                "another output"
            )
        if with_options and then["versions"] != now["versions"]:
            warnings.warn(
                f"{self.path.parent} was begun with {then['versions']} and goes on "
                f"with {now['versions']}: pixels may differ between its planes",
                stacklevel=2,
            )

    def record(self, plane: int, fingerprint: str) -> None:
        """Record a plane as finished; it must be on disk already."""
        size = self.path.stat().st_size
        try:
            with self.path.open("ab") as file:
                file.write(_line({"plane": plane, "input": fingerprint}))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            # Half a line (the disk is full) would spoil the next one.
            os.truncate(self.path, size)
            raise
        self.done[plane] = fingerprint


def _difference(name: str, then: Any, now: Any) -> str:
    """Say that an entry has changed; arguments as they are given."""
    if name in _NAMES:
        return f"{_NAMES[name]} was {then!r}, is {now!r}"
    return f"with {name}={then!r}, not {name}={now!r}"


def _parsed(content: bytes) -> tuple[dict[str, Any], dict[int, str]]:
    """Return the header and the finished planes; raise what is wrong with them."""
    if not content:
        raise ValueError("its first line is missing")
    first, *records = map(json.loads, content.splitlines())
    if not isinstance(first, dict):
        raise TypeError(f"its first line is {first!r}")
    for name in ("options", "versions", "pinned"):
        if not isinstance(first.get(name), dict):
            raise TypeError(f"its first line has no {name}")
    return first, {int(record["plane"]): str(record["input"]) for record in records}


def begun_by(path: Path) -> str | None:
    """Return the id of the run that a journal is of, None if it is older than ids."""
    with path.open("rb") as file:
        run: str | None = json.loads(file.readline()).get("run")
    return run


def told_in(path: Path) -> dict[str, Any]:
    """Return what a journal says its run was begun with, and what planes it was given.

    The latter is ``input``: fingerprints by flat index. Not of all of the planes, as a
    journal may have a million.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is damaged.
    """
    header, *lines = path.read_text("utf-8").splitlines()
    records = [json.loads(line) for line in spread(lines)]
    fingerprints = {str(record["plane"]): record["input"] for record in records}
    return {**json.loads(header), "input": fingerprints}


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"
