"""The response cache beside access rules: one client never gets the answer of another one."""

import hashlib
from random import Random

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.kept_connection import KeptConnection

ADMIN = Token("admin", {"*": RIGHTS})
READER = Token("reader", {"one": ["read"], "default": ["read"]})
WRITER = Token("writer", {"one": ["write"]})
STRANGER = Token("stranger", {"*": RIGHTS})
ACCESS = access_text(ADMIN, READER, WRITER, Bucket("one"), Bucket("public", public=["read"]))

FILE = b"equal content of all buckets"
HASH = hashlib.sha256(FILE).hexdigest()
REQUESTS = 2000

LINES = {
    (): {"public"},
    ("X-Authorization: x",): {"public"},
    ("Cookie: a=b",): {"public"},
    (bearer(ADMIN.secret),): {"one", "default", "public"},
    (bearer(READER.secret),): {"one", "default", "public"},
    (basic(READER.secret, "a"),): {"one", "default", "public"},
    (basic(READER.secret, "b"),): {"one", "default", "public"},
    (f"authorization:  bearer   {READER.secret}  ",): {"one", "default", "public"},
    (bearer(WRITER.secret),): {"public"},
    (bearer(STRANGER.secret),): set(),
    (bearer(READER.secret[:-1]),): set(),
    (bearer(READER.secret), bearer(READER.secret)): set(),
    ("Authorization:",): set(),
    (f"Authorization : Bearer {READER.secret}",): None,
}
"""Header lines, and the buckets that a client with them reads; None for a malformed request."""

PREFIXES = {"": "default", "/buckets/default": "default", "/buckets/one": "one", "/buckets/public": "public"}
PATHS = [f"/files/{HASH}", f"/?file_hash={HASH}", f"/?hash={HASH}&name=x"]


@pytest.fixture(autouse=True)
def stored(ask):
    """Buckets that store the file."""
    for bucket in ("default", "one", "public"):
        assert ask("PUT", f"/buckets/{bucket}/files/{HASH}", (bearer(ADMIN.secret),), FILE).status in (
            200,
            201,
        )


def test_equal_requests_of_different_clients_have_their_own_answers(served):
    random = Random(13)
    differences = []
    with KeptConnection(served.port) as first, KeptConnection(served.port) as second:
        for _ in range(REQUESTS):
            lines, readable = random.choice(list(LINES.items()))
            prefix, bucket = random.choice(list(PREFIXES.items()))
            target = prefix + random.choice(PATHS)
            if readable is not None and bucket in readable and not lines and random.random() < 0.3:
                target += "&" if "?" in target else "?"
            answer = random.choice((first, second))("GET", target, lines)
            allowed = readable is not None and bucket in readable
            if readable is None:
                good = answer.status == 400
            elif allowed:
                scope = "private" if lines and lines[0].lower().startswith("authorization") else "public"
                good = (200, FILE, scope) == (
                    answer.status, answer.body, answer.fields.get("cache-control", "").partition(",")[0]
                )  # fmt: skip
            else:
                known = lines == (bearer(WRITER.secret),)
                status = 401 if not known else 403 if bucket == "one" else 404
                good = answer.status == status and FILE not in answer.body
            if not good:
                differences.append((target, lines, answer.status, answer.fields.get("cache-control")))
    assert [] == differences[:10], len(differences)


def test_token_of_another_case_is_another_token(ask):
    target = f"/buckets/one/files/{HASH}"
    for _ in range(5):
        assert 200 == ask("GET", target, (bearer(READER.secret),)).status
        assert 401 == ask("GET", target, (bearer(READER.secret.swapcase()),)).status
        assert 401 == ask("GET", target).status


def test_link_and_address_have_their_own_answers(ask):
    target = f"/buckets/one/files/{HASH}"
    link = f"{target}?{READER.sign(target)}"
    for _ in range(5):
        assert "private, no-cache" == ask("GET", link).fields["cache-control"]
        assert 401 == ask("GET", target).status
        assert 403 == ask("GET", link[:-1] + ("A" if link[-1] != "A" else "E")).status
        assert 403 == ask("GET", f"{link}&key=x").status
