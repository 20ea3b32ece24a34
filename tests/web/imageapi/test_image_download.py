"""Downloads of images: content codings, entity tags, ranges, names."""

import gzip

import pytest

from tests.images.catalog_samples import BMP, PNG
from tests.web.imageapi.image_wire import EVERYWHERE

pytestmark = pytest.mark.servers(*EVERYWHERE)


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
def test_response_has_the_preferred_content_coding(wire, token, field, data, coding, method):
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
def test_image_without_acceptable_coding_is_406(wire, token, field, data):
    answer = wire.get(token, wire.add(token, data), Accept_Encoding=field)
    assert (406, "Accept-Encoding") == (answer.status, answer.fields["vary"])


# --- entity tags --------------------------------------------------------------------------------------------


def test_gzipped_and_original_have_different_entity_tags(wire, token):
    identity = wire.add(token, BMP)
    tags = [wire.get(token, identity, Accept_Encoding=each).fields["etag"] for each in ("gzip", "identity")]
    assert 2 == len(set(tags))
    assert all(tag.startswith('"') for tag in tags)


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_if_none_match_of_the_same_coding_is_304(wire, token, coding):
    identity = wire.add(token, BMP)
    tag = wire.get(token, identity, Accept_Encoding=coding).fields["etag"]
    answer = wire.get(token, identity, Accept_Encoding=coding, If_None_Match=tag)
    assert (304, b"", tag) == (answer.status, answer.body, answer.fields["etag"])
    assert ("private, no-cache", "Accept-Encoding") == (answer.fields["cache-control"], answer.fields["vary"])
    other = "identity" if coding == "gzip" else "gzip"
    assert 200 == wire.get(token, identity, Accept_Encoding=other, If_None_Match=tag).status


def test_entity_tag_changes_with_the_image(wire, token):
    identity = wire.add(token, PNG)
    tag = wire.get(token, identity).fields["etag"]
    wire.update(token, identity, PNG + b"x")
    assert 200 == wire.get(token, identity, If_None_Match=tag).status
    assert 412 == wire.get(token, identity, If_Match=tag).status


# --- ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_ranges_of_an_uncompressed_image(wire, token, coding):
    answer = wire.get(token, wire.add(token, PNG), Accept_Encoding=coding, Range="bytes=2-20")
    assert (206, PNG[2:21]) == (answer.status, answer.body)
    assert f"bytes 2-20/{len(PNG)}" == answer.fields["content-range"]
    assert "bytes" == answer.fields["accept-ranges"]


@pytest.mark.parametrize("coding", ["gzip", "identity", "gzip, identity;q=0"])
@pytest.mark.parametrize("ranges", ["bytes=2-20", "bytes=-1", "bytes=0-1,4000-", "bytes=99999-"])
def test_range_of_a_gzipped_image_returns_the_complete_image(wire, token, coding, ranges):
    answer = wire.get(token, wire.add(token, BMP), Accept_Encoding=coding, Range=ranges)
    packed = "gzip" in coding
    assert (200, BMP) == (answer.status, gzip.decompress(answer.body) if packed else answer.body)
    assert ("gzip" if packed else None) == answer.fields.get("content-encoding")
    assert "none" == answer.fields["accept-ranges"]


def test_multipart_ranges_have_the_media_type_of_the_image(wire, token):
    answer = wire.get(token, wire.add(token, PNG), Range="bytes=0-1,200-")
    assert 206 == answer.status
    assert b"Content-Type: image/png" in answer.body


def test_unsatisfiable_range_of_an_image_is_416(wire, token):
    answer = wire.get(token, wire.add(token, PNG), Range="bytes=99999-")
    assert (416, f"bytes */{len(PNG)}") == (answer.status, answer.fields["content-range"])


def test_if_range_fails_after_an_update_of_the_image(wire, token):
    identity = wire.add(token, PNG)
    tag = wire.get(token, identity).fields["etag"]
    statuses = [
        wire.get(token, identity, Range="bytes=9-", If_Range=each).status for each in (tag, '"another"')
    ]
    assert [206, 200] == statuses


# --- headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_image_has_sandbox_headers(wire, token, coding):
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
def test_content_disposition_has_the_safe_image_name(wire, token, name, disposition):
    identity = wire.add(token, name=name)
    assert disposition == wire.get(token, identity).fields["content-disposition"]


def test_name_in_the_query_does_not_rename_an_image(wire, token):
    identity = wire.add(token)
    answer = wire.call("GET", f"token/{token}/get-image/{identity}/?name=evil.html")
    assert 'inline; filename="cat.png"' == answer.fields["content-disposition"]
