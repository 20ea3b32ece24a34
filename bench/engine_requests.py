"""Requests to the engine for each call of the API, as the engine counts them.

SeaweedFS counts a HEAD as a GET, and providers charge the same for both. Each call is made once, by a client
that waits for the answer. Work that the daemon does after an answer counts, and that of its start does not.
The daemon also checks the engine every few seconds. So all calls are made `RUNS` times; the minimum is used.
"""

import hashlib
import http.client
import json
import os
import re
import struct
import time
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from bench.engine import running
from bench.environment import Environment
from bench.files import KIB, MIB
from bench.servers.base import get
from bench.servers.seaweedfs_s3 import Gateway
from bench.tables import table
from bench.upload_client import BOUNDARY

KINDS = ("GET", "PUT", "POST", "DELETE", "LIST")

RUNS = 3

START_SECONDS = 1.5
"""Seconds without a request after which the daemon has started, with the first sweep of its images."""

SETTLE_SECONDS = 0.5
"""Seconds without a request after which a call is over."""

_COUNTER = re.compile(r'^SeaweedFS_s3_request_total\{.*type="([A-Z]+)"\} (\d+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the API, the status that it should be answered with, and its name in the table."""

    name: str
    status: int
    method: str
    path: str = "/"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def file_calls() -> Iterator[Call]:
    """Yield the calls of the files API in the order in which they are made."""
    sizes = {"4 KiB": 4 * KIB, "2 MiB": 2 * MIB, "65 MiB": 65 * MIB}
    for name, size in sizes.items():
        content = os.urandom(size)
        path = f"/files/{hashlib.sha256(content).hexdigest()}"
        for state in ("new", "stored before"):
            yield Call(f"POST {name}, {state}", 200, "POST", body=content)
        yield Call(f"GET {name}", 200, "GET", path)
        yield Call(f"GET a range of 1 KiB of {name}", 206, "GET", path, headers={"Range": "bytes=1000-2023"})
        if size == sizes["4 KiB"]:
            yield Call("GET 4 KiB again", 200, "GET", path)
            tag = f'"{path.rpartition("/")[2]}"'
            yield Call("GET 4 KiB, If-None-Match", 304, "GET", path, headers={"If-None-Match": tag})
        yield Call(f"HEAD {name}", 200, "HEAD", path)
        yield Call(f"DELETE {name}", 200, "DELETE", path)
    for method in ("GET", "DELETE"):
        yield Call(f"{method} of a missing file", 404, method, f"/files/{'0' * 64}")


def image_calls(user: str) -> Generator[Call, bytes, None]:
    """Yield the calls of the image API; each answer is sent to the generator."""
    created = yield Call("image API: a new account", 201, "GET", f"/imageapi/generate-token/{user}/")
    account = f"/imageapi/token/{json.loads(created)['token']}"
    form = _form("one.png")
    stored = yield Call("image API: upload", 201, "POST", f"{account}/upload-image/", *form)
    identity = json.loads(stored)["File ID"]
    yield Call("image API: download", 200, "GET", f"{account}/get-image/{identity}/")
    yield Call("image API: list of one", 200, "GET", f"{account}/get-image-list/")
    form = _form("two.png")
    yield Call("image API: replace", 200, "PATCH", f"{account}/update-image/{identity}/", *form)
    yield Call("image API: delete", 200, "DELETE", f"{account}/delete-image/{identity}/")


def measure(environment: Environment) -> str:
    """Make all calls; returns the table. Raises `RuntimeError` for another status."""
    found: dict[str, Counter[str]] = {}
    with running(environment) as (gateway, server):

        def count(call: Call) -> bytes:
            before = requests(gateway)
            answer = _answer(server.port, call)
            counted = _settled(gateway, SETTLE_SECONDS) - before
            found[call.name] = found.get(call.name, counted) & counted
            return answer

        _settled(gateway, START_SECONDS)
        for run in range(RUNS):
            for call in file_calls():
                count(call)
            images = image_calls(f"user{run}")
            call = next(images)
            with suppress(StopIteration):
                while True:
                    call = images.send(count(call))
    return table(["call", *KINDS], [[name, *_cells(counted)] for name, counted in found.items()])


def _answer(port: int, call: Call) -> bytes:
    """Make a call; return the body of its response. Raises `RuntimeError` for another status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(call.method, call.path, call.body, dict(call.headers))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != call.status:
        raise RuntimeError(f"{call.name} was answered {response.status} instead of {call.status}")
    return body


def requests(gateway: Gateway) -> Counter[str]:
    """Return the number of requests that the gateway has answered, by kind."""
    found: Counter[str] = Counter()
    for kind, count in _COUNTER.findall(get(gateway.metrics_port, "/metrics")[1].decode()):
        found[kind] += int(count)
    return found


def _settled(gateway: Gateway, seconds: float) -> Counter[str]:
    """Wait until no request has come for so many seconds; returns the counters."""
    counters, changed = requests(gateway), time.monotonic()
    while time.monotonic() < changed + seconds:
        time.sleep(seconds / 10)
        if (now := requests(gateway)) != counters:
            counters, changed = now, time.monotonic()
    return counters


def _form(name: str) -> tuple[bytes, dict[str, str]]:
    """Return a form with an image of that name, and the header fields."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
    body = head.encode() + _png(name) + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def _png(text: str) -> bytes:
    """Return an image of one pixel, with a comment."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"tEXt", b"Comment\0" + text.encode()),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _cells(counted: Counter[str]) -> list[str]:
    return [str(counted[kind] or "") for kind in KINDS]
