"""Content negotiation by table: `Accept` and `Accept-Encoding`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.headers.negotiation import Codings, codings, wants_json

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
        b"text/*;Q=0, */*",
        b"text/*;q=0.1,application/json;q=0.2",
        b"application/json;charset=utf-8;q=0.9",
        b"text/plain;q=0, */*",
        b"*/*;q=0.1, application/json;q=0.2",
    ],
)
def test_accept_headers_that_prefer_json(accept):
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
def test_accept_headers_that_prefer_text(accept):
    assert not wants_json(accept)


@given(st.binary(max_size=80))
def test_accept_header_of_random_bytes_raises_nothing(accept):
    assert wants_json(accept) in (True, False)


NEITHER = Codings(gzip=False, identity=False, preferred=False)
IDENTITY = Codings(gzip=False, identity=True, preferred=False)
GZIP = Codings(gzip=True, identity=True, preferred=True)
IDENTITY_PREFERRED = Codings(gzip=True, identity=True, preferred=False)
GZIP_ONLY = Codings(gzip=True, identity=False, preferred=True)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, IDENTITY),
        (b"", IDENTITY),
        (b"identity", IDENTITY),
        (b"gzip", GZIP),
        (b"x-gzip", GZIP),
        (b"GZIP", GZIP),
        (b"gzip, deflate, br", GZIP),
        (b"deflate, br", IDENTITY),
        (b"*", GZIP),
        (b"br, *;q=0.1", GZIP),
        (b"gzip;q=0", IDENTITY),
        (b"gzip;q=0.0", IDENTITY),
        (b"gzip;q=0, *", IDENTITY),
        (b"*;q=0", NEITHER),
        (b"gzip, *;q=0", GZIP_ONLY),
        (b"gzip;q=0.5, identity;q=0.5", GZIP),
        (b"gzip;q=0.4, identity;q=0.5", IDENTITY_PREFERRED),
        (b"gzip;q=0.4, identity", IDENTITY_PREFERRED),
        (b"gzip;q=0.001", GZIP),
        (b"identity;q=0", NEITHER),
        (b"identity;q=0, gzip", GZIP_ONLY),
        (b"identity;q=0, gzip;q=0", NEITHER),
        (b"identity;q=0, *;q=0.1", GZIP_ONLY),
        (b"identity, *;q=0", IDENTITY),
        (b" gzip ; q=1 , identity ; q=0.1 ", GZIP),
        (b"gzip;q=much", IDENTITY),
        (b"gzip;q=1.1", IDENTITY),
        (b",,", IDENTITY),
    ],
)
def test_accept_encoding_weights(value, wanted):
    assert wanted == codings(value)
