"""How an image is sent: packed or not, tags, parts, and its name."""

import gzip

import pytest

from filestored.web.headers.negotiation import Codings, codings
from tests.images.catalog_samples import BMP, PNG
from tests.web.image_wire import ImageWire


@pytest.fixture
def wire():
    return ImageWire()


@pytest.fixture
def token(wire):
    return wire.register()


# --- what Accept-Encoding says -----------------------------------------------------------------------

NEITHER = Codings(gzip=False, identity=False, preferred=False)
IDENTITY = Codings(gzip=False, identity=True, preferred=False)
GZIP = Codings(gzip=True, identity=True, preferred=True)
RATHER_NOT = Codings(gzip=True, identity=True, preferred=False)
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
        (b"gzip;q=0.4, identity;q=0.5", RATHER_NOT),
        (b"gzip;q=0.4, identity", RATHER_NOT),
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
def test_codings_are_weighed(value, wanted):
    assert wanted == codings(value)


@pytest.mark.parametrize(
    ("field", "data", "coding"),
    [
        (None, BMP, None),
        ("gzip", BMP, "gzip"),
        ("gzip;q=0", BMP, None),
        ("gzip;q=0.4, identity", BMP, None),
        ("*", BMP, "gzip"),
        ("identity;q=0, gzip", BMP, "gzip"),
        ("gzip", PNG, None),
        (None, PNG, None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_coding_is_the_one_that_is_wanted(wire, token, field, data, coding, method):
    identity = wire.add(token, data)
    fields = {"Accept_Encoding": field} if field else {}
    answer = wire.call(method, f"token/{token}/get-image/{identity}/", **fields)
    assert (200, coding) == (answer.status, answer.fields.get("content-encoding"))
    assert "Accept-Encoding" == answer.fields["vary"]
    if method == "GET":
        assert data == (gzip.decompress(answer.body) if coding else answer.body)


@pytest.mark.parametrize(
    ("field", "data"), [("identity;q=0", BMP), ("*;q=0", BMP), ("*;q=0", PNG), ("gzip, identity;q=0", PNG)]
)
def test_an_image_that_cannot_be_had_that_way_is_406(wire, token, field, data):
    answer = wire.get(token, wire.add(token, data), Accept_Encoding=field)
    assert (406, "Accept-Encoding") == (answer.status, answer.fields["vary"])


# --- tags --------------------------------------------------------------------------------------------


def test_each_form_has_a_tag_of_its_own(wire, token):
    identity = wire.add(token, BMP)
    tags = [wire.get(token, identity, Accept_Encoding=each).fields["etag"] for each in ("gzip", "identity")]
    assert 2 == len(set(tags))
    assert all(tag.startswith('"') for tag in tags)


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_who_has_that_form_gets_304(wire, token, coding):
    identity = wire.add(token, BMP)
    tag = wire.get(token, identity, Accept_Encoding=coding).fields["etag"]
    answer = wire.get(token, identity, Accept_Encoding=coding, If_None_Match=tag)
    assert (304, b"", tag) == (answer.status, answer.body, answer.fields["etag"])
    assert ("private, no-cache", "Accept-Encoding") == (answer.fields["cache-control"], answer.fields["vary"])
    other = "identity" if coding == "gzip" else "gzip"
    assert 200 == wire.get(token, identity, Accept_Encoding=other, If_None_Match=tag).status


def test_the_tag_changes_with_the_image(wire, token):
    identity = wire.add(token, PNG)
    tag = wire.get(token, identity).fields["etag"]
    wire.update(token, identity, PNG + b"x")
    assert 200 == wire.get(token, identity, If_None_Match=tag).status
    assert 412 == wire.get(token, identity, If_Match=tag).status


# --- parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_parts_are_parts_of_an_image_stored_as_it_came(wire, token, coding):
    answer = wire.get(token, wire.add(token, PNG), Accept_Encoding=coding, Range="bytes=2-20")
    assert (206, PNG[2:21]) == (answer.status, answer.body)
    assert f"bytes 2-20/{len(PNG)}" == answer.fields["content-range"]
    assert "bytes" == answer.fields["accept-ranges"]


@pytest.mark.parametrize("coding", ["gzip", "identity", "gzip, identity;q=0"])
@pytest.mark.parametrize("ranges", ["bytes=2-20", "bytes=-1", "bytes=0-1,4000-", "bytes=99999-"])
def test_a_range_of_an_image_stored_compressed_is_answered_with_the_whole(wire, token, coding, ranges):
    answer = wire.get(token, wire.add(token, BMP), Accept_Encoding=coding, Range=ranges)
    packed = "gzip" in coding
    assert (200, BMP) == (answer.status, gzip.decompress(answer.body) if packed else answer.body)
    assert ("gzip" if packed else None) == answer.fields.get("content-encoding")
    assert "none" == answer.fields["accept-ranges"]


def test_several_parts_name_the_type(wire, token):
    answer = wire.get(token, wire.add(token, PNG), Range="bytes=0-1,200-")
    assert 206 == answer.status
    assert b"Content-Type: image/png" in answer.body


def test_a_part_that_is_not_there_is_416(wire, token):
    answer = wire.get(token, wire.add(token, PNG), Range="bytes=99999-")
    assert (416, f"bytes */{len(PNG)}") == (answer.status, answer.fields["content-range"])


def test_a_download_goes_on_only_in_the_same_image(wire, token):
    identity = wire.add(token, PNG)
    tag = wire.get(token, identity).fields["etag"]
    statuses = [
        wire.get(token, identity, Range="bytes=9-", If_Range=each).status for each in (tag, '"another"')
    ]
    assert [206, 200] == statuses


# --- fields ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_a_browser_may_show_an_image_and_nothing_more(wire, token, coding):
    fields = wire.get(token, wire.add(token, BMP), Accept_Encoding=coding).fields
    assert "nosniff" == fields["x-content-type-options"]
    assert "default-src 'none'; sandbox" == fields["content-security-policy"]
    assert "private, no-cache" == fields["cache-control"]
    assert "no-referrer" == fields["referrer-policy"]
    assert "none" == fields["accept-ranges"]


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("cat.png", 'inline; filename="cat.png"'),
        ("Ёж.png", "inline; filename=\"__.png\"; filename*=UTF-8''%D0%81%D0%B6.png"),
        ("a%22b.png", "inline; filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"),
        ("..", "inline"),
        ("\u202egnp.exe", 'inline; filename="gnp.exe"'),
    ],
)
def test_the_original_name_is_told_and_made_safe(wire, token, name, disposition):
    identity = wire.add(token, name=name)
    assert disposition == wire.get(token, identity).fields["content-disposition"]


def test_the_query_does_not_rename_an_image(wire, token):
    identity = wire.add(token)
    answer = wire.call("GET", f"token/{token}/get-image/{identity}/?name=evil.html")
    assert 'inline; filename="cat.png"' == answer.fields["content-disposition"]
