"""P71: 100 of 100,000 files with a flipped bit are found, moved and healed, and other clients do not notice.

The verification at 50 MiB/s is stopped and continued by signals, in turns with the client that measures: so
both periods of a pair meet the same machine. The figure is the median over all periods of the p99 of GETs of
4 KiB. Pages of the files that the client reads must all stay in memory.
"""

import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from filestored.storage.disk.layout import prepare
from filestored.storage.verification.page_cache import resident_pages
from tests.daemon_process import ROOT, Running, until
from tests.deep.bench import Bench, Verdict, connection, upload

FILES, FLIPPED, HOT = 100_000, 100, 3000
LARGE, LARGE_BYTES = 24, 64 * 1024 * 1024
HOT_BYTES = 4096
RATE = "50MiB/s"
PERIOD_SECONDS = 2.0
MAX_RISE = 1.2
PAUSE_SECONDS = 0.0005
_FLAGS = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC


def prove(bench: Bench) -> Verdict:
    """Findings, healed files, the medians of p99 without and with verification, and pages that were lost."""
    store = os.path.join(bench.directory, "daemon", "store")
    os.makedirs(os.path.dirname(store))
    hot, flipped = make_store(store)
    daemon = bench.start("--workers", "2")
    for name in hot:
        fetch(daemon, name)
    before = pages(store, hot)
    process = start_verification(store)
    quiet, busy = measure(daemon, hot, process, max(5, int(bench.seconds / PERIOD_SECONDS / 2)))
    output, errors = process.communicate(timeout=3600)
    found = {line.split()[1] for line in errors.splitlines()}
    lost = before - pages(store, hot)
    healed = sum(upload(daemon, data) == name for name, data in flipped.items())
    again = subprocess.run([*command(store)], env=environment(), capture_output=True, check=False)
    rise = statistics.median(busy) / statistics.median(quiet)
    figure = (
        f"{json.loads(output)['files']} files, {len(found)} of {FLIPPED} found, {healed} healed; "
        f"p99 of GETs {1000 * statistics.median(quiet):.2f} ms, with verification "
        f"{1000 * statistics.median(busy):.2f} ms ({len(busy)} pairs); {lost} of {before} pages lost"
    )
    is_exact = found == set(flipped) and healed == FLIPPED and again.returncode == 0
    return Verdict(figure, is_exact and process.returncode == 3 and rise < MAX_RISE and lost == 0)


def make_store(store: str) -> tuple[list[str], dict[str, bytes]]:
    """Make a store without a daemon; return the names of hot files, and the contents of flipped ones."""
    prepare(store, "sha256")
    dice = random.Random(71)
    hot, flipped = [], {}
    for number in range(FILES):
        data = dice.randbytes(HOT_BYTES if number < HOT else dice.randrange(1, 2 * HOT_BYTES))
        is_flipped = number >= HOT and number % (FILES // FLIPPED) == FILES // FLIPPED - 1
        name = write(store, data, data if not is_flipped else flip(data, dice.randrange(8 * len(data))))
        if number < HOT:
            hot.append(name)
        elif is_flipped:
            flipped[name] = data
    for _ in range(LARGE):
        data = dice.randbytes(LARGE_BYTES)
        write(store, data, data)
    os.sync()
    drop_all(store)
    return hot, flipped


def write(store: str, data: bytes, stored: bytes) -> str:
    """Write `stored` under the name of `data`."""
    name = hashlib.sha256(data).hexdigest()
    descriptor = os.open(f"{store}/{name[:2]}/{name}", _FLAGS, 0o440)
    os.write(descriptor, stored)
    os.close(descriptor)
    return name


def flip(data: bytes, bit: int) -> bytes:
    """Return the data with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def paths(store: str) -> Iterator[str]:
    """Yield the paths of all stored files."""
    for shard in os.listdir(store):
        if len(shard) == 2:
            for name in os.listdir(f"{store}/{shard}"):
                yield f"{store}/{shard}/{name}"


def drop_all(store: str) -> None:
    """Drop the pages of all files."""
    for path in paths(store):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def pages(store: str, names: list[str]) -> int:
    """Return the number of pages of these files that are in memory."""
    found = 0
    for name in names:
        with open(f"{store}/{name[:2]}/{name}", "rb") as file:
            found += sum(resident_pages(file.fileno(), 0, HOT_BYTES))
    return found


def command(store: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "filestored.cli", "verify", store, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ROOT}


def start_verification(store: str) -> "subprocess.Popen[str]":
    """Start the command, and stop it as soon as it has begun."""
    process = subprocess.Popen(
        command(store, "--rate", RATE, "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: os.path.exists(f"{store}/.verification"), "it has begun")
    process.send_signal(signal.SIGSTOP)
    return process


def measure(
    daemon: Running, hot: list[str], process: "subprocess.Popen[str]", pairs: int
) -> tuple[list[float], list[float]]:
    """Return the p99 of each period without and with verification, which runs on afterwards."""
    quiet, busy = [], []
    read_for(daemon, hot, PERIOD_SECONDS)
    for _ in range(pairs):
        quiet.append(read_for(daemon, hot, PERIOD_SECONDS))
        process.send_signal(signal.SIGCONT)
        value = read_for(daemon, hot, PERIOD_SECONDS)
        if process.poll() is not None:
            break
        busy.append(value)
        process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)
    return quiet, busy


def read_for(daemon: Running, hot: list[str], seconds: float) -> float:
    """Read hot files for so long; return the p99 of the durations."""
    dice, durations = random.Random(), []
    deadline = time.monotonic() + seconds
    with connection(daemon) as peer:
        while (began := time.monotonic()) < deadline:
            peer.sendall(b"GET /files/%b HTTP/1.1\r\nHost: x\r\n\r\n" % dice.choice(hot).encode())
            head, _, body = peer.recv(65536).partition(b"\r\n\r\n")
            while len(body) < HOT_BYTES:
                body += peer.recv(65536)
            durations.append(time.monotonic() - began)
            assert head.startswith(b"HTTP/1.1 200 ")
            time.sleep(PAUSE_SECONDS)
    return statistics.quantiles(durations, n=100)[98]


def fetch(daemon: Running, name: str) -> None:
    """Read a file once."""
    with connection(daemon) as peer:
        peer.sendall(b"GET /files/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % name.encode())
        while peer.recv(65536):
            pass
