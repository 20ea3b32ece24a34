"""Health by device: directories on one disk are suspended together.

Each directory has a `Health` of its own, because it may be removed, or recover, by itself. A suspension found
here is reported to a watcher, which tells the other processes of the service; what other processes report comes
in by `DeviceHealth.suspend`. Devices are numbers of stat(2), the same in each process.

Used in the reactor's thread only.
"""

import os
from collections.abc import Callable

from filestored.storage.health import Health

Watcher = Callable[[int, str, bool], None]
"""Receives the device, the reason, and whether the suspension lasts until a restart."""


class DeviceHealth:
    """The `Health` of each directory that this process writes to, by device."""

    def __init__(self) -> None:
        self._healths: dict[int, list[Health]] = {}
        self._watchers: list[Watcher] = []

    def of(self, path: str) -> Health:
        """Return a new health for the directory `path`, which exists or will be made. Raises `OSError`."""
        device, health = _device(path), Health()
        self._healths.setdefault(device, []).append(health)
        health.watch(lambda reason, until_restart: self._report(device, reason, until_restart))
        return health

    def watch(self, watcher: Watcher) -> None:
        """Report each suspension that this process finds."""
        self._watchers.append(watcher)

    def suspend(self, device: int, reason: str, until_restart: bool) -> None:
        """Suspend writes to a device, because another process has found a reason."""
        for health in self._healths.get(device, ()):
            health.suspend(reason, until_restart=until_restart)

    def _report(self, device: int, reason: str, until_restart: bool) -> None:
        self.suspend(device, reason, until_restart)
        for watcher in self._watchers:
            watcher(device, reason, until_restart)


def _device(path: str) -> int:
    """Return the device of `path`, or of its nearest ancestor that exists. Raises `OSError`."""
    try:
        return os.stat(path).st_dev
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in (path, ""):
            raise
        return _device(parent)
