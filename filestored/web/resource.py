"""Answers: the base of all our resources, and THE table from error to status.

A resource derives from `AsyncResource` and has methods `render_GET` and so on, named in
`allowedMethods`. Each may be a coroutine, or return a Deferred, or answer at once with
`reply`. What it raises becomes an answer here: a `HTTPError` says itself which; an error of
filestored is looked up in `STATUSES`; everything else is a 500 that is logged with its
cause and shown to nobody.

Errors are one plain line, or ``application/problem+json`` (RFC 9457) for clients that prefer
JSON. They consist of our own sentences only: nothing a client sent comes back.

A client that leaves needs no care here. Its body fails with `BodyLost`, a blob on its way to it
is stopped, and what is written to its request is dropped. What is under way without either
(an open, a delete, a commit) comes to its end as it would have. Only the decoding of images,
which costs seconds, is cancelled (`IStreamedRequest.when_left`). Rejected: to cancel the
coroutine; a cancelled open would leave a descriptor behind.
"""

import json
from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus
from inspect import iscoroutine

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from filestored import errors
from filestored.http.rendering import NOT_DONE_YET
from filestored.http.response import PreformattedHeaders, preformat
from filestored.interfaces import IStreamedRequest
from filestored.web.errors import Field, HTTPError
from filestored.web.headers.negotiation import wants_json
from filestored.web.headers.values import header_list

STATUSES: dict[type[Exception], int] = {
    errors.MalformedDigest: 400,
    errors.LengthMismatch: 400,
    errors.BodyMalformed: 400,
    errors.InvalidFileName: 400,
    errors.InvalidThumbnailSize: 400,
    errors.UnknownToken: 401,
    errors.NotFound: 404,
    errors.NotAnImage: 406,
    errors.TooManyPixels: 406,
    errors.BodyStalled: 408,
    errors.AlreadyExists: 409,
    errors.Collision: 409,
    errors.TooLarge: 413,
    errors.DigestMismatch: 422,
    errors.StoreMissing: 503,
    errors.WritesSuspended: 503,
    errors.Overloaded: 503,
    errors.StorageFull: 507,
}
"""The status that each error becomes. What is not here is a fault of ours: 500."""

RETRY_AFTER: dict[type[Exception], bytes] = {
    errors.Overloaded: b"1",
    errors.StoreMissing: b"60",
    errors.WritesSuspended: b"60",
}
"""After how many seconds it may be worth trying again."""

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

Method = Callable[[IStreamedRequest], object]

_NOBODY_THERE = (CancelledError, errors.BodyLost)
_FAULT = "The server failed to do this. The fault is ours, and was logged."
_log = Logger()


class AsyncResource(Resource):
    """A place in the tree. Methods other than `allowedMethods` are answered 405, places below it 404."""

    allowedMethods: Sequence[bytes] = (b"GET", b"HEAD")

    def getChild(self, path: bytes, request: IStreamedRequest) -> Resource:
        """Whatever was not put here."""
        return NotFoundResource()

    def render(self, request: IStreamedRequest) -> int:
        """Let the method answer, now or later; answer for it when it fails."""
        try:
            answering = self._method(request)(request)
        except Exception:
            self._answer_failure(Failure(), request)
            return NOT_DONE_YET
        if iscoroutine(answering):
            answering = Deferred.fromCoroutine(answering)
        if isinstance(answering, Deferred):
            answering.addErrback(self._answer_failure, request)
        return NOT_DONE_YET

    def refuse(self, request: IStreamedRequest, refusal: HTTPError) -> None:
        """Answer with an error; by default as text or as a problem."""
        refuse(request, refusal)

    def _method(self, request: IStreamedRequest) -> "Method":
        if request.method not in self.allowedMethods:
            return self._refuse_method
        method: Callable[[IStreamedRequest], object] = getattr(
            self, "render_" + request.method.decode("ascii")
        )
        return method

    def _refuse_method(self, request: IStreamedRequest) -> None:
        allowed = b", ".join(self.allowedMethods)
        raise HTTPError(405, "This method is not allowed here.", (b"Allow", allowed))

    def _answer_failure(self, failure: Failure, request: IStreamedRequest) -> None:
        try:
            if not failure.check(*_NOBODY_THERE):
                self.refuse(request, self._refusal(failure))
        finally:
            _drop_tracebacks(failure)

    def _refusal(self, failure: Failure) -> HTTPError:
        refusal = http_error_for(failure.value)
        if refusal is None:
            _log.failure("a request failed", failure)
            refusal = HTTPError(500, _FAULT)
        return refusal


class NotFoundResource(AsyncResource):
    """Answers every method with 404: there is no such place in the tree."""

    isLeaf = True

    def render(self, request: IStreamedRequest) -> int:
        """Answer 404."""
        self.refuse(request, HTTPError(404, "There is nothing at this address."))
        return NOT_DONE_YET


class ErrorResource(AsyncResource):
    """Answers every method with the same `HTTPError`."""

    isLeaf = True

    def __init__(self, refusal: HTTPError) -> None:
        super().__init__()
        self._reason = refusal

    def render(self, request: IStreamedRequest) -> int:
        """Answer with the refusal."""
        self.refuse(request, self._reason)
        return NOT_DONE_YET


def reply(
    request: IStreamedRequest, status: int, body: bytes, kind: bytes = TEXT, fields: Sequence[Field] = ()
) -> None:
    """Send a whole small answer of media type `kind`, which nobody is to cache."""
    request.setResponseCode(status)
    request.set_headers(_common(kind))
    request.set_headers(preformat((b"Content-Length", b"%d" % len(body)), *fields))
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


@cache
def _common(kind: bytes) -> PreformattedHeaders:
    """The fields of all answers of a media type; there are few of these."""
    return preformat(
        (b"Content-Type", kind), (b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff")
    )


def reply_json(
    request: IStreamedRequest, status: int, value: object, kind: bytes = JSON, fields: Sequence[Field] = ()
) -> None:
    """Send `value` as JSON."""
    reply(request, status, json.dumps(value).encode("ascii") + b"\n", kind, fields)


def prefers_json(request: IStreamedRequest) -> bool:
    """Whether the client wants JSON rather than text."""
    return wants_json(header_list(request, b"accept"))


def refuse(request: IStreamedRequest, refusal: HTTPError) -> None:
    """Answer with an error, as text or as a problem."""
    sentence = str(refusal)
    if not prefers_json(request):
        reply(request, refusal.status, sentence.encode() + b"\n", TEXT, refusal.fields)
        return
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": sentence,
    }
    reply_json(request, refusal.status, problem, b"application/problem+json", refusal.fields)


def http_error_for(error: BaseException | None) -> HTTPError | None:
    """The answer that `error` becomes, or None when it is a fault of ours."""
    if isinstance(error, HTTPError):
        return error
    for kind in type(error).__mro__:
        if kind in STATUSES:
            wait = RETRY_AFTER.get(kind)
            return HTTPError(STATUSES[kind], str(error), *([(b"Retry-After", wait)] if wait else []))
    return None


def _drop_tracebacks(failure: Failure) -> None:
    """Free what the functions had in hand that an error came through, pieces of the body among it.

    Error and frames hold each other, until the collector looks for such circles, which is seldom.
    """
    failure.tb = None
    error: BaseException | None = failure.value
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
