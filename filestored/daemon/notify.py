"""Telling systemd how we are: sd_notify(3) in a few lines.

Flow: `Notifier.from_environment` takes NOTIFY_SOCKET and WATCHDOG_USEC out of the environment, so that no
child speaks for us; then ``ready``, a sign of life at half the watchdog's time, and ``stopping``. Without
NOTIFY_SOCKET all of it does nothing.

Messages are datagrams, sent without waiting: a manager that does not listen is no reason to stop.
"""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from twisted.internet.task import LoopingCall


class Notifier:
    """Speaks to the service manager at `address`, if there is one; `watchdog` is its patience in seconds."""

    def __init__(self, clock: Any, address: str | None, watchdog: float | None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._heart = LoopingCall(self._beat)
        self._heart.clock = clock

    @classmethod
    def from_environment(cls, clock: Any, environment: MutableMapping[str, str]) -> "Notifier":
        """The notifier that the environment asks for; what it says is taken out of it."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else None
        return cls(clock, address, watchdog or None)

    def ready(self, status: str) -> None:
        """The service is up; from now on the watchdog may watch."""
        self._send(f"READY=1\nSTATUS={status}")
        if self._address and self._watchdog and not self._heart.running:
            self._heart.start(self._watchdog / 2)

    def stopping(self) -> None:
        """The service begins to end."""
        self._send("STOPPING=1\nSTATUS=finishing running requests")

    def close(self) -> None:
        """Give no more signs of life."""
        if self._heart.running:
            self._heart.stop()

    def _beat(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if abstract else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
