"""Circuit breaker between reads in the reactor's thread and reads in I/O threads.

Opening and reading a file takes microseconds while the disk is fast or the file is cached, less than passing
it to a thread. In the reactor's thread a slow disk would block all clients. So after one read slower than
`MAX_READ_SECONDS` all reads of the store run in I/O threads, which keep measuring. They return to the
reactor's thread after a time without a slow read and `RECOVERY_READS` fast ones, while none hangs. That time
starts with `MIN_RECOVERY_SECONDS`, as a process without CPU time measures slow reads, too, and doubles each
time that the disk is soon slow again.

Rejected: ``preadv2(RWF_NOWAIT)``, which tells whether bytes are cached, but open(2) and stat(2) block as
well. Counting voluntary context switches, which tells a block from a lack of CPU time, but takes 1 us per
read.
"""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import ParamSpec, TypeVar

from twisted.logger import Logger

MAX_READ_SECONDS = 0.05
"""Duration of a read that moves the following reads to threads."""

MIN_RECOVERY_SECONDS = 1.0
"""First time without a slow read, before reads return to the reactor's thread."""

MAX_RECOVERY_SECONDS = 16.0
"""Maximum of that time; after it, a slow read counts as the first one again."""

RECOVERY_READS = 16
"""Fast reads in a row, before reads return to the reactor's thread."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ReadCircuitBreaker:
    """Measures the reads of one store; while `slow`, they must run in I/O threads. Thread-safe.

    `max_seconds` is that of a fast read; infinite for a store whose reads are always made in threads.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float] = monotonic, max_seconds: float = MAX_READ_SECONDS) -> None:
        self.slow = False
        self._max_seconds = max_seconds
        self._clock = clock
        self._lock = Lock()
        self._running: dict[object, float] = {}  # when each began, the oldest first
        self._recovery = MIN_RECOVERY_SECONDS
        self._slow_until = -MAX_RECOVERY_SECONDS
        self._fast_reads = 0

    def record(self, seconds: float) -> None:
        """Record the duration of a read."""
        if self.slow or seconds > self._max_seconds:
            with self._lock:
                self._update(seconds)

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a reading function in an I/O thread and record its duration."""
        began, key = self._clock(), object()
        with self._lock:
            self._running[key] = began
        try:
            return function(*args, **kwargs)
        finally:
            with self._lock:
                del self._running[key]
            self.record(self._clock() - began)

    def _update(self, seconds: float) -> None:
        now = self._clock()
        if seconds > self._max_seconds:
            if not self.slow:
                self._trip(now, seconds)
            self._fast_reads = 0
            self._slow_until = now + self._recovery
            return
        self._fast_reads += 1
        recovered = self._fast_reads >= RECOVERY_READS and now >= self._slow_until
        if self.slow and recovered and not self._is_hanging(now):
            self.slow = False
            self._log.info("reads are fast again")

    def _trip(self, now: float, seconds: float) -> None:
        """Move reads to threads."""
        again = now - self._slow_until < MAX_RECOVERY_SECONDS
        self._recovery = min(2 * self._recovery, MAX_RECOVERY_SECONDS) if again else MIN_RECOVERY_SECONDS
        self.slow = True
        self._log.warn("a read took {seconds:.2f} s; reads are made in threads now", seconds=seconds)

    def _is_hanging(self, now: float) -> bool:
        """Return whether a running read is slow already."""
        return any(now - began > self._max_seconds for began in self._running.values())
