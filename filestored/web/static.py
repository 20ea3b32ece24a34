"""What browsers are served: a page at ``/``, what it is made of, and the description of the API.

In: a request, and files of this package. Out: one of them, whole or not modified (304). They are read
once, when the tree is made, and weigh a few dozen kilobytes; an entity tag is their hash, so a
browser asks each time and is nearly always told that it has them already.

The page shares its address with the API. It answers a GET that names no file and whose `Accept`
names ``text/html`` before all else, which browsers do and curl, wget and HTTPie do not; everything
else goes on to `FilesByQuery`. It has no script or style within it, so that its policy forbids all such.

Rejected: addresses with the hash in them and "immutable". It saves two answers of 304, and costs a
build step.
"""

from hashlib import sha256
from importlib.resources import files

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from filestored.interfaces import IStore, IStreamedRequest
from filestored.web.errors import Field, precondition_failed
from filestored.web.files import FilesByQuery
from filestored.web.headers.conditional import Precondition, evaluate_preconditions
from filestored.web.headers.negotiation import wants_html
from filestored.web.headers.values import header_list
from filestored.web.resource import AsyncResource, NotFoundResource, reply

CONTENT_SECURITY_POLICY = (
    b"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""What the page may do: talk to its own server, and show images that it has fetched."""

MEDIA_TYPES = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
}
"""The media type of each file of ours, by its ending."""

STATIC = ("app.js", "icon.svg", "style.css")
"""What the page is made of."""


class StaticFile(AsyncResource):
    """A file of this package, at `path` below ``filestored/web``, sent with more `fields`."""

    def __init__(self, path: str, *fields: Field) -> None:
        super().__init__()
        self._body = files("filestored.web").joinpath(path).read_bytes()
        self._kind = MEDIA_TYPES[path.rpartition(".")[2]]
        self._tag = b'"%s"' % sha256(self._body).hexdigest()[:32].encode("ascii")
        self._fields = (
            (b"ETag", self._tag),
            (b"Cache-Control", b"no-cache"),
            (b"Referrer-Policy", b"no-referrer"),
            *fields,
        )

    def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the file, or 304; 412."""
        if_match, if_none_match = header_list(request, b"if-match"), header_list(request, b"if-none-match")
        verdict = evaluate_preconditions(self._tag, if_match, if_none_match, reading=True)
        if verdict is Precondition.FAILED:
            raise precondition_failed()
        if verdict is Precondition.PROCEED:
            reply(request, 200, self._body, self._kind, self._fields)
            return
        request.setResponseCode(304)
        for name, value in self._fields:
            request.setHeader(name, value)
        request.finish()

    render_HEAD = render_GET


class RootResource(FilesByQuery):
    """``/``: the page for browsers that name no file, the API for everybody else."""

    def __init__(self, store: IStore) -> None:
        super().__init__(store)
        self._page = StaticFile(
            "page/index.html", (b"Content-Security-Policy", CONTENT_SECURITY_POLICY), (b"Vary", b"Accept")
        )

    def render_GET(self, request: IStreamedRequest) -> Deferred[None] | None:
        """The page, or what `FilesByQuery` answers."""
        if _names_a_file(request) or not wants_html(header_list(request, b"accept")):
            return super().render_GET(request)
        self._page.render_GET(request)
        return None

    render_HEAD = render_GET


class StaticDirectory(NotFoundResource):
    """A place that is nothing but the way to those below it."""

    isLeaf = False


def make_static() -> Resource:
    """The tree of what the page is made of."""
    folder = StaticDirectory()
    for name in STATIC:
        folder.putChild(name.encode("ascii"), StaticFile(f"page/{name}"))
    return folder


def _names_a_file(request: IStreamedRequest) -> bool:
    return b"?" in request.uri and (b"file_hash" in request.args or b"hash" in request.args)
