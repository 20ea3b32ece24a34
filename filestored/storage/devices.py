"""Health by device: an error of a disk suspends writing to all directories on it.

A suspension found here is reported to a watcher, which tells the other processes of the service; what other
processes report comes in by `DeviceHealth.suspend`. Devices are numbers of stat(2), the same in each process.
Only a directory that was removed is suspended by itself.

Used in the reactor's thread only.
"""

import os
from collections.abc import Callable
from functools import partial

from filestored.storage.health import Health

Scope = int | str
"""A device (st_dev), or the path of one directory."""

Watcher = Callable[[Scope, str, bool], None]
"""Receives the scope, the reason, and whether the suspension lasts until a restart."""


class DeviceHealth:
    """The `Health` of each directory that this process writes to."""

    def __init__(self) -> None:
        self._healths: dict[str, Health] = {}
        self._devices: dict[str, int] = {}  # by path, as `_healths`
        self._watchers: list[Watcher] = []

    def of(self, path: str) -> Health:
        """Return the health of the directory `path`, which need not exist yet. Raises `OSError`."""
        if path not in self._healths:
            self._devices[path] = _device(path)
            health = self._healths[path] = Health()
            health.watch(partial(self._report, path))
        return self._healths[path]

    def watch(self, watcher: Watcher) -> None:
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
