"""Client address behind trusted proxies, by `X-Forwarded-For` and `Forwarded` (RFC 7239). Pure.

In: the bytes of a request head, and the address of the peer. Out: the address of the client.

The list of a header, and behind it the peer, is the chain of hops. A proxy has written its right end, the
client perhaps the rest. So the chain is read from the right, up to the first address that is no trusted
proxy. An entry that is malformed, obfuscated or ``unknown`` ends it at the entry behind. Commas and
semicolons separate entries even within quotes: a quote of the client cannot reach into an entry of the proxy.

A proxy that sets one of both headers passes on the other one, as the client wrote it. Thus both count only if
they name the same client; otherwise the client is the peer. Rejected: the precedence of either header. The
client could choose its address behind all proxies that set only the other one.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress

MAX_PROXIES = 32
"""Maximum number of entries of a chain that are read."""

MAX_CACHED_CLIENTS = 256
"""Lists of the headers with a cached result."""

Lines = tuple[tuple[bytes, bytes], ...]
"""Names and values of header lines."""

_IP = IPv4Address | IPv6Address


class TrustedProxies:
    """The proxies whose headers count: addresses and networks, ``unix`` for all peers of Unix sockets."""

    def __init__(self, places: Iterable[str]) -> None:
        places = frozenset(places)
        self.trusts_unix = "unix" in places
        self._networks = tuple(ip_network(place) for place in sorted(places - {"unix"}))
        self._find_cached = lru_cache(MAX_CACHED_CLIENTS)(self._find)

    def trusts(self, peer: IAddress) -> bool:
        """Return whether the peer of a connection is a trusted proxy."""
        if isinstance(peer, UNIXAddress):
            return self.trusts_unix
        address = _parse_address(getattr(peer, "host", ""))
        return address is not None and self._contains(address)

    def client_of(self, head: bytes, peer: str) -> str:
        """Return the address of the client by a request head, or its lines, of the trusted proxy `peer`."""
        return self._find_cached(tuple(_LINE.findall(head)), peer)

    def _find(self, lines: Lines, peer: str) -> str:
        lists: dict[bytes, list[bytes]] = {}
        for name, value in lines:
            lists.setdefault(name.lower(), []).append(value)
        clients = {self._follow(_PARSERS[name], values, peer) for name, values in lists.items()}
        return clients.pop() if len(clients) == 1 else peer

    def _follow(self, parse: "Callable[[bytes], _IP | None]", values: Iterable[bytes], peer: str) -> str:
        """Return the rightmost address of a chain that is no trusted proxy, or the last one that was read."""
        client = peer
        for entry in reversed(b",".join(values).rsplit(b",", MAX_PROXIES)):
            stripped = entry.strip(b" \t")
            if not stripped:
                continue
            address = parse(stripped)
            if address is None:
                break
            client = str(address)
            if not self._contains(address):
                break
        return client

    def _contains(self, address: _IP) -> bool:
        return any(address in network for network in self._networks)


def _parse_x_forwarded_for(entry: bytes) -> _IP | None:
    found = _NODE.fullmatch(entry) or _BARE_IPV6.fullmatch(entry)
    return _parse_address(found[found.lastindex or 0].decode("ascii")) if found else None


def _parse_forwarded(element: bytes) -> _IP | None:
    """Return the address of ``for``; None if it has none, or the element is malformed."""
    pairs = [_PAIR.fullmatch(pair.strip(b" \t")) for pair in element.split(b";") if pair.strip(b" \t")]
    nodes = [pair[2] if pair else b"" for pair in pairs if pair is None or pair[1].lower() == b"for"]
    if len(nodes) != 1:
        return None
    node = _NODE.fullmatch(re.sub(rb"\\(.)", rb"\1", nodes[0].strip(b'"')))
    return _parse_address(node[node.lastindex or 0].decode("ascii")) if node else None


def _parse_address(text: str) -> _IP | None:
    """Return an address, an IPv4-mapped one as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


_LINE = re.compile(rb"\r\n(x-forwarded-for|forwarded):([^\r]*)", re.IGNORECASE)
_PORT = rb"(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?"
_NODE = re.compile(rb"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\])%b" % _PORT)
_BARE_IPV6 = re.compile(rb"[0-9A-Fa-f:.]{2,45}")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rb"""(%b)=(%b|"(?:[^"\\]|\\.)*")""" % (_TOKEN, _TOKEN))
_PARSERS = {b"x-forwarded-for": _parse_x_forwarded_for, b"forwarded": _parse_forwarded}
