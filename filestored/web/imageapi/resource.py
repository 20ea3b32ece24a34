"""How the image API answers: in JSON, where a message is a string.

The paths of this API hold tokens, so no answer may let a browser tell another server where it was.
"""

from filestored.http.response import preformat
from filestored.interfaces import IStreamedRequest
from filestored.web.errors import HTTPError
from filestored.web.resource import AsyncResource, ErrorResource, NotFoundResource, reply_json

_DISCREET = preformat((b"Referrer-Policy", b"no-referrer"))


class ImageApiResource(AsyncResource):
    """A place in the image API. It has only what the path says, which ends with a slash."""

    isLeaf = True

    def render(self, request: IStreamedRequest) -> int:
        """Answer, and keep the path a secret."""
        request.set_headers(_DISCREET)
        return super().render(request)

    def refuse(self, request: IStreamedRequest, refusal: HTTPError) -> None:
        """Answer with an error: a JSON string."""
        fields = refusal.fields
        if refusal.status == 401:
            fields = (*fields, (b"WWW-Authenticate", b"Token"))  # RFC 9110 section 11.6.1 wants one
        reply_json(request, refusal.status, str(refusal), fields=fields)


class ImageApiNotFound(ImageApiResource, NotFoundResource):
    """Answers every method with 404: the image API has no such place."""


class ImageApiError(ImageApiResource, ErrorResource):
    """Answers every method with the same `HTTPError`, as a JSON string."""
