"""Parsers of the header of the PROXY protocol, of version 1 or 2: those of Twisted, with two corrections.

``PROXY UNKNOWN`` may end there (section 2.1 of the specification), as in the health checks of HAProxy. An
IPv6 address in version 2 is in the short form (RFC 5952), as everywhere else.
"""

from ipaddress import IPv6Address

from twisted.protocols.haproxy._exceptions import InvalidProxyHeader
from twisted.protocols.haproxy._info import ProxyInfo
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser


class TextParser(V1Parser):
    """Parser of version 1."""

    @classmethod
    def parse(cls, line: bytes) -> ProxyInfo:
        """Return the addresses in a header, if it has them. Raises `InvalidProxyHeader`."""
        if line == b"PROXY UNKNOWN":
            return ProxyInfo(line, None, None)
        return super().parse(line)


class BinaryParser(V2Parser):
    """Parser of version 2."""

    @staticmethod
    def _bytesToIPv6(bytestring: bytes) -> bytes:
        return str(IPv6Address(bytestring)).encode("ascii")


def parser_of(data: bytes) -> TextParser | BinaryParser:
    """Return the parser of the header that begins with `data`. Raises `InvalidProxyHeader`."""
    if data.startswith(V2Parser.PREFIX):
        return BinaryParser()
    if data.startswith(V1Parser.PROXYSTR):
        return TextParser()
    raise InvalidProxyHeader
