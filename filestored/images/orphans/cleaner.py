"""Removal of orphans: restores lost token records and moves unreferenced blobs to quarantine. Blocking.

A crash may leave the blob of an image without a record, or a record without a claim. Such blobs take space
and are never found. But blobs also look like orphans while records are missing: a volume is not mounted, a
restore is incomplete. So nothing is deleted here, and records are not changed:

- Only blobs older than `MIN_AGE_SECONDS` at the start are moved. Later uploads are younger, so uploads go on
  meanwhile. A date in the future counts as young.
- Nothing is moved when there are no accounts, when an account cannot be read, or when more than `MAX_ORPHANS`
  files and `MAX_ORPHAN_SHARE` of all would be moved.
- A moved file comes back when a record that refers to it is read again (`IQuarantine.restore`).

Rejected: removal of records without a claim, claims without a record, and tokens without an account. Each may
belong to a missing part, and all of them together take little space.
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
from filestored.images.filenames import canonical
from filestored.interfaces import IBackend, IQuarantine, IRecords
from filestored.storage.health import ReadFailed

MIN_AGE_SECONDS = 24 * 60 * 60.0
"""Minimum age of an orphan; a younger blob or record may belong to an upload in progress."""

MAX_ORPHAN_SHARE = 0.05
"""Maximum share of all files that one run moves."""

MAX_ORPHANS = 10
"""Number of files that one run may move in spite of `MAX_ORPHAN_SHARE`."""

REASON = "no image refers to it; it is moved back when one does"
"""The reason that quarantine records for a file."""

DELETE_GRACE_SECONDS = 2.0
"""Time between listing and moving files, in which DELETE requests in progress remove theirs."""

_PAGE_FILES = 1000
_MAX_LISTED = 3


class Pause(Protocol):
    """Called between small steps, to wait now and then."""

    def __call__(self, seconds: float = 0.0) -> None:
        """Wait, at least for `seconds`. May raise, to end the run."""


def _no_pause(seconds: float = 0.0) -> None:
    """Do not wait."""


@dataclass
class CleanupResult:
    """Numbers of token records `restored` and files `moved`, and the reason of a `refusal` to move any."""

    restored: int = 0
    moved: int = 0
    refusal: str | None = None


class OrphanCleaner:
    """One removal of orphans from `blobs`, a backend that is also an `IQuarantine`.

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
        self._quarantine = IQuarantine(blobs)
        self._pause = pause
        self._newest_orphan = (time.time() if now is None else now) - MIN_AGE_SECONDS
        self._referenced: set[int] = set()
        self._unreadable: list[str] = []
        self._deleted = 0

    def run(self) -> CleanupResult:
        """Remove orphans. Raises `OSError` when `blobs` cannot be read."""
        result = CleanupResult()
        usernames = self._entries()
        for username in usernames:
            self._pause()
            result.restored += self._collect(username)
        if self._unreadable:
            result.refusal = self._unreadable_accounts()
            return result
        total, orphans = self._orphans()
        result.refusal = _doubt_reason(len(usernames) - self._deleted, total, len(orphans))
        if orphans and result.refusal is None:
            self._pause(DELETE_GRACE_SECONDS)
            result.moved = sum(self._move_to_quarantine(digest) for digest in orphans)
        return result

    def _entries(self) -> list[str]:
        try:
            return self._records.entries(ACCOUNTS)
        except OSError as error:
            self._unreadable.append(f"{ACCOUNTS}/ ({error.strerror or error})")
            return []

    def _collect(self, username: str) -> bool:
        """Collect the blobs of an account; return whether its token record was restored."""
        place = f"{ACCOUNTS}/{username}"
        try:
            is_being_deleted = self._accounts.is_being_deleted(username)
            self._referenced.update(map(_key, self._blobs_of(place, is_being_deleted)))
            return not is_being_deleted and self._restore_token(username)
        except NotFound:
            self._unreadable.append(f"{place} (it has no account record)")
        except OSError as error:
            self._unreadable.append(f"{place} ({error.strerror or error})")
        except (ValueError, LookupError, TypeError):
            self._unreadable.append(f"{place} (a record is damaged)")
        return False

    def _restore_token(self, username: str) -> bool:
        """Restore a lost token record. Raises `NotFound` for records without an account.

        Nothing is left of a deleted account but empty directories, or objects of removed records.
        """
        try:
            return self._accounts.restore_token(username)
        except NotFound:
            if not self._records.is_empty(f"{ACCOUNTS}/{username}"):
                raise
            self._deleted += 1
            return False

    def _blobs_of(self, place: str, is_being_deleted: bool) -> Iterator[str]:
        """Yield the blobs of all records that are claimed, or too young to have a claim already.

        The blobs of an account that is being deleted are left to that.
        """
        claimed = {read_claim(claim) for _, claim in self._paused(f"{place}/{NAMES}")}
        claims = {(identity, canonical(name)) for identity, name in claimed}
        for identity, record in self._paused(f"{place}/{IMAGES}"):
            entry = ImageRecord.from_record(record)
            is_claimed = is_being_deleted or (identity, canonical(entry.image.name)) in claims
            if is_claimed or not self._is_old(_moment(entry.created)):
                yield entry.image.blob.hex

    def _paused(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Yield all records below `prefix`. Raises `ReadFailed` for an unreadable one."""
        for name, value in self._records.read_all(prefix):
            self._pause()
            if value is None:
                raise ReadFailed(errno.EIO, f"the record {prefix}/{name} cannot be read")
            yield name, value

    def _orphans(self) -> tuple[int, list[Digest]]:
        """Return the number of all files, and the old ones without a record."""
        total, orphans = 0, []
        for digest in self._digests():
            total += 1
            if _key(digest.hex) not in self._referenced and self._is_old_file(digest):
                orphans.append(digest)
        return total, orphans

    def _digests(self) -> Iterator[Digest]:
        page = self._blobs.digests(None, _PAGE_FILES)
        while page:
            for digest in page:
                self._pause()
                yield digest
            page = self._blobs.digests(page[-1], _PAGE_FILES)

    def _is_old_file(self, digest: Digest) -> bool:
        try:
            return self._is_old(self._quarantine.changed_at(digest))
        except NotFound:
            return False

    def _is_old(self, moment: float) -> bool:
        return moment < self._newest_orphan

    def _unreadable_accounts(self) -> str:
        shown = ", ".join(self._unreadable[:_MAX_LISTED])
        more = len(self._unreadable) - _MAX_LISTED
        return f"restore or remove what cannot be read: {shown}{f' and {more} more' if more > 0 else ''}"

    def _move_to_quarantine(self, digest: Digest) -> bool:
        self._pause()
        return self._quarantine.move_to_quarantine(digest, REASON)


def _doubt_reason(accounts: int, total: int, orphans: int) -> str | None:
    """Return the reason to move nothing, for the operator; None to go ahead."""
    if orphans and not accounts:
        return f"there are {total} files but no accounts; restore {ACCOUNTS}/ from a copy"
    if orphans > max(MAX_ORPHANS, MAX_ORPHAN_SHARE * total):
        return f"no image refers to {orphans} of {total} files; restore the accounts that are missing"
    return None


def _key(hex_digits: str) -> int:
    """Return the last 8 random bytes of a digest: saves memory, and a collision only keeps an orphan."""
    return int(hex_digits[-16:], 16)


def _moment(created: str) -> float:
    """Return seconds since the epoch. Raises `ValueError`."""
    return datetime.fromisoformat(created).timestamp()
