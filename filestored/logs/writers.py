"""Writers of the access log, and `write_all`.

`FileWriter` appends batches to a file in a thread; `LogWriter` writes them to the daemon's log.
"""

import os
import select
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from twisted.logger import Logger

from filestored.logs.observer import UNWRITABLE
from filestored.logs.writer_thread import MAX_FLUSH_SECONDS, WriterThread, is_fifo


class Writer(Protocol):
    """Destination of formatted lines."""

    def write(self, lines: Sequence[str]) -> None:
        """Write lines, which have no line feeds. Does not raise."""

    def reopen(self) -> None:
        """Reopen the file by its name."""

    def close(self) -> None:
        """Close the file."""


class FileWriter:
    """Appends lines to a file in a thread. Raises `OSError` when it cannot be opened.

    A file that cannot be created on a full disk is tried again with each batch. A FIFO is opened in the
    thread, because that blocks until a reader opens it.
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
        """Queue lines; drop them when the queue is full."""
        text = "\n".join([*lines, ""])
        self._thread.put(partial(self._append, text), len(text), len(lines))

    def reopen(self) -> None:
        """Reopen the file by its name; keep the old one if that fails."""
        self._thread.put(self._reopen)

    def close(self) -> None:
        """Write the queued lines for a bounded time, and close the file."""
        self._thread.put(self._close)
        self._thread.flush(MAX_FLUSH_SECONDS)

    # --- in the thread --------------------------------------------------------------------------

    def _append(self, text: str) -> None:
        """Append the text; if that fails it is lost, which is logged once."""
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            write_all(self._descriptor, text.encode("ascii"))
            self._failed = False
        except OSError as error:
            self._report_error(error)

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
            self._report_error(error)

    def _report_error(self, error: OSError) -> None:
        if not self._failed:
            self._log.error("the access log cannot be written: {reason}", reason=error.strerror)
        self._failed = True

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class LogWriter:
    """Writes each line to the daemon's log, with the source ``access``."""

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


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, with as many calls as needed. Blocking; raises `OSError`.

    Waits for a descriptor that another process has made non-blocking.
    """
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
