"""TCP proxy in front of a daemon, which cuts connections or answers itself, for tests of the client.

Each connection has the next one of the faults that a test names; those behind the last are passed on.
"""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

BLOCK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Fault:
    """Fault of one connection.

    It ends after so many bytes of the requests or responses have passed; or `reply` is sent after the head of
    a request, in place of the daemon's response. With `silent` nothing is read or sent.
    """

    request_bytes: int | None = None
    response_bytes: int | None = None
    reply: bytes = b""
    silent: bool = False


NO_FAULT = Fault()


class CuttingProxy:
    """A proxy on a port of loopback.

    `url` is its address; `received` has the first bytes of the requests of each connection.
    """

    def __init__(self, port: int, *faults: Fault) -> None:
        self.received: list[bytearray] = []
        self._backend = port
        self._faults = list(faults)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def heads(self) -> list[str]:
        """The heads of the first requests of all connections."""
        return [bytes(each).partition(b"\r\n\r\n")[0].decode("latin-1") for each in self.received]

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            _shut_down(each)
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS)
        for each in (self._listener, *self._open):
            each.close()

    def _run(self, work, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(TIMEOUT_SECONDS)
            self._open.append(client)
            received = bytearray()
            self.received.append(received)
            self._run(self._serve, client, received, self._faults.pop(0) if self._faults else NO_FAULT)

    def _serve(self, client: socket.socket, received: bytearray, fault: Fault) -> None:
        if fault.silent:
            return
        if fault.reply:
            while b"\r\n\r\n" not in received and (data := client.recv(BLOCK_BYTES)):
                received += data
            with suppress(ConnectionError):  # a client may refuse the response
                client.sendall(fault.reply)
                _shut_down(client, socket.SHUT_WR)
                while client.recv(BLOCK_BYTES):
                    pass
            return
        backend = socket.create_connection(("127.0.0.1", self._backend), TIMEOUT_SECONDS)
        self._open.append(backend)
        self._run(_pass_on, backend, client, fault.response_bytes, bytearray())
        _pass_on(client, backend, fault.request_bytes, received)


def _pass_on(source: socket.socket, target: socket.socket, left: int | None, passed: bytearray) -> None:
    """Pass bytes on to the end, or until so many have passed; then end both connections."""
    try:
        while (left is None or left > 0) and (data := source.recv(min(BLOCK_BYTES, left or BLOCK_BYTES))):
            passed += data[: BLOCK_BYTES - len(passed)]
            target.sendall(data)
            left = None if left is None else left - len(data)
    except OSError:
        pass
    for each in (source, target):
        _shut_down(each)


def _shut_down(each: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        each.shutdown(how)
