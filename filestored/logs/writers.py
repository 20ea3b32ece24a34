"""Writers of the access log.

`FileWriter` appends batches to a file in a thread; `LogWriter` writes them to the daemon's log.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from twisted.logger import Logger

from filestored.logs.log_file import LogFile
from filestored.logs.observer import UNWRITABLE, OnDropped, ignore
from filestored.logs.writer_thread import MAX_FLUSH_SECONDS, WriterThread, is_fifo
from filestored.settings import LogSettings


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

    def __init__(self, path: str, settings: LogSettings, on_dropped: OnDropped = ignore) -> None:
        self._failed = False
        self._thread = WriterThread("access log", self._report, on_dropped)
        self._file = LogFile(path, 0o640, settings, self._report_rotation)
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
        self._thread.put(self._file.close)
        self._thread.flush(MAX_FLUSH_SECONDS)

    # --- in the thread --------------------------------------------------------------------------

    def _append(self, text: str) -> None:
        """Append the text; if that fails it is lost, which is logged once."""
        try:
            self._file.write(text.encode("ascii"))
            self._failed = False
        except OSError as error:
            self._report_error(error)

    def _reopen(self) -> None:
        try:
            self._file.open()
        except OSError as error:
            self._log.error("the access log cannot be opened again: {reason}", reason=error.strerror)

    def _report(self, count: int) -> None:
        self._log.warn("{count} lines of the access log were dropped: it could not be written", count=count)

    def _open_first(self) -> None:
        try:
            self._file.open()
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            self._report_error(error)

    def _report_error(self, error: OSError) -> None:
        if not self._failed:
            self._log.error("the access log cannot be written: {reason}", reason=error.strerror)
        self._failed = True

    def _report_rotation(self, text: str) -> None:
        self._log.error("the access log: {text}", text=text)


class LogWriter:
    """Writes each line to the daemon's log, with the source ``access``."""

    def __init__(self) -> None:
        self._log = Logger(namespace="access")

    def write(self, lines: Sequence[str]) -> None:
        """Log each line."""
        for line in lines:
            self._log.info("{line}", line=line, request_id=b"")  # it is in the line

    def reopen(self) -> None:
        """Nothing to do: the log reopens itself."""

    def close(self) -> None:
        """Nothing to do: the log stays."""
