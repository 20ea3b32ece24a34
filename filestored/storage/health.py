"""Health: classifies OSErrors, and suspends writes.

Every error of a backend passes through `Health.classify`. A full disk, a file too large for the file system
or the process (RLIMIT_FSIZE), and a lack of descriptors refuse one upload and suspend nothing. A read-only
file system suspends writes until a probe passes (`recovery`). EIO, other errors of a damaged disk (`FAULTY`)
and a failed flush suspend them until a restart: the kernel drops the pages that it could not write, and the
next flush would report success. Reads and starts continue in every case.

An object store that does not answer suspends writes until a probe passes; another `EngineError` concerns
one request.

`ReadFailed` concerns one object: it is logged and counted. A removed directory, `StoreMissing`, suspends
writes to that directory only; all other suspensions concern its whole device (`DeviceHealth`).

Used in the reactor's thread only.
"""

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from twisted.logger import Logger

from filestored.errors import (
    EngineError,
    EngineUnavailable,
    FileTooLarge,
    Overloaded,
    StorageFull,
    StoreMissing,
    UploadRefused,
    WritesSuspended,
)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a file system without free blocks or inodes."""

FAULTY = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG})
"""Errors of a damaged disk or file system; the last two are damaged metadata of ext4 and XFS."""

UNFIT = frozenset({*FULL, *FAULTY, errno.EROFS})
"""Errors of a disk that can be read, but not written: full, read-only or damaged."""


class FlushFailed(OSError):
    """Raised when names could not be made durable; which are durable is unknown."""


class ReadFailed(OSError):
    """Raised for a stored object that is unreadable or corrupt; the message names it."""

    @classmethod
    def of(cls, error: OSError, name: str) -> "ReadFailed":
        """Return an error of the system for the object `name`."""
        return cls(error.errno, f"{name} cannot be read: {error.strerror}")


class ShardUnusable(OSError):
    """Raised for a shard of a store that cannot be opened."""


def _ignore_change() -> None:
    """Handle a change that is not observed."""


class Health:
    """Health of one directory or object store.

    `degraded` is the reason why writes are suspended, or None; `refusal` makes the error of those that are
    refused meanwhile. `unreadable` counts read errors of stored objects.
    """

    _log = Logger()

    def __init__(self, refusal: type[Exception] = WritesSuspended) -> None:
        self.refusal = refusal
        self.degraded: str | None = None
        self.unreadable = 0
        self._until_restart = False
        self._watchers: list[Callable[[str, bool, bool], None]] = []
        self.on_change: Callable[[], object] = _ignore_change
        """Called when writes are suspended, and when they are enabled again."""

    @property
    def recoverable(self) -> bool:
        """True if a passing probe may end the suspension."""
        return self.degraded is not None and not self._until_restart

    def check(self) -> None:
        """Raise `WritesSuspended`, or another `refusal`, while writes are suspended."""
        if self.degraded is not None:
            raise self.refusal

    def classify(self, error: Exception) -> Exception:
        """Return the error to report for `error`; suspend writes if it requires that."""
        if isinstance(error, ReadFailed | StoreMissing | EngineError) or not isinstance(error, OSError):
            return self.classify_read(error)
        if isinstance(error, FlushFailed) or _is_fatal(error):
            self._suspend_and_report(str(error), until_restart=True)
            return error
        if error.errno == errno.EROFS:
            self._suspend_and_report(str(error), until_restart=False)
            return WritesSuspended()
        refusal = _REFUSALS.get(error.errno or 0)
        return refusal() if refusal else error

    def classify_read(self, error: Exception) -> Exception:
        """Return the error to report for an error of reading; log and count it."""
        if isinstance(error, StoreMissing):
            self._suspend_and_report(str(error), until_restart=True, of_device=False)
            return error
        if isinstance(error, EngineError):
            self._engine_failed(error)
            return error
        if not isinstance(error, OSError):
            return error
        if error.errno in LACKING:
            return Overloaded()
        self.unreadable += 1
        self._log.error("a stored object is unreadable: {reason}", reason=str(error))
        return error

    def suspend_until_probe(self, error: OSError) -> None:
        """Suspend writes until a probe passes, after a failed preparation; not for a full disk."""
        if error.errno not in FULL:
            reason = error.reason if isinstance(error, EngineError) else str(error)
            self._suspend_and_report(reason, until_restart=False)

    def _engine_failed(self, error: EngineError) -> None:
        """Log a failure of one object; suspend writes while the object store is away."""
        if isinstance(error, EngineUnavailable):
            self._suspend_and_report(error.reason, until_restart=False)
        else:
            self._log.error("the object store has failed: {reason}", reason=error.reason)

    def suspend(self, reason: str, *, until_restart: bool) -> None:
        """Suspend writes, for a reason found by another process. Idempotent; calls no callback."""
        if self.degraded is None:
            self.degraded = reason
            self._log.critical(
                "writing is suspended until {end}: {reason}",
                end="a restart" if until_restart else "a probe passes",
                reason=reason,
            )
            self.on_change()
        self._until_restart |= until_restart

    def watch(self, callback: Callable[[str, bool, bool], None]) -> None:
        """Call `callback(reason, until_restart, of_device)` when an error suspends writes."""
        self._watchers.append(callback)

    def resume(self) -> None:
        """End a recoverable suspension, after a probe has passed."""
        if self.recoverable:
            self.degraded = None
            self._log.warn("writes are enabled again: a probe passed")
            self.on_change()

    def _suspend_and_report(self, reason: str, *, until_restart: bool, of_device: bool = True) -> None:
        """Suspend writes; call the callbacks if that is new or lasts longer."""
        known = self.degraded is not None and (self._until_restart or not until_restart)
        self.suspend(reason, until_restart=until_restart)
        if not known:
            for callback in self._watchers:
                callback(reason, until_restart, of_device)


def raise_classified(classify: Callable[[Exception], Exception], error: OSError) -> NoReturn:
    """Raise what `Health.classify` or `classify_read` makes of `error`; called while that is handled."""
    classified = classify(error)
    raise classified from (None if classified is error else error)


def _is_fatal(error: OSError) -> bool:
    return error.errno in FAULTY and not isinstance(error, ShardUnusable)


LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of a process without free descriptors or memory."""

_REFUSALS: dict[int, type[UploadRefused]] = {
    errno.EFBIG: FileTooLarge,
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    **dict.fromkeys(LACKING, Overloaded),
}


Scope = int | str
"""A device (st_dev), or the path of one directory."""

OnSuspension = Callable[[Scope, str, bool], None]
"""Callback with the scope, the reason, and whether the suspension lasts until a restart."""


class DeviceHealth:
    """Health of all directories of a process, linked by device."""

    def __init__(self) -> None:
        self._healths: dict[str, Health] = {}
        self._devices: dict[str, Scope] = {}  # by path, as `_healths`
        self._watchers: list[OnSuspension] = []
        self._observe: Callable[[bool, bool], object] = _ignore_states

    def of(self, path: str, *, remote: bool = False) -> Health:
        """Return the health of a directory, which need not exist yet, or of an object store if `remote`.

        Raises `OSError`.
        """
        if path not in self._healths:
            self._devices[path] = path if remote else _device(path)
            health = self._healths[path] = Health(EngineUnavailable if remote else WritesSuspended)
            health.watch(partial(self._report, path))
            health.on_change = self._changed
        return self._healths[path]

    def watch(self, watcher: OnSuspension) -> None:
        """Call `watcher` for each suspension that this process finds."""
        self._watchers.append(watcher)

    def observe(self, observer: Callable[[bool, bool], object]) -> None:
        """Call `observer(disks, engines)` after each change.

        `disks` is true while writes to a disk are suspended, `engines` while an object store is away.
        """
        self._observe = observer

    def suspend(self, scope: Scope, reason: str, until_restart: bool) -> None:
        """Suspend writes to a directory, or to all on a device, for a reason found by another process."""
        for path, health in self._healths.items():
            if scope in (path, self._devices[path]):
                health.suspend(reason, until_restart=until_restart)

    def _report(self, path: str, reason: str, until_restart: bool, of_device: bool) -> None:
        scope = self._devices[path] if of_device else path
        self.suspend(scope, reason, until_restart)
        for watcher in self._watchers:
            watcher(scope, reason, until_restart)

    def _changed(self) -> None:
        suspended = [health for health in self._healths.values() if health.degraded is not None]
        away = [health for health in suspended if health.refusal is EngineUnavailable]
        self._observe(len(suspended) > len(away), bool(away))


def _ignore_states(disks: bool, engines: bool) -> None:
    """Handle a change that is not observed."""


def _device(path: str) -> int:
    """Return the device of `path`, or of its nearest existing ancestor. Raises `OSError`."""
    try:
        return os.stat(path).st_dev
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in (path, ""):
            raise
        return _device(parent)
