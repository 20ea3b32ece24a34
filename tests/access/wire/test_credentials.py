"""Forms of the field `Authorization`: those of a token, and those that are 401 even in a public bucket."""

import base64
import hashlib

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.model import CHALLENGES

ANNA = Token("anna", {"private": RIGHTS, "default": RIGHTS})
EXPIRED = Token("expired", {"*": RIGHTS}, expires="2020-01-01")
ACCESS = access_text(
    ANNA, EXPIRED, Bucket("private"), Bucket("public", public=["read", "write", "delete", "list"])
)

SECRET = ANNA.secret
FILE = b"content of both buckets"
HASH = hashlib.sha256(FILE).hexdigest()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


RIGHT = [
    bearer(SECRET),
    f"authorization: bearer {SECRET}",
    f"AUTHORIZATION: BEARER {SECRET}",
    f"Authorization:Bearer {SECRET}",
    f"Authorization: \t Bearer {SECRET} \t",
    f"Authorization: Bearer   {SECRET}",
    basic(SECRET),
    basic(SECRET, "anna"),
    basic(SECRET, "another user"),
    basic(SECRET, "имя"),
    f"Authorization: basic {encoded(f':{SECRET}')}",
    f"Authorization: BASIC  {encoded(f'x:{SECRET}')}",
]

WRONG = [
    "Authorization:",
    "Authorization: Bearer",
    "Authorization: Bearer ",
    "Authorization: Basic",
    f"Authorization: {SECRET}",
    f"Authorization: Bearer{SECRET}",
    f"Authorization: Bearer: {SECRET}",
    f'Authorization: Bearer "{SECRET}"',
    f"Authorization: Bearer {SECRET} {SECRET}",
    f"Authorization: Bearer {SECRET},",
    f"Authorization: Bearer {SECRET}, Basic x",
    f"Authorization: Bearer {SECRET}=",
    f"Authorization: Bearer {SECRET}x",
    f"Authorization: Bearer {SECRET[:-1]}",
    f"Authorization: Bearer {SECRET[:-1]}{'A' if SECRET[-1] != 'A' else 'B'}",
    f"Authorization: Bearer {SECRET[4:]}",
    f"Authorization: Bearer {SECRET.swapcase()}",
    f"Authorization: Bearer {SECRET.replace('_', '%5f')}",
    f"Authorization: Bearer {'A' * 4000}",
    f"Authorization: Bearer {ANNA.sha256.hex()}",
    f"Authorization: Bearer {ANNA.key_id}",
    "Authorization: Bearer fst_é",
    f"Authorization: Token {SECRET}",
    f"Authorization: Digest username={SECRET}",
    f"Authorization: Negotiate {encoded(SECRET)}",
    f"Authorization: Basic {SECRET}",
    f"Authorization: Basic {encoded(SECRET)}",
    f"Authorization: Basic {encoded(f'{SECRET}:')}",
    f"Authorization: Basic {encoded(f'{SECRET}:x')}",
    f"Authorization: Basic {encoded(f'x:y:{SECRET}')}",
    f"Authorization: Basic {encoded(f'x:{SECRET} ')}",
    f"Authorization: Basic {encoded(':')}",
    f"Authorization: Basic {encoded(f':{SECRET}')[:-5]}",
    f"Authorization: Basic {encoded(f':{SECRET}')} x",
    f"Authorization: Basic ?{encoded(f':{SECRET}')}",
    "Authorization: Basic ====",
    "Authorization: Basic /////w==",
    bearer(Token("stranger", {}).secret),
    basic(Token("stranger", {}).secret),
    bearer(EXPIRED.secret),
    basic(EXPIRED.secret),
]

SEVERAL = [
    (bearer(SECRET), bearer(SECRET)),
    (bearer(SECRET), basic(SECRET)),
    (bearer(SECRET), bearer(EXPIRED.secret)),
    ("Authorization:", bearer(SECRET)),
    (bearer(SECRET), "authorization:"),
]

CALLS = [("GET", f"files/{HASH}"), ("HEAD", f"?hash={HASH}"), ("GET", "files/"), ("DELETE", f"files/{HASH}")]


@pytest.fixture
def stored(ask):
    """Buckets that both store the file."""
    for bucket, lines in (("private", (bearer(SECRET),)), ("public", ())):
        assert ask("PUT", f"/buckets/{bucket}/files/{HASH}", lines, FILE).status in (200, 201)


def challenges(answer) -> str:
    return ", ".join(value.decode() for name, value in answer.lines if name.lower() == b"www-authenticate")


@pytest.mark.parametrize("line", RIGHT)
def test_token_is_accepted_in_this_form(ask, stored, line):
    answer = ask("GET", f"/buckets/private/files/{HASH}", (line,))
    assert (200, FILE) == (answer.status, answer.body)
    assert answer.fields["cache-control"].startswith("private")


@pytest.mark.parametrize("lines", [*((line,) for line in WRONG), *SEVERAL])
def test_wrong_credentials_are_401_even_where_the_public_may(ask, stored, lines):
    for bucket in ("private", "public", "unknown", "NO NAME".replace(" ", "%20")):
        for method, path in CALLS:
            answer = ask(method, f"/buckets/{bucket}/{path}", lines)
            assert (401, CHALLENGES) == (answer.status, challenges(answer)), (method, bucket, path)
            assert "no-store" == answer.fields["cache-control"]
    assert 200 == ask("GET", f"/buckets/public/files/{HASH}").status


@pytest.mark.parametrize(
    "target", [f"/files/{HASH}", f"/?file_hash={HASH}", "/buckets/default/files/", "/usage"]
)
def test_public_reads_nothing_of_the_default_bucket_unless_the_file_says_so(ask, target):
    if target == "/usage":
        assert 404 == ask("GET", target).status
    else:
        assert 401 == ask("GET", target).status


@pytest.mark.parametrize("target", ["/health", "/openapi.json", "/static/app.js"])
def test_paths_outside_of_buckets_need_no_credentials(ask, target):
    assert 200 == ask("GET", target).status


def test_page_that_asks_for_a_token_needs_none(ask):
    answer = ask("GET", "/", ("Accept: text/html",))
    assert (200, "text/html; charset=utf-8") == (answer.status, answer.fields["content-type"])


def test_401_is_a_problem_for_clients_that_prefer_json(ask):
    answer = ask("GET", f"/files/{HASH}", ("Accept: application/json",))
    assert (401, "application/problem+json") == (answer.status, answer.fields["content-type"])
    assert CHALLENGES == challenges(answer)
