"""Expiry in an object store: markers protect the deletion of old objects against uploads. Blocking.

The time of the last upload is that of the object, by the clock of the service. An upload of content that is
stored writes the object again. A DELETE has no condition, so it could remove an object that was written after
a look at its time. So a sweep writes a marker first, an object of its own below ``expiring/``::

    sweep                             upload
    M  PUT a marker                   P  PUT the object
    C  HEAD the object: is it old?    L  LIST the markers of this object: none, or old ones only?
    D  DELETE the object              H  HEAD the object: is it there?
    X  DELETE the marker

An upload repeats L while there are younger markers, and is acknowledged after H. It is not lost, because for
each sweep

- C is after P: C finds the time of P, or of a later upload, so there is no D
- or C is before P, so M is before L. L has found no marker: X was before L. Or it has found an old one: D was
  sent at most `MAX_SWEEP_SECONDS` after M, if at all. No request takes as long as the difference to
  `MARKER_SECONDS`, not even of a process that is stopped between its look at the clock and D. In both cases D
  was before H. If it was after P, H finds no object, and the content is published again

Verification deletes a damaged version of an object in the same way. An upload that replaces one looks for
markers, too, in any bucket.

So several processes may sweep at a time, and other requests may delete the object. A sweep without an answer
to D leaves its marker, because D may have an effect later; a later sweep deletes old markers.

Rejected: locks with a lifetime, without the look at the end. A process that is stopped for longer would
delete an object without one.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from filestored.errors import EngineError, OutcomeUnknown
from filestored.storage.limits.clock import boot_seconds
from filestored.storage.limits.disk_expiry import SWEEP_FILE
from filestored.storage.object_store.client import ObjectInfo, ObjectStoreClient

MARKERS = "expiring"
"""Directory of markers."""

MAX_SWEEP_SECONDS = 30.0
"""Maximum time between the writing of a marker and the DELETE that it announces."""

MARKER_SECONDS = 150.0
"""Age of a marker from which it announces no DELETE any more."""

GRANULARITY_SECONDS = 1.0
"""Maximum difference of times that are equal for the service: most tell whole seconds."""

_FIRST_POLL_SECONDS = 0.02
_MAX_POLL_SECONDS = 0.5


class ExpiryMarkers:
    """Deletes old objects of `client`, and confirms uploads. `sleep` and `seconds` are a monotonic clock."""

    def __init__(
        self,
        client: ObjectStoreClient,
        sleep: Callable[[float], None] = time.sleep,
        seconds: Callable[[], float] = boot_seconds,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._seconds = seconds

    def confirm(self, key: str) -> bool:
        """Return whether an object that the caller has written is there, and no sweep deletes it.

        Raises `EngineError`, also when a sweep does not end within the timeout of the client.
        """
        deadline, pause = self._seconds() + self._client.timeout, _FIRST_POLL_SECONDS
        while True:
            markers = list(self._client.objects(f"{MARKERS}/{key}"))
            written = self._client.find(key)
            if written is None:
                return False
            if all(_age(each, written.changed) > MARKER_SECONDS for each in markers):
                return True
            if self._seconds() > deadline:
                raise EngineError(f"{key} is being deleted, because it had expired")
            self._sleep(pause)
            pause = min(2 * pause, _MAX_POLL_SECONDS)

    def delete_expired(self, key: str, before: float) -> bool:
        """Delete an object if its time is `before` that; return whether it was. Raises `EngineError`."""
        return self._delete_if(key, lambda found: found.changed.timestamp() < before)

    def delete_version(self, version: ObjectInfo) -> bool:
        """Delete an object if it is still this version; return whether it was. Raises `EngineError`.

        An upload that replaces a damaged object calls `confirm`.
        """
        return self._delete_if(version.key, lambda found: found == version)

    def _delete_if(self, key: str, condition: Callable[[ObjectInfo], bool]) -> bool:
        began = self._seconds()
        marker = f"{MARKERS}/{key}/{secrets.token_hex(8)}"
        self._client.put(marker, b"\n")
        found = self._client.find(key)
        is_wanted = found is not None and condition(found)
        is_in_time = self._seconds() - began <= MAX_SWEEP_SECONDS
        if is_wanted and is_in_time:
            self._client.delete(key, once=True)
        with suppress(EngineError):  # `remove_old` does it
            self._client.delete(marker)
        return is_wanted and is_in_time

    def remove_old(self, now: datetime) -> None:
        """Delete the markers of processes that have died. Raises `EngineError`."""
        for marker in self._client.objects(MARKERS):
            if _age(marker, now) > MARKER_SECONDS:
                self._client.delete(marker.key)

    @contextmanager
    def claimed_sweep(self, interval: float) -> Iterator[float | None]:
        """Write the object of sweeps, whose time is that of the context; see `IExpiringBackend`."""
        last = self._client.find(SWEEP_FILE)
        is_due = last is None or abs(time.time() - last.changed.timestamp()) >= interval
        if not (is_due and self._claim(last)):
            yield None
            return
        now = self._client.head(SWEEP_FILE).changed
        self.remove_old(now)
        yield now.timestamp() - GRANULARITY_SECONDS

    def _claim(self, last: ObjectInfo | None) -> bool:
        """Write the object of sweeps, unless another process has done so since `last`."""
        value = b"%b\n" % secrets.token_hex(8).encode()
        try:
            if last is None:
                return self._client.create(SWEEP_FILE, value)
            return self._client.replace(SWEEP_FILE, value, last.version)
        except OutcomeUnknown:
            return False


def _age(marker: ObjectInfo, now: datetime) -> float:
    return (now - marker.changed) / timedelta(seconds=1)
