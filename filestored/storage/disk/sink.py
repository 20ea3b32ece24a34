"""Disk sink: the content of one upload, from a temp file to its digest name.

`DiskSink` writes a `TempFile` and links it to its digest. If that name exists, the existing file is examined
through one descriptor:

- it was removed meanwhile: link again
- same bytes: stored already. A wrong owner or mode is corrected first, as for files copied by hand
- unreadable: treated as corrupt
- other bytes without this digest: corrupt. The file moves to quarantine and is replaced, so an upload repairs
  the store
- other bytes with this digest: a collision. Nothing changes; it is an error

Rejected: comparing only name and size. Comparing the content costs one read, and makes an upload a repair.
"""

import errno
import fcntl
import os
import stat
from contextlib import suppress

from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import SHARD_DIGITS, Algorithm, Digest
from filestored.errors import Collision
from filestored.interfaces import IRenewableSink, IRepairingSink, ISink, Usage
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.syscalls import FILE_FLAGS, Syscalls, closed_after
from filestored.storage.disk.temp_files import MODE, TempFile
from filestored.storage.health import LACKING, ReadFailed
from filestored.storage.limits import disk_expiry

_READ_CHUNK_BYTES = 1024 * 1024
_MAX_ATTEMPTS = 100


@implementer(ISink, IRenewableSink, IRepairingSink)
class DiskSink:
    """The sink of an upload to the shards of one store; `write`, `seal` and `discard` are the temp file's."""

    encoding = None
    displaced = Usage(0, 0)
    _log = Logger()

    def __init__(
        self,
        temp_file: TempFile,
        shards: Shards,
        quarantine: Quarantine,
        algorithm: Algorithm,
        calls: Syscalls,
    ) -> None:
        self._temp_file = temp_file
        self.write = temp_file.write
        self.seal = temp_file.seal
        self.discard = temp_file.discard
        self._shards = shards
        self._quarantine = quarantine
        self._algorithm = algorithm
        self._calls = calls

    def publish(self, digest: Digest) -> bool:
        """Link the temp file to its digest; handle an existing file."""
        for _ in range(_MAX_ATTEMPTS):
            shard = self._shards.descriptors[digest.hex[:SHARD_DIGITS]]
            try:
                self._temp_file.link(digest.hex, shard)
                return True
            except FileNotFoundError:
                if not self._shards.restore(digest.shard):
                    raise
            except FileExistsError:
                if self._already_stored(digest, shard):
                    return False
        raise OSError(errno.EBUSY, "the name is created and removed all the time")

    def renew(self, digest: Digest, created: bool) -> bool:
        """See `IRenewableSink`; a new file has the time of its last write.

        A file of another user goes to quarantine, because its time cannot be set.
        """
        if created:
            return True
        shard = self._shards.descriptors[digest.shard]
        try:
            return disk_expiry.renew(digest.hex, shard, self._calls)
        except PermissionError as error:
            self._quarantine_foreign(error, digest, shard)
            return False

    def _quarantine_foreign(self, error: PermissionError, digest: Digest, shard: int) -> None:
        with suppress(FileNotFoundError), disk_expiry.locked_name(digest.hex, shard, self._calls):
            status = self._calls.stat(digest.hex, dir_fd=shard, follow_symlinks=False)
            reason = f"its time cannot be set: {error.strerror}; it belongs to user {status.st_uid}"
            self._quarantine_file(status, digest, shard, reason)

    def _already_stored(self, digest: Digest, shard: int) -> bool:
        """Return whether the existing file has the same bytes; if not, it was moved away."""
        try:
            descriptor = self._calls.open(digest.hex, FILE_FLAGS, dir_fd=shard)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in LACKING:
                raise
            self._quarantine_unopened(error, digest, shard)
            return False
        with closed_after(descriptor):
            reason = self._fault(descriptor, digest, shard)
        return reason is None

    def _fault(self, descriptor: int, digest: Digest, shard: int) -> str | None:
        """Return why the open file was quarantined; None if it is intact. Raises `Collision`, `OSError`."""
        try:
            status = self._calls.fstat(descriptor)
        except OSError as error:
            raise ReadFailed.of(error, f"{digest.shard}/{digest}") from error
        try:
            reason = self._examine(descriptor, status, digest)
        except ReadFailed as error:
            reason = error.strerror
        if reason is not None:
            self._calls.flock(descriptor, fcntl.LOCK_SH)  # see `disk_expiry`
            self._quarantine_file(status, digest, shard, reason)
        return reason

    def _examine(self, descriptor: int, status: os.stat_result, digest: Digest) -> str | None:
        """Return the fault of the open file, or None. Raises `Collision` or `OSError`."""
        if not stat.S_ISREG(status.st_mode):
            return "it is not a regular file"
        if self._same_content(descriptor, status.st_size):
            return self._correct_mode(descriptor, status)
        if self._rehash(descriptor) != digest:
            return f"its bytes do not have the {digest.algorithm} of its name"
        self._log.critical("two contents with the digest {digest}", digest=digest.hex)
        raise Collision

    def _correct_mode(self, descriptor: int, status: os.stat_result) -> str | None:
        """Set the mode of `seal`, durably; return the fault if that is impossible."""
        if status.st_uid not in (os.geteuid(), 0):
            return f"it belongs to user {status.st_uid}"
        if stat.S_IMODE(status.st_mode) == MODE:
            return None
        try:
            self._calls.fchmod(descriptor, MODE)
        except PermissionError:
            return f"its mode is {stat.S_IMODE(status.st_mode):04o}, and it belongs to another user"
        self._calls.fsync(descriptor)
        return None

    def _quarantine_unopened(self, error: OSError, digest: Digest, shard: int) -> None:
        """Quarantine a file that cannot be opened because of `error`. Raises `OSError`."""
        try:
            status = self._calls.stat(digest.hex, dir_fd=shard, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as unknown:
            raise ReadFailed.of(unknown, f"{digest.shard}/{digest}") from unknown
        if not stat.S_ISREG(status.st_mode):
            self._quarantine_file(status, digest, shard, "it is not a regular file")
        elif error.errno not in (errno.ELOOP, errno.ENXIO):  # else it was replaced meanwhile
            self._quarantine_file(status, digest, shard, f"it cannot be read: {error.strerror}")

    def _quarantine_file(self, suspect: os.stat_result, digest: Digest, shard: int, reason: str) -> None:
        if self._quarantine.move_in(suspect, digest.hex, shard, reason):
            if stat.S_ISREG(suspect.st_mode):
                self.displaced = Usage(self.displaced.files + 1, self.displaced.bytes + suspect.st_size)
            self._log.error("{digest} moved to quarantine: {reason}", digest=digest.hex, reason=reason)

    def _same_content(self, existing: int, size: int) -> bool:
        own = self._temp_file.descriptor
        if self._calls.fstat(own).st_size != size:
            return False
        return all(
            self._calls.pread(own, _READ_CHUNK_BYTES, offset) == self._read(existing, offset)
            for offset in range(0, size, _READ_CHUNK_BYTES)
        )

    def _rehash(self, descriptor: int) -> Digest:
        hasher = self._algorithm.new()
        offset = 0
        while piece := self._read(descriptor, offset):
            hasher.update(piece)
            offset += len(piece)
        return self._algorithm.finish(hasher)

    def _read(self, existing: int, offset: int) -> bytes:
        """Read from the existing file. Raises `ReadFailed`, or `OSError` for lack of memory."""
        try:
            return self._calls.pread(existing, _READ_CHUNK_BYTES, offset)
        except OSError as error:
            if error.errno in LACKING:
                raise
            raise ReadFailed.of(error, "it") from error
