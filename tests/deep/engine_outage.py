"""The object store pauses, and is stopped and started again, under load.

Meanwhile a daemon answers late and right, or 503 with ``Retry-After``; a download that had begun may break
off. Afterwards it serves again by itself within 5 s, and has all that it acknowledged.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

from tests.daemon_process import Running, until
from tests.deep.bench import Bench, Verdict
from tests.deep.engine import engine, start_on
from tests.engine_daemons import answers, partial_objects
from tests.engine_load import Failure, Load, Record, back, lost
from tests.seaweedfs import SeaweedFS

PAUSE_SECONDS = 20.0
MAX_RECOVERY_SECONDS = 5.0
CLIENTS = 8
LOAD_SECONDS = 5.0
"""Seconds of load before and after the outage."""


def prove(bench: Bench) -> Verdict:
    """Count responses that are neither right nor 503, and measure the recovery, for each kind of outage."""
    figures, holds = [], True
    with engine(bench) as server:
        for name, outage in (("paused", _paused), ("stopped", _stopped), ("killed", _killed)):
            figure, good = _measure(bench, server, name, outage)
            figures.append(f"{name}: {figure}")
            holds = holds and good
    return Verdict("; ".join(figures), holds)


def _measure(
    bench: Bench, server: SeaweedFS, name: str, outage: Callable[[SeaweedFS], None]
) -> tuple[str, bool]:
    prefix = server.make_prefix()
    daemon = start_on(bench, prefix, name=name)
    with _health(daemon) as statuses:
        load = Load([str(daemon.port)] * CLIENTS, seed=12)
        time.sleep(LOAD_SECONDS)
        began = time.monotonic()
        outage(server)
        until(lambda: answers(server), "the engine answers")
        returned = time.monotonic()
        time.sleep(MAX_RECOVERY_SECONDS + LOAD_SECONDS)
        record = load.end()
    recovery = _recovery(record, returned)
    wrong = [
        *record.wrong,
        *(str(each) for each in record.failures if not _is_allowed(each, began, returned)),
        *(f"lost {digest}" for digest in lost(str(daemon.port), record)),
        *(f"back {digest}" for digest in back(str(daemon.port), record)),
        *partial_objects(prefix)[1],
    ]
    daemon.end()
    healthy = [status for at, status in statuses if at < began or at > returned + MAX_RECOVERY_SECONDS]
    during = Counter(status for at, status in statuses if began <= at <= returned)
    figure = (
        f"{len(record.successes)} right, {Counter(map(str, record.failures)).most_common()}, recovery "
        f"{recovery:.1f} s, health {dict(during)} then {dict(Counter(healthy))}: "
        f"{Counter(wrong).most_common(5) or 'nothing wrong'}"
    )
    good = not wrong and recovery <= MAX_RECOVERY_SECONDS and set(healthy) == {200} and during[503] > 0
    return figure, good


def _is_allowed(failure: Failure, began: float, returned: float) -> bool:
    """Return whether this is what a client may see of an outage."""
    if failure.ended < began or failure.began > returned + MAX_RECOVERY_SECONDS:
        return False
    if failure.complete:
        return failure.response.status == 503 and "retry-after" in failure.response.fields
    return failure.response.status in {200, 206}  # a body that had begun


def _recovery(record: Record, returned: float) -> float:
    """Return the seconds after which both an upload and a download had succeeded."""
    times = [
        min((at for at, method in record.successes if method in methods and at > returned), default=1e9)
        for methods in ({"GET"}, {"POST", "PUT"})
    ]
    return max(times) - returned


@contextmanager
def _health(daemon: Running) -> Iterator[list[tuple[float, int]]]:
    """Ask for the health of a daemon ten times a second; a list of times and statuses."""
    found: list[tuple[float, int]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.1):
            answer = requests.get(daemon.url + "health", timeout=30, headers={"Connection": "close"})
            found.append((time.monotonic(), answer.status_code))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _paused(server: SeaweedFS) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    os.kill(server.pid, signal.SIGCONT)


def _stopped(server: SeaweedFS) -> None:
    server.stop()
    time.sleep(PAUSE_SECONDS)
    server.start()


def _killed(server: SeaweedFS) -> None:
    server.kill()
    time.sleep(PAUSE_SECONDS)
    server.start()
