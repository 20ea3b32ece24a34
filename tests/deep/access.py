"""Access rules: each change of the access file is in force within 2 s, in all workers, on kept connections.

Kept connections to four workers repeat a request, so that the response cache answers it. Meanwhile a token
is revoked, given back, expires, or loses its right. The figure is the longest delay until all connections get
the new status. After that, the whole matrix of `tests.access.wire` is sent.
"""

import datetime
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, bearer, write_access
from tests.access.wire.clients import Clients, access_path
from tests.access.wire.kept_connection import KeptConnection
from tests.access.wire.matrix import ACCESS_TEXT, BASIC, Matrix
from tests.deep.bench import Bench, Verdict

MAX_SECONDS = 2.0
WORKERS = 4
FILE = b"a file that many read"
TARGET = f"/buckets/one/files/{hashlib.sha256(FILE).hexdigest()}"

ADMIN = Token("admin", {"*": RIGHTS})
ANNA = Token("anna", {"one": ["read"]})
WRITER = Token("anna", {"one": ["write"]})
BUCKET = Bucket("one")
GIVEN, REVOKED = access_text(ADMIN, ANNA, BUCKET), access_text(ADMIN, BUCKET)


def prove(bench: Bench) -> Verdict:
    """Longest delay of each kind of change, and the differences from the matrix."""
    directory = os.path.join(bench.directory, "daemon")
    os.makedirs(directory)
    path = write_access(access_path(directory), GIVEN)
    daemon = bench.start("--workers", str(WORKERS), "--access", path)
    delays: dict[str, float] = {}
    with ExitStack() as stack:
        clients = Clients(daemon, stack)
        clients.put(TARGET, FILE, bearer(ADMIN.secret))
        for _ in range(bench.rounds):
            for kind, seconds in _changes(clients):
                delays[kind] = max(delays.get(kind, 0.0), seconds)
    requests, differences = _run_matrix(bench)
    figure = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in delays.items())
    figure = (
        f"{len(clients.connections)} connections: {figure}; {differences} differences in {requests} requests"
    )
    return Verdict(figure, max(delays.values()) <= MAX_SECONDS and not differences)


def _run_matrix(bench: Bench) -> tuple[int, int]:
    """Send the whole matrix; return the numbers of requests and of differences."""
    directory = os.path.join(bench.directory, "matrix")
    os.makedirs(directory)
    path = write_access(access_path(directory), ACCESS_TEXT)
    daemon = bench.start("--workers", "1", "--access", path, name="matrix")
    with KeptConnection(daemon.port) as ask:
        matrix = Matrix(ask)
        matrix.run_everywhere(BASIC)
    return matrix.count, len(matrix.differences)


def _changes(clients: Clients) -> Iterator[tuple[str, float]]:
    """Make one change of each kind; yield the delays."""
    line = bearer(ANNA.secret)
    clients.await_status(200, TARGET, line)
    yield "revoked", _delay(clients, REVOKED, 401, line)
    yield "given", _delay(clients, GIVEN, 200, line)
    yield "without the right", _delay(clients, access_text(ADMIN, WRITER, BUCKET), 403, line)
    yield "with the right", _delay(clients, GIVEN, 200, line)
    moment = int(time.time()) + 4
    expires = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    clients.write(access_text(ADMIN, Token("anna", {"one": ["read"]}, expires), BUCKET))
    clients.await_status(401, TARGET, line)
    yield "expired", time.time() - moment
    clients.write(GIVEN)


def _delay(clients: Clients, text: str, status: int, line: str) -> float:
    """Replace the access file; return the seconds until all connections get this status."""
    began = time.monotonic()
    clients.write(text)
    clients.await_status(status, TARGET, line)
    return time.monotonic() - began
