"""Refusal cache: refused bytes are not decoded again for a while.

In: a key that identifies the bytes by their SHA-256, and the error of their refusal. Out: that error again.
Only decisions about the bytes are cached, no lack of memory or processes.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from filestored.errors import ImageRefused

MAX_REFUSALS = 1024
"""Maximum number of entries; the oldest is evicted."""

MAX_AGE_SECONDS = 600.0
"""Lifetime of an entry."""


class RefusalCache:
    """The latest refusals in this process. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._found: OrderedDict[Hashable, tuple[float, ImageRefused]] = OrderedDict()

    def check(self, key: Hashable) -> None:
        """Raise the cached error of these bytes, if any."""
        if key not in self._found:
            return
        moment, error = self._found[key]
        if self._now() - moment <= MAX_AGE_SECONDS:
            raise type(error)(*error.args)
        del self._found[key]

    def add(self, key: Hashable, error: ImageRefused) -> None:
        """Cache a refusal, without its traceback."""
        self._found.pop(key, None)
        self._found[key] = (self._now(), type(error)(*error.args))
        if len(self._found) > MAX_REFUSALS:
            self._found.popitem(last=False)
