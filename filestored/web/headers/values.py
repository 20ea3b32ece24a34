"""Request headers that have one value: a second line is an error."""

from filestored.interfaces import IStreamedRequest
from filestored.web.errors import HTTPError


def single_header(request: IStreamedRequest, name: bytes) -> bytes | None:
    """Return the value of a header, or None. Raises `HTTPError` (400) if there are several lines of it."""
    values = request.header_values(name)
    if len(values) > 1:
        raise HTTPError(400, f"The request has several {name.decode('ascii')} fields.")
    return values[0] if values else None
