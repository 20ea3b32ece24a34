"""What the client asked: the reading half of `twisted.web.iweb.IRequest`.

Made from a `RequestHead`; everything that resources rarely ask for is worked out when they do.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, ISSLTransport, ITransport
from twisted.python.urlpath import URLPath
from twisted.web.http import parse_qs
from twisted.web.http_headers import Headers

from filestored.http.body import RequestBody
from filestored.http.parser.request_head import RequestHead


class IncomingRequest:
    """The request as it came in.

    `body` streams; `content` is empty unless somebody in front of the resource has filled it
    (see `filestored.http.buffered`).
    """

    _root_url: bytes | None = None

    def __init__(self, head: RequestHead, body: RequestBody, transport: ITransport) -> None:
        self.method = head.method
        self.uri = head.target
        self.path = head.path
        self.clientproto = head.version
        self.body = body
        self.transport = transport
        self.prepath: list[bytes] = []
        self.postpath = _segments(head.path)
        self._head = head

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:
        """The query's names and values, decoded."""
        args: dict[bytes, list[bytes]] = parse_qs(self._head.query, keep_blank_values=True)
        return args

    @cached_property
    def content(self) -> BytesIO:
        """Nothing: bodies are streamed."""
        return BytesIO()

    @cached_property
    def requestHeaders(self) -> Headers:
        """All header fields as Twisted keeps them."""
        headers = Headers()
        for name, value in self._head.fields.lines:
            headers.addRawHeader(name, value)
        return headers

    def getHeader(self, key: bytes | str) -> bytes | str | None:
        """The last value of a field, of the type of its name; None when it was not sent."""
        if isinstance(key, bytes):
            return self._head.fields.last.get(key.lower())
        value = self._head.fields.last.get(key.lower().encode())
        return None if value is None else value.decode("utf-8", "replace")

    def header(self, name: bytes) -> bytes | None:
        """See `IStreamedRequest.header`."""
        headers = self._head.fields
        if name not in headers.last or len(headers.last) == len(headers.lines):
            return headers.last.get(name)
        return b", ".join(headers.values(name))

    def header_values(self, name: bytes) -> Sequence[bytes]:
        """See `IStreamedRequest.header_values`."""
        return self._head.fields.values(name)

    def getAllHeaders(self) -> dict[bytes, bytes]:
        """The last value of every field."""
        return dict(self._head.fields.last)

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:
        """Names and values of the `Cookie` field (RFC 6265 section 5.4), in linear time.

        Rejected: `http.cookies.SimpleCookie`, quadratic in what it cannot read: 0.6 s for 8 KiB.
        """
        pairs = (self._head.fields.last.get(b"cookie") or b"").split(b";")
        return {name: value for name, found, value in map(_cookie, pairs) if found}

    def getCookie(self, key: bytes) -> bytes | None:
        """The value of one cookie."""
        return self.received_cookies.get(key)

    # --- who and where ------------------------------------------------------------------------

    def getHost(self) -> IAddress:
        """Our end of the connection."""
        return self.transport.getHost()

    def getClientAddress(self) -> IAddress:
        """Their end of the connection."""
        return self.transport.getPeer()

    def getClientIP(self) -> str | None:
        """Their address as text, None where there is none."""
        peer = self.transport.getPeer()
        return peer.host if isinstance(peer, IPv4Address | IPv6Address) else None

    def isSecure(self) -> bool:
        """Whether the connection is encrypted."""
        return ISSLTransport.providedBy(self.transport)

    def getRequestHostname(self) -> bytes:
        """The host that the client meant, without a port."""
        value = self._head.fields.last.get(b"host")
        if not value:
            return str(getattr(self.getHost(), "host", "localhost")).encode()
        if value.startswith(b"["):
            return value[1:].partition(b"]")[0]
        return value.partition(b":")[0]

    def getUser(self) -> bytes:
        """The user of HTTP's basic authentication, or nothing."""
        return self._credentials[0]

    def getPassword(self) -> bytes:
        """The password of HTTP's basic authentication, or nothing."""
        return self._credentials[1]

    @cached_property
    def _credentials(self) -> tuple[bytes, bytes]:
        scheme, _, encoded = (self._head.fields.last.get(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"basic":
            return b"", b""
        try:
            user, _, password = b64decode(encoded.strip(), validate=True).partition(b":")
        except Base64Error:
            return b"", b""
        return user, password

    def getSession(self, sessionInterface: object = None) -> NoReturn:
        """Not offered: nothing is remembered between requests."""
        raise RuntimeError("filestored keeps no sessions")

    def setHost(self, host: bytes, port: int, ssl: bool = False) -> NoReturn:
        """Not offered: what is before a proxy is the proxy's business."""
        raise RuntimeError("filestored does not rewrite hosts")

    # --- URLs -----------------------------------------------------------------------------------

    def URLPath(self) -> URLPath:
        """The URL that this request is for."""
        path: URLPath = URLPath.fromBytes(self._url(self.prepath + self.postpath))
        return path

    def prePathURL(self) -> bytes:
        """The URL of the resource that the traversal has come to."""
        return self._url(self.prepath)

    def rememberRootURL(self) -> None:
        """Keep the URL of the parent of that resource."""
        self._root_url = self._url(self.prepath[:-1])

    def getRootURL(self) -> bytes | None:
        """The URL that was kept."""
        return self._root_url

    def _url(self, segments: list[bytes]) -> bytes:
        scheme = b"https" if self.isSecure() else b"http"
        host = self._head.fields.last.get(b"host") or self.getRequestHostname()
        return b"%b://%b/%b" % (scheme, host, b"/".join(segments))


def _cookie(pair: bytes) -> tuple[bytes, bytes, bytes]:
    return pair.strip(b" \t").partition(b"=")


def _segments(path: bytes) -> list[bytes]:
    segments = path[1:].split(b"/")
    if b"%" in path:
        return [unquote_to_bytes(segment) for segment in segments]
    return segments
