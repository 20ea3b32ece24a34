"""P28: workers that hang under load are replaced, and the watchdog is fed only while one answers.

One of two workers is stopped (SIGSTOP) under four uploaders: the other serves on, and the hung one is
replaced. Then both are stopped: the service is back within the same time, and systemd's watchdog gets no
message in between. Then both are killed again and again: each time requests are answered within seconds.
"""

import itertools
import os
import random
import signal
import socket
import threading
import time

from tests.daemon_process import Running, until
from tests.deep.bench import Bench, Verdict, damage, upload

UPLOADERS = 4
MAX_REPLACED_SECONDS = 20.0
MAX_BACK_SECONDS = 5.0
"""Seconds without an answer after all workers were killed, on a busy machine."""

KILLS = 12
WATCHDOG_SECONDS = 2.0


def prove(bench: Bench) -> Verdict:
    """Seconds until replacement, files lost, and watchdog messages while no worker answered."""
    environment = {"WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))}
    daemon = bench.start("--workers", "2", environment=environment)
    load = _Load(daemon)
    with daemon.notifications() as receiver:
        manager = _Manager(receiver)
        try:
            one = _replaced(daemon, daemon.workers()[:1], manager)
            during = load.count
            began = time.monotonic()
            both = _replaced(daemon, daemon.workers(), manager)
            gap = manager.longest_gap(began, time.monotonic())
            outages = [_outage(daemon) for _ in range(KILLS)]
        finally:
            manager.end()
            load.end()
    lost, partial = damage(daemon.store, load.acknowledged)
    figure = (
        f"one of two replaced after {one:.1f} s ({during} uploads meanwhile), both after {both:.1f} s, "
        f"watchdog silent for {gap:.1f} s, longest outage of {KILLS} kills of both {max(outages):.1f} s, "
        f"{len(load.acknowledged)} acknowledged: {lost} lost, {partial} partial"
    )
    holds = (
        max(one, both) <= MAX_REPLACED_SECONDS
        and during > 0
        and gap > 2 * WATCHDOG_SECONDS
        and max(outages) <= MAX_BACK_SECONDS
        and (lost, partial) == (0, 0)
    )
    return Verdict(figure, holds)


def _replaced(daemon: Running, victims: list[int], manager: "_Manager") -> float:
    """Stop these workers; return the seconds until they are replaced and requests are answered."""
    began = time.monotonic()
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: not set(victims) & set(daemon.workers()), "the hung workers are killed")
    until(lambda: "2 of 2 workers serve" in manager.status, "they are replaced")
    until(lambda: upload(daemon, os.urandom(100)), "uploads are answered")
    return time.monotonic() - began


def _outage(daemon: Running) -> float:
    """Kill all workers; return the seconds until an upload is answered."""
    began = time.monotonic()
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: upload(daemon, os.urandom(100)), "uploads are answered")
    return time.monotonic() - began


class _Manager:
    """Notes what systemd would be told: when the watchdog is fed, and the last status."""

    def __init__(self, receiver: socket.socket) -> None:
        self.status = ""
        self._moments: list[float] = []
        self._over = threading.Event()
        self._receiver = receiver
        receiver.settimeout(0.1)
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while not self._over.is_set():
            try:
                message = self._receiver.recv(4096).decode()
            except TimeoutError:
                continue
            if message == "WATCHDOG=1":
                self._moments.append(time.monotonic())
            else:
                self.status = message

    def longest_gap(self, began: float, ended: float) -> float:
        """Return the most seconds without a message in this span of time."""
        moments = [began, *(each for each in self._moments if began < each < ended), ended]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    def end(self) -> None:
        self._over.set()
        self._thread.join()


class _Load:
    """Uploaders that go on until they are told to end."""

    def __init__(self, daemon: Running) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self._daemon, self._over = daemon, threading.Event()
        self._threads = [
            threading.Thread(target=self._upload, args=(seed,), daemon=True) for seed in range(UPLOADERS)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        """Number of uploads that were acknowledged so far."""
        return len(self.acknowledged)

    def _upload(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self._over.is_set():
            content = dice.randbytes(dice.choice([100, 5_000, 70_000]))
            try:
                digest = upload(self._daemon, content)
            except OSError:
                continue
            if digest is not None:
                self.acknowledged[digest] = content
            time.sleep(0.02)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
