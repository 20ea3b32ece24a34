"""Rendering: traversal of the resource tree, and the contract of `twisted.web` resources.

A resource returns bytes, or `NOT_DONE_YET` and answers later; it raises `UnsupportedMethod`, or any other
exception. Each of these becomes exactly one response.
"""

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource, getChildForRequest

from filestored.http.protocols import IRenderable

NOT_DONE_YET = 1
"""The value that a resource returns that answers later, as in `twisted.web.server`.

Not imported from there: that module imports a remote object protocol and an XML parser, 1.5 MiB.
"""

_log = Logger()


def render_tree(root: IResource, request: IRenderable) -> None:
    """Have the resource that `request` addresses answer it."""
    try:
        resource = getChildForRequest(root, request)
    except Exception:
        fail_request(request, Failure())
    else:
        render(resource, request)


def render(resource: IResource, request: IRenderable) -> None:
    """Have `resource` answer `request`."""
    try:
        body = resource.render(request)
    except UnsupportedMethod as error:
        _refuse_method(resource, request, error)
    except Exception:
        fail_request(request, Failure())
    else:
        if body is not NOT_DONE_YET:
            _send(request, body)


def fail_request(request: IRenderable, reason: Failure) -> None:
    """Log a failure of a resource and answer 500, or abort a response that has begun already."""
    _log.failure("{method} failed", reason, method=request.method.decode(), request_id=request.request_id)
    if request.finished:
        return
    if request.startedWriting:
        request.abort()
        return
    send_text(request, 500, "internal server error")


def send_text(request: IRenderable, status: int, line: str) -> None:
    """Answer with a status and one line of plain text."""
    body = line.encode() + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    _send(request, body)


def _send(request: IRenderable, body: object) -> None:
    if not isinstance(body, bytes):
        fail_request(request, Failure(TypeError(f"render returned {type(body).__name__}, not bytes")))
        return
    if body and not request.has(b"content-type"):
        request.setHeader(b"Content-Type", b"text/html")
    if body and not request.has(b"content-length"):
        request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


def _refuse_method(resource: IResource, request: IRenderable, error: UnsupportedMethod) -> None:
    allowed: list[bytes] = list(error.allowedMethods)
    if request.method == b"HEAD" and b"GET" in allowed:
        request.method = b"GET"  # the request knows that no body is to be sent
        render(resource, request)
        return
    request.setHeader(b"Allow", b", ".join(allowed))
    send_text(request, 405, "method not allowed")
