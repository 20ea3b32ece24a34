"""Compatibility with `twisted.web` resources of other projects; no resource of this project uses it.

The parts of `twisted.web.iweb.IRequest` that are not on the hot path: cookies, basic authentication, URLs,
the conditional methods, headers as `Headers`, and pull producers. Sessions and rewritten hosts are refused.
`content` is empty, because bodies are streamed: see `IStreamedRequest.body`.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from math import ceil, inf
from typing import Any, NoReturn, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IPullProducer, IPushProducer, ISSLTransport, ITransport
from twisted.internet.task import CooperativeTask, cooperate
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.urlpath import URLPath
from twisted.web.http import CACHED, datetimeToString, stringToDatetime
from twisted.web.http_headers import Headers
from zope.interface import implementer

from filestored.http.parser.request_head import RequestHead
from filestored.http.response import PreformattedHeaders, ResponseHeaders, encoded, format_line

_log = Logger()


class TwistedRequest(ResponseHeaders):
    """The rarely used parts of `IRequest`, as a base class of the request."""

    method: bytes
    transport: ITransport
    prepath: list[bytes]
    postpath: list[bytes]
    _head: RequestHead
    _root_url: bytes | None = None
    _last_modified = 0

    # --- request headers ------------------------------------------------------------------------

    @cached_property
    def content(self) -> BytesIO:
        """An empty file."""
        return BytesIO()

    @cached_property
    def requestHeaders(self) -> Headers:
        """All request headers."""
        headers = Headers()
        for name, value in self._head.fields.lines:
            headers.addRawHeader(name, value)
        return headers

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:
        """Names and values of the `Cookie` header (RFC 6265 section 5.4), in linear time.

        Rejected: `http.cookies.SimpleCookie`, quadratic in what it cannot read: 0.6 s for 8 KiB.
        """
        pairs = (self._head.fields.last.get(b"cookie") or b"").split(b";")
        split = (pair.strip(b" \t").partition(b"=") for pair in pairs)
        return {name: value for name, found, value in split if found}

    def getCookie(self, key: bytes) -> bytes | None:
        """Return the value of a cookie."""
        return self.received_cookies.get(key)

    def getUser(self) -> bytes:
        """Return the user of basic authentication, or nothing."""
        return self._credentials[0]

    def getPassword(self) -> bytes:
        """Return the password of basic authentication, or nothing."""
        return self._credentials[1]

    @cached_property
    def _credentials(self) -> tuple[bytes, bytes]:
        scheme, _, text = (self._head.fields.last.get(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"basic":
            return b"", b""
        try:
            user, _, password = b64decode(text.strip(), validate=True).partition(b":")
        except Base64Error:
            return b"", b""
        return user, password

    def getSession(self, sessionInterface: object = None) -> NoReturn:
        """Raise `RuntimeError`: there are no sessions."""
        raise RuntimeError("filestored keeps no sessions")

    # --- addresses and URLs ---------------------------------------------------------------------

    def getClientAddress(self) -> IAddress:
        """Return the client's address."""
        return self.transport.getPeer()

    def getClientIP(self) -> str | None:
        """Return the client's address as text, or None if it is no IP address."""
        peer = self.transport.getPeer()
        return peer.host if isinstance(peer, IPv4Address | IPv6Address) else None

    def isSecure(self) -> bool:
        """Return whether the connection is encrypted."""
        return ISSLTransport.providedBy(self.transport)

    def setHost(self, host: bytes, port: int, ssl: bool = False) -> NoReturn:
        """Raise `RuntimeError`: hosts are not rewritten."""
        raise RuntimeError("filestored does not rewrite hosts")

    def URLPath(self) -> URLPath:
        """Return the URL of this request."""
        path: URLPath = URLPath.fromBytes(self._url(self.prepath + self.postpath))
        return path

    def prePathURL(self) -> bytes:
        """Return the URL of the resource that the traversal has reached."""
        return self._url(self.prepath)

    def rememberRootURL(self) -> None:
        """Keep the URL of the parent of that resource."""
        self._root_url = self._url(self.prepath[:-1])

    def getRootURL(self) -> bytes | None:
        """Return the URL kept by `rememberRootURL`."""
        return self._root_url

    def _url(self, segments: list[bytes]) -> bytes:
        scheme = b"https" if self.isSecure() else b"http"
        local = str(getattr(self.transport.getHost(), "host", "localhost"))
        host = self._head.fields.last.get(b"host") or local.encode()
        return b"%b://%b/%b" % (scheme, host, b"/".join(segments))

    # --- response headers -----------------------------------------------------------------------

    @property
    def responseHeaders(self) -> Headers:
        """The response headers; changes are sent."""
        return HeadersView(self._lines)

    def addCookie(
        self,
        k: bytes | str,
        v: bytes | str,
        expires: bytes | str | None = None,
        domain: bytes | str | None = None,
        path: bytes | str | None = None,
        max_age: bytes | str | None = None,
        comment: bytes | str | None = None,
        secure: bool | None = None,
        httpOnly: bool = False,
        sameSite: bytes | str | None = None,
    ) -> None:
        """Add a cookie; see `twisted.web.http.Request.addCookie`."""
        attributes = {
            b"Expires": expires,
            b"Domain": domain,
            b"Path": path,
            b"Max-Age": max_age,
            b"Comment": comment,
            b"SameSite": sameSite,
        }
        parts = [_cookie_part(k) + b"=" + _cookie_part(v)]
        parts += [
            name + b"=" + _cookie_part(value) for name, value in attributes.items() if value is not None
        ]
        parts += [name for name, wanted in ((b"Secure", secure), (b"HttpOnly", httpOnly)) if wanted]
        self.responseHeaders.addRawHeader(b"Set-Cookie", b"; ".join(parts))

    def redirect(self, url: bytes | str) -> None:
        """Set status 302 and the location."""
        self.setResponseCode(302)
        self.setHeader(b"Location", url)

    def setLastModified(self, when: float) -> object:
        """See `twisted.web.iweb.IRequest.setLastModified`."""
        self._last_modified = max(self._last_modified, ceil(when))
        self.setHeader(b"Last-Modified", datetimeToString(self._last_modified))
        since = self._head.fields.last.get(b"if-modified-since")
        if since is None or _seconds(since) < self._last_modified:
            return None
        self.setResponseCode(304)
        return CACHED

    def setETag(self, etag: bytes) -> object:
        """See `twisted.web.iweb.IRequest.setETag`."""
        if etag:
            self.setHeader(b"ETag", etag)
        tags = (self._head.fields.last.get(b"if-none-match") or b"").replace(b",", b" ").split()
        if etag not in tags and b"*" not in tags:
            return None
        self.setResponseCode(304 if self.method in (b"GET", b"HEAD") else 412)
        return CACHED


class HeadersView(Headers):
    """Preformatted response headers as `Headers`, for reading and writing.

    Several headers of one name are one entry of several lines.
    """

    def __init__(self, lines: PreformattedHeaders) -> None:
        super().__init__()
        self._lines = lines

    def copy(self) -> Headers:
        """Return headers of their own with the same values."""
        return Headers(dict(self.getAllRawHeaders()))

    def hasHeader(self, name: bytes | str) -> bool:
        """See `Headers.hasHeader`."""
        return encoded(name).lower() in self._lines

    def removeHeader(self, name: bytes | str) -> None:
        """See `Headers.removeHeader`."""
        self._lines.pop(encoded(name).lower(), None)

    def setRawHeaders(self, name: bytes | str, values: Sequence[Any]) -> None:
        """See `Headers.setRawHeaders`."""
        for usual_name, texts in Headers({name: list(values)}).getAllRawHeaders():
            key, lines = usual_name.lower(), [format_line(usual_name, text) for text in texts]
            self._lines.pop(key, None)
            if lines:
                self._lines[key] = b"\r\n".join(lines)

    def addRawHeader(self, name: bytes | str, value: bytes | str) -> None:
        """See `Headers.addRawHeader`."""
        name = encoded(name)
        self.setRawHeaders(name, [*self._values(name), encoded(value)])

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """See `Headers.getRawHeaders`."""
        values = self._values(encoded(name))
        if not values:
            return default
        return values if isinstance(name, bytes) else [value.decode("utf8") for value in values]

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """See `Headers.getAllRawHeaders`."""
        for line in self._lines.values():
            name = line.partition(b": ")[0]
            yield name, self._values(name)

    def _values(self, name: bytes) -> list[bytes]:
        lines = self._lines.get(name.lower())
        return [line.partition(b": ")[2] for line in lines.split(b"\r\n")] if lines else []


@implementer(IPushProducer)
class PullToPush:
    """A push producer that asks a pull producer for a piece in each iteration of the reactor."""

    def __init__(self, producer: IPullProducer) -> None:
        self._producer = producer
        self._paused = False
        self._stopped = False
        self._task: CooperativeTask[Iterator[bool]] = cooperate(iter(self._pull, False))
        self._task.whenDone().addErrback(self._failed)

    def _pull(self) -> bool:
        if not self._stopped:
            self._producer.resumeProducing()
        return not self._stopped

    def _failed(self, failure: Failure) -> None:
        _log.failure("a pull producer failed", failure)
        self.stopProducing()

    def pauseProducing(self) -> None:
        """Stop asking for a while."""
        if not self._paused and not self._stopped:
            self._paused = True
            self._task.pause()

    def resumeProducing(self) -> None:
        """Ask again."""
        if self._paused and not self._stopped:
            self._paused = False
            self._task.resume()

    def unregistered(self) -> None:
        """Stop asking, after the last piece."""
        self._stopped = True
        if self._paused:
            self._task.resume()

    def stopProducing(self) -> None:
        """Stop asking, and stop the pull producer."""
        if not self._stopped:
            self.unregistered()
            self._producer.stopProducing()


def _seconds(date: bytes) -> float:
    """Return seconds since the epoch, or minus infinity for a malformed date."""
    try:
        return cast("int", stringToDatetime(date))
    except (ValueError, IndexError):
        return -inf


def _cookie_part(text: bytes | str) -> bytes:
    return encoded(text).replace(b";", b" ")
