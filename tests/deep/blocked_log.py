"""P29: no log that is not read stops the service.

Four clients ask without pause while the log has no reader: stderr is a full pipe, the access log is a FIFO,
the supervisor is stopped. Afterwards the log says how many lines were dropped, and goes on.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

from tests.daemon_process import Running, until
from tests.deep.bench import Bench, Verdict, connection, read_all

CLIENTS = 4
MAX_ANSWER_SECONDS = 2.0
"""Seconds that the slowest answer may take, on a busy machine."""

TARGET = b"/nothing/" + b"x" * 400


def prove(bench: Bench) -> Verdict:
    """The slowest answer of each kind, and whether dropped lines were reported."""
    kinds: list[tuple[str, Callable[[Bench], tuple[int, float, bool]]]] = [
        ("unread stderr", _unread_stderr),
        ("FIFO without reader", _fifo),
        ("stopped supervisor", _stopped_supervisor),
    ]
    outcomes = [(name, *kind(bench)) for name, kind in kinds]
    figure = ", ".join(
        f"{name}: {count} answers, slowest {1000 * slowest:.0f} ms, drops {'' if told else 'not '}reported"
        for name, count, slowest, told in outcomes
    )
    return Verdict(figure, all(slowest <= MAX_ANSWER_SECONDS and told for _, _, slowest, told in outcomes))


def _unread_stderr(bench: Bench) -> tuple[int, float, bool]:
    reading, writing = os.pipe()
    daemon = bench.start(
        *("--workers", "2", "--access-log", "-"),
        name="stderr",
        wrap=("bash", "-c", f'exec "$@" 2>&{writing}', "bash"),
        inherit=(writing,),
        log=False,
    )
    os.close(writing)
    count, slowest = _ask(daemon, bench.seconds)
    reader = _Reader(reading)
    told = _reported(lambda: reader.data)
    daemon.end()
    reader.end()
    return count, slowest, told


def _fifo(bench: Bench) -> tuple[int, float, bool]:
    path = os.path.join(bench.directory, "access")
    os.mkfifo(path)
    daemon = bench.start("--workers", "2", "--access-log", path, name="fifo")
    count, slowest = _ask(daemon, bench.seconds)
    reader = _Reader(os.open(path, os.O_RDONLY))
    told = _reported(lambda: daemon.log.encode())
    daemon.end()
    reader.end()
    return count, slowest, told


def _stopped_supervisor(bench: Bench) -> tuple[int, float, bool]:
    daemon = bench.start("--workers", "2", "--access-log", "-", name="supervisor")
    workers = daemon.workers()
    daemon.kill(signal.SIGSTOP)
    count, slowest = _ask(daemon, bench.seconds)
    daemon.kill(signal.SIGCONT)
    return count, slowest, _reported(lambda: daemon.log.encode()) and workers == daemon.workers()


def _reported(log: Callable[[], bytes]) -> bool:
    until(lambda: b"log were dropped" in log(), "the dropped lines are reported")
    return True


def _ask(daemon: Running, seconds: float) -> tuple[int, float]:
    """Ask with all clients; return the number of answers and the slowest one in seconds."""
    record_latency: list[float] = []
    deadline = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_client, args=(daemon, deadline, record_latency)) for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(record_latency), max(record_latency)


def _client(daemon: Running, deadline: float, record_latency: list[float]) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % TARGET
    while (began := time.monotonic()) < deadline:
        with connection(daemon) as peer:
            peer.sendall(request)
            assert read_all(peer).startswith(b"HTTP/1.1 404 ")
        record_latency.append(time.monotonic() - began)


class _Reader:
    """Reads a descriptor to its end, in a thread."""

    def __init__(self, descriptor: int) -> None:
        self.data = b""
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self._descriptor, 1 << 20):
            self.data += data

    def end(self) -> None:
        self._thread.join()
        os.close(self._descriptor)
