"""The limit on connections: for one beyond 4,000 an idle one is closed; when all are busy it is 503."""

import resource
import socket
import time
from contextlib import ExitStack

from filestored.http.eviction import MIN_IDLE_SECONDS
from tests.daemon.running import until
from tests.deep.bench import Bench, NotRunError, Verdict, connection, read_all, upload

LIMIT = 4000


def prove(bench: Bench) -> Verdict:
    """Return what connection 4,001 is answered while the others are idle, and while they are busy."""
    _allow_descriptors(LIMIT + 200)
    daemon = bench.start("--workers", "1")
    digest = upload(daemon, b"for everybody")
    request = f"GET /files/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ExitStack() as crowd:
        peers = [crowd.enter_context(connection(daemon)) for _ in range(LIMIT)]
        until(lambda: _established(daemon.port) >= LIMIT, "all connections stand")
        served = sum(_serves(peer, request) for peer in peers)
        time.sleep(2 * MIN_IDLE_SECONDS)
        with connection(daemon) as late:
            among_idle = _serves(late, request)
        until(lambda: any(map(_is_closed, peers)), "one of them is closed")
        closed = sum(_is_closed(peer) for peer in peers)
        peers = [peer for peer in peers if not _is_closed(peer)]
        peers += [crowd.enter_context(connection(daemon)) for _ in range(LIMIT - len(peers))]
        for peer in peers:
            peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nab")
        time.sleep(2 * MIN_IDLE_SECONDS)
        with connection(daemon) as late:
            late.sendall(request)
            told = read_all(late).partition(b"\r\n")[0].decode()
    until(lambda: upload(daemon, b"room again") is not None, "there is room again")
    figure = f"{served} served, {closed} of them closed for one more, then {told!r}"
    return Verdict(figure, served == LIMIT and among_idle and closed == 1 and " 503 " in told)


def _serves(peer: socket.socket, request: bytes) -> bool:
    peer.sendall(request)
    return peer.recv(65536).startswith(b"HTTP/1.1 200 ")


def _is_closed(peer: socket.socket) -> bool:
    timeout = peer.gettimeout()
    peer.setblocking(False)
    try:
        return not peer.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        peer.settimeout(timeout)


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
