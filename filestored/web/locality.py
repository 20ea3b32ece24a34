"""Detection of requests from this machine: those a proxy may have forwarded do not count.

In: a request. Out: whether it came in on a loopback address or a Unix socket, directly. A reverse proxy on
this machine connects from a loopback address, too, on behalf of any client. Each of these is taken as the
sign of one: HTTP/1.0, which nginx speaks to its upstreams by default; a field that proxies add; a `Host` that
is not of a loopback address, or on a Unix socket one with a dot.

Not detectable: a proxy that speaks HTTP/1.1, adds no field, and sends a `Host` of a loopback address. nginx
with ``proxy_http_version 1.1`` and nothing else sends the address of its upstream; HAProxy without ``option
forwardfor`` passes on ``Host: localhost`` from the client. There ``--no-registration`` is needed.
"""

from twisted.internet.address import UNIXAddress

from filestored.http.loopback import is_loopback, is_on_loopback
from filestored.interfaces import IStreamedRequest

PROXY_FIELDS = frozenset(
    [b"forwarded", b"via", b"cdn-loop", b"x-scheme", b"x-url-scheme", b"x-amzn-trace-id"]
)
"""Fields that only proxies add (RFC 7239, RFC 9110 section 7.6.3, RFC 8586, and customs of products)."""

PROXY_PREFIXES = (
    b"x-forwarded", b"x-origin", b"x-real-", b"x-proxy", b"x-envoy-", b"x-arr-", b"x-azure-",
    b"proxy-", b"cf-", b"fastly-", b"fly-",
)  # fmt: skip
"""Beginnings of names of such fields."""

PROXY_SUFFIXES = (b"client-ip", b"connecting-ip", b"remote-addr", b"remote-ip")
"""Ends of names of fields that hold the address of a client."""


def is_local(request: IStreamedRequest) -> bool:
    """Return whether the client is on this machine, as far as the request shows it."""
    if request.clientproto == b"HTTP/1.0" or any(map(_is_of_a_proxy, request.getAllHeaders())):
        return False
    here = request.getHost()
    host = request.getRequestHostname().decode("latin-1").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost") or is_loopback(host):
        return isinstance(here, UNIXAddress) or is_on_loopback(here)
    # Clients of a Unix socket make up a name, or send none; a name of the DNS comes from a proxy.
    return isinstance(here, UNIXAddress) and not {".", ":"}.intersection(host)


def _is_of_a_proxy(name: bytes) -> bool:
    """Return whether a field of this name, in lower case, is the sign of a proxy."""
    return name in PROXY_FIELDS or name.startswith(PROXY_PREFIXES) or name.endswith(PROXY_SUFFIXES)
