"""The limit on connections: 4,000 stay, the one too many is answered 503, and afterwards there is room."""

import resource
import socket
from contextlib import ExitStack

from tests.daemon.running import until
from tests.deep.bench import Bench, NotRunError, Verdict, connection, read_all, upload

LIMIT = 4000


def prove(bench: Bench) -> Verdict:
    """What connection 4,001 is told, and how many of the others are served."""
    _allow_descriptors(LIMIT + 200)
    daemon = bench.start("--workers", "1")
    digest = upload(daemon, b"for everybody")
    request = f"GET /files/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ExitStack() as crowd:
        peers = [crowd.enter_context(connection(daemon)) for _ in range(LIMIT)]
        until(lambda: _established(daemon.port) >= LIMIT, "all connections stand")
        served = sum(_serves(peer, request) for peer in peers)
        with connection(daemon) as late:
            late.sendall(request)
            told = read_all(late).partition(b"\r\n")[0].decode()
    until(lambda: upload(daemon, b"room again") is not None, "there is room again")
    return Verdict(f"{served} served, then {told!r}", served == LIMIT and " 503 " in told)


def _serves(peer: socket.socket, request: bytes) -> bool:
    peer.sendall(request)
    return peer.recv(65536).startswith(b"HTTP/1.1 200 ")


def _allow_descriptors(number: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 2 * number:
        raise NotRunError(f"needs ulimit -n of {2 * number}, has {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * number, most))


def _established(port: int) -> int:
    ours = f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(ours) and row[3] == "01" for row in rows)
