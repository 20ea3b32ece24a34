"""The bytes of one upload on their way to a name on disk.

`DiskSink` writes to a `TempFile` file and links it to its digest. When that name is taken,
the file there is examined, all from one descriptor:

- gone meanwhile: link again
- the same bytes: they are stored already, and stay. An owner or a mode that is not as `seal` leaves it is
  mended first: a file may have been copied here by hand
- it cannot be read: as other bytes that have rotted
- other bytes, which do not have this digest: they have rotted. They go to quarantine, ours
  take their place: the upload has healed the store
- other bytes which do have it: a collision. Nothing changes, and it is an error

Rejected: trusting the name and the size. Comparing costs one read of what the client has
just sent, and is what makes a re-upload a repair.
"""

import errno
import os
import stat

from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Algorithm, Digest
from filestored.errors import Collision
from filestored.interfaces import ISink
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import MODE, TempFile
from filestored.storage.health import LACKING, ReadFailed

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""How a stored file is opened: no link is followed, and no FIFO waited for."""

_READ_CHUNK_BYTES = 1024 * 1024
_MAX_ATTEMPTS = 100


@implementer(ISink)
class DiskSink:
    """An upload to the shards of one store."""

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
        self._shards = shards
        self._quarantine = quarantine
        self._algorithm = algorithm
        self._calls = calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append to the scratch file."""
        self._temp_file.write(data)

    def seal(self, flush: bool = True) -> None:
        """Make it 0440, and flush it if `flush` says so."""
        self._temp_file.seal(flush=flush)

    def publish(self, digest: Digest) -> bool:
        """Link it to its name, dealing with whatever holds that name."""
        for _ in range(_MAX_ATTEMPTS):
            shard = self._shards.descriptors[digest.shard]
            try:
                self._temp_file.link(digest.hex, shard)
                return True
            except FileNotFoundError:
                if not self._shards.restore(digest.shard):
                    raise
            except FileExistsError:
                if self._already_stored(digest, shard):
                    return False
        raise OSError(errno.EBUSY, "the name is taken and given up all the time")

    def discard(self) -> None:
        """Let go of the scratch file."""
        self._temp_file.discard()

    def _already_stored(self, digest: Digest, shard: int) -> bool:
        """Whether the holder of the name has our bytes; if not, the name is free now."""
        try:
            descriptor = self._calls.open(digest.hex, OPEN_FLAGS, dir_fd=shard)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in LACKING:
                raise
            self._remove_unopened(error, digest, shard)
            return False
        try:
            reason = self._fault(descriptor, digest, shard)
        finally:
            os.close(descriptor)
        return reason is None

    def _fault(self, descriptor: int, digest: Digest, shard: int) -> str | None:
        """Return why the open file was moved aside; None when it is stored. Raises `Collision`, `OSError`."""
        try:
            status = self._calls.fstat(descriptor)
        except OSError as error:
            raise ReadFailed.of(error, f"{digest.shard}/{digest}") from error
        try:
            reason = self._examine(descriptor, status, digest)
        except ReadFailed as error:
            reason = error.strerror
        if reason is not None:
            self._move_aside(status, digest, shard, reason)
        return reason

    def _examine(self, descriptor: int, status: os.stat_result, digest: Digest) -> str | None:
        """Return what is wrong with the open file, or None. Raises `Collision` or `OSError`."""
        if not stat.S_ISREG(status.st_mode):
            return "it is not a regular file"
        if self._same_bytes(descriptor, status.st_size):
            return self._mend(descriptor, status)
        if self._rehash(descriptor) != digest:
            return f"its bytes do not have the {digest.algorithm} of its name"
        self._log.critical("two contents with the digest {digest}", digest=digest.hex)
        raise Collision

    def _mend(self, descriptor: int, status: os.stat_result) -> str | None:
        """Give the file the mode of `seal`, durably; what is wrong with it when that cannot be done."""
        if status.st_uid not in (os.geteuid(), 0):
            return f"it belongs to user {status.st_uid}"
        if stat.S_IMODE(status.st_mode) == MODE:
            return None
        try:
            self._calls.fchmod(descriptor, MODE)
        except PermissionError:
            return f"its mode is {stat.S_IMODE(status.st_mode):04o}, and it is not ours"
        self._calls.fsync(descriptor)
        return None

    def _remove_unopened(self, error: OSError, digest: Digest, shard: int) -> None:
        """Move aside what could not be opened with `error`. Raises `OSError`."""
        try:
            status = self._calls.stat(digest.hex, dir_fd=shard, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as unknown:
            raise ReadFailed.of(unknown, f"{digest.shard}/{digest}") from unknown
        if not stat.S_ISREG(status.st_mode):
            self._move_aside(status, digest, shard, "it is not a regular file")
        elif error.errno not in (errno.ELOOP, errno.ENXIO):  # else a file has taken its place meanwhile
            self._move_aside(status, digest, shard, f"it cannot be read: {error.strerror}")

    def _move_aside(self, suspect: os.stat_result, digest: Digest, shard: int, reason: str) -> None:
        if self._quarantine.move_in(suspect, digest.hex, shard, reason):
            self._log.error("{digest} moved to quarantine: {reason}", digest=digest.hex, reason=reason)

    def _same_bytes(self, theirs: int, size: int) -> bool:
        ours = self._temp_file.descriptor
        if self._calls.fstat(ours).st_size != size:
            return False
        return all(
            self._calls.pread(ours, _READ_CHUNK_BYTES, offset) == self._read(theirs, offset)
            for offset in range(0, size, _READ_CHUNK_BYTES)
        )

    def _rehash(self, descriptor: int) -> Digest:
        hasher = self._algorithm.new()
        offset = 0
        while piece := self._read(descriptor, offset):
            hasher.update(piece)
            offset += len(piece)
        return self._algorithm.finish(hasher)

    def _read(self, theirs: int, offset: int) -> bytes:
        """A piece of the file that holds the name. Raises `ReadFailed`, or `OSError` for want of memory."""
        try:
            return self._calls.pread(theirs, _READ_CHUNK_BYTES, offset)
        except OSError as error:
            if error.errno in LACKING:
                raise
            raise ReadFailed.of(error, "it") from error
