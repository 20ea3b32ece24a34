"""An object store in memory for `interleavings`, with the methods of `ObjectStoreClient` and a clock."""

from collections.abc import Iterator
from datetime import UTC, datetime

from filestored.errors import EngineError
from filestored.storage.object_store.client import ObjectInfo
from tests.storage.limits.interleavings import note, pause, wait

START_SECONDS = 1_000_000
"""Time at which a run begins; objects from before may have expired."""


class ModelService:
    """Each request is one step. A DELETE takes effect at any later step, but before `wait_for_requests` ends.

    With `loses_answers` a DELETE fails at once, and has its effect in a step of `deliver`.
    """

    timeout = 1e9
    """Seconds that pass only while all actors wait."""

    def __init__(self, loses_answers: bool = False) -> None:
        self.now = START_SECONDS
        self.stored: dict[str, tuple[bytes, int, int]] = {}
        self.sweeping = 0
        self._loses_answers = loses_answers
        self._in_flight = 0
        self._undelivered: list[str] = []
        self._versions: dict[str, int] = {}

    def state(self) -> tuple[object, ...]:
        """Return all that later steps depend on, except the names of markers."""
        objects = sorted(
            (_place(key), changed, version) for key, (_, changed, version) in self.stored.items()
        )
        return self.now, self.sweeping, self._in_flight, tuple(self._undelivered), tuple(objects)

    # --- requests -------------------------------------------------------------------------------

    def find(self, key: str) -> ObjectInfo | None:
        pause()
        found = self._info(key) if key in self.stored else None
        note(("find", found and (found.changed, found.etag)))
        return found

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        pause()
        found = [self._info(key) for key in sorted(self.stored) if key.startswith(prefix + "/")]
        note(("list", *(each.changed for each in found)))
        return iter(found)

    def put(self, key: str, data: bytes) -> None:
        pause()
        self._write(key, data)
        note("put")

    def create(self, key: str, data: bytes) -> bool:
        pause()
        is_new = key not in self.stored
        if is_new:
            self._write(key, data)
        note(("create", is_new))
        return is_new

    def replace(self, key: str, data: bytes, version: dict[str, str]) -> bool:
        pause()
        is_same = key in self.stored and self._info(key).version == version
        if is_same:
            self._write(key, data)
        note(("replace", is_same))
        return is_same

    def delete(self, key: str, *, once: bool = False) -> None:
        self._in_flight += 1
        if once and self._loses_answers:
            self._undelivered.append(key)
            note("lost")
            raise EngineError("no answer")
        pause()
        self._in_flight -= 1
        self.stored.pop(key, None)
        note("delete")

    # --- actors ---------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Let the requests without an answer have their effect."""
        while self.sweeping or self._undelivered:
            if not self._undelivered:
                wait()
                continue
            pause()
            self._in_flight -= 1
            self.stored.pop(self._undelivered.pop(), None)
            note("delivered")

    def wait_for_requests(self) -> None:
        """Wait until no request is in flight."""
        pause()
        while self._in_flight:
            wait()
        note("no request")

    def _write(self, key: str, data: bytes) -> None:
        self._versions[key] = self._versions.get(key, 0) + 1
        self.stored[key] = (bytes(data), self.now, self._versions[key])

    def _info(self, key: str) -> ObjectInfo:
        data, changed, version = self.stored[key]
        return ObjectInfo(key, len(data), datetime.fromtimestamp(changed, UTC), {"e_tag": str(version)})


def _place(key: str) -> str:
    """Return a key without the random part of a marker."""
    return key.rpartition("/")[0]
