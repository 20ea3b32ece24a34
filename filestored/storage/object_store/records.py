"""Records as objects, by conditional PUTs. Blocking.

- create: ``If-None-Match: *``
- replace: a GET, then ``If-Match`` with the entity tag that was read
- remove: as replace, by a value that counts as absent (`removed_records`); `create` replaces it

`held` writes an object below ``holders/`` for its context, then reads the record. A change writes first, then
waits until the objects of that time are gone. So each context either began before the change, which waits for
it, or has read the new value. Those of dead processes are deleted after `HELD_TIMEOUTS`.

`sweep_removed` deletes objects of removed records after a day. As a DELETE has no condition, it could remove
a record that was created meanwhile. So the value is first replaced by one that only this process deletes,
between `DELETE_AFTER_SECONDS` and `DELETE_UNTIL_SECONDS`. `create` replaces that value only before
`REUSE_UNTIL_SECONDS` or after `REUSE_AGAIN_SECONDS`, and fails in between. All these times are those of the
service.

Rejected: locks with a lifetime instead of conditions; a process that is stopped for longer would write
without one.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from zope.interface import implementer

from filestored.errors import EngineError
from filestored.interfaces import IRecords
from filestored.storage.disk.records import split
from filestored.storage.object_store.client import ObjectInfo, ObjectStoreClient
from filestored.storage.removed_records import SIZES, being_deleted, is_being_deleted, is_removed, removed
from filestored.storage.thread_pool import in_parallel

HELD_TIMEOUTS = 6
"""Maximum duration of a context of `ObjectRecords.held`, in timeouts; a change waits no longer for one."""

MIN_REMOVED_SECONDS = 24 * 60 * 60
"""Minimum age of a removed record before its object is deleted."""

REUSE_UNTIL_SECONDS = 60
"""Time in which a record about to be deleted can be created again. No request takes as long as the next two
differences."""

DELETE_AFTER_SECONDS = 180
"""Time after which its object is deleted."""

DELETE_UNTIL_SECONDS = 900
"""Time after which it is not deleted any more: its process was stopped, or has died."""

REUSE_AGAIN_SECONDS = 1800
"""Time after which it can be created again."""

_HOLDERS = "holders"
_TEMPORARY = "tmp"
_MAX_ATTEMPTS = 100
_PARALLEL_READS = 16
_FIRST_POLL_SECONDS = 0.02
_MAX_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Found:
    """A stored value, which may be that of a removed record, and the metadata of its object."""

    value: bytes
    info: ObjectInfo


@implementer(IRecords)
class ObjectRecords:
    """The records in `client`. `sleep` waits, in seconds."""

    def __init__(self, client: ObjectStoreClient, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self._max_held_seconds = HELD_TIMEOUTS * client.timeout

    def create(self, name: str, value: bytes) -> bool:
        """Create the object, or replace that of a removed record."""
        key = _key(name)
        for _ in range(_MAX_ATTEMPTS):
            if self._client.create(key, value):
                return True
            found = self._find(key)
            if found is None:
                continue
            if not is_removed(found.value):
                return False
            self._check_reusable(found)
            if self._client.replace(key, value, found.info.version):
                return True
        raise _contended(name)

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Replace the object if it has the old value, then wait for holders."""
        key = _key(name)
        for _ in range(_MAX_ATTEMPTS):
            found = self._find(key)
            if found is None or found.value != old or is_removed(old):
                return False
            if self._client.replace(key, new, found.info.version):
                if _can_be_held(name):
                    self._wait_for_holders(key)
                return True
        raise _contended(name)

    def remove(self, name: str, old: bytes) -> bool:
        """Replace the object by the value of a removed record."""
        return self.replace(name, old, removed())

    def read(self, name: str) -> bytes | None:
        """Read the object."""
        found = self._find(_key(name))
        return None if found is None or is_removed(found.value) else found.value

    @contextmanager
    def held(self, name: str, value: bytes) -> Iterator[bool]:
        """Write an object below ``holders/`` for the context, at most for `HELD_TIMEOUTS`.

        Only for the records of accounts, ``…/account``.
        """
        assert _can_be_held(name), "a change of other records does not look for holders"
        holder = f"{_HOLDERS}/{_key(name)}/{secrets.token_hex(8)}"
        try:
            self._client.put(holder, b"\n")
            if is_held := self.read(name) == value:
                yield True
        finally:
            with suppress(EngineError):  # a change waits for it in vain
                self._client.delete(holder)
        if not is_held:
            yield False

    def read_all(self, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """Read the objects of the directory, several at a time."""
        names = self.entries(prefix)
        for start in range(0, len(names), _PARALLEL_READS):
            some = names[start : start + _PARALLEL_READS]
            values = in_parallel(self.read, [f"{prefix}/{name}" for name in some], _PARALLEL_READS)
            yield from ((name, value) for name, value in zip(some, values, strict=True) if value is not None)

    def entries(self, prefix: str) -> list[str]:
        """List one level; removed records are included."""
        return self._client.entries(_key(prefix))

    def names(self, prefix: str) -> list[str]:
        """List all objects below the prefix; those with the size of a removed record are read."""
        found = list(self._client.objects(_key(prefix)))
        doubtful = [each.key for each in found if each.size in SIZES]
        values = dict(zip(doubtful, in_parallel(self.read, doubtful, _PARALLEL_READS), strict=True))
        return [each.key for each in found if each.key not in values or values[each.key] is not None]

    def is_empty(self, prefix: str) -> bool:
        """Return whether there are objects below the prefix, all of removed records."""
        return bool(self.entries(prefix)) and not self.names(prefix)

    def sweep_removed(self, prefixes: Iterable[str], pause: Callable[[float], None]) -> int:
        """Delete the objects of records below `prefixes` that were removed a day ago; return their number.

        Also deletes what processes that have died have left.

        `pause` waits for a number of seconds, and may raise to end the sweep.
        """
        now = self._now()
        for left in (_HOLDERS, _TEMPORARY):
            for info in self._client.objects(left):
                if _age(info.changed, now) > MIN_REMOVED_SECONDS:
                    self._client.delete(info.key)
        marker = being_deleted()
        marked = []
        for info in chain.from_iterable(map(self._client.objects, prefixes)):
            pause(0.0)
            if info.size in SIZES and _age(info.changed, now) > MIN_REMOVED_SECONDS:
                marked += [info.key] if self._mark(info.key, marker) else []
        if marked:
            pause(DELETE_AFTER_SECONDS)
        return sum(self._delete_marked(key, marker) for key in marked)

    def _mark(self, key: str, marker: bytes) -> bool:
        """Replace the value of a removed record by `marker`."""
        found = self._find(key)
        if found is None or not is_removed(found.value):
            return False
        return self._client.replace(key, marker, found.info.version)

    def _delete_marked(self, key: str, marker: bytes) -> bool:
        """Delete an object with the value `marker`. After an error the next sweep does it."""
        found = self._find(key)
        if found is None or found.value != marker:
            return False
        if _age(found.info.changed, self._now()) > DELETE_UNTIL_SECONDS:
            return False
        with suppress(EngineError):
            self._client.delete(key, once=True)
        return True

    def _check_reusable(self, found: _Found) -> None:
        """Raise `EngineError` if the object may be deleted just now."""
        if is_being_deleted(found.value):
            age = _age(found.info.changed, self._now())
            if REUSE_UNTIL_SECONDS < age < REUSE_AGAIN_SECONDS:
                raise EngineError(f"{found.info.key} is being deleted")

    def _find(self, key: str) -> _Found | None:
        try:
            return _Found(*self._client.read(key))
        except FileNotFoundError:
            return None

    def _wait_for_holders(self, key: str) -> None:
        """Wait until the contexts of now have ended; delete the objects of those that did not."""
        holders = {each.key for each in self._client.objects(f"{_HOLDERS}/{key}")}
        deadline, seconds = time.monotonic() + self._max_held_seconds, _FIRST_POLL_SECONDS
        while holders and time.monotonic() < deadline:
            self._sleep(seconds)
            seconds = min(2 * seconds, _MAX_POLL_SECONDS)
            holders &= {each.key for each in self._client.objects(f"{_HOLDERS}/{key}")}
        for holder in holders:
            self._client.delete(holder)

    def _now(self) -> datetime:
        """Return the time of the service: that of an object which is written for it."""
        key = f"{_TEMPORARY}/clock-{secrets.token_hex(8)}"
        self._client.put(key, b"\n")
        try:
            return self._client.head(key).changed
        finally:
            with suppress(EngineError):
                self._client.delete(key)


def _key(name: str) -> str:
    """Return the key of a record. Raises `ValueError` for an invalid name."""
    split(name)
    return name


def _can_be_held(name: str) -> bool:
    return name.endswith("/account")


def _age(moment: datetime, now: datetime) -> float:
    return (now - moment) / timedelta(seconds=1)


def _contended(name: str) -> EngineError:
    return EngineError(f"the record {name} is changed all the time")
