"""Static files: the page at ``/``, its scripts, style and icon, and the description of the API.

In: a request, and files of this package. Out: a complete file, or 304. The files are read when the tree is
made and take less than 140 kilobytes. Entity tags are hashes of the content.

The page shares its address with the API. It is the response to a GET that names no file and prefers
``text/html``, as browsers do and curl, wget and HTTPie do not (`wants_page`). Inline scripts and styles are
absent, so that the content security policy forbids them.

Rejected: URLs with the hash in them, and "immutable". It saves two responses of 304, and costs a build step.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from twisted.web.resource import Resource

from filestored.http.response import preformat
from filestored.interfaces import IStreamedRequest
from filestored.web.errors import Field
from filestored.web.headers.negotiation import wants_html
from filestored.web.resource import AsyncResource, NotFoundResource, reply, start_not_modified

CONTENT_SECURITY_POLICY = (
    b"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Restrictions of the page: requests to this server only, and images that it has fetched."""

MEDIA_TYPES = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
}
"""Media types by file name extension."""


def _assets(directory: Traversable, base: str = "") -> Iterator[str]:
    """Yield the paths of the files in `directory` and its folders, except HTML."""
    for file in directory.iterdir():
        if file.is_dir():
            yield from _assets(file, f"{file.name}/")
        elif file.name.rpartition(".")[2] in {"css", "js", "svg"}:
            yield base + file.name


STATIC = sorted(_assets(files("filestored.web").joinpath("page")))
"""The files of the page: app.js, which the page loads, the modules that it imports, an icon and a style."""


class StaticFile(AsyncResource):
    """A file of this package, at `path` below ``filestored/web``, with further `headers`.

    `base` is put before the links of a page.
    """

    def __init__(self, path: str, *headers: Field, base: bytes = b"") -> None:
        super().__init__()
        body = files("filestored.web").joinpath(path).read_bytes()
        self._body = _LINK.sub(rb"\g<0>" + base, body) if base else body
        self._content_type = MEDIA_TYPES[path.rpartition(".")[2]]
        self._tag = b'"%s"' % sha256(self._body).hexdigest()[:32].encode("ascii")
        self._headers = (
            (b"ETag", self._tag),
            (b"Cache-Control", b"no-cache"),
            (b"Referrer-Policy", b"no-referrer"),
            *headers,
        )
        self._not_modified = preformat(*self._headers)

    def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the file, or 304; 412."""
        if start_not_modified(request, self._tag, self._not_modified):
            request.finish()
        else:
            reply(request, 200, self._body, self._content_type, self._headers)

    render_HEAD = render_GET


def make_page(base: bytes = b"") -> Resource:
    """Return the page; `base` leads from its address to the root."""
    headers = (b"Content-Security-Policy", CONTENT_SECURITY_POLICY), (b"Vary", b"Accept")
    page = StaticFile("page/index.html", *headers, base=base)
    page.isLeaf = True
    return page


def wants_page(request: IStreamedRequest) -> bool:
    """Return whether a request for the root of a bucket gets the page."""
    return (
        request.method in (b"GET", b"HEAD")
        and wants_html(request.header(b"accept"))
        and not _names_a_file(request)
    )


class StaticDirectory(NotFoundResource):
    """A resource that has children, but is 404 itself."""

    isLeaf = False


def make_static() -> Resource:
    """Return ``/static/``, with the files of the page as children."""
    root = StaticDirectory()
    folders: dict[str, Resource] = {"": root}
    for path in STATIC:
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = StaticDirectory()
            root.putChild(folder.encode("ascii"), folders[folder])
        folders[folder].putChild(name.encode("ascii"), StaticFile(f"page/{path}"))
    return root


_LINK = re.compile(rb'\b(?:href|src)="')


def _names_a_file(request: IStreamedRequest) -> bool:
    return b"?" in request.uri and (b"file_hash" in request.args or b"hash" in request.args)
