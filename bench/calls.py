"""Call counts of single requests: ``python -m bench.calls [--trace] [--json] [name ...]``.

Runs the daemon and a client on loopback in this process, under a profile hook in each thread. Prints the
modules entered and the calls made by each request on a kept-alive connection. Needs no quiet machine.

A call is a call event of `sys.setprofile` for code in a file of the package; each resumption of a generator
or coroutine is one more. Code without a file (`__init__` of dataclasses), the standard library and Twisted do
not count. The access log is on; a client sends the headers of curl. By this measure a POST of 0.3.0 enters 37
modules and makes 212 calls.

Each figure is the most frequent one of `REPEATS` requests. Some requests include the poll of the timeouts or
calls between threads; on a busy machine some lack the calls of a late thread.

Rejected: cProfile, which sees one thread; the minimum, which a late thread lowers.
"""

import argparse
import http.client
import itertools
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import mode
from types import CodeType, FrameType
from typing import Any

from twisted.internet import reactor as installed_reactor

import filestored
from filestored.daemon.options import Options
from filestored.service import makeService

PACKAGE = os.path.dirname(os.path.abspath(filestored.__file__)) + os.sep

SIZE_BYTES = 4096
"""Length of each body."""

WARM_UP = 3
"""Requests of each kind before the first that counts: they import modules and fill caches."""

REPEATS = 12
"""Requests of each kind that count."""

HEADERS = {"User-Agent": "curl/8", "Accept": "*/*", "Content-Type": "application/octet-stream"}
"""Headers of each request, besides Host and Content-Length."""

QUIET_SECONDS = 0.03
"""A request is over when no call of the package has been made for this time."""

KINDS = ("post", "get-cached", "get-heads-differ", "get-uncached")
"""Upload of a new file, and downloads: the same request again, the same file by a request of which
`X-Request-Id` and `X-Forwarded-For` differ each time, a file that was not requested before."""

reactor: Any = installed_reactor

Calls = list[tuple[str, str]]
"""Module and qualified name of each call, in order over all threads."""


class CallRecorder:
    """A profile hook that records the calls of the package in every thread started after `install`."""

    def __init__(self) -> None:
        self._calls: Calls = []
        self._changed = 0.0
        self._modules: dict[CodeType, str | None] = {}

    def install(self) -> None:
        """Begin, in this thread and in those that follow."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    @contextmanager
    def recording(self) -> Iterator[Calls]:
        """Collect the calls made in this context and after it, until none follows for `QUIET_SECONDS`."""
        self._wait_until_quiet()
        calls: Calls = []
        self._calls = calls
        yield calls
        self._wait_until_quiet()
        self._calls = []

    def _wait_until_quiet(self) -> None:
        self._changed = time.monotonic()
        while (left := self._changed + QUIET_SECONDS - time.monotonic()) > 0:
            time.sleep(left)

    def _on_event(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code not in self._modules:
            self._modules[code] = _module(code)
        module = self._modules[code]
        if module is not None:
            self._changed = time.monotonic()
            self._calls.append((module, code.co_qualname))


def _module(code: CodeType) -> str | None:
    """Return the dotted name of the code's module below the package, or None for code from elsewhere."""
    if not code.co_filename.startswith(PACKAGE):
        return None
    return code.co_filename[len(PACKAGE) :].removesuffix(".py").replace(os.sep, ".")


class Client:
    """A blocking client with one connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._numbers = itertools.count(1)

    def post(self) -> str:
        """Upload new random bytes as they are; return their digest."""
        text = self._exchange("POST", "/", os.urandom(SIZE_BYTES))
        return text.decode().split()[-1]

    def get(self, digest: str) -> None:
        """Download a file."""
        assert len(self._exchange("GET", f"/files/{digest}")) == SIZE_BYTES

    def get_proxied(self, digest: str) -> None:
        """Download a file with header fields that a reverse proxy adds; no two requests have the same."""
        number = next(self._numbers)
        fields = {"X-Request-Id": f"{number:032x}", "X-Forwarded-For": f"203.0.113.{number}"}
        assert len(self._exchange("GET", f"/files/{digest}", fields=fields)) == SIZE_BYTES

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _exchange(
        self, method: str, path: str, body: bytes | None = None, fields: Mapping[str, str] | None = None
    ) -> bytes:
        self._connection.request(method, path, body, {**HEADERS, **(fields or {})})
        response = self._connection.getresponse()
        content = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {response.status} {content[:200]!r}")
        return content


def count(recorder: CallRecorder, request: Callable[[], object]) -> Calls:
    """Return the calls of the first request whose number of calls is the most frequent one."""
    found = []
    for number in range(WARM_UP + REPEATS):
        with recorder.recording() as calls:
            request()
        if number >= WARM_UP:
            found.append(calls)
    usual = mode(len(calls) for calls in found)
    return next(calls for calls in found if len(calls) == usual)


def measure(recorder: CallRecorder, port: int) -> dict[str, Calls]:
    """Return the calls of each kind of request."""
    client = Client(port)
    try:
        post = count(recorder, client.post)
        digests = iter([client.post() for _ in range(WARM_UP + REPEATS)])
        uncached = count(recorder, lambda: client.get(next(digests)))
        digest = client.post()
        cached = count(recorder, lambda: client.get(digest))
        proxied = count(recorder, lambda: client.get_proxied(digest))
    finally:
        client.close()
    return dict(zip(KINDS, (post, cached, proxied, uncached), strict=True))


def measure_daemon() -> dict[str, Calls]:
    """Measure a daemon in this process, over a temporary directory. Runs the reactor, thus once."""
    recorder = CallRecorder()
    recorder.install()
    results: list[dict[str, Calls]] = []
    errors: list[BaseException] = []

    def run_client(port: int) -> None:
        sys.setprofile(None)
        try:
            results.append(measure(recorder, port))
        except BaseException as error:
            errors.append(error)
        finally:
            reactor.callFromThread(reactor.stop)

    with tempfile.TemporaryDirectory(prefix="filestored-calls-") as directory:
        port = _free_port()
        service = _make_service(directory, port)
        reactor.callWhenRunning(
            lambda: threading.Thread(target=run_client, args=(port,), daemon=True).start()
        )
        service.privilegedStartService()
        service.startService()
        reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        reactor.run()
    sys.setprofile(None)
    threading.setprofile(None)
    if errors:
        raise errors[0]
    return results[0]


def _make_service(directory: str, port: int) -> Any:
    options = Options()
    options.parseOptions(
        [
            f"--listen=tcp:{port}:interface=127.0.0.1",
            f"--store={os.path.join(directory, 'store')}",
            f"--images={os.path.join(directory, 'images')}",
            f"--log={os.path.join(directory, 'log')}",
            f"--access-log={os.path.join(directory, 'access')}",
            "--workers=1",
        ]
    )
    return makeService(options)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def figures(calls: Calls) -> dict[str, int]:
    """Return the numbers of distinct modules and of calls."""
    return {"modules": len({module for module, _ in calls}), "calls": len(calls)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="*", help=f"{', '.join(KINDS)}; all of them by default")
    parser.add_argument("--trace", action="store_true", help="list the calls in order")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    arguments = parser.parse_args()
    results = measure_daemon()
    chosen = {name: results[name] for name in arguments.name or results}
    if arguments.json:
        print(json.dumps({name: figures(calls) for name, calls in chosen.items()}))
        return
    for name, calls in chosen.items():
        found = figures(calls)
        print(f"{name}: {found['modules']} modules, {found['calls']} calls")
        if arguments.trace:
            print("".join(f"  {module}  {function}\n" for module, function in calls))


if __name__ == "__main__":
    main()
