"""Memory of refused images: the same bytes are not decoded again for a while.

In: a key that names the bytes by their SHA-256, and the error that they were refused with. Out: that error
again. Only a decision about the bytes belongs here; an undecided one (no memory, no process) does not.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from filestored.errors import ImageRefused

MAX_REFUSALS = 1024
"""Refused contents that are remembered; the oldest is dropped for a new one."""

MAX_AGE_SECONDS = 600.0
"""Seconds for which a refusal is remembered."""


class RefusalCache:
    """The latest refusals of this process. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._found: OrderedDict[Hashable, tuple[float, type[ImageRefused]]] = OrderedDict()

    def check(self, key: Hashable) -> None:
        """Raise what these bytes were refused with lately, if they were."""
        moment, error = self._found.get(key, (0.0, None))
        if error is None:
            return
        if self._now() - moment <= MAX_AGE_SECONDS:
            raise error
        del self._found[key]

    def add(self, key: Hashable, error: type[ImageRefused]) -> None:
        """Remember a refusal."""
        self._found.pop(key, None)
        self._found[key] = (self._now(), error)
        if len(self._found) > MAX_REFUSALS:
            self._found.popitem(last=False)
