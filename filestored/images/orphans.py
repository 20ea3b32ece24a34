"""The sweep: makes lost records of tokens anew, and moves orphaned bytes to quarantine. Blocking.

A process that dies may leave the bytes of an image without a record, or a record without a claim. No request
finds such bytes, and they take room. But bytes also look orphaned while records are missing: a volume is
not mounted, a restore is half done. So nothing is deleted here, and records are left alone:

- Only bytes older than `MIN_AGE_SECONDS` when the sweep begins are moved. No upload that began later is among
  them, so the sweep runs beside uploads. A date in the future counts as young.
- Nothing is moved when there are no accounts, when an account cannot be read, or when more than
  `MAX_ORPHANS` files and `MAX_ORPHAN_SHARE` of all would go.
- What was moved comes back when a record that refers to it is read again (`IQuarantine.restore`).

Rejected: to remove records without a claim, claims without a record, and tokens without an account. Each may
belong to something that is missing, and all of them together take little room.
"""

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from filestored.digest import Digest
from filestored.errors import NotFound
from filestored.images.accounts import ACCOUNTS, Accounts
from filestored.images.catalog import IMAGES, NAMES
from filestored.images.catalog_records import ImageRecord, read_claim
from filestored.interfaces import IBackend, IQuarantine, IRecords
from filestored.storage.health import ReadFailed

MIN_AGE_SECONDS = 24 * 60 * 60.0
"""How long bytes, and a record without a claim, are taken for those of an upload that is under way."""

MAX_ORPHAN_SHARE = 0.05
"""The part of all files that may be moved in one sweep."""

MAX_ORPHANS = 10
"""The number of files that may be moved in one sweep, however few there are."""

REASON = "no image refers to it; it is moved back when one does"
"""What is written beside a file in quarantine."""

SETTLING_SECONDS = 2.0
"""Time between the listing of files and their move: a DELETE that is under way removes its file meanwhile."""

_PAGE = 1000
_SHOWN = 3


class Pause(Protocol):
    """Waits between small steps, now and then."""

    def __call__(self, seconds: float = 0.0) -> None:
        """Wait so long, if that is more than nothing. May raise, to end the sweep."""


def _no_pause(seconds: float = 0.0) -> None:
    """Wait for nothing."""


@dataclass
class CleanupResult:
    """The outcome: records of tokens `restored`, files `moved`, and why files were `left`, or None."""

    restored: int = 0
    moved: int = 0
    left: str | None = None


class OrphanCleaner:
    """One sweep of `records` and `blobs`, which is also an `IQuarantine`.

    `now` is in seconds since the epoch.
    """

    def __init__(
        self,
        records: IRecords,
        accounts: Accounts,
        blobs: IBackend,
        *,
        pause: Pause = _no_pause,
        now: float | None = None,
    ) -> None:
        self._records = records
        self._accounts = accounts
        self._blobs = blobs
        self._aside = IQuarantine(blobs)
        self._pause = pause
        self._before = (time.time() if now is None else now) - MIN_AGE_SECONDS
        self._named: set[int] = set()
        self._unreadable: list[str] = []

    def run(self) -> CleanupResult:
        """Sweep. Raises `OSError` when `blobs` cannot be read."""
        swept = CleanupResult()
        usernames = self._entries()
        for username in usernames:
            self._pause()
            swept.restored += self._visit(username)
        if self._unreadable:
            swept.left = self._unreadable_accounts()
            return swept
        total, orphans = self._orphans()
        swept.left = _doubt(len(usernames), total, len(orphans))
        if orphans and swept.left is None:
            self._pause(SETTLING_SECONDS)
            swept.moved = sum(self._move(digest) for digest in orphans)
        return swept

    def _entries(self) -> list[str]:
        try:
            return self._records.entries(ACCOUNTS)
        except OSError as error:
            self._unreadable.append(f"{ACCOUNTS}/ ({error.strerror or error})")
            return []

    def _visit(self, username: str) -> bool:
        """Collect the bytes that an account refers to; whether its token had to be made anew."""
        place = f"{ACCOUNTS}/{username}"
        try:
            self._named.update(map(_key, self._blobs_of(place)))
            return self._accounts.restore_token(username)
        except NotFound:
            self._unreadable.append(f"{place} (it has no account record)")
        except OSError as error:
            self._unreadable.append(f"{place} ({error.strerror or error})")
        except (ValueError, LookupError, TypeError):
            self._unreadable.append(f"{place} (a record is damaged)")
        return False

    def _blobs_of(self, place: str) -> Iterator[str]:
        """The bytes of all records that are claimed, or so young that their claim may be about to follow."""
        claims = {read_claim(claim) for _, claim in self._paused(f"{place}/{NAMES}")}
        for identity, record in self._paused(f"{place}/{IMAGES}"):
            entry = ImageRecord.from_record(record)
            if (identity, entry.image.name) in claims or not self._is_old(_moment(entry.created)):
                yield entry.image.blob.hex

    def _paused(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """All records below `prefix`. Raises `ReadFailed` for an unreadable one, which may refer to bytes."""
        for name, value in self._records.read_all(prefix):
            self._pause()
            if value is None:
                raise ReadFailed(errno.EIO, f"the record {prefix}/{name} cannot be read")
            yield name, value

    def _orphans(self) -> tuple[int, list[Digest]]:
        """The number of all files, and those that are old and that no record refers to."""
        total, orphans = 0, []
        for digest in self._digests():
            total += 1
            if _key(digest.hex) not in self._named and self._is_old_file(digest):
                orphans.append(digest)
        return total, orphans

    def _digests(self) -> Iterator[Digest]:
        page = self._blobs.digests(None, _PAGE)
        while page:
            for digest in page:
                self._pause()
                yield digest
            page = self._blobs.digests(page[-1], _PAGE)

    def _is_old_file(self, digest: Digest) -> bool:
        try:
            return self._is_old(self._aside.changed_at(digest))
        except NotFound:
            return False

    def _is_old(self, moment: float) -> bool:
        return moment < self._before

    def _unreadable_accounts(self) -> str:
        shown = ", ".join(self._unreadable[:_SHOWN])
        more = len(self._unreadable) - _SHOWN
        return f"restore or remove what cannot be read: {shown}{f' and {more} more' if more > 0 else ''}"

    def _move(self, digest: Digest) -> bool:
        self._pause()
        return self._aside.move_to_quarantine(digest, REASON)


def _doubt(accounts: int, total: int, orphans: int) -> str | None:
    """Why nothing may be moved, for the operator; None when it may."""
    if orphans and not accounts:
        return f"there are {total} files but no accounts; restore {ACCOUNTS}/ from a copy"
    if orphans > max(MAX_ORPHANS, MAX_ORPHAN_SHARE * total):
        return f"no image refers to {orphans} of {total} files; restore the accounts that are missing"
    return None


def _key(hex_digits: str) -> int:
    """The last 8 of the random bytes of a digest: less memory, and a collision only keeps an orphan."""
    return int(hex_digits[-16:], 16)


def _moment(created: str) -> float:
    """Seconds since the epoch. Raises `ValueError`."""
    return datetime.fromisoformat(created).timestamp()
