"""Load for daemons on an object store: uploads, downloads and deletions, with all that went wrong.

Each client has one connection to one address: a port, or the path of a Unix socket. It uploads new content
(raw, by PUT, as a form), reads what any client has uploaded, whole or a range, and deletes some of its own.
`Record.wrong` holds what no fault of the engine and no death of a daemon excuses. `Record.failures` are other
requests without the expected response; the proof decides which of them are allowed.
"""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.daemon.reverse_proxy import connector
from tests.http_clients.blocking import BlockingClient, request_head
from tests.http_clients.response import Response

MAX_SIZE = 3 << 20
UPLOAD_SHARE = 0.4
DELETED_SHARE = 0.2
RANGE_SHARE = 0.3
TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.1
"""Pause of a client after a failure, because a refused connection fails at once."""


@dataclass(frozen=True)
class Content:
    """Content of an upload, made anew each time it is compared."""

    seed: str
    size: int

    @property
    def data(self) -> bytes:
        """The bytes, which no other seed has."""
        return self.seed.encode() + random.Random(self.seed).randbytes(self.size)


@dataclass(frozen=True)
class Failure:
    """A request without the expected response.

    `number` is its field ``X-Request``, and `previous` that of the request before it on its connection, which
    was begun at the time `opened`. `response` is the response as far as it came; its `status` is 0 if no head
    came. `complete` is False if the connection ended first.
    """

    address: str
    number: str
    previous: str
    method: str
    opened: float
    began: float
    ended: float
    response: Response
    complete: bool

    def __str__(self) -> str:
        kind = "" if self.complete else ", cut" if self.response.status else "no response"
        return f"{self.method} {self.response.status or ''}{kind}"


@dataclass
class Record:
    """Acknowledged uploads by digest, acknowledged deletions, and results of requests."""

    kept: dict[str, Content] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    successes: list[tuple[float, str]] = field(default_factory=list)


class Load:
    """Clients, one for each of `addresses`, from now until `end`."""

    def __init__(self, addresses: Sequence[str], seed: int, max_size: int = MAX_SIZE) -> None:
        self.record = Record()
        self._over = threading.Event()
        clients = [
            _Client(self.record, address, f"{seed} {number} ", max_size)
            for number, address in enumerate(addresses)
        ]
        self._threads = [threading.Thread(target=client.run, args=(self._over,)) for client in clients]
        for thread in self._threads:
            thread.start()

    def end(self) -> Record:
        """Stop all clients after their request; returns what happened."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.record


class _Client:
    """One client; `seed` is a prefix of all its content."""

    def __init__(self, record: Record, address: str, seed: str, max_size: int) -> None:
        self._record = record
        self._address = address
        self._seed = seed
        self._max_size = max_size
        self._dice = random.Random(seed)
        self._number = 0
        self._connection: BlockingClient | None = None
        self._opened = 0.0
        self._previous = ""

    def run(self, over: threading.Event) -> None:
        """Send requests until it is over."""
        while not over.is_set():
            if self._dice.random() < UPLOAD_SHARE or not self._record.kept:
                self._upload()
            else:
                self._download(*self._dice.choice(list(self._record.kept.items())))
        self._drop()

    def _upload(self) -> None:
        self._number += 1
        size = int(self._max_size ** self._dice.random())
        content = Content(f"{self._seed}{self._number} ", size)
        data = content.data
        digest = hashlib.sha256(data).hexdigest()
        request = self._dice.choice([raw, put, form])(data, digest)
        response = self._request(request, {200, 201})
        if response is None:
            return
        if not request.startswith(b"PUT ") and response.body.decode() != digest:
            self._record.wrong.append(f"{digest} is answered {response.body[:80]!r}")
        if self._dice.random() < DELETED_SHARE:
            self._delete(digest)
        else:
            self._record.kept[digest] = content

    def _delete(self, digest: str) -> None:
        if self._request(request_head(f"/files/{digest}", method="DELETE"), {200}) is None:
            return
        self._record.deleted.add(digest)
        response = self._request(request_head(f"/files/{digest}"), {200, 404})
        if response is not None and response.status == 200:
            self._record.wrong.append(f"{digest} is served after its deletion")

    def _download(self, digest: str, content: Content) -> None:
        data, fields, statuses = content.data, [], {200}
        if self._dice.random() < RANGE_SHARE:
            start = self._dice.randrange(len(data))
            stop = self._dice.randrange(start, len(data)) + 1
            data, statuses = data[start:stop], {206}
            fields = [f"Range: bytes={start}-{stop - 1}"]
        response = self._request(request_head(f"/files/{digest}", *fields), statuses)
        if response is not None and response.body != data:
            self._record.wrong.append(f"{digest} is served with other bytes")

    def _request(self, request: bytes, statuses: set[int]) -> Response | None:
        """Return the response if it has one of `statuses`; else record a failure."""
        method, began = request.partition(b" ")[0].decode(), time.monotonic()
        number = f"{id(self)}-{began}"
        line, rest = request.split(b"\r\n", 1)
        numbered = b"\r\n".join([line, f"X-Request: {number}".encode(), rest])
        response, complete = self._exchange(numbered, began)
        previous, self._previous = self._previous, number
        ended = time.monotonic()
        if not complete or response.fields.get("connection") == "close":
            self._drop()
        if complete and response.status in statuses:
            self._record.successes.append((ended, method))
            return response
        if complete and response.status == 404 and method == "GET":
            self._record.wrong.append("a GET of stored content is answered 404")
        self._record.failures.append(
            Failure(
                *(self._address, number, previous, method),
                *(self._opened, began, ended, response, complete),
            )
        )
        time.sleep(PAUSE_SECONDS)
        return None

    def _exchange(self, request: bytes, now: float) -> tuple[Response, bool]:
        """Return the response, or its first part, and whether it is complete."""
        try:
            return self._client(now).request(request), True
        except EOFError as error:
            return error.args[0], False
        except OSError:
            return Response(), False

    def _client(self, now: float) -> BlockingClient:
        if self._connection is None:
            self._opened, self._previous = now, ""
            self._connection = connector(self._address)()
            self._connection.connection.settimeout(TIMEOUT_SECONDS)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.connection.close()
            self._connection = None


def raw(data: bytes, _digest: str = "") -> bytes:
    """Return a POST of the content itself."""
    return request_head("/", f"Content-Length: {len(data)}", method="POST") + data


def put(data: bytes, digest: str) -> bytes:
    """Return a PUT of the content."""
    return request_head(f"/files/{digest}", f"Content-Length: {len(data)}", method="PUT") + data


def form(data: bytes, _digest: str = "") -> bytes:
    """Return a POST of a form with one file."""
    opening = b'--b-b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    body = b"".join([opening, data, b"\r\n--b-b--\r\n"])
    fields = "Content-Type: multipart/form-data; boundary=b-b", f"Content-Length: {len(body)}"
    return request_head("/", *fields, method="POST") + body


def lost(address: str, record: Record) -> list[str]:
    """Return the digests of kept files that a daemon does not serve, or not right."""
    return _unlike(address, record.kept, lambda digest, found: found.body == record.kept[digest].data)


def back(address: str, record: Record) -> list[str]:
    """Return the digests of deleted files that a daemon does not answer with 404."""
    return _unlike(address, record.deleted, lambda _, found: found.status == 404)


def _unlike(address: str, digests: Iterable[str], is_right: Callable[[str, Response], bool]) -> list[str]:
    with connector(address)() as client:
        client.connection.settimeout(TIMEOUT_SECONDS)
        return [
            digest
            for digest in list(digests)
            if not is_right(digest, client.request(request_head(f"/files/{digest}")))
        ]
