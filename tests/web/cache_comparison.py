"""Two servers of one store, one with a response cache and one without, compared request by request."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from math import inf
from random import Random
from unittest.mock import patch

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from filestored.http.factory import HTTPFactory
from filestored.http.parser.forwarded import TrustedProxies
from filestored.http.response_cache import MAX_ENTRIES
from filestored.interfaces import AccessEntry
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.file_cache import MAX_FILE_BYTES, FileCache
from filestored.storage.disk.layout import prepare
from filestored.storage.store import Store
from filestored.web.site import make_site
from tests.http_clients.socket_pair import LOOPBACK, SocketPairClient
from tests.web.random_heads import SENT_IDS, Target, random_head, with_another_request_line

SIZES = [100, 4096, MAX_FILE_BYTES, 100_000]
"""Sizes of the stored files. The last one is never in memory."""

PATHS = [*["/files/{}"] * 3, "/?file_hash={}", "/?hash={}&name=a%20b.bin"]
OTHER_PATHS = [
    *("/", "/?", "/health", "/nothing", "/static/style.css"),
    *(f"/files/{'0' * 64}", f"/?hash={'0' * 64}&hash=x"),
]

HOSTS = ["h"]
OTHER_ADDRESS = "192.0.2.1"
CHANGES_PER_HEAD = 0.02
DISCONNECTS_PER_HEAD = 0.02
OTHER_REQUEST_LINES_PER_HEAD = 0.1

MAX_READ_SECONDS = "filestored.storage.read_circuit_breaker.MAX_READ_SECONDS"
"""Set to infinity: the cache is not used while reads are slow, as on a busy machine."""

_DATE = re.compile(rb"\r\nDate: [^\r]+")
_BOUNDARY = re.compile(rb"boundary=([0-9a-f]+)")

_REQUEST_ID = re.compile(rb"\r\nX-Request-Id: ([^\r]+)")
_MADE_ID = re.compile(rb"[0-9a-f]{32}")

Logged = tuple[str, AccessEntry, bytes]
"""Client, entry and request id in the access log."""

Seen = tuple[bytes, list[Logged], bool]
"""Bytes received and the access log, see `_without_random_parts`; whether the connection is open."""

TRUSTED_PROXIES = TrustedProxies(["192.168.1.1/32"])
"""The peer of each connection, whose headers name the client."""


class ComparedServer:
    """One server, with its client and its access log. `answered` and `rendered` count requests."""

    def __init__(self, store: Store, max_cached_responses: int) -> None:
        clock = Clock()
        self.factory = HTTPFactory(
            make_site(store, hosts=HOSTS),
            clock,
            access_log=self,
            max_cached_responses=max_cached_responses,
            trusted_proxies=TRUSTED_PROXIES,
        )
        self.answered = self.rendered = 0
        self._render, self.factory.render = self.factory.render, self._count
        self._entries: list[Logged] = []
        self.client = SocketPairClient(self.factory, clock)

    def format_entry(self, entry: AccessEntry) -> AccessEntry:
        """See `IAccessLog.format_entry`; the entry itself shows each difference."""
        return entry

    def log(
        self, moment: float, peer: str, description: AccessEntry, seconds: float, request_id: bytes
    ) -> None:
        """See `IAccessLog.log`."""
        self._entries.append((peer, description, request_id))
        self.answered += description.method != b"-"

    def _count(self, request: object) -> None:
        self.rendered += 1
        self._render(request)

    @property
    def hits(self) -> int:
        """The number of requests that were answered without being rendered."""
        return self.answered - self.rendered

    def exchange(self, pieces: Sequence[bytes], reads: bool = True) -> Seen:
        """Send pieces of input, then read, or close the connection; return the result."""
        for piece in pieces:
            self.client.send(piece)
        received = self.client.received() if reads else b""
        if not reads:
            self.client.close()
        entries, self._entries = self._entries, []
        return *_without_random_parts(received, entries), self.client.open


def _without_random_parts(data: bytes, entries: list[Logged]) -> tuple[bytes, list[Logged]]:
    """Return received bytes and entries without dates and boundaries, and with a number for each made id."""
    data = _DATE.sub(b"", data)
    for boundary in set(_BOUNDARY.findall(data)):
        data = data.replace(boundary, b"boundary")
    found = _REQUEST_ID.findall(data) + [entry[2] for entry in entries]
    made = [each for each in dict.fromkeys(found) if _MADE_ID.fullmatch(each) and each not in SENT_IDS]
    numbers = {each: b"made %d" % number for number, each in enumerate(made)}
    for each, number in numbers.items():
        data = data.replace(each, number)
    return data, [(*entry[:2], numbers.get(entry[2], entry[2])) for entry in entries]


class CacheComparison:
    """Compares servers with and without a response cache, for random heads and others.

    `different` are the heads that they answer differently, with both results, `failures` the failures that
    they log. `hits` counts heads answered from the cache, `changes` those before which a file was changed.
    Files are in the store directory `path`. Close it.
    """

    def __init__(self, path: str, random: Random, small_files_in_memory: bool = True) -> None:
        algorithm = prepare(path, "sha256")
        self._random = random
        file_cache = FileCache() if small_files_in_memory else None
        self._backend = DiskBackend(path, algorithm, reserve=0, file_cache=file_cache)
        store = Store(self._backend, algorithm, maybeDeferred)
        self._files = _Files(path, random)
        self.targets = self._files.targets()
        self.cached, self.parsed = ComparedServer(store, MAX_ENTRIES), ComparedServer(store, 0)
        self.hits = self.changes = 0
        self.different: list[tuple[Sequence[bytes], Seen, Seen]] = []
        self.failures: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self._patch = patch(MAX_READ_SECONDS, inf)
        self._patch.start()

    def close(self) -> None:
        """Close both servers and the store."""
        for server in (self.cached, self.parsed):
            server.client.close()
        self._backend.close()
        globalLogPublisher.removeObserver(self._observe)
        self._patch.stop()

    def compare_random_heads(self, number: int) -> None:
        """Compare random heads; files are changed now and then."""
        for _ in range(number):
            if self._random.random() < CHANGES_PER_HEAD:
                self._files.change()
                self.changes += 1
            head = random_head(self._random, self.targets)
            self.compare(head.target, head.pieces, times=self._random.choice([1, 1, 2]))
            if self._random.random() < DISCONNECTS_PER_HEAD:
                self._exchange(head.pieces, reads=False)
            if self._random.random() < OTHER_REQUEST_LINES_PER_HEAD:
                head = with_another_request_line(self._random, head, self.targets)
                self.compare(head.target, head.pieces)

    def compare(self, target: Target, pieces: Sequence[bytes], times: int = 1) -> None:
        """Compare one head in pieces, then a plain one for the same target on the same connection."""
        hits = self.cached.hits
        for _ in range(times):
            self._exchange(pieces)
        self.hits += self.cached.hits > hits
        self._exchange([target.plain()])

    def _observe(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.failures.append(event["log_failure"].getTraceback())

    def _exchange(self, pieces: Sequence[bytes], reads: bool = True) -> None:
        seen, expected = self.cached.exchange(pieces, reads), self.parsed.exchange(pieces, reads)
        received, _, is_open = expected
        if seen != expected:
            self.different.append((pieces, seen, expected))
        if seen != expected or not is_open or not received:
            self._reconnect()

    def _reconnect(self) -> None:
        host = self._random.choice([LOOPBACK, LOOPBACK, OTHER_ADDRESS])
        for server in (self.cached, self.parsed):
            server.client.connect(host)
            server.exchange([])


class _Files:
    """Files of a store, which another process removes, replaces and restores."""

    def __init__(self, path: str, random: Random) -> None:
        self._random = random
        self._path = path
        self._contents = [random.randbytes(size) for size in SIZES]

    def targets(self) -> list[Target]:
        """Store the files; return targets of them and of others."""
        targets = []
        for content in self._contents:
            self._write(content, content)
            name = sha256(content).hexdigest()
            paths = [path.format(name) for path in PATHS] + [f"/files/{name.upper()}"]
            targets += [Target(path.encode("ascii"), f'"{name}"'.encode("ascii")) for path in paths]
        return targets * 2 + [Target(path.encode("ascii"), b'"x"') for path in OTHER_PATHS]

    def change(self) -> None:
        """Remove, replace or restore one file."""
        content = self._random.choice(self._contents)
        match self._random.randrange(4):
            case 0:
                with suppress(FileNotFoundError):
                    os.unlink(self._file(content))
            case 1 if len(content) > MAX_FILE_BYTES:
                self._write(content, self._random.randbytes(len(content) - self._random.choice([0, 1, 5000])))
            case _:
                self._write(content, content)

    def _file(self, content: bytes) -> str:
        name = sha256(content).hexdigest()
        return os.path.join(self._path, name[:2], name)

    def _write(self, content: bytes, written: bytes) -> None:
        path = self._file(content)
        with open(path + ".new", "wb") as file:
            file.write(written)
        os.rename(path + ".new", path)
