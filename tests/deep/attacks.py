"""P24: no input costs more than its share: all known attacks on CPU, memory and slots at once.

`attack_load` runs them from another address, in a process of lower priority: real attackers have machines of
their own. Meanwhile one client uploads and one downloads 4 KiB, on a new connection for every tenth request.
"""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

import requests

from filestored.images import directory as image_directory
from filestored.images.accounts import Accounts, read_key
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.catalog import Catalog
from filestored.interfaces import Image
from filestored.storage.disk.records import DiskRecords
from filestored.storage.disk.syscalls import Syscalls
from tests.daemon_process import ROOT, Running
from tests.deep.bench import Bench, Verdict, upload
from tests.images.image_client import bmp, png

LISTED = 2500
"""Images of the account whose list is asked for."""

GZIPPED_SIDE = 6000
"""Pixels of a side of the image that is stored gzipped: 108 MB."""

THUMBNAIL_SIDE = 9000
"""Pixels of a side of the image of which thumbnails are made."""

INTERVAL_SECONDS = 0.02
MIN_SHARE, MAX_P99_SECONDS = 0.99, 0.250


def prove(bench: Bench) -> Verdict:
    """The share of requests that succeed, and the latency that 99 of 100 stay below, for both clients."""
    directory = os.path.join(bench.directory, "daemon")
    list_token, image_token = _make_accounts(os.path.join(directory, "images"))
    daemon = bench.start("--workers", "2")
    gzipped = _upload(daemon, image_token, "gzipped.bmp", bmp(GZIPPED_SIDE, GZIPPED_SIDE))
    large = _upload(daemon, image_token, "large.png", png(THUMBNAIL_SIDE))
    digest = str(upload(daemon, bytes(4096)))
    before = _measure(daemon, digest, min(5.0, bench.seconds))
    words = [sys.executable, "-m", "tests.deep.attack_load", str(daemon.port), str(bench.seconds + 2)]
    load = subprocess.Popen(
        ["nice", "-n", "10", *words, list_token, image_token, gzipped, large],
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        time.sleep(2.0)  # until all attacks are under way
        during = _measure(daemon, digest, bench.seconds)
        told = json.loads(load.communicate(timeout=60)[0])
    finally:
        load.kill()
        load.wait()
    attacks = ", ".join(f"{name} {count}" for name, count in told["counts"].items())
    figure = (
        f"{_described(during)}; without attacks {_described(before)};"
        f" attacks: {attacks}; {told['cpu']:.1f} s of CPU to make them"
    )
    return Verdict(figure, all(told["counts"].values()) and all(client.holds for client in during))


@dataclass
class Client:
    """A client that uploads or downloads 4 KiB again and again, and notes how long each takes."""

    name: str
    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of requests that were answered as they should."""
        return len(self.seconds) / max(1, len(self.seconds) + self.failed)

    @property
    def holds(self) -> bool:
        """True if the promise holds for this client."""
        return self.share >= MIN_SHARE and self.percentile(0.99) <= MAX_P99_SECONDS

    def percentile(self, part: float) -> float:
        """The seconds that this part of the answered requests took at most."""
        return sorted(self.seconds)[int(len(self.seconds) * part)] if self.seconds else float("inf")

    def run(self, port: int, seconds: float, method: str, path: str) -> None:
        """Ask until the time is over; uploads differ from each other."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                for _ in range(10):
                    self._ask(connection, method, path)
                    time.sleep(INTERVAL_SECONDS)
            except (OSError, HTTPException):
                self.failed += 1
            finally:
                connection.close()

    def _ask(self, connection: HTTPConnection, method: str, path: str) -> None:
        body = os.urandom(4096) if method == "POST" else None
        began = time.monotonic()
        connection.request(method, path, body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 200 and (body or len(content) == 4096):
            self.seconds.append(time.monotonic() - began)
        else:
            self.failed += 1


def _measure(daemon: Running, digest: str, seconds: float) -> list[Client]:
    clients = [Client("uploads"), Client("downloads")]
    ways = [("POST", "/"), ("GET", f"/files/{digest}")]
    threads = [
        threading.Thread(target=client.run, args=(daemon.port, seconds, *way))
        for client, way in zip(clients, ways, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients


def _described(clients: list[Client]) -> str:
    return ", ".join(
        f"{client.name} {100 * client.share:.1f} % of {len(client.seconds) + client.failed}"
        f" p50 {1000 * client.percentile(0.5):.0f} ms p99 {1000 * client.percentile(0.99):.0f} ms"
        for client in clients
    )


def _make_accounts(place: str) -> tuple[str, str]:
    """The tokens of an account with many images (their records; nothing reads the bytes) and an empty one."""
    os.makedirs(os.path.dirname(place))
    image_directory.prepare(place)
    records = DiskRecords(place, Syscalls(fsync=lambda descriptor: None))  # no power failure here
    try:
        accounts = Accounts(records, read_key(records))
        tokens = accounts.register("many"), accounts.register("large")
        catalog = Catalog(records, "many")
        for number in range(LISTED):
            hasher = UNIQUE_SHA256.new()
            hasher.update(b"%d" % number)
            catalog.add(
                Image(f"image {number}.png", "image/png", 100, UNIQUE_SHA256.finish(hasher), gzipped=False)
            )
        return tokens
    finally:
        records.close()


def _upload(daemon: Running, token: str, name: str, data: bytes) -> str:
    url = f"{daemon.url}imageapi/token/{token}/upload-image/"
    answer = requests.post(url, files={"x": (name, data)}, timeout=300)
    assert answer.status_code == 201, answer.text
    identity: str = answer.json()["File ID"]
    return identity
