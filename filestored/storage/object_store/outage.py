"""Outage of an object store, as seen by the requests of one process: a circuit breaker.

During an outage requests fail at once, instead of waiting for their timeout in a thread each. Once in
`RETRY_SECONDS` one is let through; the first success ends the outage.
"""

import threading
import time
from collections.abc import Callable

from filestored.errors import EngineUnavailable

RETRY_SECONDS = 1.0
"""Seconds between two requests that are let through."""


class Outage:
    """Outage of a service, if there is one, with its reason. Thread-safe; `seconds` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._next_attempt = 0.0

    def check(self) -> None:
        """Raise `EngineUnavailable` during an outage, unless this request may try the service."""
        if self._reason is None:
            return
        with self._lock:
            now = self._seconds()
            if self._reason is None or now >= self._next_attempt:
                self._next_attempt = now + RETRY_SECONDS
                return
            raise EngineUnavailable(self._reason)

    def begin(self, reason: str) -> EngineUnavailable:
        """Begin an outage, or prolong it; return the error to raise."""
        with self._lock:
            self._reason = reason
            self._next_attempt = self._seconds() + RETRY_SECONDS
        return EngineUnavailable(reason)

    def end(self) -> None:
        """End the outage, if there is one."""
        if self._reason is not None:
            with self._lock:
                self._reason = None
