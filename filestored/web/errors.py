"""A `HTTPError`: the wire itself says no.

Errors of the store and of bodies have their status in one table (`replies.STATUSES`). What
only HTTP knows of, a missing parameter, a method, a precondition, is raised as a `HTTPError`
that carries its status along. Its sentence is shown to the client, so it is always one of
ours and never holds what the client sent.
"""

Field = tuple[bytes, bytes]
"""A response header field: name and value."""


class HTTPError(Exception):
    """An answer other than success, decided in the wire: `status`, a sentence, more header fields."""

    def __init__(self, status: int, sentence: str, *fields: Field) -> None:
        super().__init__(sentence)
        self.status = status
        self.fields = fields


def client_left() -> HTTPError:
    """What a request gets whose client closed its sending side while an image was decoded for it."""
    return HTTPError(400, "The client closed its side of the connection before the image was decoded.")


def precondition_failed() -> HTTPError:
    """What a request gets whose `If-Match` or `If-None-Match` does not hold."""
    return HTTPError(412, "A precondition of the request does not hold.")
