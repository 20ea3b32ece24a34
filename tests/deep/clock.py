"""P29: the wall clock is set forward and back by an hour while requests are under way (libfaketime).

Each step comes while a body is being sent, a file is being read slowly, and a head drips. The upload must be
stored, the file must be whole, and the head must be answered 408 after 10 s by the true clock. An idle
connection must be closed after 30 s.
"""

import os
import shutil
import socket
import threading
import time
from hashlib import sha256

from tests.daemon_process import Running
from tests.deep.bench import Bench, NotRunError, Verdict, connection, read_all, upload
from tests.wall_clock import HOUR, WallClock

SIZE = 16 << 20
SECONDS = 14.0
"""Seconds that an upload and a download take."""
SLACK = 5.0
STEPS = (HOUR, 0, -HOUR, 0)


def prove(bench: Bench) -> Verdict:
    """Return which of the requests went wrong, for each step of the clock."""
    if not shutil.which("faketime"):
        raise NotRunError("needs faketime")
    with WallClock(bench.directory) as clock:
        wrong = _requests_while_it_steps(bench, clock)
    figure = (
        f"clock set by {', '.join(f'{step:+d}' for step in STEPS)} s; wrong: {', '.join(wrong) or 'nothing'}"
    )
    return Verdict(figure, not wrong)


def _requests_while_it_steps(bench: Bench, clock: WallClock) -> list[str]:
    """Return what went wrong."""
    daemon = bench.start("--workers", "2", environment=clock.environment)
    digest = upload(daemon, os.urandom(SIZE))
    wrong: list[str] = []
    idle = threading.Thread(target=_idle, args=(daemon, wrong))
    idle.start()
    for step in STEPS:
        checks = [(_send,), (_read, digest), (_drip,)]
        threads = [
            threading.Thread(target=check, args=(daemon, wrong, *more), name=f"{check.__name__} {step:+d}")
            for check, *more in checks
        ]
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        clock.set(step)
        for thread in threads:
            thread.join()
    idle.join()
    return wrong


def _note(wrong: list[str], good: bool) -> None:
    if not good:
        wrong.append(threading.current_thread().name)


def _send(daemon: Running, wrong: list[str]) -> None:
    with connection(daemon) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 280000\r\n\r\n")
        try:
            for _ in range(28):
                peer.sendall(bytes(10_000))
                time.sleep(SECONDS / 28)
            answer = read_all(peer)
        except OSError:
            answer = b""
    _note(wrong, answer.startswith(b"HTTP/1.1 200 "))


def _read(daemon: Running, wrong: list[str], digest: str) -> None:
    hasher, head = sha256(), b""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.settimeout(60)
        peer.connect(("127.0.0.1", daemon.port))
        peer.sendall(f"GET /files/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while b"\r\n\r\n" not in head:
            head += peer.recv(1)
        began, received = time.monotonic(), 0
        while data := peer.recv(65536):
            hasher.update(data)
            received += len(data)
            time.sleep(max(0.0, began + SECONDS * received / SIZE - time.monotonic()))
    _note(wrong, digest == hasher.hexdigest())


def _drip(daemon: Running, wrong: list[str]) -> None:
    with connection(daemon) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        began = time.monotonic()
        answer = read_all(peer)
    seconds = time.monotonic() - began
    _note(wrong, answer.startswith(b"HTTP/1.1 408 ") and 9.0 <= seconds <= 10.0 + SLACK)


def _idle(daemon: Running, wrong: list[str]) -> None:
    threading.current_thread().name = "idle connection"
    with connection(daemon) as peer:
        began = time.monotonic()
        answer = read_all(peer)
    _note(wrong, not answer and 29.0 <= time.monotonic() - began <= 30.0 + SLACK)
