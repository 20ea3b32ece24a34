"""Telling systemd how we are: sd_notify(3) in a few lines.

Flow: `SystemdNotifier.from_environment` takes NOTIFY_SOCKET and WATCHDOG_USEC out of the environment, so that
no child speaks for us; then ``ready``, a sign of life at half the watchdog's time while the service is alive,
``status``, and ``stopping``. Without NOTIFY_SOCKET all of it does nothing.

Messages are datagrams, sent without waiting: a manager that does not listen is no reason to stop.
"""

import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from filestored.daemon.periodic_call import repeating


class SystemdNotifier:
    """Speaks to the service manager at `address`, if there is one; `watchdog` is its patience in seconds."""

    def __init__(self, clock: Any, address: str | None, watchdog: float | None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._summary = ""
        self._alive: Callable[[], bool] = lambda: True
        self._heart = repeating(clock, self._beat)

    @classmethod
    def from_environment(cls, clock: Any, environment: MutableMapping[str, str]) -> "SystemdNotifier":
        """The notifier that the environment asks for; what it says is taken out of it."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else None
        return cls(clock, address, watchdog or None)

    def ready(self, summary: str, alive: Callable[[], bool]) -> None:
        """Report that the service is up. From now on the watchdog is fed as long as `alive` returns True."""
        self._summary = f"{summary}; "
        self._alive = alive
        self._send(f"READY=1\nSTATUS={summary}")
        if self._address and self._watchdog and not self._heart.running:
            self._heart.start(self._watchdog / 2)

    def status(self, sentence: str) -> None:
        """Report what has changed, behind the summary of a service that is ready."""
        self._send(f"STATUS={self._summary}{sentence}")

    def stopping(self) -> None:
        """The service begins to end."""
        self._send("STOPPING=1\nSTATUS=finishing running requests")

    def close(self) -> None:
        """Give no more signs of life."""
        if self._heart.running:
            self._heart.stop()

    def _beat(self) -> None:
        if self._alive():
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if abstract else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
