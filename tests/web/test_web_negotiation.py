"""When an `Accept` field means JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.headers.negotiation import wants_json

FIREFOX = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json, */*;q=0.5",
        b"application/problem+json",
        b"application/*",
        b"text/plain;q=0.5, application/json",
        b"text/*;q=0.1,application/json;q=0.2",
        b"application/json;charset=utf-8;q=0.9",
        b"text/plain;q=0, */*",
        b"*/*;q=0.1, application/json;q=0.2",
    ],
)
def test_these_want_json(accept):
    assert wants_json(accept)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        b"",
        b"*/*",
        b"text/plain",
        FIREFOX,
        b"text/plain, application/json",
        b"application/json;q=0",
        b"application/json;q=0, */*",
        b"application/json;q=0.5, text/*",
        b"application/json;q=nan",
        b"application/json;q=inf",
        b"application/json;q=1.5",
        b"application/jsonp",
        b"image/png",
    ],
)
def test_these_get_text(accept):
    assert not wants_json(accept)


@given(st.binary(max_size=80))
def test_any_bytes_are_one_or_the_other(accept):
    assert wants_json(accept) in (True, False)
