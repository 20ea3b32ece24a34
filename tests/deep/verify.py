"""P71: 100 of 100,000 files with a flipped bit are found, moved and healed, and other clients do not notice.

The verification at 50 MiB/s is stopped and continued by signals, in turns with the client that measures: so
both periods of a pair meet the same machine. The figure is the median over all periods of the p99 of GETs of
4 KiB. Pages of the files that the client reads must stay in memory, as those of other files do that are no
part of the store: a busy machine drops some of both.
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
from collections.abc import Iterable, Iterator

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
    others = make_others(os.path.join(bench.directory, "others"))
    daemon = bench.start("--workers", "2")
    for name, other in zip(hot, others, strict=True):
        fetch(daemon, name)
        read(other)
    mine = [path_of(store, name) for name in hot]
    before, others_before = pages(mine), pages(others)
    process = start_verification(store)
    quiet, busy, rate = measure(
        daemon, list(zip(hot, others, strict=True)), process, max(5, int(bench.seconds / PERIOD_SECONDS / 2))
    )
    lost, others_lost = before - pages(mine), others_before - pages(others)
    output, errors = process.communicate(timeout=3600)
    found = {line.split()[1] for line in errors.splitlines()}
    healed = sum(upload(daemon, data) == name for name, data in flipped.items())
    again = subprocess.run([*command(store)], env=environment(), capture_output=True, check=False)
    rise = statistics.median(busy) / statistics.median(quiet)
    figure = (
        f"{json.loads(output)['files']} files, {len(found)} of {FLIPPED} found, {healed} healed; "
        f"p99 of GETs {1000 * statistics.median(quiet):.2f} ms, with verification "
        f"{1000 * statistics.median(busy):.2f} ms ({len(busy)} pairs, {rate:.0f} MiB/s); "
        f"{lost} of {before} pages lost, {others_lost} of other files"
    )
    is_exact = found == set(flipped) and healed == FLIPPED and again.returncode == 0
    return Verdict(figure, is_exact and process.returncode == 3 and rise < MAX_RISE and lost <= others_lost)


def make_store(store: str) -> tuple[list[str], dict[str, bytes]]:
    """Make a store without a daemon; return the names of hot files, and the contents of flipped ones."""
    prepare(store, "sha256")
    dice = random.Random(71)
    hot, flipped = [], {}
    for number in range(FILES):
        data = dice.randbytes(HOT_BYTES if number < HOT else dice.randrange(100, 2 * HOT_BYTES))
        is_flipped = number >= HOT and len(flipped) < FLIPPED and number % (FILES // FLIPPED // 2) == 1
        name = write(store, data, data if not is_flipped else flip(data, dice.randrange(8 * len(data))))
        if number < HOT:
            hot.append(name)
        elif is_flipped:
            flipped[name] = data
    for _ in range(LARGE):
        data = dice.randbytes(LARGE_BYTES)
        write(store, data, data)
    os.sync()
    drop(paths(store))
    return hot, flipped


def write(store: str, data: bytes, stored: bytes) -> str:
    """Write `stored` under the name of `data`."""
    name = hashlib.sha256(data).hexdigest()
    descriptor = os.open(path_of(store, name), _FLAGS, 0o440)
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


def drop(files: Iterable[str]) -> None:
    """Drop the pages of files."""
    for path in files:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make_others(directory: str) -> list[str]:
    """Make files beside the store, which are read as often as hot ones; return their paths."""
    os.mkdir(directory)
    found = []
    for number in range(HOT):
        found.append(f"{directory}/{number}")
        with open(found[-1], "wb") as file:
            file.write(bytes(HOT_BYTES))
    os.sync()
    drop(found)
    return found


def path_of(store: str, name: str) -> str:
    return f"{store}/{name[:2]}/{name}"


def pages(files: list[str]) -> int:
    """Return the number of pages of these files that are in memory."""
    found = 0
    for path in files:
        with open(path, "rb") as file:
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
    daemon: Running, hot: list[tuple[str, str]], process: "subprocess.Popen[str]", pairs: int
) -> tuple[list[float], list[float], float]:
    """Return the p99 of each period without and with verification, and its rate; it runs on afterwards."""
    quiet, busy, began = [], [], read_bytes(process.pid)
    read_for(daemon, hot, PERIOD_SECONDS)
    for _ in range(pairs):
        quiet.append(read_for(daemon, hot, PERIOD_SECONDS))
        process.send_signal(signal.SIGCONT)
        busy.append(read_for(daemon, hot, PERIOD_SECONDS))
        assert process.poll() is None, "the store is too small"
        process.send_signal(signal.SIGSTOP)
    rate = (read_bytes(process.pid) - began) / len(busy) / PERIOD_SECONDS / 2**20
    process.send_signal(signal.SIGCONT)
    return quiet, busy, rate


def read_bytes(pid: int) -> int:
    """Return the bytes that a process has read from the disk (proc_pid_io(5))."""
    with open(f"/proc/{pid}/io") as file:
        return int(file.read().split("read_bytes: ")[1].split()[0])


def read_for(daemon: Running, hot: list[tuple[str, str]], seconds: float) -> float:
    """Get hot files for so long, and read another file each time; return the p99 of the GETs."""
    dice, durations = random.Random(), []
    deadline = time.monotonic() + seconds
    with connection(daemon) as peer:
        while time.monotonic() < deadline:
            name, other = dice.choice(hot)
            read(other)
            began = time.monotonic()
            peer.sendall(b"GET /files/%b HTTP/1.1\r\nHost: x\r\n\r\n" % name.encode())
            head, _, body = peer.recv(65536).partition(b"\r\n\r\n")
            while len(body) < HOT_BYTES:
                body += peer.recv(65536)
            durations.append(time.monotonic() - began)
            assert head.startswith(b"HTTP/1.1 200 ")
            time.sleep(PAUSE_SECONDS)
    return statistics.quantiles(durations, n=100)[98]


def read(path: str) -> None:
    """Read a file once."""
    with open(path, "rb") as file:
        file.read()


def fetch(daemon: Running, name: str) -> None:
    """Read a file once."""
    with connection(daemon) as peer:
        peer.sendall(b"GET /files/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % name.encode())
        while peer.recv(65536):
            pass
