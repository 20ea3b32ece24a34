"""State of the daemon, for ``/livez``, ``/readyz`` and the metrics of the process that twistd runs.

No text names a path, because these addresses need no credentials. Only the hashes of corrupt files are named.
"""

from datetime import UTC, datetime
from time import time
from typing import Protocol

from filestored.daemon.monitoring.free_space import FreeSpace
from filestored.daemon.monitoring.store_count import StoreCount
from filestored.daemon.verification.status import MAX_NAMED_FILES, VerificationStatus
from filestored.metrics import table
from filestored.metrics.totals import Totals


class MonitoredRunner(Protocol):
    """The server or the supervisor, as monitoring sees it. `restarts` counts workers that were replaced."""

    restarts: int

    def alive(self) -> bool:
        """Return whether requests are answered, as far as can be known."""

    def serving(self) -> int:
        """Return the number of processes that serve."""


class DaemonState:
    """The state of a daemon of so many `workers`, a single process counted as one.

    `runner` is None before it is started; `space` is None for an object store, `verification` without one.
    """

    def __init__(
        self,
        totals: Totals,
        workers: int,
        count: StoreCount,
        space: FreeSpace | None,
        verification: VerificationStatus | None = None,
    ) -> None:
        self.runner: MonitoredRunner | None = None
        self.stopping = False
        self.space = space
        self.count = count
        self._totals = totals
        self._workers = workers
        self._verification = verification
        self._started_at = time()

    def is_alive(self) -> bool:
        """Return whether any process serves and answers pings."""
        return self.runner is not None and self.runner.alive()

    def problems(self) -> list[str]:
        """Return the reasons why the daemon is not ready for all requests; none if it is."""
        found = {
            "stopping": self.stopping,
            "no worker serves": not self._serving(),
            "writes are suspended; the log has the reason": self._totals.disks_suspended,
            "the object store is away; the log has the reason": self._totals.engines_away,
        }
        return [reason for reason, is_so in found.items() if is_so]

    def description(self) -> list[str]:
        """Return lines about workers, and about the verification."""
        return [f"workers: {self._serving()} of {self._workers} serve", *self._verification_lines()]

    def values(self) -> dict[str, float]:
        """Return the values of `table.OF_DAEMON` by name; those that are unknown are left out."""
        values: dict[str, float] = {
            table.START_TIME.name: self._started_at,
            table.WORKERS.name: self._workers,
            table.WORKERS_SERVING.name: self._serving(),
            table.WORKER_RESTARTS.name: 0 if self.runner is None else self.runner.restarts,
        }
        return values | self._store_values() | self._verification_values()

    def _serving(self) -> int:
        return 0 if self.runner is None else self.runner.serving()

    def _store_values(self) -> dict[str, float]:
        values: dict[str, float] = {}
        if self.count.counted_at:
            values[table.STORE_FILES.name] = self.count.files
            values[table.STORE_BYTES.name] = self.count.bytes
            values[table.STORE_COUNTED.name] = self.count.counted_at
        if self.space is not None and self.space.free is not None and self.space.size is not None:
            values[table.STORE_FREE.name] = self.space.free
            values[table.STORE_SIZE.name] = self.space.size
        return values

    def _verification_values(self) -> dict[str, float]:
        status = self._verification
        return {
            table.VERIFY_RUNNING.name: status is not None and status.running,
            table.VERIFY_FILES.name: 0 if status is None else status.files,
            table.VERIFY_BYTES.name: 0 if status is None else status.bytes,
            table.VERIFY_CORRUPT.name: 0 if status is None else status.corrupt,
            table.VERIFY_UNREADABLE.name: 0 if status is None else status.unreadable,
            table.VERIFY_FINISHED.name: 0.0 if status is None else status.last_finished,
            table.VERIFY_LAST_CORRUPT.name: 0 if status is None else status.last_corrupt,
        }

    def _verification_lines(self) -> list[str]:
        status = self._verification
        if status is None:
            return []
        lines = [_last_finished(status)]
        lines += [f"corrupt: {name}" for name in status.corrupt_files[:MAX_NAMED_FILES]]
        more = status.last_corrupt - MAX_NAMED_FILES
        return [*lines, f"and {more} more"] if more > 0 else lines


def _last_finished(status: VerificationStatus) -> str:
    if not status.last_finished:
        return "verify: not finished yet"
    finished = datetime.fromtimestamp(status.last_finished, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"verify: last finished {finished}, {status.last_corrupt} corrupt"
