"""Log file: appends, and rotates by a `RotationSchedule`.

Several processes may append to the same file. Each locks it (flock(2)) for a write, and first checks that its
name still leads to it: after the rotation by one process the others open the new file, and no line is
written to a file that is being compressed.

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

from filestored.logs.rotation import Retention, RotatedFiles
from filestored.logs.rotation_schedule import RotationSchedule
from filestored.settings import LogSettings

RETRY_SECONDS = 60.0
"""Time after a failed rotation until the next try."""

_BEGAN = b"user.loguru_crtime"
"""Extended attribute with the time of a file's beginning; Linux keeps none that a program could set."""


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

    def write(self, data: bytes) -> None:
        """Append `data`, after a rotation if one is due. Raises `OSError`."""
        if not self.is_open:
            self.open()
        while self._rotates and not self._is_ready(len(data)):
            pass
        try:
            write_all(self._descriptor, data)
        finally:
            if self._rotates:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @property
    def _descriptor(self) -> int:
        assert self._file is not None
        return self._file.fileno()

    def _create(self, path: str, flags: int) -> int:
        return os.open(path, flags, self._mode)

    def _is_ready(self, added: int) -> bool:
        """Lock the file; return False, without a lock, if it has been replaced by a new one."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._rotates = False
            self._report_once(f"{self._path} is not rotated, because it cannot be locked: {error.strerror}")
            return True
        try:
            if self._has_name():
                return not self._rotate_if_due(added)
            self.open()  # it was renamed by another process or program
        except OSError as error:
            self._report_once(f"{self._path} cannot be rotated, the old file is used: {error.strerror}")
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return True
        return False

    def _has_name(self) -> bool:
        """Return whether the path itself, and no link there, is the open file, and a regular one."""
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, os.fstat(self._descriptor))

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
            os.rename(target, self._path)
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
