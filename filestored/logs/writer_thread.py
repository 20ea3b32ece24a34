"""Writer thread of a log: a stalled disk, pipe or terminal blocks no reactor.

A regular file cannot be non-blocking, and O_NONBLOCK on stderr would affect every process that shares it. So
each log has one thread for everything that may block. At most `MAX_QUEUED_BYTES` wait for it; further lines
are dropped, counted, and reported when the queue is empty.

The threads are daemon threads: the end of the process waits for them for a bounded time, see `finish`.

Rejected: loguru's ``enqueue``, whose queue has no bound and whose thread does not survive the fork.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from filestored.logs.log_line import LogLine
from filestored.logs.observer import (
    OnDropped,
    Sink,
    dropped_lines,
    ignore,
    reopen_sink,
    report_to_stderr,
    write_line,
)

MAX_QUEUED_BYTES = 2 << 20
"""Maximum bytes of text queued for one log."""

MAX_FLUSH_SECONDS = 2.0
"""Maximum seconds that a stop waits for a log to be written, or read from the pipe of a worker."""

_LINE_BYTES = 200
"""Memory of a line besides its text, in bytes."""


def is_fifo(path: str) -> bool:
    """Return whether `path` is a FIFO; opening it blocks until its other end is opened."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


class WriterThread:
    """Runs jobs one after the other in its own thread.

    `report` is called there with the number of dropped lines, once the queue is empty; `on_dropped` at once.
    """

    def __init__(self, name: str, report: Callable[[int], object], on_dropped: OnDropped = ignore) -> None:
        self._name = name
        self._on_dropped = on_dropped
        self._report = report
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Callable[[], object], int]] = deque()
        self._waiting = 0  # bytes, with the running job
        self._dropped = 0
        self._working = False
        self._thread: threading.Thread | None = None

    def put(self, job: Callable[[], object], size: int = 0, lines: int = 0) -> None:
        """Queue a job that holds `size` bytes; drop its `lines` when the queue is full. Never blocks."""
        with self._changed:
            if size and self._waiting + size > MAX_QUEUED_BYTES:
                self._dropped += lines
                self._on_dropped(lines)
                return
            self._jobs.append((job, size))
            self._waiting += size
            self._start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all jobs are done, for at most `seconds`; return whether they are."""
        with self._changed:
            self._start()
            return self._changed.wait_for(self._idle, seconds)

    def _idle(self) -> bool:
        return not (self._jobs or self._working or self._dropped)

    def _start(self) -> None:
        """Start the thread if there are jobs; the next job retries when no thread can be started."""
        if self._thread is None and self._jobs:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return
            self._thread = thread

    def _run(self) -> None:
        while True:
            job, size = self._next()
            try:
                job()
            except Exception as error:  # the thread survives every error of a job
                report_to_stderr(f"{self._name}: {error!r}")
            with self._changed:
                self._waiting -= size
                self._working = False
                self._changed.notify_all()

    def _next(self) -> tuple[Callable[[], object], int]:
        with self._changed:
            while not self._jobs and not self._dropped:
                self._changed.wait()
            self._working = True
            if self._jobs:
                return self._jobs.popleft()
            count, self._dropped = self._dropped, 0
            return partial(self._report, count), 0


class ThreadedSink:
    """Writes lines to the sink that `make` returns, in a thread.

    `make` is called at once and may raise; with `later` it is called in the thread, as it may block.
    `on_dropped` counts lines.
    """

    def __init__(
        self, make: Callable[[], Sink], *, later: bool = False, on_dropped: OnDropped = ignore
    ) -> None:
        self._make = make
        self._sink: Sink | None = None if later else make()
        self._thread = WriterThread("log", self._report, on_dropped)
        self._deadline: float | None = None

    def write(self, line: LogLine) -> None:
        """Queue a line; drop it when the queue is full."""
        self._thread.put(partial(self._write, line), len(line.text) + _LINE_BYTES, 1)
        if self._deadline is not None:
            self._thread.flush(self._deadline - time.monotonic())

    def reopen(self) -> None:
        """Queue the reopening of the file."""
        self._thread.put(self._reopen)

    def finish(self, seconds: float) -> None:
        """Wait until all lines are written, now and after each later line, for `seconds` in total."""
        self._deadline = time.monotonic() + seconds
        self._thread.flush(seconds)

    def _write(self, line: LogLine) -> None:
        if self._sink is None:
            self._sink = self._make()
        write_line(self._sink, line)

    def _report(self, dropped: int) -> None:
        self._write(dropped_lines(dropped))

    def _reopen(self) -> None:
        if self._sink is not None:
            reopen_sink(self._sink)
