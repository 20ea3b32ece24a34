"""Token resources ``generate-token`` and ``retrieve-token``, and the access control of both.

Both return a token to any client that knows a user name. By default only clients on this machine are served
(`is_local`); the operator can open both to all clients, or disable them.
"""

from collections.abc import Sequence
from enum import Enum, auto

from twisted.internet.address import UNIXAddress

from filestored.http.parser.forwarded import TrustedProxies
from filestored.http.transport.loopback import is_loopback, is_on_loopback
from filestored.images.accounts import USERNAME
from filestored.interfaces import IImageStore, IStreamedRequest
from filestored.web.errors import HTTPError
from filestored.web.imageapi.resource import ImageApiResource
from filestored.web.origins import OriginPolicy
from filestored.web.resource import reply_json

_PROXY_HEADERS = frozenset(
    [b"forwarded", b"via", b"cdn-loop", b"x-scheme", b"x-url-scheme", b"x-amzn-trace-id"]
)
"""Headers that only proxies add (RFC 7239, RFC 9110 section 7.6.3, RFC 8586, and customs of products)."""

_PROXY_PREFIXES = (
    b"x-forwarded", b"x-origin", b"x-real-", b"x-proxy", b"x-envoy-", b"x-arr-", b"x-azure-",
    b"proxy-", b"cf-", b"fastly-", b"fly-",
)  # fmt: skip

_PROXY_SUFFIXES = (b"client-ip", b"connecting-ip", b"remote-addr", b"remote-ip")


class RegistrationPolicy(Enum):
    """The clients that get tokens: those on this machine, all, or none."""

    LOCAL = auto()
    OPEN = auto()
    OFF = auto()


class TokenAccess:
    """Access control of token requests. Web pages of other sites are always rejected."""

    def __init__(
        self,
        origins: OriginPolicy,
        registration: RegistrationPolicy,
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        self._origins = origins
        self._registration = registration
        self._trusted_proxies = trusted_proxies

    def check(self, request: IStreamedRequest) -> None:
        """Raise `HTTPError` (403) unless the client may get a token."""
        if self._registration is RegistrationPolicy.OFF:
            raise HTTPError(403, "This server gives no tokens over HTTP. Ask its operator for one.")
        self._origins.check_site(request)
        is_limited = self._registration is RegistrationPolicy.LOCAL
        if is_limited and not is_local(request, self._trusted_proxies):
            raise HTTPError(
                403,
                "Only requests from the server's own machine can get tokens, and none through a proxy. The"
                " operator can create accounts (filestored account add) or allow all clients"
                " (--open-registration).",
            )


def is_local(request: IStreamedRequest, trusted_proxies: TrustedProxies | None = None) -> bool:
    """Return whether the client is on this machine, as far as the request shows; False through a proxy.

    With a trusted proxy no TCP client is; clients of a Unix socket are, if these are not trusted proxies.
    """
    address = request.getHost()
    if trusted_proxies is not None and (trusted_proxies.trusts_unix or not isinstance(address, UNIXAddress)):
        return False
    if request.clientproto == b"HTTP/1.0" or any(map(_is_proxy_header, request.getAllHeaders())):
        return False
    host = request.getRequestHostname().decode("latin-1").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost") or is_loopback(host):
        return isinstance(address, UNIXAddress) or is_on_loopback(address)
    # Clients of a Unix socket send an invented host name, or none; a DNS name comes from a proxy.
    return isinstance(address, UNIXAddress) and not {".", ":"}.intersection(host)


def _is_proxy_header(name: bytes) -> bool:
    return name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES) or name.endswith(_PROXY_SUFFIXES)


class AccountResource(ImageApiResource):
    """A resource of the account `username`."""

    def __init__(self, images: IImageStore, username: bytes, access: TokenAccess) -> None:
        super().__init__()
        self._images = images
        self._username = username.decode("utf-8", "replace")
        self._access = access


class GenerateToken(AccountResource):
    """``generate-token/<username>/``."""

    allowedMethods: Sequence[bytes] = (b"GET",)

    async def render_GET(self, request: IStreamedRequest) -> None:
        """201 and the token of a new account; 409 if the account exists; 400 for an invalid name."""
        self._access.check(request)
        if not USERNAME.fullmatch(self._username):
            raise HTTPError(400, "A user name has 1 to 64 letters A to Z, a to z, digits and underscores")
        token = await self._images.register(self._username)
        location = b"/imageapi/retrieve-token/%s/" % self._username.encode("ascii")
        reply_json(request, 201, {"token": token}, headers=[(b"Location", location)])


class RetrieveToken(AccountResource):
    """``retrieve-token/<username>/``."""

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the token of an account; 404."""
        self._access.check(request)
        token = await self._images.get_token(self._username)
        reply_json(request, 200, {self._username: token})

    render_HEAD = render_GET
