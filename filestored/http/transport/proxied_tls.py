"""TLS connections that begin with a header of the PROXY protocol, of version 1 or 2, which names the client.

The header is looked at before it is received, so that all bytes behind it are left to OpenSSL.
"""

from socket import MSG_PEEK
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from twisted.protocols.haproxy._exceptions import InvalidProxyHeader

from filestored.http.transport.proxy_header import BinaryParser, TextParser, parser_of
from filestored.http.transport.tls_connection import TLSConnection

MAX_PEEK_BYTES = 4096
"""Bytes looked at at once; a header may be longer."""


class ProxiedTLSConnection(TLSConnection):
    """The transport of a TLS connection through a proxy; without a valid header it is closed.

    It has no local address: that in the header does not show that a client is on this machine.
    """

    _parser: TextParser | BinaryParser | None = None
    _source: Any = None
    _header_complete = False

    def getHost(self) -> IPv4Address:
        """Return an address that is none of this machine's."""
        return IPv4Address("TCP", "0.0.0.0", 0)  # noqa: S104  # nothing listens on it

    def getPeer(self) -> Any:
        """Return the address in the header, or that of the proxy."""
        return self._source or super().getPeer()

    def _shake_hands(self) -> ConnectionLost | None:
        if not self._header_complete:
            try:
                self._read_header()
            except BlockingIOError:
                return None
            except (InvalidProxyHeader, OSError):
                self._discard_input()
                return CONNECTION_LOST
        return super()._shake_hands() if self._header_complete else None

    def _read_header(self) -> None:
        """Receive bytes of the header, and none behind it. Raises `InvalidProxyHeader` or `OSError`."""
        data = self.socket.recv(MAX_PEEK_BYTES, MSG_PEEK)
        if not data:
            raise ConnectionResetError
        if self._parser is None:
            self._parser = parser_of(data)
        info, rest = self._parser.feed(data)
        self.socket.recv(len(data) - len(rest or b""))
        if info is not None:
            self._header_complete = True
            self._source = info.source
