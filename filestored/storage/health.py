"""May bytes be written? What errors of the system mean for a store, and what they end.

Every error of a backend passes through `Health.judge` on its way to the client. A full disk
and a want of descriptors are conditions that pass: they become refusals with a name. An
input/output error, a file system turned read-only and a failed flush of a directory are not:
the kernel forgets the pages it could not write, and the next flush would lie. They suspend
writing until a restart, whose probe must pass. Reading goes on.

Used in the reactor's thread only.
"""

import errno
from collections.abc import Callable

from twisted.logger import Logger

from filestored.errors import Overloaded, StorageFull, UploadRefused, WritesSuspended


class FlushFailed(OSError):
    """Names could not be made durable; which of them are is unknown."""


class Health:
    """The condition of one store. `degraded` is why writes are suspended, or None."""

    _log = Logger()

    def __init__(self) -> None:
        self.degraded: str | None = None
        self._watchers: list[Callable[[str, bool], None]] = []

    def check(self) -> None:
        """Raises `WritesSuspended` when nothing may be written any more."""
        if self.degraded is not None:
            raise WritesSuspended

    def judge(self, error: Exception) -> Exception:
        """The error to report for `error`; suspends writes when it is a grave one."""
        if not isinstance(error, OSError):
            return error
        if isinstance(error, FlushFailed) or error.errno in _GRAVE:
            self._found(str(error))
            return error
        refusal = _PASSING.get(error.errno or 0)
        return refusal() if refusal else error

    def suspend(self, reason: str, *, until_restart: bool) -> None:
        """Suspend writing, until a restart or until a probe passes."""
        if self.degraded is None:
            self.degraded = reason
            self._log.critical("writing is suspended until a restart: {reason}", reason=reason)

    def watch(self, callback: Callable[[str, bool], None]) -> None:
        """Call back with reason and `until_restart` when this process itself suspends writing."""
        self._watchers.append(callback)

    def _found(self, reason: str) -> None:
        if self.degraded is None:
            self.suspend(reason, until_restart=True)
            for callback in self._watchers:
                callback(reason, True)


_GRAVE = {errno.EIO, errno.EROFS}
_PASSING: dict[int, type[UploadRefused]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EMFILE: Overloaded,
    errno.ENFILE: Overloaded,
    errno.ENOMEM: Overloaded,
}
