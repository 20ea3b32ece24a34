"""Latency of reads: a circuit breaker between reads in the reactor's thread and reads in I/O threads.

To open a file and to read some of it takes microseconds where the disk is fast or the file is cached, less
than to hand that to a thread. So it is done in the reactor's thread, where a slow disk would stop all
clients. After one read slower than `MAX_READ_SECONDS` all reads of the store are made in I/O threads, which
go on to measure. They come back to the reactor's thread after a time without a slow read and
`RECOVERY_READS` fast ones, while none hangs. That time begins with `MIN_RECOVERY_SECONDS`, for a process that
gets no CPU measures slow reads, too, and doubles each time that the disk is slow again soon.

Rejected: ``preadv2(RWF_NOWAIT)``. It says whether bytes are cached, but opening and ``stat`` wait as well.
Rejected: counting voluntary context switches, which tell a wait from a lack of CPU; that takes 1 µs a read.
"""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import ParamSpec, TypeVar

from twisted.logger import Logger

MAX_READ_SECONDS = 0.05
"""Seconds that a read may take in the reactor's thread before the next ones are made elsewhere."""

MIN_RECOVERY_SECONDS = 1.0
"""Seconds without a slow read before reads return to the reactor's thread, the first time."""

MAX_RECOVERY_SECONDS = 16.0
"""The same, at most; and seconds after which a slow read is the first one again."""

RECOVERY_READS = 16
"""Fast reads since the last slow one before reads return to the reactor's thread."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ReadLatency:
    """Measures the reads of one store; `slow` says whether they belong in I/O threads now.

    Safe to be used in any thread.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.slow = False
        self._clock = clock
        self._lock = Lock()
        self._under_way: dict[object, float] = {}  # when each began, the oldest first
        self._recovery = MIN_RECOVERY_SECONDS
        self._slow_until = -MAX_RECOVERY_SECONDS
        self._fast_reads = 0

    def note(self, seconds: float) -> None:
        """Note that a read took so long."""
        if self.slow or seconds > MAX_READ_SECONDS:
            with self._lock:
                self._judge(seconds)

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function that reads, in an I/O thread, and note how long that took."""
        began, key = self._clock(), object()
        with self._lock:
            self._under_way[key] = began
        try:
            return function(*args, **kwargs)
        finally:
            with self._lock:
                del self._under_way[key]
            self.note(self._clock() - began)

    def _judge(self, seconds: float) -> None:
        now = self._clock()
        if seconds > MAX_READ_SECONDS:
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
        """Have reads made in threads from now on."""
        again = now - self._slow_until < MAX_RECOVERY_SECONDS
        self._recovery = min(2 * self._recovery, MAX_RECOVERY_SECONDS) if again else MIN_RECOVERY_SECONDS
        self.slow = True
        self._log.warn("a read took {seconds:.2f} s; reads are made in threads now", seconds=seconds)

    def _is_hanging(self, now: float) -> bool:
        """Whether a read is under way that is slow already."""
        return any(now - began > MAX_READ_SECONDS for began in self._under_way.values())
