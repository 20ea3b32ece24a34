"""The listening sockets: opened once, as any Twisted endpoint says, and shared by all who accept.

Flow: an endpoint string is parsed before the daemon forks, where an error still has a terminal;
`Listeners.open` listens, with the privileges of the start. From then on the owner only holds the
sockets, it never accepts: whoever serves, in this process or a child, takes an `acceptor.Acceptor` to a
`ListeningSocket`, and the port stays open however often one of them dies.

A socket that systemd has handed to us is only borrowed. Twisted's ports shut a socket down when they
close, for everybody who shares it; `InheritedPort` closes our copy, and systemd goes on listening while we
restart.

Rejected: SO_REUSEPORT, where the connections that wait in a dying worker's own queue are lost, and
which no Unix socket has.
"""

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, ILoggingContext, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon.startup_errors import CannotStart, one_line

BACKLOG = 1024
"""How many connections may wait to be accepted, unless the endpoint says it."""

UNIX_MODE = "660"
"""Mode of a Unix socket, unless the endpoint says it: connecting needs permission to write (unix(7))."""


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A listening socket as others may take it over: who described it, its descriptor and family."""

    endpoint: str
    descriptor: int
    family: int


def parse_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint that a string describes; raises `ValueError` with one line on why it does not."""
    try:
        endpoint: IStreamServerEndpoint = serverFromString(_BorrowingReactor(reactor), with_unix_mode(text))
    except Exception as error:
        # Each parser, also those of plugins, fails in its own way: a missing key file, a bad keyword.
        raise ValueError(f"--listen {text}: {_explained(text, error)}") from error
    return endpoint


def with_unix_mode(text: str) -> str:
    """Return the endpoint string with `UNIX_MODE`, if it is of a Unix socket and names no mode.

    Twisted's default is 0666: every local user could connect, and get any token of the image API.
    """
    kind, _, rest = text.partition(":")
    if kind == "haproxy":
        return f"{kind}:{with_unix_mode(rest)}"
    arguments = _UNESCAPED_COLON.split(rest)
    positional = [argument for argument in arguments if not _KEYWORD.match(argument)]
    if kind != "unix" or len(positional) > 1 or any(each.startswith("mode=") for each in arguments):
        return text
    return f"{text}:mode={UNIX_MODE}"


class Listeners:
    """The sockets that this process has opened and keeps, but does not accept from."""

    def __init__(self, endpoints: Iterable[tuple[str, IStreamServerEndpoint]]) -> None:
        self._endpoints = tuple(endpoints)
        self._ports: list[tuple[str, Any]] = []

    def open(self) -> None:
        """Listen on all of them; raises `CannotStart` when one cannot be had."""
        for text, endpoint in self._endpoints:
            self._ports.append((text, _opened(text, endpoint)))

    def listening(self) -> list[ListeningSocket]:
        """The sockets, for those who accept."""
        return [ListeningSocket(text, port.fileno(), port.socket.family) for text, port in self._ports]

    def addresses(self) -> list[str]:
        """Where one can connect to, as a person would write it."""
        return [_written(port.socket.getsockname()) for _, port in self._ports]

    def close(self) -> "Deferred[Any]":
        """Let go of them. The sockets are closed when the last process that shares them has done so."""
        ports, self._ports = self._ports, []
        return DeferredList([port.stopListening() for _, port in ports])


class InheritedPort:
    """A listening socket of somebody else, in the place of a port of Twisted's."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=os.dup(descriptor))
        self.fileno = self.socket.fileno

    def stopReading(self) -> None:
        """Nothing to do: it never reads."""

    def stopListening(self) -> "Deferred[None]":
        """Close our copy."""
        self.socket.close()
        return succeed(None)


class _BorrowingReactor:
    """A reactor that borrows the descriptors it is handed."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> InheritedPort:
        """Take the place of `IReactorSocket.adoptStreamPort`."""
        return InheritedPort(descriptor)


@implementer(ILoggingContext)
class _RefuseAll(Factory):
    """Refuses whoever should slip in before we stop reading."""

    noisy = False

    def logPrefix(self) -> str:
        """Whose port it is, in the log."""
        return "filestored"

    def buildProtocol(self, addr: IAddress | None) -> None:
        """Refuse."""
        return


def _opened(text: str, endpoint: IStreamServerEndpoint) -> Any:
    port: Any = _now(text, endpoint.listen(_RefuseAll()))
    port.stopReading()
    if not isinstance(port, InheritedPort) and "backlog=" not in text:
        port.socket.listen(BACKLOG)  # again, on a listening socket, changes only this number
    return port


def _now(text: str, listening: "Deferred[IListeningPort]") -> IListeningPort:
    """The port; every endpoint of Twisted listens at once, and a start can't wait for another."""
    results: list[IListeningPort | Failure] = []
    listening.addBoth(results.append)
    if not results:
        listening.cancel()
        raise CannotStart(f"{text}: this endpoint does not listen at once")
    if isinstance(results[0], Failure):
        raise CannotStart(f"{text}: {_reason(results[0])}")
    return results[0]


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CannotListenError) and isinstance(error.socketError, OSError):
        return error.socketError.strerror or str(error)
    return one_line(error)


def _explained(text: str, error: Exception) -> str:
    if text.startswith("systemd:"):
        return "systemd has passed no such socket to this process (LISTEN_FDS, LISTEN_FDNAMES)"
    if text.startswith(("ssl:", "tls:")) and "nknown endpoint type" in str(error):
        return "this endpoint needs: pip install 'filestored[tls]'"
    return one_line(error)


_UNESCAPED_COLON = re.compile(r"(?<!\\):")
_KEYWORD = re.compile(r"[A-Za-z]+=")


def _written(address: Any) -> str:
    """A socket's name as a person would write it."""
    if isinstance(address, tuple):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address.decode("utf-8", "backslashreplace") if isinstance(address, bytes) else str(address)
