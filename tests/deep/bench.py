"""Shared parts of the proofs: a directory, real daemons in it, and the verdict."""

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.daemon_process import Running, start

DIGITS = 64
"""Digits of a hash of the default algorithm; fewer were cut off on their way."""


class NotRunError(Exception):
    """Something that a proof needs is not here; the message names it."""


@dataclass
class Verdict:
    """Result of a proof: a figure in one line, and whether the promise holds."""

    figure: str
    holds: bool


@dataclass
class Bench:
    """A directory of a proof; daemons started in it end with it.

    `seconds` is how long load goes on, `rounds` how often a proof is repeated that is a matter of chance.
    """

    directory: str
    seconds: float
    rounds: int = 30
    started: list[Running] = field(default_factory=list)

    def start(self, *options: str, name: str = "daemon", **more: Any) -> Running:
        """Start a daemon with these options of filestored; see `tests.daemon_process.start`."""
        return start(os.path.join(self.directory, name), self.started, *options, **more)

    def end(self) -> None:
        """End all daemons that were started."""
        for running in self.started:
            running.end()


def processes(daemon: Running) -> list[int]:
    """The process ids of a daemon: its workers, or itself when it has none."""
    return daemon.workers() or [daemon.pid]


@contextlib.contextmanager
def connection(daemon: Running, timeout: float = 120.0) -> Iterator[socket.socket]:
    """A connection that waits so long for an answer."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout) as open_socket:
        yield open_socket


def read_all(peer: socket.socket) -> bytes:
    """Everything until the other side closes, or resets."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while data := peer.recv(65536):
            parts.append(data)
    return b"".join(parts)


def upload(daemon: Running, content: bytes) -> str | None:
    """Upload on a connection of its own: the hash, or None when it was not acknowledged."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(content)
    with connection(daemon) as peer:
        try:
            peer.sendall(head + content)
            answer = read_all(peer)
        except OSError:
            return None
    status, _, rest = answer.partition(b"\r\n")
    digest = rest.partition(b"\r\n\r\n")[2].decode()
    return digest if b" 200 " in status and len(digest) == DIGITS else None


def stored_files(store: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file in a store that has the name of a hash."""
    for shard in os.listdir(store):
        if len(shard) == 2:
            for name in os.listdir(os.path.join(store, shard)):
                with open(os.path.join(store, shard, name), "rb") as file:
                    yield name, file.read()


def damage(store: str, acknowledged: dict[str, bytes]) -> tuple[int, int]:
    """Count acknowledged files that are lost or changed, and files whose content has another digest."""
    found = dict(stored_files(store))
    lost = sum(found.get(digest) != content for digest, content in acknowledged.items())
    partial = sum(name != hashlib.sha256(content).hexdigest() for name, content in found.items())
    return lost, partial
