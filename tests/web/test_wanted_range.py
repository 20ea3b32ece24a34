"""Range that a request probably wants, as far as its head tells: it saves a request to an object store."""

from types import SimpleNamespace

import pytest

from filestored.web.download import wanted_range


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {}, (0, None)),
        ("GET", {"accept": "*/*"}, (0, None)),
        ("HEAD", {}, None),
        ("GET", {"range": "bytes=0-"}, (0, None)),
        ("GET", {"range": "bytes=5-9"}, (5, 10)),
        ("GET", {"range": "bytes=5-5"}, (5, 6)),
        *[
            ("GET", {"range": text}, None)
            for text in ("bytes=-5", "bytes=9-5", "bytes=0-1,3-4", "bytes = 1-2", "chunks=1-2", "bytes=٣-٤")
        ],
        ("GET", {"range": f"bytes={10**20}-"}, None),
        *[
            ("GET", {"range": "bytes=5-9", name: "x"}, None)
            for name in ("if-range", "if-match", "if-none-match")
        ],
        ("GET", {"if-none-match": "x"}, None),
    ],
)
def test_wanted_range_is_told_by_the_head(method, headers, expected):
    received = {name.encode(): value.encode() for name, value in headers.items()}
    request = SimpleNamespace(method=method.encode(), received=received)
    assert expected == wanted_range(request)
