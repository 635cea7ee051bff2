"""What the command line says, and where: results, notes and a progress bar."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import signal
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from napari_msdip._numbers import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

__all__ = ["Console", "Interrupt"]

_REDRAW_SECONDS = 0.1


class Console:
    """The only place that writes to the terminal.

    Where that fails, because nobody reads along any more or the disk is full, the
    work goes on in silence.

    Parameters
    ----------
    out, err : file or None
        Where results and where notes go; None for nowhere.
    as_json : bool
        Whether the result is JSON; then words for people go to ``err``.
    debug : bool
        Whether an error tells where in the program it comes from.
    progress : bool or None
        Whether to show progress; None: if ``err`` is a terminal.

    Attributes
    ----------
    lost : bool
        Whether a result that somebody may wait for could not be written.
    """

    def __init__(
        self,
        out: TextIO | None,
        err: TextIO | None,
        *,
        as_json: bool = False,
        debug: bool = False,
        progress: bool | None = None,
    ) -> None:
        self.as_json = as_json
        self.lost = False
        self._debug = debug
        self._out = io.StringIO() if out is None else out
        self._err = io.StringIO() if err is None else err
        self._terminal = self._err.isatty()
        self._progress = self._terminal if progress is None else progress
        self._drawn = False
        self._last = -math.inf
        self._step = -1

    def say(self, text: str = "") -> None:
        """Write a line of the result for a person."""
        self._write(self._err if self.as_json else self._out, text)

    def note(self, text: str) -> None:
        """Write a remark that is no result."""
        self._write(self._err, f"note: {text}")

    def error(self, text: str, cause: Exception | None = None) -> None:
        """Write an error, on one line, after its traceback if that is wanted."""
        if self._debug and cause is not None:
            self._write(self._err, "".join(traceback.format_exception(cause)).rstrip())
        self._write(self._err, f"error: {' '.join(text.split())}")

    def emit(self, report: Mapping[str, Any]) -> None:
        """Write the result as JSON, if that is wanted."""
        if self.as_json:
            self._write(self._out, json.dumps(_finite(report), indent=2))

    def show(self, label: str, fraction: float, eta: float | None) -> None:
        """Show how far a run is: a bar on a terminal, a line each tenth elsewhere."""
        if not self._progress:
            return
        if not self._terminal:
            if int(fraction * 10) != self._step:
                self._step = int(fraction * 10)
                self._put(self._err, f"{label}: {fraction:.0%}{_left(eta)}\n")
            return
        now = time.monotonic()
        if now - self._last < _REDRAW_SECONDS and fraction < 1:
            return
        self._last = now
        self._draw(label, fraction, eta)

    def clear(self) -> None:
        """Take the progress bar away."""
        self._step = -1
        if self._drawn:
            self._put(self._err, "\r\x1b[K")
            self._drawn = False

    def _draw(self, label: str, fraction: float, eta: float | None) -> None:
        # All but the last column, at which some terminals begin a new line.
        columns = shutil.get_terminal_size().columns - 1
        tail = f" {fraction:4.0%}{_left(eta)}"
        room = columns - len(tail) - 3
        width = max(min(30, room - len(label)), 5)
        filled = round(width * min(fraction, 1.0))
        bar = f"[{'#' * filled}{'.' * (width - filled)}]"
        line = f"{_shortened(label, room - width)} {bar}{tail}"
        self._put(self._err, f"\r\x1b[K{line[:columns]}")
        self._drawn = True

    def _write(self, stream: TextIO, text: str) -> None:
        self.clear()
        self._put(stream, f"{text}\n")

    def _put(self, stream: TextIO, text: str) -> None:
        try:
            _encode(stream, text)
            stream.flush()
        except OSError as error:
            _mute(stream)
            if stream is self._out and not isinstance(error, BrokenPipeError):
                self.lost = True
                self.error(f"the results could not be written: {error.strerror}")


def _encode(stream: TextIO, text: str) -> None:
    """Write a text with escapes for what the stream cannot encode, as in file names."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _mute(stream: TextIO) -> None:
    """Send to nowhere what follows, and what is stuck on its way."""
    with suppress(OSError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def _shortened(text: str, length: int) -> str:
    """Return a text without its middle, if it is too long."""
    if len(text) <= length:
        return text
    half, odd = divmod(max(length - 3, 0), 2)
    return f"{text[: half + odd]}...{text[len(text) - half :]}"


def _left(eta: float | None) -> str:
    return "" if eta is None else f", {duration(eta)} left"


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not know."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Interrupt:
    """Whether a person wants the run to end.

    The first Ctrl-C (or a scheduler's SIGTERM) asks for it, so that what is
    finished can be kept; the second one aborts at once.
    """

    def __init__(self, console: Console) -> None:
        self.asked = False
        self._said = False
        self._console = console

    def __call__(self) -> bool:
        """Tell whether to stop."""
        if self.asked and not self._said:
            # Not in the handler: a signal can come in the middle of another write.
            self._said = True
            self._console.note("stopping and keeping what is done; Ctrl-C again aborts")
        return self.asked

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over the signals within the context."""
        if threading.current_thread() is not threading.main_thread():
            # Python gives signals to no other.
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._stop) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
