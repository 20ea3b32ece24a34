"""The response cache beside access rules: one client never gets the answer of another one."""

import hashlib
from random import Random

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.kept_connection import KeptConnection
from tests.http_clients.raw_socket import RawSocketClient, head

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


SEQUENCE = [
    *(
        (200, (bearer(READER.secret),)),
        (401, ()),
        (200, (basic(READER.secret),)),
        (401, (bearer(STRANGER.secret),)),
    ),
    *(
        (200, (bearer(READER.secret),)),
        (403, (bearer(WRITER.secret),)),
        (200, (bearer(ADMIN.secret),)),
        (401, ()),
    ),
]


def test_pipelined_requests_have_the_answers_of_their_credentials(served):
    target = f"/buckets/one/files/{HASH}"
    with RawSocketClient(served.port) as peer:
        for _ in range(3):
            peer.send(b"".join(head("GET", target, lines) for _, lines in SEQUENCE))
            assert [status for status, _ in SEQUENCE] == [peer.read_response().status for _ in SEQUENCE]


def test_head_in_pieces_has_the_answer_of_its_credentials(served):
    target = f"/buckets/one/files/{HASH}"
    with RawSocketClient(served.port) as peer:
        for status, lines in SEQUENCE * 2:
            whole = head("GET", target, lines)
            for place in (len(whole) // 2, len(whole) - 3):
                peer.send(whole[:place])
                peer.send(whole[place:])
                assert status == peer.read_response().status


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
