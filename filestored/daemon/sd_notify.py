"""systemd readiness and watchdog: the protocol of sd_notify(3).

`SystemdNotifier.from_environment` removes NOTIFY_SOCKET and WATCHDOG_USEC from the environment, so that no
child process sends notifications. ``ready``, ``status`` and ``stopping`` send the state; the watchdog is
pinged at half its timeout while the service is alive. Without NOTIFY_SOCKET nothing is sent.

Messages are datagrams, sent without blocking; errors are ignored.
"""

import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from filestored.daemon.periodic_call import periodic_call


class SystemdNotifier:
    """Sends notifications to the socket `address`, or nowhere. `watchdog` is a timeout in seconds."""

    def __init__(self, clock: Any, address: str | None, watchdog: float | None) -> None:
        self._address = address
        self._watchdog_seconds = watchdog
        self._summary = ""
        self._alive: Callable[[], bool] = lambda: True
        self._watchdog_call = periodic_call(clock, self._ping_watchdog)

    @classmethod
    def from_environment(cls, clock: Any, environment: MutableMapping[str, str]) -> "SystemdNotifier":
        """Return the notifier that the environment configures; its variables are removed."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        is_addressee = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if is_addressee and microseconds.isdecimal() else None
        return cls(clock, address, watchdog or None)

    def ready(self, summary: str, alive: Callable[[], bool]) -> None:
        """Report readiness, and ping the watchdog from now on while `alive` returns True."""
        self._summary = f"{summary}; "
        self._alive = alive
        self._send(f"READY=1\nSTATUS={summary}")
        if self._address and self._watchdog_seconds and not self._watchdog_call.running:
            self._watchdog_call.start(self._watchdog_seconds / 2)

    def status(self, sentence: str) -> None:
        """Report a status, after the summary given to `ready`."""
        self._send(f"STATUS={self._summary}{sentence}")

    def stopping(self) -> None:
        """Report that the service stops."""
        self._send("STOPPING=1\nSTATUS=finishing running requests")

    def close(self) -> None:
        """Stop pinging the watchdog."""
        if self._watchdog_call.running:
            self._watchdog_call.stop()

    def _ping_watchdog(self) -> None:
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
