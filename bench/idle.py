"""Start time, idle memory, and memory of an idle connection.

Each server is started anew, so that nothing is left over from other workloads. A connection counts once a
request on it has been answered; then it is kept and does nothing. Buffers of the kernel are not in
these figures, they are the same for all.
"""

import resource
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from bench.cpu_affinity import on
from bench.environment import Environment
from bench.servers.base import Server

BATCH = 100
"""Requests under way at once while connections are made."""

TIMEOUT_SECONDS = 15.0
"""Seconds after which no more connections are made: before the first of them are closed as idle."""

WATCH_SECONDS = 2.0
"""Seconds over which the CPU use of an idle server is measured."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """One server: seconds to its first answer, idle memory of each process in bytes, then with connections.

    `each` is bytes per idle connection; `share` is the CPU use, in cores, with `connections` idle ones.
    """

    name: str
    started: float
    idle: Sequence[int]
    connections: int
    each: float
    share: float
    failure: str = ""


def footprint(environment: Environment, kind: type[Server], workers: int, connections: int) -> Footprint:
    """Start a server, measure it, open idle connections, measure it again, and stop it."""
    server = environment.start(kind, workers)
    try:
        processes = server.processes
        idle = processes.each()
        with ExitStack() as stack, on(environment.cores.for_client(1)):
            before = processes.resident()
            made, failure = _connect_many(server, connections, stack)
            each = (processes.resident() - before) / max(1, made)
            share = _share(server)
        return Footprint(server.name, server.started, idle, made, each, share, failure)
    finally:
        server.stop()


def raise_limit() -> int:
    """Let this process open as many sockets as it may; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _connect_many(server: Server, connections: int, stack: ExitStack) -> tuple[int, str]:
    """Make connections until there are enough, or something fails; how many, and why no more."""
    request = f"HEAD {server.path(server.served['4 KiB'][0])} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    made = 0
    try:
        while made < connections:
            if time.monotonic() > deadline:
                return made, f"no more than {made} within {TIMEOUT_SECONDS:.0f} s"
            batch = [_send_head(server.port, request, stack) for _ in range(min(BATCH, connections - made))]
            for connection in batch:
                _await_head(connection)
            made += len(batch)
    except OSError as error:
        return made, str(error) or type(error).__name__
    return made, ""


def _send_head(port: int, request: bytes, stack: ExitStack) -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    connection.sendall(request)
    return connection


def _await_head(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("it closed a connection")
        data += piece
    if not data.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"it answered {data.partition(bytes([13]))[0].decode()}")


def _share(server: Server) -> float:
    before = server.processes.cpu()
    with suppress(InterruptedError):
        time.sleep(WATCH_SECONDS)
    return (server.processes.cpu() - before) / WATCH_SECONDS
