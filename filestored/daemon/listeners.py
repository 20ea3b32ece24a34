"""Listening sockets: opened once from Twisted endpoint strings, shared by all processes that accept.

An endpoint string is parsed before the daemon forks, while errors still reach a terminal. `Listeners.open`
listens with the privileges of the start. The owner never accepts: each serving process passes a
`ListeningSocket` to `acceptor.accept_from`, and the port stays open when such a process exits.

The key and certificates of an ``ssl:`` endpoint are read by the owner, too, which passes them on as text: a
worker started later gets the same ones, whatever its privileges and whatever the files have become.

A socket inherited from systemd is not shut down: `InheritedPort` closes a duplicate, and systemd keeps
listening during a restart. Twisted's ports shut a socket down for all processes that share it.

Rejected: SO_REUSEPORT, which loses the connections queued for an exiting worker, and does not exist for Unix
sockets.
"""

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, ILoggingContext, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon.startup.endpoint_strings import (
    EXAMPLES,
    check,
    tls_files,
    with_unix_mode,
    without_proxy,
)
from filestored.daemon.startup_errors import CannotStart, describe, one_line
from filestored.http.transport.loopback import is_loopback
from filestored.http.transport.tls import Certificate

BACKLOG = 1024
"""Maximum length of the accept queue, unless the endpoint sets it."""

LISTEN = "--listen"
"""The option that names the endpoints of clients, in errors."""

MAX_PEM_BYTES = 256 * 1024
"""Maximum bytes read from a file of a key or of certificates."""


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """An open listening socket: endpoint string, descriptor, and certificate of TLS."""

    endpoint: str
    descriptor: int
    certificate: Certificate | None = None


def parse_endpoint(reactor: Any, text: str, option: str = LISTEN) -> IStreamServerEndpoint:
    """Return the endpoint of a string. Raises `ValueError` with the reason in one line, and the option."""
    try:
        check(text)
        endpoint: IStreamServerEndpoint = serverFromString(_InheritingReactor(reactor), with_unix_mode(text))
    except Exception as error:
        # Each parser, also those of plugins, fails in its own way: a missing key file, a bad keyword.
        raise ValueError(f"{option} {text}: {_parse_error(text, error)}") from error
    return endpoint


def read_certificate(text: str) -> Certificate | None:
    """Return the certificate of an ``ssl:`` endpoint; None for other types. Raises `ValueError`.

    Blocking. The chain is all that stands in the files ``certKey`` and ``extraCertChain``.
    """
    files = tls_files(text)
    if not files:
        return None
    private_key, certificates = files["privateKey"], files.get("certKey", files["privateKey"])
    paths = [certificates, *([files["extraCertChain"]] if "extraCertChain" in files else [])]
    try:
        return Certificate.from_pem(_read(private_key), b"\n".join(map(_read, paths)))
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None


class Listeners:
    """The listening sockets that this process owns; it does not accept from them.

    `option` names them in errors. Raises `ValueError` if a certificate cannot be read.
    """

    _log = Logger()

    def __init__(self, endpoints: Iterable[tuple[str, IStreamServerEndpoint]], option: str = LISTEN) -> None:
        self._endpoints = tuple(endpoints)
        self._option = option
        self._ports: list[tuple[str, Any]] = []
        self._certificates = {text: _certificate(text, option) for text, _ in self._endpoints}

    def open(self) -> None:
        """Listen on all endpoints. Raises `CannotStart`."""
        for text, endpoint in self._endpoints:
            self._ports.append((text, _listen(text, endpoint)))

    def listening(self) -> list[ListeningSocket]:
        """Return the open sockets."""
        return [ListeningSocket(text, port.fileno(), self._certificates[text]) for text, port in self._ports]

    def renew_certificates(self) -> bool:
        """Read all certificates anew; one that cannot be used is logged, and the old one kept.

        Return whether any has changed.
        """
        before = dict(self._certificates)
        for text in before:
            try:
                self._certificates[text] = _certificate(text, self._option)
            except ValueError as error:
                self._log.error("{error}; the certificate in use is kept", error=error)
        return before != self._certificates

    def addresses(self) -> list[str]:
        """Return the addresses for people, such as ``127.0.0.1:9000``."""
        return [_format_address(port.socket.getsockname()) for _, port in self._ports]

    def reachable(self) -> list[str]:
        """Return the endpoint strings of sockets that other machines may reach."""
        return [text for text, port in self._ports if not _is_local(port.socket)]

    def urls(self) -> list[str]:
        """Return the URLs of TCP sockets, and the addresses of others as ``unix:/run/f.sock``."""
        return [_format_url(text, port.socket) for text, port in self._ports]

    def close(self) -> "Deferred[Any]":
        """Close the sockets of this process; other processes may keep duplicates."""
        ports, self._ports = self._ports, []
        return DeferredList([port.stopListening() for _, port in ports])


class InheritedPort:
    """A duplicate of an inherited listening socket; replaces a port of Twisted."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=os.dup(descriptor))
        self.fileno = self.socket.fileno

    def stopReading(self) -> None:
        """Nothing to do: it never reads."""

    def stopListening(self) -> "Deferred[None]":
        """Close the duplicate."""
        self.socket.close()
        return succeed(None)


class _InheritingReactor:
    """A reactor whose ``adoptStreamPort`` returns an `InheritedPort`."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> InheritedPort:
        """Replace `IReactorSocket.adoptStreamPort`."""
        return InheritedPort(descriptor)


@implementer(ILoggingContext)
class _RefuseAll(Factory):
    """Refuses connections that arrive before the port stops reading."""

    noisy = False

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "filestored"

    def buildProtocol(self, addr: IAddress | None) -> None:
        """Return None, which closes the connection."""
        return


def _listen(text: str, endpoint: IStreamServerEndpoint) -> Any:
    port: Any = _result_now(text, endpoint.listen(_RefuseAll()))
    port.stopReading()
    if not isinstance(port, InheritedPort) and "backlog=" not in text:
        port.socket.listen(BACKLOG)  # again, on a listening socket, changes only this number
    return port


def _result_now(text: str, listening: "Deferred[IListeningPort]") -> IListeningPort:
    """Return the port of an endpoint that listens at once, as all of Twisted do. Raises `CannotStart`."""
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
        reason = error.socketError.strerror or str(error)
        advice = _ADVICE.get(error.socketError.errno or 0)
        return f"{reason}; {advice}" if advice else reason
    return one_line(error)


def _parse_error(text: str, error: Exception) -> str:
    text = without_proxy(text)
    if text.startswith("systemd:"):
        return (
            "no such socket was passed to this process (LISTEN_PID, LISTEN_FDS); start it by its socket unit"
        )
    if "OpenSSL" in str(error) and isinstance(error, ImportError):
        return "this endpoint needs pyOpenSSL: in the checkout run pip install '.[tls]'"
    if "nknown endpoint type" in str(error):
        return f"this is no endpoint; {EXAMPLES}"
    if text.startswith("ssl:") and not isinstance(error, ValueError):
        return f"check privateKey= and certKey=: {describe(error)}"
    return describe(error)


def _certificate(text: str, option: str) -> Certificate | None:
    try:
        return read_certificate(text)
    except ValueError as error:
        raise ValueError(f"{option} {text}: {one_line(error)}") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_PEM_BYTES)


_TLS_ENDPOINTS = ("ssl:", "tls:")
_ADVICE = {
    errno.EADDRINUSE: "stop the other program, or choose another port",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another",
    errno.EADDRNOTAVAIL: "name an address of this host",
    errno.EROFS: "choose a path on another file system",
}
"""Advice for errors of bind(2)."""


def _format_address(address: Any) -> str:
    """Return a socket address for people."""
    if isinstance(address, tuple):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address.decode("utf-8", "backslashreplace") if isinstance(address, bytes) else str(address)


def _is_local(listening: socket.socket) -> bool:
    """Return whether only this machine reaches a listening socket."""
    return listening.family == socket.AF_UNIX or is_loopback(listening.getsockname()[0])


def _format_url(endpoint: str, listening: socket.socket) -> str:
    address = _format_address(listening.getsockname())
    if listening.family == socket.AF_UNIX:
        return f"unix:{address}"
    return f"{'https' if without_proxy(endpoint).startswith(_TLS_ENDPOINTS) else 'http'}://{address}/"
