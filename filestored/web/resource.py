"""Base classes of resources, and functions that send small responses.

A resource derives from `AsyncResource` and has methods `render_GET` and so on, named in `allowedMethods`.
Each may be a coroutine, return a Deferred, or send its response with `reply`. Exceptions become error
responses (`errors.http_error_for`); faults of the server are logged and sent as 500 without their cause.
Errors are one line of text, or ``application/problem+json`` (RFC 9457) for clients that prefer JSON.

Work whose client disconnects is not cancelled: its body fails with `BodyLost`, its blob is stopped, writes to
its request are dropped, and an open, delete or commit completes. Only the decoding of images, which takes
seconds, is cancelled (`IStreamedRequest.on_disconnect`). Rejected: cancelling the coroutine; a cancelled open
would leak a descriptor.
"""

import json
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from inspect import iscoroutine

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from filestored.errors import BodyLost
from filestored.http.rendering import NOT_DONE_YET
from filestored.http.response import PreformattedHeaders, preformat
from filestored.interfaces import IStreamedRequest
from filestored.web.errors import Field, HTTPError, http_error_for, precondition_failed
from filestored.web.headers.conditional import PreconditionResult, evaluate_preconditions
from filestored.web.headers.negotiation import wants_json

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

NO_SNIFF: Field = (b"X-Content-Type-Options", b"nosniff")

_NO_LINES: PreformattedHeaders = {}

_log = Logger()


class AsyncResource(Resource):
    """A resource. Other methods than `allowedMethods` get 405, unknown children 404."""

    allowedMethods: Sequence[bytes] = (b"GET", b"HEAD")

    def getChild(self, path: bytes, request: IStreamedRequest) -> Resource:
        """Return the resource of unknown children."""
        return NotFoundResource()

    def render(self, request: IStreamedRequest) -> int:
        """Call the method of the resource; send an error response if it fails, at once or later."""
        try:
            if request.method not in self.allowedMethods:
                allowed = b", ".join(self.allowedMethods)
                raise HTTPError(405, "This method is not allowed here.", (b"Allow", allowed))
            result = getattr(self, "render_" + request.method.decode("ascii"))(request)
        except Exception:
            self._fail(Failure(), request)
            return NOT_DONE_YET
        if not isinstance(result, Deferred):
            if not iscoroutine(result):
                return NOT_DONE_YET
            result = Deferred.fromCoroutine(result)
        result.addErrback(self._fail, request)
        return NOT_DONE_YET

    def send_error(self, request: IStreamedRequest, error: HTTPError) -> None:
        """Send an error response: text, or a problem."""
        text = str(error)
        if not prefers_json(request):
            reply(request, error.status, text.encode() + b"\n", TEXT, error.headers)
            return
        problem = {
            "type": "about:blank",
            "title": HTTPStatus(error.status).phrase,
            "status": error.status,
            "detail": text,
        }
        reply_json(request, error.status, problem, b"application/problem+json", error.headers)

    def _fail(self, failure: Failure, request: IStreamedRequest) -> None:
        try:
            if failure.check(CancelledError, BodyLost):
                return  # the client has disconnected
            error = http_error_for(failure.value)
            if error is None:
                _log.failure("a request failed", failure, request_id=request.request_id)
                error = HTTPError(500, "The server failed to do this. The fault is ours, and was logged.")
            request.refusal = error.refusal
            self.send_error(request, error)
        finally:
            _drop_tracebacks(failure)


class ErrorResource(AsyncResource):
    """Answers every method with the same `HTTPError`."""

    isLeaf = True

    def __init__(self, error: HTTPError) -> None:
        super().__init__()
        self._error = error

    def render(self, request: IStreamedRequest) -> int:
        """Send the error response."""
        request.refusal = self._error.refusal
        self.send_error(request, self._error)
        return NOT_DONE_YET


class NotFoundResource(AsyncResource):
    """Answers every method with 404; to an upload it names the addresses of uploads."""

    isLeaf = True

    def render(self, request: IStreamedRequest) -> int:
        """Send the error response."""
        self.send_error(request, no_such_address(request))
        return NOT_DONE_YET


def no_such_address(request: IStreamedRequest) -> HTTPError:
    """Return the error for an address at which there is nothing; to an upload it names those of uploads."""
    text = "There is nothing at this address."
    if request.method in (b"POST", b"PUT"):
        text += " Upload a file with POST / or PUT /files/HASH."
    return HTTPError(404, text)


def reply(
    request: IStreamedRequest,
    status: int,
    body: bytes,
    content_type: bytes = TEXT,
    headers: Sequence[Field] = (),
    lines: PreformattedHeaders = _NO_LINES,
) -> None:
    """Send a complete small response, which caches do not store; `lines` are preformatted headers."""
    request.setResponseCode(status)
    fixed = _fixed_headers(content_type)
    length = {b"content-length": b"Content-Length: %d" % len(body)}
    request.set_headers({**fixed, **length, **lines, **(preformat(*headers) if headers else _NO_LINES)})
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


@cache
def _fixed_headers(content_type: bytes) -> PreformattedHeaders:
    return preformat((b"Content-Type", content_type), (b"Cache-Control", b"no-store"), NO_SNIFF)


def reply_json(
    request: IStreamedRequest,
    status: int,
    value: object,
    content_type: bytes = JSON,
    headers: Sequence[Field] = (),
    lines: PreformattedHeaders = _NO_LINES,
) -> None:
    """Send `value` as JSON; see `reply`."""
    reply(request, status, json.dumps(value).encode("ascii") + b"\n", content_type, headers, lines)


def start_not_modified(request: IStreamedRequest, tag: bytes, headers: PreformattedHeaders) -> bool:
    """Start a 304 response if the client has the representation `tag`; return whether it has.

    Evaluates the preconditions of a GET or HEAD. Raises `HTTPError` (412).
    """
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    precondition = evaluate_preconditions(tag, if_match, if_none_match, reading=True)
    if precondition is PreconditionResult.FAILED:
        raise precondition_failed()
    if precondition is PreconditionResult.PROCEED:
        return False
    request.setResponseCode(304)
    request.set_headers(headers)
    return True


def prefers_json(request: IStreamedRequest) -> bool:
    """Return whether the client prefers JSON to text; ``*/*``, which most tools send, does not."""
    accept = request.header(b"accept")
    return accept is not None and accept != b"*/*" and wants_json(accept)


def _drop_tracebacks(failure: Failure) -> None:
    """Free the local variables of the functions that raised, among them pieces of the body.

    Error and frames refer to each other until the garbage collector runs, which is rare.
    """
    failure.tb = None
    error: BaseException | None = failure.value
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
