"""HTTP errors: the class `HTTPError`, and the table from errors of filestored to status codes.

In: an exception that a resource raised. Out: the `HTTPError` to send, or None for a fault of the server.

Errors that only HTTP knows (a missing parameter, a method, a precondition) are raised as `HTTPError`. Its
text is sent to the client, so it never holds data of the client or a path.
"""

from filestored import errors
from filestored.metrics.refusals import Refusal

Field = tuple[bytes, bytes]
"""A response header: name and value."""

STATUSES: dict[type[Exception], int] = {
    errors.MalformedDigest: 400,
    errors.LengthMismatch: 400,
    errors.BodyMalformed: 400,
    errors.InvalidFileName: 400,
    errors.InvalidThumbnailSize: 400,
    errors.UnknownToken: 401,
    errors.NotFound: 404,
    errors.NotAnImage: 406,
    errors.BodyStalled: 408,
    errors.AlreadyExists: 409,
    errors.Collision: 409,
    errors.FileTooLarge: 413,
    errors.TooLarge: 413,
    errors.TooManyPixels: 413,
    errors.DecodingTooCostly: 413,
    errors.DigestMismatch: 422,
    errors.StoreMissing: 503,
    errors.WritesSuspended: 503,
    errors.EngineError: 503,
    errors.Overloaded: 503,
    errors.StorageFull: 507,
}
"""The status of each error and of its subclasses; any other error is a fault of the server: 500."""

RETRY_AFTER_SECONDS: dict[type[Exception], bytes] = {
    errors.EngineError: b"2",
    errors.Overloaded: b"1",
    errors.StoreMissing: b"60",
    errors.WritesSuspended: b"60",
}
"""Values of `Retry-After` (RFC 9110 section 10.2.3)."""


_REFUSALS: dict[type[Exception], Refusal] = {
    errors.UnknownToken: Refusal.TOKEN,
    errors.NotAnImage: Refusal.NO_IMAGE,
    errors.TooManyPixels: Refusal.IMAGE_TOO_LARGE,
    errors.DecodingTooCostly: Refusal.IMAGE_TOO_LARGE,
    errors.StoreMissing: Refusal.SUSPENDED,
    errors.WritesSuspended: Refusal.SUSPENDED,
    errors.EngineError: Refusal.SUSPENDED,
    errors.QuotaExceeded: Refusal.QUOTA,
}
"""Reasons in the metrics, where the status does not tell."""


class HTTPError(Exception):
    """An error response: `status`, a text, and further `headers`.

    `refusal` is the reason in the metrics, where the status does not tell.
    """

    def __init__(self, status: int, text: str, *headers: Field, refusal: Refusal | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers
        self.refusal = refusal


def http_error_for(error: BaseException | None) -> HTTPError | None:
    """Return the error response for `error`, or None for a fault of the server."""
    if isinstance(error, HTTPError):
        return error
    for kind in type(error).__mro__:
        if kind in STATUSES:
            seconds = RETRY_AFTER_SECONDS.get(kind)
            headers = [(b"Retry-After", seconds)] if seconds else []
            refusal = next((_REFUSALS[each] for each in type(error).__mro__ if each in _REFUSALS), None)
            return HTTPError(STATUSES[kind], str(error), *headers, refusal=refusal)
    return None


def client_disconnected() -> HTTPError:
    """Return the error for a client that closed its sending side while its image was decoded."""
    return HTTPError(400, "The client closed its side of the connection before the image was decoded.")


def precondition_failed() -> HTTPError:
    """Return the error for an `If-Match` or `If-None-Match` that does not hold."""
    return HTTPError(412, "A precondition of the request does not hold.")
