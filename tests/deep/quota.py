"""Quota: 64 uploaders on 4 workers against a bucket of 100 MiB, with kill -9 of all processes.

New content, content of other clients, with and without an announced length, and deletions that make room
again. In each round the load ends first with a look at the figure, then all processes are killed under load.
The figure must be the sum of the stored files, to the byte, at the end of the load and after each restart,
and never exceed the quota meanwhile.
"""

import http.client
import json
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from tests.access.wire.access_files import RIGHTS, Bucket, access_text, write_access
from tests.access.wire.clients import access_path
from tests.daemon_process import Running, until
from tests.deep.bench import Bench, Verdict

QUOTA = 100 * 1024**2
UPLOADERS = 64
WORKERS = 4
ROUNDS = 3
BASE = "/buckets/small/"
SIZES = (1_000, 40_000, 300_000, 3_000_000)
SHARED = 20
"""Number of contents that all uploaders send again and again."""

MISSING = "0" * 64
FIGURE = struct.Struct("<8sqq")
SUCCESS = (200, 201)


def prove(bench: Bench) -> Verdict:
    """Uploads and refusals, the highest figure, and the figures that were not exact."""
    directory = os.path.join(bench.directory, "daemon")
    os.makedirs(directory)
    text = access_text(Bucket("small", RIGHTS, ['quota = "100 MiB"']))
    options = ("--workers", str(WORKERS), "--access", write_access(access_path(directory), text))
    daemon = bench.start(*options)
    total, inexact = Counts(), []
    for number in range(ROUNDS):
        for kills in (False, True):
            load = Load(daemon, total, seed=1000 * number + 500 * kills)
            load.run(bench.seconds / ROUNDS / 2)
            if kills:
                _kill_all(daemon)
            load.end()
            if kills:
                daemon = bench.start(*options)
            inexact += _inexact(daemon)
    figure = (
        f"{total.stored} uploads, {total.refused} refused, {total.deleted} deletions, {total.others} others: "
        f"at most {total.highest:,} of {QUOTA:,} bytes, {ROUNDS} kills, {len(inexact)} figures not exact"
    )
    busy = min(total.stored, total.refused, total.deleted) > 100
    holds = busy and not inexact and total.highest <= QUOTA and not total.others
    return Verdict(": ".join([figure, *inexact]), holds)


class Counts:
    """Answers of all rounds, and the highest figure that was seen."""

    def __init__(self) -> None:
        self.stored = self.refused = self.deleted = self.others = self.highest = 0
        self._lock = threading.Lock()

    def add(self, status: int) -> None:
        """Count the answer to an upload."""
        with self._lock:
            self.stored += status in SUCCESS
            self.refused += status == 507
            self.others += status not in (*SUCCESS, 507)


class Load:
    """Uploaders, from now until `end`."""

    def __init__(self, daemon: Running, counts: Counts, seed: int) -> None:
        self._daemon = daemon
        self._counts = counts
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(seed + number),))
            for number in range(UPLOADERS)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, seconds: float) -> None:
        """Look at the figure for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.02)
            with suppress(FileNotFoundError):
                self._counts.highest = max(self._counts.highest, _recorded(self._daemon)[1])

    def end(self) -> None:
        """Wait until the last request of each uploader has ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, dice: random.Random) -> None:
        own: list[str] = []
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=30)
            with suppress(OSError, http.client.HTTPException):  # killed, or refused before the body
                while not self._over.is_set():
                    self._act(connection, dice, own)
            connection.close()

    def _act(self, connection: http.client.HTTPConnection, dice: random.Random, own: list[str]) -> None:
        """Upload once; delete, if the bucket is full or by chance."""
        status, digest = _post(connection, _content(dice), announced=dice.random() < 0.5)
        self._counts.add(status)
        if status in SUCCESS:
            own.append(digest)
        if own and dice.random() < (0.5 if status == 507 else 0.1):
            connection.request("DELETE", f"{BASE}files/{own.pop(dice.randrange(len(own)))}")
            answer = connection.getresponse()
            answer.read()
            self._counts.deleted += answer.status in (200, 204)


def _content(dice: random.Random) -> bytes:
    """New content, or one of those that all uploaders have."""
    if dice.random() < 0.2:
        return random.Random(dice.randrange(SHARED)).randbytes(SIZES[2])
    return dice.randbytes(dice.choice(SIZES))


def _post(connection: http.client.HTTPConnection, content: bytes, announced: bool) -> tuple[int, str]:
    """Upload content; return the status, and the text of the answer."""
    body = content if announced else _pieces(content)
    with suppress(BrokenPipeError, ConnectionResetError):  # an answer came before the end of the body
        connection.request("POST", BASE, body, encode_chunked=not announced, headers=_framing(announced))
    if connection.sock is None:
        raise ConnectionResetError
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def _framing(announced: bool) -> dict[str, str]:
    return {} if announced else {"Transfer-Encoding": "chunked"}


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 65536):
        yield content[start : start + 65536]


def _kill_all(daemon: Running) -> None:
    pids = [daemon.pid, *daemon.workers()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    daemon.process.wait()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "all processes have ended")


def _inexact(daemon: Running) -> list[str]:
    """Return each figure that is not the sum of the stored files. Each worker opens the ledger first."""
    stored = _stored(daemon)
    usages = set()
    for _ in range(8 * WORKERS):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
        for method, path in (("DELETE", f"{BASE}files/{MISSING}"), ("GET", f"{BASE}usage")):
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
        usage = json.loads(text)
        usages.add((usage["files"], usage["bytes"]))
        connection.close()
    return [f"{found} is {stored}" for found in (*usages, _recorded(daemon)) if found != stored]


def _bucket(daemon: Running) -> str:
    return os.path.join(daemon.store, "buckets", "small")


def _stored(daemon: Running) -> tuple[int, int]:
    """Return number and size of the files of the bucket."""
    shards = [entry.path for entry in os.scandir(_bucket(daemon)) if len(entry.name) == 2]
    sizes = [entry.stat().st_size for shard in shards for entry in os.scandir(shard)]
    return len(sizes), sum(sizes)


def _recorded(daemon: Running) -> tuple[int, int]:
    """Return the figure that the workers share."""
    with open(os.path.join(_bucket(daemon), "usage"), "rb") as file:
        _, files, size = FIGURE.unpack(file.read())
    return files, size
