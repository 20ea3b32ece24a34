"""Reading the header fields of a request.

In: a request. Out: one value for each field name, however many lines it was sent in
(RFC 9110 section 5.3), or a refusal where a second line can't be meant.
"""

from filestored.interfaces import IStreamedRequest
from filestored.web.errors import HTTPError


def header_list(request: IStreamedRequest, name: bytes) -> bytes | None:
    """The value of a list field, its lines joined by commas; None when it is absent."""
    values = request.header_values(name)
    return b", ".join(values) if values else None


def single_header(request: IStreamedRequest, name: bytes) -> bytes | None:
    """The value of a field that has one value only. Raises `HTTPError` when it was sent twice."""
    values = request.header_values(name)
    if len(values) > 1:
        raise HTTPError(400, f"The request has several {name.decode('ascii')} fields.")
    return values[0] if values else None
