"""Requests to the engine for each call of the API, as the engine counts them.

SeaweedFS counts a HEAD as a GET, and providers charge the same for both. Each call is made once, by a client
that waits for the answer. Requests at the start of the daemon are not counted.
"""

import hashlib
import http.client
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.engine import running
from bench.environment import Environment
from bench.files import KIB, MIB
from bench.servers.base import get
from bench.servers.seaweedfs_s3 import Gateway
from bench.tables import table

KINDS = ("GET", "PUT", "POST", "DELETE", "LIST")

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


def calls() -> Iterator[Call]:
    """Yield the calls in the order in which they are made."""
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


def measure(environment: Environment) -> str:
    """Make each call once; returns the table. Raises `RuntimeError` for another status."""
    with running(environment) as (gateway, server):
        rows = [[call.name, *_cells(_count(gateway, server.port, call))] for call in calls()]
    return table(["call", *KINDS], rows)


def _count(gateway: Gateway, port: int, call: Call) -> Counter[str]:
    before = requests(gateway)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(call.method, call.path, call.body, dict(call.headers))
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != call.status:
        raise RuntimeError(f"{call.name} was answered {response.status} instead of {call.status}")
    return requests(gateway) - before


def requests(gateway: Gateway) -> Counter[str]:
    """Return the number of requests that the gateway has answered, by kind."""
    found: Counter[str] = Counter()
    for kind, count in _COUNTER.findall(get(gateway.metrics_port, "/metrics")[1].decode()):
        found[kind] += int(count)
    return found


def _cells(counted: Counter[str]) -> list[str]:
    return [str(counted[kind] or "") for kind in KINDS]
