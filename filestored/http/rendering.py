"""From a resource tree to an answer: traversal, and the contract of `twisted.web` resources.

A resource returns bytes, or `NOT_DONE_YET` and answers later; it raises `UnsupportedMethod`, or
anything. Each of these becomes exactly one response.
"""

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource, getChildForRequest

from filestored.http.protocols import IAnswerable

NOT_DONE_YET = 1
"""What a resource returns that answers later, as `twisted.web.server` has it.

Not imported from there: that module brings a remote object protocol and an XML parser along, 1.5 MiB.
"""

_log = Logger()


def render_tree(root: IResource, request: IAnswerable) -> None:
    """Have the resource that `request` addresses answer it."""
    try:
        resource = getChildForRequest(root, request)
    except Exception:
        fail_request(request, Failure())
    else:
        render(resource, request)


def render(resource: IResource, request: IAnswerable) -> None:
    """Have `resource` answer `request`."""
    try:
        body = resource.render(request)
    except UnsupportedMethod as error:
        _answer_unsupported(resource, request, error)
    except Exception:
        fail_request(request, Failure())
    else:
        _answer(request, body)


def fail_request(request: IAnswerable, reason: Failure) -> None:
    """Log a fault of ours and answer 500, or end a response that has begun already."""
    _log.failure("{method} failed", reason, method=request.method.decode())
    if request.finished:
        return
    if request.startedWriting:
        request.abort()
        return
    send_text(request, 500, "internal server error")


def send_text(request: IAnswerable, status: int, line: str) -> None:
    """Answer with a status and one plain line."""
    body = line.encode() + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


def _answer(request: IAnswerable, body: object) -> None:
    if body is NOT_DONE_YET:
        return
    if not isinstance(body, bytes):
        fail_request(request, Failure(TypeError(f"render returned {type(body).__name__}, not bytes")))
        return
    if body and not request.responseHeaders.hasHeader(b"content-type"):
        request.setHeader(b"Content-Type", b"text/html")
    if body and not request.responseHeaders.hasHeader(b"content-length"):
        request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


def _answer_unsupported(resource: IResource, request: IAnswerable, error: UnsupportedMethod) -> None:
    allowed: list[bytes] = list(error.allowedMethods)
    if request.method == b"HEAD" and b"GET" in allowed:
        request.method = b"GET"  # The request knows that no body is to be sent.
        render(resource, request)
        return
    request.setHeader(b"Allow", b", ".join(allowed))
    send_text(request, 405, "method not allowed")
