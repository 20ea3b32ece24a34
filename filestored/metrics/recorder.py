"""Recorder: writes the metrics of one process to its block of shared memory.

Used where something is counted as ``metrics``, which is None without ``--metrics``. All methods are called
in the reactor's thread, except those of `from_threads`, which take a lock.
"""

import threading
from bisect import bisect_left

from filestored.metrics import table
from filestored.metrics.blocks import BUCKETS, Block, place
from filestored.metrics.hits import Hits
from filestored.metrics.refusals import OF_CREDENTIALS, OF_IMAGES, REASONS, Refusal, refusal_of
from filestored.metrics.table import METHODS, RESULTS, SECONDS, STATUSES

_PLACES = {
    method.encode(): (
        place(table.REQUESTS, method, STATUSES[0]) - 1,
        place(table.DURATION, method),
        place(table.FIRST_BYTE, method),
    )
    for method in METHODS
}
"""By method: the cell before those of the classes of statuses, and the first ones of both histograms."""

_OTHER = _PLACES[METHODS[-1].encode()]
_UPLOADS = dict(zip((True, False, None), (place(table.UPLOADS, each) for each in RESULTS), strict=True))
_REFUSALS = {reason: place(table.REFUSALS, reason) for reason in REASONS}
_RECEIVED, _SENT, _FSYNC = map(place, (table.RECEIVED, table.SENT, table.FSYNC))
_CONNECTIONS, _CONNECTIONS_MADE = place(table.CONNECTIONS), place(table.CONNECTIONS_MADE)
_COMMIT_QUEUE, _IN_PROGRESS = place(table.COMMIT_QUEUE), place(table.UPLOADS_IN_PROGRESS)


class Recorder:
    """The counters of one process. `Recorder` zeroes the gauges of `block`."""

    def __init__(self, block: Block) -> None:
        block.clear_gauges()
        self._cells = block.cells
        self._sums = block.sums
        self.hits = Hits(block)
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
        requests, durations, first_bytes = _PLACES.get(method, _OTHER)
        cells, sums = self._cells, self._sums
        cells[requests + status // 100] += 1
        cells[_SENT] += sent
        cells[durations + bisect_left(SECONDS, seconds)] += 1
        sums[durations + BUCKETS] += seconds
        if first_byte is not None:
            cells[first_bytes + bisect_left(SECONDS, first_byte)] += 1
            sums[first_bytes + BUCKETS] += first_byte
        if status >= 400:
            self._refused(refusal or refusal_of(status))

    def rejected(self, status: int) -> None:
        """Count input that is no request, and was answered with `status`."""
        self._cells[_OTHER[0] + status // 100] += 1
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
        self._cells[_UPLOADS[created]] += 1

    def upload_counted(self, created: bool | None) -> None:
        """Count the result of an upload that was never in progress, see `upload_ended`."""
        self._cells[_UPLOADS[created]] += 1

    def file_deleted(self) -> None:
        """Count a deleted file."""
        self._add(table.DELETED)

    def commits_queued(self, count: int) -> None:
        """Count commits that wait from now on; a negative number of those that have ended."""
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


class ThreadRecorder:
    """The counters of a process that its I/O threads write, one at a time. They have cells of their own."""

    def __init__(self, block: Block) -> None:
        self._cells = block.cells
        self._sums = block.sums
        self._lock = threading.Lock()

    def flushed(self, seconds: float) -> None:
        """Count a call that made content durable, and took so long."""
        with self._lock:
            self._cells[_FSYNC + bisect_left(SECONDS, seconds)] += 1
            self._sums[_FSYNC + BUCKETS] += seconds

    def lines_dropped(self, count: int) -> None:
        """Count lines of a log that were dropped."""
        with self._lock:
            self._cells[place(table.LINES_DROPPED)] += count
