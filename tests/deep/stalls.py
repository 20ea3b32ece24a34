"""P23: slow clients cannot occupy the server, in real time on real sockets.

All kinds stall at once: a head that never ends, dripping a byte a second (10 s from its first byte); a
body that falls silent (408 after 30 s), or drips slower than 1 KiB/s (408 after 60 s); a connection that
says nothing (closed after 30 s); a reader that takes nothing of its answer (cut off after 60 s).
Meanwhile others are served.
"""

import socket
import threading
import time
from collections.abc import Callable

from tests.daemon.running import Running
from tests.deep.bench import Bench, Verdict, read_all, upload

SLACK = 5.0
"""Seconds that a deadline may be missed by: one coarse clock sweeps them all."""

SIZE = 64 << 20


def prove(bench: Bench) -> Verdict:
    """Duration until each kind of stall was ended, and the response."""
    daemon = bench.start("--workers", "1")
    digest = upload(daemon, bytes(SIZE))
    kinds: list[tuple[str, float, bytes, Callable[[socket.socket], bytes]]] = [
        ("slow head", 10.0, b"HTTP/1.1 408 ", _drip_a_head),
        ("silent body", 30.0, b"HTTP/1.1 408 ", _fall_silent),
        ("dripping body", 60.0, b"HTTP/1.1 408 ", _drip_a_body),
        ("idle", 30.0, b"", read_all),
        ("stalled reader", 60.0, b"HTTP/1.1 200 ", lambda peer: _take_nothing(daemon, peer, str(digest))),
    ]
    outcomes: list[tuple[str, float, bool]] = []
    threads = [threading.Thread(target=_time, args=(daemon, *kind, outcomes)) for kind in kinds]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert upload(daemon, b"others are served"), "an upload while others stall"
        time.sleep(0.1)
    figure = ", ".join(f"{name} {seconds:.1f} s" for name, seconds, _ in sorted(outcomes))
    return Verdict(figure, len(outcomes) == len(kinds) and all(good for _, _, good in outcomes))


def _time(
    daemon: Running,
    name: str,
    expected: float,
    answer: bytes,
    stall: Callable[[socket.socket], bytes],
    outcomes: list[tuple[str, float, bool]],
) -> None:
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(120)
        peer.connect(("127.0.0.1", daemon.port))
        began = time.monotonic()
        got = stall(peer)
        seconds = time.monotonic() - began
    good = expected - 1.0 <= seconds <= expected + SLACK and (got.startswith(answer) if answer else not got)
    outcomes.append((name, seconds, good))


def _drip_a_head(peer: socket.socket) -> bytes:
    return _drip(peer, b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a")


def _drip_a_body(peer: socket.socket) -> bytes:
    """A hundred bytes a second, where a thousand are owed."""
    return _drip(peer, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"a" * 100)


def _drip(peer: socket.socket, start: bytes, drop: bytes) -> bytes:
    """Send a drop a second until something comes back."""
    peer.sendall(start)
    peer.settimeout(1.0)
    while True:
        try:
            return peer.recv(65536)
        except TimeoutError:
            peer.sendall(drop)


def _fall_silent(peer: socket.socket) -> bytes:
    peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly so much")
    return read_all(peer)


def _take_nothing(daemon: Running, peer: socket.socket, digest: str) -> bytes:
    """Ask and read nothing, until the kernel says that the connection has gone."""
    peer.sendall(f"GET /files/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    while not peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        time.sleep(0.1)
        if not _is_connected(daemon, peer):
            break
    return b"HTTP/1.1 200 "


def _is_connected(daemon: Running, peer: socket.socket) -> bool:
    """Return whether the daemon's end of this connection is open in the kernel (state 01 is ESTABLISHED)."""
    mine = f":{peer.getsockname()[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table]
    ours = f":{daemon.port:04X}"
    return any(row[1].endswith(ours) and row[2].endswith(mine) and row[3] == "01" for row in rows[1:])
