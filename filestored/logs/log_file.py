"""Log file: appends, and rotates by a `RotationSchedule`.

Several processes may append to the same file. Each locks it (flock(2)) for a write, and first checks that its
name still leads to it: after the rotation by one process the others open the new file. `compress` locks the
renamed file, too, so no line is written to it meanwhile.

Readers may hold a lock on the file. A process waits for it for about 0.1 s, then appends without a rotation.

Only a regular file is rotated. A FIFO, a device and a symbolic link, such as ``/dev/stderr``, are not: a
rename would replace them by a file. A file that cannot be renamed, because its directory is not writable, is
used as before.

Everything here may block.
"""

import fcntl
import io
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress

from filestored.logs.file_lock import MAX_TRIES, lock
from filestored.logs.rotation import Retention, RotatedFiles
from filestored.logs.rotation_schedule import RotationSchedule
from filestored.settings import LogSettings

RETRY_SECONDS = 60.0
"""Time after a failed rotation until the next try."""

MAX_OPEN_SECONDS = 5.0
"""Maximum time for which a write tries to open the new file after a rotation by another process."""

LOCK_PAUSE_SECONDS = 1.0
"""Time after a lock that could not be had, in which a write waits for it for `PAUSED_TRIES` only."""

PAUSED_TRIES = 10
"""Number of tries to lock a file that another program keeps locked."""

_BEGAN = b"user.loguru_crtime"
"""Extended attribute with the time at which a file began. Linux has one of its own, which cannot be set."""


class LogFile:
    """The log file at `path`, created with `mode`. `report` takes a sentence about a rotation that failed."""

    def __init__(self, path: str, mode: int, settings: LogSettings, report: Callable[[str], None]) -> None:
        self._path = path
        self._mode = mode
        self._report = report
        self._schedule = RotationSchedule.parse(settings.rotation) if settings.rotation else None
        retention = Retention.parse(settings.retention) if settings.retention else Retention()
        self._rotated = RotatedFiles(path, retention, report)
        self._file: io.FileIO | None = None
        self._began = 0.0
        self._rotates = False
        self._reported = ""
        self._retry_at = 0.0
        self._is_locked = False
        self._wait_at = 0.0

    @property
    def is_open(self) -> bool:
        """True while the file is open."""
        return self._file is not None

    def open(self) -> None:
        """Open or reopen the file by its name. Raises `OSError`; the old one stays open then."""
        file = io.FileIO(self._path, "a", opener=self._create)
        self.close()
        self._file = file
        if self._schedule is not None:
            # Another process may have renamed the file meanwhile: the next write opens the new one.
            self._rotates = stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not os.path.islink(self._path)
            self._began = _read_began(self._descriptor)
            if not self._rotates:
                self._report_once(f"{self._path} is not a regular file, and is not rotated")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._is_locked = False

    def write(self, data: bytes) -> None:
        """Append `data`, after a rotation if one is due. Raises `OSError`."""
        if not self.is_open:
            self.open()
        while self._rotates and not self._is_ready(len(data)):
            pass
        try:
            write_all(self._descriptor, data)
            is_gone = self._rotates and not self._is_locked and not os.fstat(self._descriptor).st_nlink
        finally:
            self._unlock()
        if is_gone:  # another process rotated and compressed the file during a write without a lock
            self.open()
            write_all(self._descriptor, data)

    @property
    def _descriptor(self) -> int:
        assert self._file is not None
        return self._file.fileno()

    def _create(self, path: str, flags: int) -> int:
        return os.open(path, flags, self._mode)

    def _is_ready(self, added: int) -> bool:
        """Lock the file; return False, without a lock, if it was replaced by a new one. Raises `OSError`.

        Returns True without a lock when another program has one for too long.
        """
        if not self._has_name():
            return self._is_old_file_used()
        is_exclusive = self._lock()
        if not self._has_name():  # it was renamed meanwhile
            self._unlock()
            return False
        if not is_exclusive:
            self._report_missed_rotation(added)
            return True
        try:
            return not self._rotate_if_due(added)
        except OSError as error:
            self._report_once(f"{self._path} cannot be rotated, the old file is used: {error.strerror}")
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return True

    def _is_old_file_used(self) -> bool:
        """Open the new file after it was renamed by another process or program, and return False.

        Return True, with a lock, if that fails and the old file exists yet: `compress` waits for the lock.
        Else tries again; raises `OSError` after `MAX_OPEN_SECONDS`.
        """
        end = time.monotonic() + MAX_OPEN_SECONDS
        while True:
            try:
                self.open()
                return False
            except OSError as error:
                self._report_once(f"{self._path} cannot be opened: {error.strerror}")
                if self._lock() and os.fstat(self._descriptor).st_nlink:
                    return True
                self._unlock()
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _lock(self) -> bool:
        """Lock the file; return whether no other process has a lock, as a rotation requires."""
        is_paused = time.monotonic() < self._wait_at
        try:
            is_exclusive = lock(self._descriptor, fcntl.LOCK_EX, PAUSED_TRIES if is_paused else MAX_TRIES)
            # A shared lock, beside that of a reader, keeps other processes from a rotation.
            self._is_locked = is_exclusive or lock(self._descriptor, fcntl.LOCK_SH, 1)
        except OSError as error:
            self._rotates = False
            self._report_once(f"{self._path} is not rotated, because it cannot be locked: {error.strerror}")
            return False
        if not is_exclusive:
            self._wait_at = time.monotonic() + LOCK_PAUSE_SECONDS
        return is_exclusive

    def _unlock(self) -> None:
        if self._is_locked:
            self._is_locked = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _has_name(self) -> bool:
        """Return whether the path itself, and no link there, is the open file, and a regular one."""
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it cannot be known; a rotation would report the error
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, os.fstat(self._descriptor))

    def _report_missed_rotation(self, added: int) -> None:
        size = os.fstat(self._descriptor).st_size
        if self._schedule is not None and self._schedule.is_due(size, added, self._began, time.time()):
            self._report_once(f"{self._path} is locked by another program, and is not rotated meanwhile")

    def _rotate_if_due(self, added: int) -> bool:
        """Rotate the file if that is due; return whether a new one is open. Raises `OSError`."""
        assert self._schedule is not None
        found, now = os.fstat(self._descriptor), time.time()
        if not self._schedule.is_due(found.st_size, added, self._began, now):
            return False
        if found.st_size == 0:
            self._set_began(now)
            return False
        if time.monotonic() < self._retry_at:
            return False
        self._rotate()
        os.fchmod(self._descriptor, stat.S_IMODE(found.st_mode))
        self._set_began(now)
        self._reported = ""
        self._rotated.on_rotated()
        return True

    def _rotate(self) -> None:
        target = self._rotated.free_name(self._began)
        os.rename(self._path, target)
        try:
            self.open()
        except OSError:
            with suppress(OSError):  # another process may have created the new file: it is not replaced
                os.link(target, self._path)
                os.unlink(target)
            raise

    def _set_began(self, now: float) -> None:
        self._began = now
        with suppress(OSError):  # the file system may have no extended attributes
            os.setxattr(self._descriptor, _BEGAN, str(now).encode("ascii"))

    def _report_once(self, text: str) -> None:
        if text != self._reported:
            self._reported = text
            self._report(text)


def _read_began(descriptor: int) -> float:
    """Return the time of a file's beginning, or of its last change if that is all that is known."""
    try:
        return float(os.getxattr(descriptor, _BEGAN))
    except (OSError, ValueError):
        return os.fstat(descriptor).st_mtime


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, with as many calls as needed. Blocking; raises `OSError`.

    Waits for a descriptor that another process has made non-blocking.
    """
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
