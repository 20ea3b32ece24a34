"""Proxy in front of an object store, which makes faults: lost answers, cut bodies, delays, refusals.

A test passes a function that decides on each request. Requests are passed on byte for byte, so that their
signatures stay valid: the daemon under test gets the address of the proxy as that of the object store.
"""

import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.seaweedfs import SeaweedFS

BLOCK_BYTES = 1 << 16
TIMEOUT_SECONDS = 60.0
ERROR = b"<Error><Code>%s</Code><Message>a fault for a test</Message></Error>"


@dataclass(frozen=True)
class EngineRequest:
    """A request to the object store: method, target, and fields by lower-case names."""

    method: str
    target: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Fault:
    """Fault of one request, after `delay_seconds`.

    With `status` the answer is that and no other. With `cut` the connection ends after so many bytes of the
    body of the answer: orderly, or by `reset`. With `reset` alone there is no answer. `forwarded` says
    whether the object store gets the request all the same, so that it has an effect.
    """

    status: int = 0
    cut: int | None = None
    reset: bool = False
    forwarded: bool = True
    delay_seconds: float = 0.0

    @property
    def kind(self) -> str:
        """Return a word for it."""
        if self.cut is not None:
            return "cut"
        if self.reset or self.status:
            return f"{self.status or 'reset'}{' after its effect' if self.forwarded else ''}"
        return "delayed"


Decide = Callable[[EngineRequest], Fault | None]


class FaultProxy:
    """A proxy on a port of loopback. `decide` is called in threads, several at a time."""

    def __init__(self, server: SeaweedFS, decide: Decide) -> None:
        self.requests: list[EngineRequest] = []
        self.environment = dict(server.environment)
        self.decide = decide
        self._backend = server.ports["s3"]

    def __enter__(self) -> Self:
        proxy = self

        class Handler(_Handler):
            backend = self._backend

            def decide(self, request: EngineRequest) -> Fault | None:
                proxy.requests.append(request)
                return proxy.decide(request)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a daemon, with one of its own to the object store."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_SECONDS
    backend = 0

    def decide(self, request: EngineRequest) -> Fault | None:
        raise NotImplementedError

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=TIMEOUT_SECONDS)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, http.client.HTTPException):
            self._reset()  # the daemon, or the object store, has broken off

    def log_message(self, *_: object) -> None:
        """Write nothing."""

    def _handle(self) -> None:
        fields = {name.lower(): value for name, value in self.headers.items()}
        fault = self.decide(EngineRequest(self.command, self.path, fields)) or Fault()
        time.sleep(fault.delay_seconds)
        answer = self._forward() if fault.forwarded else self._drop_body()
        if fault.reset and fault.cut is None:
            self._reset()
        elif fault.status:
            body = ERROR % (b"SlowDown" if fault.status == 503 else b"InternalError")
            self._send_head(fault.status, [("Content-Type", "application/xml")], len(body))
            self.wfile.write(b"" if self.command == "HEAD" else body)
        elif answer is not None:
            self._pass_back(answer, fault)
        if answer is not None:
            answer.read()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _forward(self) -> http.client.HTTPResponse:
        """Pass the request on, and return the head of the answer."""
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            self._upstream.putheader(name, value)
        self._upstream.endheaders()
        self._drop_body(self._upstream.send)
        return self._upstream.getresponse()

    def _drop_body(self, send: Callable[[bytes], object] = len) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read(min(left, BLOCK_BYTES))
            if not data:
                raise ConnectionResetError
            send(data)
            left -= len(data)

    def _pass_back(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        fields = [each for each in answer.getheaders() if each[0].lower() not in _FRAMING]
        length = answer.getheader("Content-Length")
        body = b"" if length else answer.read()
        self._send_head(answer.status, fields, int(length or len(body)))
        self.wfile.write(body)
        left = fault.cut if fault.cut is not None else int(length or 0)
        while left and (block := answer.read(min(BLOCK_BYTES, left))):
            self.wfile.write(block)
            left -= len(block)
        if fault.cut is not None:
            self._reset() if fault.reset else self._end()

    def _send_head(self, status: int, fields: list[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in [*fields, ("Content-Length", str(length))]:
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        """Reset the connection, unless it is closed."""
        self._end()
        if self.connection.fileno() >= 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def _end(self) -> None:
        self.close_connection = True
        self._upstream.close()


_FRAMING = {"content-length", "transfer-encoding", "connection"}
