"""Kept connections to all workers of a daemon, whose access file changes meanwhile."""

import os
from collections import Counter
from contextlib import ExitStack

from tests.access.wire.access_files import write_access
from tests.access.wire.kept_connection import KeptConnection
from tests.daemon_process import Running, read, until

ACCESS_FILE = "rules.toml"
"""The name of the access file in the directory of a daemon; that of a log must differ."""

MAX_CONNECTIONS_OF_A_WORKER = 6
CONNECTIONS_AT_ONCE = 24
"""Connections that are opened at once, so that several workers accept them."""

REPETITIONS = 3
"""Equal requests of each connection, so that the response cache answers the last ones."""


def access_path(directory: str) -> str:
    """Return the path of the access file of a daemon in this directory."""
    return os.path.join(directory, ACCESS_FILE)


class Clients:
    """Kept connections to all workers of a daemon, and its access file."""

    def __init__(self, daemon: Running, stack: ExitStack) -> None:
        self.daemon = daemon
        self._stack = stack
        self.connections: list[KeptConnection] = []
        until(self._reaches_all_workers, "each worker has a connection")

    def _reaches_all_workers(self) -> bool:
        """Open connections, and keep some of each worker; return whether each worker has one."""
        counts = Counter(worker_of(self.daemon, each.local_port) for each in self.connections)
        port = self.daemon.port
        opened = [self._stack.enter_context(KeptConnection(port)) for _ in range(CONNECTIONS_AT_ONCE)]
        for each in opened:
            each("GET", "/health")
            worker = worker_of(self.daemon, each.local_port)
            counts[worker] += 1
            if counts[worker] <= MAX_CONNECTIONS_OF_A_WORKER:
                self.connections.append(each)
            else:
                each.close()
        return counts.keys() >= set(self.daemon.workers() or [self.daemon.pid])

    def put(self, target: str, content: bytes, *lines: str) -> None:
        """Store a file."""
        assert self.connections[0]("PUT", target, lines, content).status in (200, 201)

    def statuses(self, target: str, *lines: str) -> set[int]:
        """Return the statuses of equal requests on all connections."""
        answers = [each("GET", target, lines) for each in self.connections for _ in range(REPETITIONS)]
        return {answer.status for answer in answers}

    def await_status(self, status: int, target: str, *lines: str) -> None:
        """Wait until all connections get this status."""
        until(lambda: {status} == self.statuses(target, *lines), f"{status} for {target} everywhere")

    def write(self, text: str, mode: int = 0o600) -> None:
        """Replace the access file."""
        write_access(self.path, text, mode)

    @property
    def path(self) -> str:
        """The path of the access file."""
        return access_path(self.daemon.directory)


def worker_of(daemon: Running, local_port: int) -> int | None:
    """Return the process id of the worker that has accepted a connection from this port; None before that."""
    inode = _inode(daemon.port, local_port)
    for pid in daemon.workers() or [daemon.pid]:
        if inode is not None and f"socket:[{inode}]" in _descriptors(pid):
            return pid
    return None


def _inode(server_port: int, client_port: int) -> str | None:
    """Return the inode of the server's end."""
    for line in read("/proc/net/tcp").splitlines()[1:]:
        words = line.split()
        ports = [int(address.rpartition(":")[2], 16) for address in words[1:3]]
        if ports == [server_port, client_port]:
            return words[9]
    return None


def _descriptors(pid: int) -> set[str]:
    directory = f"/proc/{pid}/fd"
    found = set()
    for name in os.listdir(directory):
        try:
            found.add(os.readlink(os.path.join(directory, name)))
        except FileNotFoundError:
            continue
    return found
