"""Health of the storage: which errors suspend writing, for how long, and what each one becomes.

Every error of a backend passes through `Health.classify` on its way to the client. A full disk and a want of
descriptors become refusals with a name, and suspend nothing. A read-only file system suspends writing until
a probe passes (see `recovery`). An error of a damaged disk (`FAULTY`) and a failed flush suspend it until a
restart: the kernel forgets the pages that it could not write, and the next flush would report success.
Reading and starting go on in each case.

An error while one object is read, `ReadFailed`, is the trouble of that object: it is logged and counted, and
suspends nothing. A directory that was removed, `StoreMissing`, suspends writing to that directory only; all
other suspensions concern its whole device (see `devices`).

Used in the reactor's thread only.
"""

import errno
import os
from collections.abc import Callable
from functools import partial

from twisted.logger import Logger

from filestored.errors import Overloaded, StorageFull, StoreMissing, UploadRefused, WritesSuspended

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a file system without free blocks or inodes."""

FAULTY = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG})
"""Errors of a disk or a file system that is damaged; ext4 and XFS report damaged metadata by the last two."""

UNFIT = frozenset({*FULL, *FAULTY, errno.EROFS})
"""Errors with which a directory can be read and not prepared: full, read-only, or damaged in a part."""


class FlushFailed(OSError):
    """Names could not be made durable; which of them are is unknown."""


class ReadFailed(OSError):
    """One stored object could not be read, or is damaged; the message names it. Others can be read."""

    @classmethod
    def of(cls, error: OSError, name: str) -> "ReadFailed":
        """The error of the system, said of the object `name`."""
        return cls(error.errno, f"{name} cannot be read: {error.strerror}")


class ShardUnusable(OSError):
    """One shard of a store cannot be opened; the others can."""


class Health:
    """The condition of one directory that is written to.

    `degraded` is the reason why writing is suspended, or None; `recoverable` is whether a probe that passes
    may end the suspension. `unreadable` counts the errors that came while stored objects were read.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.degraded: str | None = None
        self.unreadable = 0
        self._until_restart = False
        self._watchers: list[Callable[[str, bool, bool], None]] = []

    @property
    def recoverable(self) -> bool:
        """Whether writing is suspended, but not until a restart."""
        return self.degraded is not None and not self._until_restart

    def check(self) -> None:
        """Raise `WritesSuspended` while writing is suspended."""
        if self.degraded is not None:
            raise WritesSuspended

    def classify(self, error: Exception) -> Exception:
        """Return the error to report for `error`; suspend writing when that is due."""
        if isinstance(error, ReadFailed | StoreMissing) or not isinstance(error, OSError):
            return self.classify_read(error)
        if isinstance(error, FlushFailed) or _is_grave(error):
            self._begin(str(error), until_restart=True)
            return error
        if error.errno == errno.EROFS:
            self._begin(str(error), until_restart=False)
            return WritesSuspended()
        refusal = _PASSING.get(error.errno or 0)
        return refusal() if refusal else error

    def classify_read(self, error: Exception) -> Exception:
        """Return the error to report for one that came while an object was read; log and count it."""
        if isinstance(error, StoreMissing):
            self._begin(str(error), until_restart=True, of_device=False)
            return error
        if not isinstance(error, OSError):
            return error
        if error.errno in LACKING:
            return Overloaded()
        self.unreadable += 1
        self._log.error("a stored object is unreadable: {reason}", reason=str(error))
        return error

    def judge_start(self, error: OSError) -> None:
        """Suspend writing until a probe passes; not for a full disk, where each upload fails by itself."""
        if error.errno not in FULL:
            self._begin(str(error), until_restart=False)

    def suspend(self, reason: str, *, until_restart: bool) -> None:
        """Suspend writing because another process has. Idempotent; calls no callback."""
        if self.degraded is None:
            self.degraded = reason
            self._log.critical(
                "writing is suspended until {end}: {reason}",
                end="a restart" if until_restart else "a probe passes",
                reason=reason,
            )
        self._until_restart |= until_restart

    def watch(self, callback: Callable[[str, bool, bool], None]) -> None:
        """Call `callback` when an error of this directory suspends writing.

        Its arguments: the reason, whether that lasts until a restart, whether it concerns the whole device.
        """
        self._watchers.append(callback)

    def resume(self) -> None:
        """End a suspension after a probe has passed; one until a restart stays."""
        if self.recoverable:
            self.degraded = None
            self._log.warn("writing goes on: the probe has passed")

    def _begin(self, reason: str, *, until_restart: bool, of_device: bool = True) -> None:
        """Suspend writing, and call the callbacks if that is new or lasts longer than before."""
        known = self.degraded is not None and (self._until_restart or not until_restart)
        self.suspend(reason, until_restart=until_restart)
        if not known:
            for callback in self._watchers:
                callback(reason, until_restart, of_device)


def _is_grave(error: OSError) -> bool:
    return error.errno in FAULTY and not isinstance(error, ShardUnusable)


LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the object or the disk: the process has no descriptor or memory left."""

_PASSING: dict[int, type[UploadRefused]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    **dict.fromkeys(LACKING, Overloaded),
}


# --- Health by device: an error of a disk suspends writing to all directories on it.


Scope = int | str
"""A device (st_dev), or the path of one directory."""

MigrationProgress = Callable[[Scope, str, bool], None]
"""Receives the scope, the reason, and whether the suspension lasts until a restart."""


class DeviceHealth:
    """The `Health` of each directory that this process writes to."""

    def __init__(self) -> None:
        self._healths: dict[str, Health] = {}
        self._devices: dict[str, int] = {}  # by path, as `_healths`
        self._watchers: list[MigrationProgress] = []

    def of(self, path: str) -> Health:
        """Return the health of the directory `path`, which need not exist yet. Raises `OSError`."""
        if path not in self._healths:
            self._devices[path] = _device(path)
            health = self._healths[path] = Health()
            health.watch(partial(self._report, path))
        return self._healths[path]

    def watch(self, watcher: MigrationProgress) -> None:
        """Report each suspension that this process finds."""
        self._watchers.append(watcher)

    def suspend(self, scope: Scope, reason: str, until_restart: bool) -> None:
        """Suspend writing to a directory, or to all on a device, for a reason found elsewhere."""
        for path, health in self._healths.items():
            if scope in (path, self._devices[path]):
                health.suspend(reason, until_restart=until_restart)

    def _report(self, path: str, reason: str, until_restart: bool, of_device: bool) -> None:
        scope = self._devices[path] if of_device else path
        self.suspend(scope, reason, until_restart)
        for watcher in self._watchers:
            watcher(scope, reason, until_restart)


def _device(path: str) -> int:
    """Return the device of `path`, or of its nearest ancestor that exists. Raises `OSError`."""
    try:
        return os.stat(path).st_dev
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in (path, ""):
            raise
        return _device(parent)
