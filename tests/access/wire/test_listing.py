"""Listing and usage over the wire: pages, lines, parameters, figures."""

import hashlib
import json
import re

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, bearer
from tests.http_clients.raw_socket import FORM

ADMIN = Token("admin", {"*": RIGHTS})
LIMITS = ('quota = "50 GiB"', "max_files = 1_000_000")
ACCESS = access_text(ADMIN, Bucket("many"), Bucket("few"), Bucket("empty", options=LIMITS))
LINE = (bearer(ADMIN.secret),)
NDJSON = "Accept: application/x-ndjson"

COUNT = 1001
"""Files of the large bucket: one more than a page has."""

FILES = {hashlib.sha256(content).hexdigest(): len(content) for content in (b"x" * n for n in range(COUNT))}
HASHES = sorted(FILES)
FEW = sorted(hashlib.sha256(b"few %d" % number).hexdigest() for number in range(5))


@pytest.fixture(scope="module", autouse=True)
def stored(served):
    """Buckets with many and with few files."""
    from tests.access.wire.kept_connection import KeptConnection

    with KeptConnection(served.port) as ask:
        for start in range(0, COUNT, 500):
            body = b"".join(
                b'--frontier\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
                + b"x" * n
                + b"\r\n"
                for n in range(start, min(start + 500, COUNT))
            )
            assert 200 == ask("POST", "/buckets/many/", (*LINE, FORM), body + b"--frontier--\r\n").status
        for number in range(5):
            assert 200 == ask("POST", "/buckets/few/", LINE, b"few %d" % number).status


def page(ask, bucket: str, query: str = ""):
    answer = ask("GET", f"/buckets/{bucket}/files/{query}", LINE)
    assert (200, "application/json") == (answer.status, answer.fields["content-type"])
    assert "no-store" == answer.fields["cache-control"]
    found = json.loads(answer.body)
    assert {"files", "next"} == found.keys()
    return found


def hashes(found) -> list[str]:
    return [each["hash"] for each in found["files"]]


def test_page_has_1000_files_in_the_order_of_their_hashes(ask):
    first = page(ask, "many")
    assert HASHES[:1000] == hashes(first)
    second = page(ask, "many", f"?after={first['next']}")
    assert HASHES[1000:] == hashes(second)
    assert second["next"] is None
    assert FILES == {each["hash"]: each["size"] for each in first["files"] + second["files"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
def test_pages_of_any_size_hold_all_files_once(ask, limit):
    found, query, pages = [], f"?limit={limit}", 0
    while query is not None:
        one = page(ask, "few", query)
        assert len(one["files"]) <= limit
        found += hashes(one)
        query = one["next"] and f"?after={one['next']}&limit={limit}"
        pages += 1
    assert FEW == found
    assert pages <= 5 // limit + 1


def test_entry_has_hash_size_and_moment(ask):
    for each in page(ask, "few")["files"]:
        assert {"hash", "size", "modified"} == each.keys()
        assert 5 == each["size"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", each["modified"])


def test_hash_that_is_not_stored_begins_a_page(ask):
    assert FEW == hashes(page(ask, "few", f"?after={'0' * 64}"))
    assert FEW[1:] == hashes(page(ask, "few", f"?after={FEW[0].upper()}"))
    between = FEW[1][:-1] + ("0" if FEW[1][-1] != "0" else "1")
    assert [each for each in FEW if each > between] == hashes(page(ask, "few", f"?after={between}"))
    assert [] == hashes(page(ask, "few", f"?after={'f' * 64}"))


@pytest.mark.parametrize(
    "query",
    [
        *(
            "?limit=0",
            "?limit=1001",
            "?limit=-1",
            "?limit=x",
            "?limit=",
            "?limit=1.5",
            "?limit=1&limit=2",
            "?limit=1_0",
        ),
        *(
            "?limit=%D9%A3",
            "?limit=" + "9" * 400,
            "?after=x",
            f"?after={'0' * 65}",
            f"?after={'0' * 64}&after={'0' * 64}",
        ),
    ],
)
def test_malformed_parameter_is_400(ask, query):
    assert 400 == ask("GET", f"/buckets/few/files/{query}", LINE).status


def test_lines_hold_all_files(ask):
    answer = ask("GET", "/buckets/many/files/", (*LINE, NDJSON))
    assert (200, "application/x-ndjson") == (answer.status, answer.fields["content-type"])
    lines = answer.body.split(b"\n")
    assert b"" == lines.pop()
    entries = [json.loads(line) for line in lines]
    assert HASHES == [each["hash"] for each in entries]
    assert FILES == {each["hash"]: each["size"] for each in entries}


def test_lines_after_a_hash(ask):
    answer = ask("GET", f"/buckets/few/files/?after={FEW[1]}", (*LINE, NDJSON))
    assert FEW[2:] == [json.loads(line)["hash"] for line in answer.body.splitlines()]


def test_empty_bucket_lists_nothing(ask):
    assert {"files": [], "next": None} == page(ask, "empty")
    assert b"" == ask("GET", "/buckets/empty/files/", (*LINE, NDJSON)).body


def test_usage_counts_files_and_bytes(ask):
    answer = ask("GET", "/buckets/many/usage", LINE)
    assert (200, "application/json", "no-store") == (
        answer.status, answer.fields["content-type"], answer.fields["cache-control"]
    )  # fmt: skip
    figures = {"bucket": "many", "files": COUNT, "bytes": sum(FILES.values())}
    assert {**figures, "quota_bytes": None, "quota_files": None} == json.loads(answer.body)


def test_usage_has_the_limits_of_the_bucket(ask):
    limits = {"quota_bytes": 50 << 30, "quota_files": 1_000_000}
    found = json.loads(ask("GET", "/buckets/empty/usage", LINE).body)
    assert {"bucket": "empty", "files": 0, "bytes": 0, **limits} == found


def test_listing_and_usage_of_the_default_bucket(ask):
    assert 200 == ask("POST", "/", LINE, b"in the root").status
    digest = hashlib.sha256(b"in the root").hexdigest()
    for target in ("/files/", "/buckets/default/files/"):
        assert [digest] == hashes(json.loads(ask("GET", target, LINE).body))
    found = json.loads(ask("GET", "/buckets/default/usage", LINE).body)
    assert ("default", 1, 11) == (found["bucket"], found["files"], found["bytes"])


def test_file_that_was_deleted_is_not_listed(ask):
    assert 200 == ask("POST", "/buckets/empty/", LINE, b"short").status
    assert 1 == len(page(ask, "empty")["files"])
    assert 200 == ask("DELETE", f"/buckets/empty/files/{hashlib.sha256(b'short').hexdigest()}", LINE).status
    assert [] == page(ask, "empty")["files"]
    assert 0 == json.loads(ask("GET", "/buckets/empty/usage", LINE).body)["files"]
