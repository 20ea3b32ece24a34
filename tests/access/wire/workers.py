"""The worker of a connection, from the tables of the kernel."""

import os

from tests.daemon_process import Running, read


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
