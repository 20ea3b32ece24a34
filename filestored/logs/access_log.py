"""Access log: one line per request in the combined format, written in batches.

`format_entry` formats the part of a line that is equal for equal requests and responses; `log` adds the
client and the time. Lines wait up to `FLUSH_DELAY_SECONDS` or `MAX_BATCH_CHARACTERS`, then a thread writes
them. Each worker appends whole batches to the same file (O_APPEND), so lines of several processes do not mix.
A stalled disk or an unread FIFO loses lines, and delays no request.

`log` runs once per request. Waiting lines are plain strings, which the garbage collector does not traverse.
"""

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs import combined_format
from filestored.logs.writers import FileWriter, LogWriter, Writer

FLUSH_DELAY_SECONDS = 1.0
"""Maximum time that a line waits for a batch."""

MAX_BATCH_CHARACTERS = 64 * 1024
"""Batch size at which lines are written at once."""


@implementer(IAccessLog)
class AccessLog:
    """Collects lines and passes them to a writer in batches."""

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
            self._write()  # the delayed call then writes the rest
        elif self._due is None:
            self._due = self._clock.callLater(FLUSH_DELAY_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the waiting lines."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        self._write()

    def reopen(self) -> None:
        """Write the waiting lines, then reopen the file."""
        self.flush()
        self._writer.reopen()

    def close(self) -> None:
        """Write the waiting lines and close the file."""
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
    """Return the access log at `path`, ``-`` for the daemon's log; None if empty. Raises `OSError`."""
    if not path:
        return None
    return AccessLog(clock, LogWriter() if path == "-" else FileWriter(path))
