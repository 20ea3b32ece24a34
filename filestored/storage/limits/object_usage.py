"""Usage ledger in an object store: the object ``usage``, changed by compare-and-swap.

All changes of a process that wait for the same swap are merged into it: one thread swaps, the others wait.
So the latency of the service bounds no throughput. A swap is a GET, and a PUT on the condition that the
version is that of the GET.

The record has a random mark for each of the last swaps. They resolve a PUT without an answer: if its mark is
in a later version, it was made. If even that cannot be read, the callers get an error, and a later swap
takes back what was made.

At opening the files are listed. The figure counts if the record did not change meanwhile, so it is not that
of a moment in which another daemon uploads; then the recorded figure stays. Several daemons may be off by
their uploads in flight.
"""

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from twisted.logger import Logger

from filestored.errors import EngineError, OutcomeUnknown, QuotaExceeded
from filestored.interfaces import BucketLimits, IBackend, Usage
from filestored.storage.limits.ledger import MAX_AGE_SECONDS, check_fits, total
from filestored.storage.limits.usage_count import count_usage
from filestored.storage.object_store.client import ObjectStoreClient

KEY = "usage"
"""Key of the record."""

MAX_MARKS = 64
"""Number of the last swaps whose marks are recorded."""

MAX_COUNTS = 5
"""Maximum number of counts at opening."""

Version = Mapping[str, str]
"""Version of an object, for conditions."""

_MAX_ATTEMPTS = 100
_NOTHING = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """The usage and the marks of the last swaps, the newest one at the end."""

    usage: Usage
    marks: tuple[str, ...] = ()

    def changed(self, change: Usage, mark: str) -> "UsageRecord":
        """Return the record after a swap."""
        return UsageRecord(total(self.usage, change), (*self.marks, mark)[-MAX_MARKS:])

    def to_json(self) -> bytes:
        """Return one line of JSON."""
        return json.dumps({**self.usage._asdict(), "marks": self.marks}).encode() + b"\n"


def parse(text: bytes) -> UsageRecord | None:
    """Return the record of one line of JSON; None if it is damaged."""
    try:
        fields = json.loads(text)
        return UsageRecord(
            Usage(int(fields["files"]), int(fields["bytes"])), tuple(map(str, fields["marks"]))
        )
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None


class _Change:
    """A change that waits for its swap; with `limits` it must fit."""

    def __init__(self, usage: Usage, limits: BucketLimits | None) -> None:
        self.usage = usage
        self.limits = limits
        self.done = False
        self.error: Exception | None = None


class ObjectUsage:
    """The ledger in the store of `client`, of the files in `backend`; see `Ledger`."""

    _log = Logger()

    def __init__(self, client: ObjectStoreClient, backend: IBackend) -> None:
        self.is_open = False
        self._client = client
        self._backend = backend
        self._opening = threading.Lock()
        self._changed = threading.Condition()
        self._closed = False
        self._swapping = False
        self._waiting: list[_Change] = []
        self._owed = _NOTHING
        self._unresolved: dict[str, tuple[Version, Usage]] = {}
        self._cached = _NOTHING
        self._cached_at = -MAX_AGE_SECONDS

    @property
    def is_fresh(self) -> bool:
        """See `Ledger.is_fresh`."""
        return time.monotonic() - self._cached_at <= MAX_AGE_SECONDS

    def open(self) -> None:
        """Count the files, unless the record changes meanwhile; or use the recorded figure."""
        if self.is_open:
            return
        with self._opening:
            if not (self.is_open or self._closed):
                self._count()
                self.is_open = True

    def close(self) -> None:
        """Make changes without effect."""
        self._closed = True
        self.is_open = False

    def cached(self) -> Usage:
        """Return the figure of the last swap or GET."""
        return self._cached

    def current(self, max_age: float = 0.0) -> Usage:
        """Return the cached figure, or that of a GET."""
        if not self.is_open:
            return _NOTHING
        if time.monotonic() - self._cached_at > max_age:
            self._remember(self._find()[0].usage)
        return self._cached

    def reserve(self, size: int, limits: BucketLimits) -> None:
        """Add a file with the next swap."""
        change = _Change(Usage(1, size), limits)
        self._make(change)
        if change.error is not None:
            raise change.error

    def add(self, change: Usage) -> None:
        """Add with the next swap; after an error, with the one behind it."""
        self._make(_Change(change, None))

    def _make(self, change: _Change) -> None:
        """Wait until the change is made, by this thread or by another one."""
        if not self.is_open:
            return
        with self._changed:
            self._waiting.append(change)
            self._changed.wait_for(lambda: change.done or not self._swapping)
            if change.done:
                return
            self._swapping = True
            changes, self._waiting = self._waiting, []
        try:
            self._swap(changes)
        except Exception as error:
            self._fail(changes, error)
        finally:
            with self._changed:
                self._swapping = False
                for each in changes:
                    each.done = True
                self._changed.notify_all()

    def _swap(self, changes: list[_Change]) -> None:
        """Make these changes with one swap; set the error of those that do not fit. Raises `EngineError`.

        An attempt without an answer is owed back as soon as it is found to be made.
        """
        for _ in range(_MAX_ATTEMPTS):
            record, version = self._find()
            self._resolve(record, version)
            change = total(self._owed, _merged(changes, total(record.usage, self._owed)))
            if change == _NOTHING or self._replace(record, version, change):
                self._owed = _NOTHING
                return
        raise EngineError(f"{KEY} is changed all the time")

    def _replace(self, record: UsageRecord, version: Version, change: Usage) -> bool:
        """Change the record; return False if it is another version, or if the outcome is unknown."""
        mark = secrets.token_hex(8)
        new = record.changed(change, mark)
        self._unresolved[mark] = version, change
        try:
            replaced = self._client.replace(KEY, new.to_json(), version)
        except OutcomeUnknown:
            return False
        del self._unresolved[mark]
        if replaced:
            self._remember(new.usage)
        return replaced

    def _fail(self, changes: list[_Change], error: Exception) -> None:
        """Set the error of reservations; other changes are made later."""
        self._log.error("the usage of a bucket was not recorded: {reason}", reason=str(error))
        for each in changes:
            if each.limits is None:
                self._owed = total(self._owed, each.usage)
            else:
                each.error = each.error or error

    def _resolve(self, record: UsageRecord, version: Version) -> None:
        """Take back the changes of swaps that have failed, as far as they were made."""
        for mark, (attempted, change) in list(self._unresolved.items()):
            if mark in record.marks:
                self._owed = total(self._owed, Usage(-change.files, -change.bytes))
            elif version == attempted:
                continue  # it can still be made
            del self._unresolved[mark]

    def _count(self) -> None:
        """Replace the figure by a count, unless other processes change it all the time."""
        for _ in range(MAX_COUNTS):
            found, version = self._read()
            marks = found.marks if found is not None else ()
            counted = UsageRecord(count_usage(self._backend), (*marks, secrets.token_hex(8))[-MAX_MARKS:])
            try:
                if version is None:
                    is_made = self._client.create(KEY, counted.to_json())
                else:
                    is_made = self._client.replace(KEY, counted.to_json(), version)
            except OutcomeUnknown:
                is_made = False
            if is_made:
                self._remember(counted.usage)
                return
        found, _ = self._read()
        if found is None:
            raise EngineError(f"{KEY} is changed all the time")
        self._remember(found.usage)

    def _find(self) -> tuple[UsageRecord, Version]:
        """Return the record and its version; count if there is none. Raises `EngineError`."""
        found, version = self._read()
        if found is None or version is None:
            self._count()
            found, version = self._read()
        if found is None or version is None:
            raise EngineError(f"{KEY} is damaged")
        self._remember(found.usage)
        return found, version

    def _read(self) -> tuple[UsageRecord | None, Version | None]:
        """Return the record, None if it is damaged, and its version, None if there is none."""
        try:
            text, info = self._client.read(KEY)
        except FileNotFoundError:
            return None, None
        return parse(text), info.version

    def _remember(self, usage: Usage) -> None:
        self._cached = usage
        self._cached_at = time.monotonic()


class UncountedObjectUsage(ObjectUsage):
    """The same ledger for a process that only removes files: it changes a record, and never makes one."""

    def open(self) -> None:
        """Use the record if there is one."""
        if not (self.is_open or self._closed):
            self.is_open = self._client.find(KEY) is not None


def _merged(changes: list[_Change], usage: Usage) -> Usage:
    """Return the sum of the changes that fit; set the errors of the others."""
    before = usage
    for each in sorted(changes, key=lambda each: each.limits is not None):  # what frees room comes first
        each.error = None
        try:
            if each.limits is not None:
                check_fits(usage, each.usage.bytes, each.limits)
            usage = total(usage, each.usage)
        except QuotaExceeded as error:
            each.error = error
    return Usage(usage.files - before.files, usage.bytes - before.bytes)
