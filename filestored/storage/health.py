"""May bytes be written? What errors of the system mean for a store, and what they end.

Every error of a backend passes through `Health.judge` on its way to the client. A full disk
and a want of descriptors are conditions that pass: they become refusals with a name. An
input/output error, a file system turned read-only and a failed flush of a directory are not:
the kernel forgets the pages it could not write, and the next flush would lie. They suspend
writing until a restart, whose probe must pass. Reading goes on.

An error while one object is read, `ReadFailed`, is the trouble of that object: it is logged and counted, and
suspends nothing. A store whose directory was removed, `StoreMissing`, suspends writing, whoever notices.

Used in the reactor's thread only.
"""

import errno

from twisted.logger import Logger

from filestored.errors import Overloaded, StorageFull, StoreMissing, UploadRefused, WritesSuspended


class FlushFailed(OSError):
    """Names could not be made durable; which of them are is unknown."""


class ReadFailed(OSError):
    """One stored object could not be read, or is damaged; the message names it. Others can be read."""

    @classmethod
    def of(cls, error: OSError, name: str) -> "ReadFailed":
        """The error of the system, said of the object `name`."""
        return cls(error.errno, f"{name} cannot be read: {error.strerror}")


class Health:
    """The condition of one store. `degraded` is why writes are suspended, or None.

    `unreadable` counts the errors that came while stored objects were read.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.degraded: str | None = None
        self.unreadable = 0

    def check(self) -> None:
        """Raises `WritesSuspended` when nothing may be written any more."""
        if self.degraded is not None:
            raise WritesSuspended

    def judge(self, error: Exception) -> Exception:
        """The error to report for `error`; suspends writes when it is a grave one."""
        if isinstance(error, ReadFailed | StoreMissing) or not isinstance(error, OSError):
            return self.judge_read(error)
        if isinstance(error, FlushFailed) or error.errno in _GRAVE:
            self._suspend(str(error))
            return error
        refusal = _PASSING.get(error.errno or 0)
        return refusal() if refusal else error

    def judge_read(self, error: Exception) -> Exception:
        """Return the error to report for one that came while an object was read; log and count it."""
        if isinstance(error, StoreMissing):
            self._suspend(str(error))
            return error
        if not isinstance(error, OSError):
            return error
        if error.errno in LACKING:
            return Overloaded()
        self.unreadable += 1
        self._log.error("a stored object is unreadable: {reason}", reason=str(error))
        return error

    def _suspend(self, reason: str) -> None:
        if self.degraded is None:
            self.degraded = reason
            self._log.critical("writing is suspended until a restart: {reason}", reason=reason)


LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the object or the disk: the process has no descriptor or memory left."""

_GRAVE = {errno.EIO, errno.EROFS}
_PASSING: dict[int, type[UploadRefused]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    **dict.fromkeys(LACKING, Overloaded),
}
