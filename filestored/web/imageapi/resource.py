"""Base classes of the image API: responses are JSON, errors are JSON strings.

The paths of this API hold tokens, so `Referrer-Policy` keeps browsers from sending them to other servers.
"""

from filestored.http.response import preformat
from filestored.interfaces import IStreamedRequest
from filestored.web.errors import HTTPError
from filestored.web.resource import AsyncResource, ErrorResource, reply_json

_NO_REFERRER = preformat((b"Referrer-Policy", b"no-referrer"))


class ImageApiResource(AsyncResource):
    """A resource of the image API, whose path ends with a slash."""

    isLeaf = True

    def render(self, request: IStreamedRequest) -> int:
        """Call the method of the resource, with `Referrer-Policy` set."""
        request.set_headers(_NO_REFERRER)
        return super().render(request)

    def send_error(self, request: IStreamedRequest, error: HTTPError) -> None:
        """Send an error response: a JSON string."""
        headers = error.headers
        if error.status == 401:
            headers = (*headers, (b"WWW-Authenticate", b"Token"))  # RFC 9110 section 11.6.1 requires it
        reply_json(request, error.status, str(error), headers=headers)


class ImageApiError(ImageApiResource, ErrorResource):
    """Answers every method with the same `HTTPError`, as a JSON string."""


class ImageApiNotFound(ImageApiError):
    """Answers every method with 404, as a JSON string."""

    def __init__(self) -> None:
        super().__init__(HTTPError(404, "There is nothing at this address."))
