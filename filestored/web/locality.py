"""Does a request come from this very machine? Some answers are for nobody else.

In: a request. Out: whether it came in on a loopback address or a Unix socket, and straight. A proxy on
the same machine speaks for others: it says so in `Forwarded` or its older kin. And a page
from elsewhere can make a browser on this machine ask a loopback address under a name of that
page's owner (DNS rebinding): the `Host` it sends is not one of a loopback address then.
"""

from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from filestored.interfaces import IStreamedRequest

_SPOKEN_FOR = (b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip")


def is_local(request: IStreamedRequest) -> bool:
    """Whether who asks is on this machine."""
    if any(request.getHeader(name) is not None for name in _SPOKEN_FOR):
        return False
    here = request.getHost()
    if isinstance(here, UNIXAddress):
        return True
    if not isinstance(here, IPv4Address | IPv6Address) or not _is_loopback(here.host):
        return False
    host = request.getRequestHostname().decode("latin-1").lower().rstrip(".")
    return host == "localhost" or host.endswith(".localhost") or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)
