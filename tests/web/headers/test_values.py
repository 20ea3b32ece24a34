"""Request headers with one value, by table."""

import pytest

from filestored.web.errors import HTTPError
from filestored.web.headers.values import single_header


class Request:
    """The headers of a request: lower-case names and lists of values."""

    def __init__(self, headers):
        self.header_values = lambda name: headers.get(name, [])


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), ([b""], b""), ([b"a"], b"a"), ([b"a, b"], b"a, b")]
)
def test_single_header_returns_the_value_or_none(values, expected):
    assert expected == single_header(Request({b"content-type": values}), b"content-type")


@pytest.mark.parametrize("values", [[b"a", b"b"], [b"a", b"a"], [b"", b""]])
def test_single_header_with_a_second_line_is_400(values):
    with pytest.raises(HTTPError, match="several content-type fields") as caught:
        single_header(Request({b"content-type": values}), b"content-type")
    assert 400 == caught.value.status
