"""URLs of object stores."""

import pytest

from filestored.storage.object_store.url import is_url, parse_url


@pytest.mark.parametrize(
    ("text", "parts", "printed"),
    [
        ("s3://bucket/prefix", ("s3", "bucket", "prefix/"), None),
        ("gs://bucket/a/b-c_d.e~f=g", ("gs", "bucket", "a/b-c_d.e~f=g/"), None),
        ("az://container", ("az", "container", ""), None),
        ("s3://bucket/", ("s3", "bucket", ""), "s3://bucket"),
        ("s3://bucket/prefix/", ("s3", "bucket", "prefix/"), "s3://bucket/prefix"),
    ],
)
def test_url_is_service_bucket_and_prefix(text, parts, printed):
    assert is_url(text)
    url = parse_url(text)
    assert (parts, printed or text) == (tuple(url), str(url))
    assert url == parse_url(str(url))


def test_url_below_another_has_a_longer_prefix():
    below = parse_url("s3://bucket/images").below("blobs")
    assert ("images/blobs/", "s3://bucket/images/blobs") == (below.prefix, str(below))
    assert "blobs/" == parse_url("s3://bucket").below("blobs").prefix


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, "none of the schemes") for text in ("ftp://b/p", "S3://b/p", "http://h/b", "s3:/b/p")),
        *(
            (text, "names no bucket")
            for text in ("s3://", "s3:///p", "s3://a b/p", "s3://k:s@b/p", "s3://-b")
        ),
        *(
            (f"s3://b/{prefix}", "has a prefix that is not")
            for prefix in ("..", "a/../b", ".", "a//b", "a b", "ä", "a?x", "a#x", "a%2fb", "a*")
        ),
    ],
)
def test_malformed_url_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_url(text)


@pytest.mark.parametrize("path", ["store", "/srv/store", "./s3", "s3", "a:b", "C", "s3:bucket"])
def test_path_is_no_url(path):
    assert not is_url(path)
