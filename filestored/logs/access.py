"""The access log: one line for each answered request, in the combined format, written in batches.

Flow: the wire has a request and its answer described, once for all answers alike, and records who got them
and when -> the line, which waits; a second later, or when there are enough, all are written in one go.
Each worker appends whole batches to the same file (O_APPEND), so lines of several processes
never mix. A thread does that: a disk that stalls, or a FIFO that is not read, costs lines and no request.

This is on the path of every request. So what is done for each is little (`record`), and what waits is plain
text: objects that hold others would have to be looked through whenever Python searches for cycles.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs import combined
from filestored.logs.observer import UNWRITABLE
from filestored.logs.threaded import MAX_FLUSH_SECONDS, WriterThread, is_fifo
from filestored.writing import write_all

DELAY = 1.0
"""Seconds that a line waits for others to be written with it."""

BATCH = 64 * 1024
"""Characters of lines that are written at once without waiting any longer."""


class Writer(Protocol):
    """Where formatted lines go."""

    def write(self, lines: Sequence[str]) -> None:
        """Write lines, which have no line feeds. Does not raise."""

    def reopen(self) -> None:
        """Begin the file anew under its name."""

    def close(self) -> None:
        """Let go of the file."""


@implementer(IAccessLog)
class AccessLog:
    """Collects lines and hands them to a writer in batches."""

    def __init__(self, clock: Any, writer: Writer) -> None:
        self._clock = clock
        self._writer = writer
        self._lines: list[str] = []
        self._size = 0
        self._second = 0
        self._openings: dict[str, str] = {}  # of this second only, by peer
        self._due: IDelayedCall | None = None

    def describe(self, entry: AccessEntry) -> str:
        """See `IAccessLog.describe`."""
        return combined.describe(entry)

    def record(self, moment: float, peer: str, description: str) -> None:
        """See `IAccessLog.record`."""
        second = int(moment)
        if second != self._second:
            self._second, self._openings = second, {}
        line = (self._openings.get(peer) or self._open(peer)) + description
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BATCH:
            self._write()  # what is due then has less to write, or nothing
        elif self._due is None:
            self._due = self._clock.callLater(DELAY, self.flush)

    def flush(self) -> None:
        """Write what has been collected."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        self._write()

    def reopen(self) -> None:
        """Write what belongs to the old file, then begin anew."""
        self.flush()
        self._writer.reopen()

    def close(self) -> None:
        """Write the rest and let go."""
        self.flush()
        self._writer.close()

    def _open(self, peer: str) -> str:
        opening = self._openings[peer] = combined.opening(peer, self._second)
        return opening

    def _write(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self._writer.write(lines)


class FileWriter:
    """Appends lines to a file, in a thread. Raises `OSError` when it can't be opened.

    One that cannot be made on a full disk is tried again with each batch. A FIFO is opened in the thread,
    because that waits for a reader.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        self._path = path
        self._failed = False
        self._thread = WriterThread("access log", self._report)
        self._descriptor: int | None = None
        if not is_fifo(path):
            self._open_first()

    def write(self, lines: Sequence[str]) -> None:
        """Queue the lines; drop them when too many wait."""
        text = "\n".join([*lines, ""])
        self._thread.put(partial(self._append, text), len(text), len(lines))

    def reopen(self) -> None:
        """Open the file again under its name; keeps the old one when that is impossible."""
        self._thread.put(self._reopen)

    def close(self) -> None:
        """Write what waits, for a bounded time, and close the file."""
        self._thread.put(self._close)
        self._thread.flush(MAX_FLUSH_SECONDS)

    # --- in the thread --------------------------------------------------------------------------

    def _append(self, text: str) -> None:
        """Append the text; when that fails it is lost, and the log says so once."""
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            write_all(self._descriptor, text.encode("ascii"))
            self._failed = False
        except OSError as error:
            self._complain(error)

    def _reopen(self) -> None:
        try:
            descriptor = self._open()
        except OSError as error:
            self._log.error("the access log cannot be opened again: {reason}", reason=error.strerror)
            return
        self._close()
        self._descriptor = descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _report(self, count: int) -> None:
        self._log.warn("{count} lines of the access log were dropped: it could not be written", count=count)

    def _open_first(self) -> None:
        try:
            self._descriptor = self._open()
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._failed:
            self._log.error("the access log cannot be written: {reason}", reason=error.strerror)
        self._failed = True

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class LogWriter:
    """Puts each line into the log, under the name ``access``."""

    def __init__(self) -> None:
        self._log = Logger(namespace="access")

    def write(self, lines: Sequence[str]) -> None:
        """Log each line."""
        for line in lines:
            self._log.info("{line}", line=line)

    def reopen(self) -> None:
        """Nothing to do: the log reopens itself."""

    def close(self) -> None:
        """Nothing to do: the log stays."""


def open_access_log(clock: Any, path: str) -> AccessLog | None:
    """The access log at `path`, ``-`` for the log itself; None where it is off. Raises `OSError`."""
    if not path:
        return None
    return AccessLog(clock, LogWriter() if path == "-" else FileWriter(path))
