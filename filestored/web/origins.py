"""Protection against foreign web pages: DNS rebinding and cross-site request forgery.

In: a request. Out: its resource, or an error response. A browser lets any page send requests to this server,
and a page can have its own host name resolve to this server's address. So:

421: on a loopback address, the `Host` is neither an address, nor ``localhost``, nor a configured name.
403: the request changes something, or asks for a token, and a page of another site has sent it.

`Sec-Fetch-Site` decides this (W3C Fetch Metadata) if it names a page of this site; if it is absent or
``none``, `Origin` decides. Both are set by browsers and cannot be set by pages. ``same-site`` passes: that
page is of the same registrable domain, or on another port of ``localhost``.

Headers of proxies are no exception, because a page of a rebound name can send them.

The access file may name origins whose pages may use a bucket; for these the Fetch standard's headers are sent
(CORS). A browser asks for permission first with a preflight, an OPTIONS.
"""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from filestored.http.rendering import NOT_DONE_YET
from filestored.http.response import preformat
from filestored.http.transport.loopback import is_on_loopback
from filestored.interfaces import IStreamedRequest
from filestored.metrics.refusals import Refusal
from filestored.web.errors import HTTPError
from filestored.web.resource import AsyncResource

SAFE_METHODS = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE"])
"""Methods that change nothing (RFC 9110 section 9.2.1)."""

MAX_CACHED_HOSTS = 256
"""Values of `Host` with a cached decision."""

MAX_PORT_DIGITS = 5
"""Digits of the largest port; longer numbers are no port."""


class OriginPolicy:
    """The checks of one site; `hosts` are names of this server, None disables the check of `Host`."""

    def __init__(self, hosts: Collection[str] | None = None) -> None:
        self._names = frozenset(map(_normalized, hosts or ()))
        self._checks_host = hosts is not None
        self._is_admitted = lru_cache(MAX_CACHED_HOSTS)(self._names_this_server)

    def check(self, request: IStreamedRequest, *, changes: bool = True) -> None:
        """Raise `HTTPError`: 421 for a foreign `Host`, 403 for a change requested by a foreign page.

        Without `changes` only the `Host` is checked.
        """
        if (
            self._checks_host
            and not self._is_admitted(request.getRequestHostname())
            and is_on_loopback(request.getHost())
        ):
            raise HTTPError(421, _UNKNOWN_HOST)
        if changes and request.method not in SAFE_METHODS:
            self.check_site(request)

    def check_site(self, request: IStreamedRequest) -> None:
        """Raise `HTTPError` (403) for a request that a web page of another site has sent."""
        if _SITE_HEADERS.isdisjoint(request.received):
            return
        sites = {site.strip(b" \t").lower() for site in request.header_values(b"sec-fetch-site")}
        if sites in _OWN_SITES:
            return
        origins = request.header_values(b"origin")
        if sites - {b"none"} or not all(self._is_own(origin, request) for origin in origins):
            raise HTTPError(403, "Web pages of other sites may not do this.", refusal=Refusal.ORIGIN)

    def _names_this_server(self, host: bytes) -> bool:
        name = _normalized(host.decode("latin-1"))
        return name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name)

    def _is_own(self, origin: bytes, request: IStreamedRequest) -> bool:
        """Return whether an `Origin` (RFC 6454 section 7) is this server, also behind a TLS proxy."""
        try:
            parts = urlsplit(origin.decode("latin-1").strip(" \t").lower())
            name, port = _normalized(parts.hostname or ""), parts.port
        except ValueError:
            return False
        if not name or parts.username is not None:
            return False
        if name in self._names:
            return True
        default = {"http": 80, "https": 443}.get(parts.scheme)
        return (name, port or default) == self._own_authority(request, default)

    def _own_authority(self, request: IStreamedRequest, default: int | None) -> tuple[str, int | None]:
        host = _normalized(request.getRequestHostname().decode("latin-1"))
        _, _, port = (request.getHeader(b"host") or b"").strip(b" \t").rpartition(b"]")[2].partition(b":")
        return host, int(port[: MAX_PORT_DIGITS + 1]) if port else default


def is_preflight(request: IStreamedRequest) -> bool:
    """Return whether a browser asks if a page of another origin may send a request."""
    return request.method == b"OPTIONS" and b"access-control-request-method" in request.received


def allows_origin(request: IStreamedRequest, cors: Collection[str]) -> bool:
    """Return whether the page of the request is of one of the origins; it may read the response then."""
    values = request.header_values(b"origin") if b"origin" in request.received else ()
    origin = values[0].strip(b" \t").lower().decode("latin-1") if len(values) == 1 else ""
    if origin not in cors:
        return False
    request.set_headers(preformat((b"Access-Control-Allow-Origin", origin.encode("latin-1")), _EXPOSED))
    vary_by_origin(request)
    return True


def vary_by_origin(request: IStreamedRequest) -> None:
    """Tell caches that the response differs by origin.

    A refusal to another origin has no such header: it would tell a stranger that the bucket exists.
    """
    request.set_headers(_VARY)


class Preflight(AsyncResource):
    """The positive answer to a preflight."""

    isLeaf = True

    def render(self, request: IStreamedRequest) -> int:
        """Send 204."""
        request.setResponseCode(204)
        request.set_headers(_PREFLIGHT)
        request.finish()
        return NOT_DONE_YET


_VARY = preformat((b"Vary", b"Origin"))

_EXPOSED = (
    b"Access-Control-Expose-Headers",
    b"Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Location, Repr-Digest, "
    b"Retry-After, X-Request-Id",
)

_PREFLIGHT = preformat(
    (b"Access-Control-Allow-Methods", b"DELETE, GET, HEAD, POST, PUT"),
    (
        b"Access-Control-Allow-Headers",
        b"Authorization, Content-Digest, Content-Type, If-Match, If-None-Match, If-Range, Range, "
        b"Repr-Digest, X-Request-Id",
    ),
    (b"Access-Control-Max-Age", b"600"),
)

_SITE_HEADERS = frozenset([b"sec-fetch-site", b"origin"])

_OWN_SITES = ({b"same-origin"}, {b"same-site"})
"""Values of `Sec-Fetch-Site` of a page of this site."""

_UNKNOWN_HOST = "This server is not known by the name in the Host field; its operator can add it with --host."


def _normalized(host: str) -> str:
    return host.strip().lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
