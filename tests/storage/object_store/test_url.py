"""URLs of object stores."""

import pytest

from filestored.storage.object_store.url import ObjectStoreURL, is_url, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket", ("s3", "bucket", "")),
        ("s3://bucket/", ("s3", "bucket", "")),
        ("s3://bucket/a/b/", ("s3", "bucket", "a/b/")),
        ("gs://my.bucket_1/a=b", ("gs", "my.bucket_1", "a=b/")),
        ("az://container/x", ("az", "container", "x/")),
    ],
)
def test_url_is_parsed_and_printed(text, expected):
    found = parse_url(text)
    assert expected == found
    assert text.rstrip("/") == str(found)
    assert found == parse_url(str(found))


@pytest.mark.parametrize(
    "text",
    [
        *("s5://bucket", "S3://bucket", "file:///tmp", "s3:/bucket", "https://bucket.example.org"),
        *("s3://", "s3:///prefix", "s3://-bucket", "s3://bu cket", "s3://key:secret@bucket/x"),
        *("s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/.", "s3://bucket/a%2f", "s3://bucket/é"),
        *("s3://bucket/a?b", "s3://bucket/a\nb"),
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"has n|names no|has a"):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://b", True), ("s5://b", True), ("s3:/b", True), ("C:/x", True)]
    + [(text, False) for text in ("store", "/srv/s3:/x", "./a:/b", "", "s3:b", "3s://b")],
)
def test_url_is_told_from_a_directory(text, expected):
    assert expected == is_url(text)


def test_prefix_within_a_url():
    assert ObjectStoreURL("s3", "b", "x/blobs/") == parse_url("s3://b/x").below("blobs")
    assert "s3://b/blobs" == str(parse_url("s3://b").below("blobs"))
