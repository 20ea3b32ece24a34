"""P3 and P26: kill -9 of workers, at random, under eight uploaders.

Whatever was acknowledged is there afterwards, whole; no file is half a file; nothing else remains,
also after a restart; and never was a connection refused.
"""

import os
import random
import signal
import threading
import time

from tests.daemon.running import Running, until
from tests.deep.bench import Bench, Verdict, damage, upload

UPLOADERS = 8
SIZES = (100, 5_000, 70_000, 1_000_000, 4_000_000)


def prove(bench: Bench) -> Verdict:
    """Files lost, partial or strange, and connections refused, after all the killing."""
    daemon = bench.start("--workers", "2")
    load = _Load(daemon)
    kills = _kill_at_random(daemon, bench.seconds)
    load.end()
    daemon.end()
    again = bench.start("--workers", "1")
    lost, partial = damage(daemon.store, load.acknowledged)
    junk = _junk(again.store)
    figure = (
        f"{kills} kills, {len(load.acknowledged)} acknowledged, {load.broken} broken off: "
        f"{lost} lost, {partial} partial, {junk} junk, {load.refused} refused"
    )
    return Verdict(figure, (lost, partial, junk, load.refused) == (0, 0, 0, 0) and kills > 0)


class _Load:
    """Uploaders that go on until they are told to end."""

    def __init__(self, daemon: Running) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.refused = self.broken = 0
        self._daemon, self._over = daemon, threading.Event()
        self._threads = [threading.Thread(target=self._upload, args=(seed,)) for seed in range(UPLOADERS)]
        for thread in self._threads:
            thread.start()

    def _upload(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self._over.is_set():
            content = dice.randbytes(dice.choice(SIZES))
            try:
                digest = upload(self._daemon, content)
            except ConnectionRefusedError:
                self.refused += 1
                continue
            if digest is None:
                self.broken += 1
            else:
                self.acknowledged[digest] = content

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _kill_at_random(daemon: Running, seconds: float) -> int:
    """Kill one worker, or both, again and again; wait each time until they are replaced."""
    dice, kills, deadline = random.Random(3), 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(dice.uniform(0.05, 1.0))
        victims = daemon.workers()[: dice.choice([1, 1, 2])]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
            kills += 1
        until(lambda victims=victims: not set(victims) & set(daemon.workers()), "the dead are buried")
        until(lambda: len(daemon.workers()) == 2, "they are replaced")
    return kills


def _junk(store: str) -> int:
    """Count files of the store that are neither its format nor in a shard."""
    strange = [name for name in os.listdir(store) if len(name) != 2 and name not in _OWN]
    inside = [os.path.join(store, name) for name in _OWN if os.path.isdir(os.path.join(store, name))]
    return len(strange) + sum(len(os.listdir(path)) for path in inside)


_OWN = ("FORMAT", "tmp", "quarantine")
