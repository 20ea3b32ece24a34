"""Recorder: writes the metrics of one process to its block of shared memory.

Used where something is counted as ``metrics``, which is None without ``--metrics``. All methods are called
in the reactor's thread, except those of `from_threads`, which take a lock.

`Recorder.hit` is on the hot path: a cached response of 4 KiB takes about 17 µs of CPU time, and this 0.1. It
keeps the present values beside the cells, as reading a cell takes as long as writing it. Clocks are read
once for all hits of a batch of events (`time_hits`), which is the time that their clients wait.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable
from time import monotonic

from filestored.metrics import table
from filestored.metrics.blocks import BUCKETS, Block, place
from filestored.metrics.refusals import OF_CREDENTIALS, OF_IMAGES, REASONS, Refusal, refusal_of
from filestored.metrics.table import METHODS, RESULTS, SECONDS, STATUSES

_METHODS = {method.encode(): method for method in METHODS}
_OTHER = METHODS[-1]
_REQUESTS = {
    (method, status): place(table.REQUESTS, method, text)
    for method in METHODS
    for status, text in enumerate(STATUSES, 1)
}
_DURATIONS = {method: place(table.DURATION, method) for method in METHODS}
_FIRST_BYTES = {method: place(table.FIRST_BYTE, method) for method in METHODS}
_UPLOADS = {result: place(table.UPLOADS, result) for result in RESULTS}
_REFUSALS = {reason: place(table.REFUSALS, reason) for reason in REASONS}
_RECEIVED, _SENT = map(place, (table.RECEIVED, table.SENT))
_CONNECTIONS, _CONNECTIONS_MADE = place(table.CONNECTIONS), place(table.CONNECTIONS_MADE)
_COMMIT_QUEUE, _IN_PROGRESS = place(table.COMMIT_QUEUE), place(table.UPLOADS_IN_PROGRESS)

Hit = Callable[[int], None]
"""Counts a short response from the response cache, by the bytes of its body, as it is given to the output."""


class Recorder:
    """The counters of one process. `Recorder` zeroes the gauges of `block`."""

    def __init__(self, block: Block) -> None:
        block.clear_gauges()
        self._cells = block.cells
        self._sums = block.sums
        self.hit, self.time_hits = _hit_counters(block)
        self.from_threads = ThreadRecorder(block)

    # --- HTTP -----------------------------------------------------------------------------------

    def response(
        self,
        method: bytes,
        status: int,
        refusal: Refusal | None,
        seconds: float,
        first_byte: float | None,
        sent: int,
    ) -> None:
        """Count a response that has ended; `first_byte` in seconds is None if none was sent.

        `refusal` tells the reason where the status does not.
        """
        name = _METHODS.get(method, _OTHER)
        cells = self._cells
        cells[_REQUESTS[name, status // 100]] += 1
        cells[_SENT] += sent
        self._observe(_DURATIONS[name], seconds)
        if first_byte is not None:
            self._observe(_FIRST_BYTES[name], first_byte)
        if status >= 400:
            self._refused(refusal or refusal_of(status))

    def rejected(self, status: int) -> None:
        """Count input that is no request, and was answered with `status`."""
        self._cells[_REQUESTS[_OTHER, status // 100]] += 1
        self._refused(refusal_of(status))

    def received(self, count: int) -> None:
        """Count bytes of the body of a request."""
        self._cells[_RECEIVED] += count

    def connection_made(self) -> None:
        """Count a connection that was accepted."""
        self._cells[_CONNECTIONS] += 1
        self._cells[_CONNECTIONS_MADE] += 1

    def connection_lost(self) -> None:
        """Count the end of a connection."""
        self._cells[_CONNECTIONS] -= 1

    def connection_refused(self) -> None:
        """Count a connection that was answered 503."""
        self._add(table.CONNECTIONS_REFUSED)

    def _refused(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._cells[_REFUSALS[refusal.label]] += 1
            if refusal in OF_CREDENTIALS:
                self._add(table.TOKENS_REFUSED)
            elif refusal in OF_IMAGES:
                self._add(table.IMAGES_REFUSED)

    # --- storage --------------------------------------------------------------------------------

    def upload_began(self) -> None:
        """Count an upload that is in progress."""
        self._cells[_IN_PROGRESS] += 1

    def upload_ended(self, created: bool | None) -> None:
        """Count the end of an upload: whether its content is new, or None if nothing was stored."""
        self._cells[_IN_PROGRESS] -= 1
        self.upload_counted(created)

    def upload_counted(self, created: bool | None) -> None:
        """Count the result of an upload that was never in progress, see `upload_ended`."""
        result = "failed" if created is None else "created" if created else "existing"
        self._cells[_UPLOADS[result]] += 1

    def file_deleted(self) -> None:
        """Count a deleted file."""
        self._add(table.DELETED)

    def commits_queued(self, count: int) -> None:
        """Count commits that wait from now on; a negative number of those that wait no longer."""
        self._cells[_COMMIT_QUEUE] += count

    def suspended(self, disks: bool, engines: bool) -> None:
        """Set whether writes to a disk are suspended, and whether an object store is away."""
        self._cells[place(table.DISKS_SUSPENDED)] = disks
        self._cells[place(table.ENGINES_AWAY)] = engines

    # --- images ---------------------------------------------------------------------------------

    def image_decoded(self) -> None:
        """Count an image that was decoded."""
        self._add(table.IMAGES_DECODED)

    # --- cells ----------------------------------------------------------------------------------

    def _add(self, metric: table.Metric) -> None:
        self._cells[place(metric)] += 1

    def _observe(self, first: int, seconds: float) -> None:
        """Add a value to the histogram that begins at the cell `first`."""
        self._cells[first + bisect_left(SECONDS, seconds)] += 1
        self._sums[first + BUCKETS] += seconds


class ThreadRecorder:
    """The counters of a process that its I/O threads write, one at a time. They have cells of their own."""

    def __init__(self, block: Block) -> None:
        self._cells = block.cells
        self._sums = block.sums
        self._lock = threading.Lock()

    def flushed(self, seconds: float) -> None:
        """Count a call that made content durable, and took so long."""
        first = place(table.FSYNC)
        with self._lock:
            self._cells[first + bisect_left(SECONDS, seconds)] += 1
            self._sums[first + BUCKETS] += seconds

    def lines_dropped(self, count: int) -> None:
        """Count lines of a log that were dropped."""
        with self._lock:
            self._cells[place(table.LINES_DROPPED)] += count


def _hit_counters(block: Block) -> tuple[Hit, Callable[[], None]]:
    """Return the function that counts a hit, and the one that adds the durations of all new ones."""
    cells, sums = block.cells, block.sums
    first, count_cell, sent_cell = place(table.HITS), place(table.HITS_COUNT), place(table.HITS_SENT)
    count, sent = cells[count_cell], cells[sent_cell]
    untimed, began = 0, 0.0

    def hit(size: int) -> None:
        nonlocal count, sent, untimed, began
        if not untimed:
            began = monotonic()
        untimed += 1
        cells[count_cell] = count = count + 1
        cells[sent_cell] = sent = sent + size

    def time_hits() -> None:
        nonlocal untimed
        if untimed:
            seconds = monotonic() - began
            cells[first + bisect_left(SECONDS, seconds)] += untimed
            sums[first + BUCKETS] += seconds * untimed
            untimed = 0

    return hit, time_hits
