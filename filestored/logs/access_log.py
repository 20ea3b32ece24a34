"""The access log: one line for each answered request, in the combined format, written in batches.

Flow: the wire has a request and its answer described, once for all answers alike, and records who got them
and when -> the line, which waits; a second later, or when there are enough, all are written in one go.
Each worker appends whole batches to the same file (O_APPEND), so lines of several processes
never mix. A thread does that: a disk that stalls, or a FIFO that is not read, costs lines and no request.

This is on the path of every request. So what is done for each is little (`record`), and what waits is plain
text: objects that hold others would have to be looked through whenever Python searches for cycles.
"""

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs import combined_format
from filestored.logs.writers import FileWriter, LogWriter, Writer

FLUSH_DELAY_SECONDS = 1.0
"""Seconds that a line waits for others to be written with it."""

MAX_BATCH_CHARACTERS = 64 * 1024
"""Characters of lines that are written at once without waiting any longer."""


@implementer(IAccessLog)
class AccessLog:
    """Collects lines and hands them to a writer in batches."""

    def __init__(self, clock: Any, writer: Writer) -> None:
        self._clock = clock
        self._writer = writer
        self._lines: list[str] = []
        self._size = 0
        self._second = 0
        self._prefixes: dict[str, str] = {}  # of this second only, by peer
        self._due: IDelayedCall | None = None

    def format_entry(self, entry: AccessEntry) -> str:
        """See `IAccessLog.format_entry`."""
        return combined_format.format_entry(entry)

    def record(self, moment: float, peer: str, description: str) -> None:
        """See `IAccessLog.record`."""
        second = int(moment)
        if second != self._second:
            self._second, self._prefixes = second, {}
        line = (self._prefixes.get(peer) or self._new_prefix(peer)) + description
        self._lines.append(line)
        self._size += len(line)
        if self._size >= MAX_BATCH_CHARACTERS:
            self._write()  # what is due then has less to write, or nothing
        elif self._due is None:
            self._due = self._clock.callLater(FLUSH_DELAY_SECONDS, self.flush)

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

    def _new_prefix(self, peer: str) -> str:
        format_prefix = self._prefixes[peer] = combined_format.format_prefix(peer, self._second)
        return format_prefix

    def _write(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self._writer.write(lines)


def open_access_log(clock: Any, path: str) -> AccessLog | None:
    """The access log at `path`, ``-`` for the log itself; None where it is off. Raises `OSError`."""
    if not path:
        return None
    return AccessLog(clock, LogWriter() if path == "-" else FileWriter(path))
