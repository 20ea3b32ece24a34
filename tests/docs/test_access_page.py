"""The page on access: its example of an access file is valid, and its commands run."""

import re
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from filestored.access.rules import AccessRules, BucketRules, Right, Token
from filestored.access.signed_links import sign
from filestored.access.tokens import make_secret
from tests.docs.pages import code, commands, run_in

PAGE = "docs/access.md"
HASH = "a1725bba7370e40aa78d688cc99089fcdf3d7a9d85e11e430ab83a8dceb755dc"


def example() -> str:
    (found,) = code(PAGE, "toml")
    return found


def block_with(part: str) -> str:
    (block,) = [block for block in commands(PAGE) if part in block]
    return block


def test_example_of_the_access_file_gives_the_rights_that_it_shows():
    rules = AccessRules.parse(example())
    token = rules.tokens["ci"]
    assert {Right.READ, Right.WRITE} == rules.rights(token, "builds")
    assert {Right.READ} == rules.rights(token, "default")
    assert {Right.READ} == rules.rights(None, "builds")
    assert set(Right) == rules.rights(rules.tokens["operator"], "builds")
    assert datetime(2027, 3, 1, tzinfo=UTC).timestamp() == token.expires
    builds = rules.buckets["builds"]
    assert (50 << 30, 10**6, 30 * 86400) == (builds.quota, builds.max_files, builds.expire)
    assert {"https://app.example"} == builds.cors


def test_example_of_the_access_file_has_each_key():
    keys = set(re.findall(r"^(\w+) = ", example(), re.MULTILINE))
    assert {field.name for kind in (Token, BucketRules) for field in fields(kind)} - {
        "name",
        "buckets",
    } <= keys


@pytest.mark.needs("openssl")
def test_links_of_openssl_are_those_of_the_package(tmp_path):
    secret = make_secret()
    printed = run_in(str(tmp_path), f"TOKEN={secret} HASH={HASH}\n{block_with('openssl')}").strip()
    path, _, query = printed.removeprefix("http://localhost:9000").partition("?")
    assert f"/buckets/builds/files/{HASH}" == path
    (expires,) = re.findall(r"&expires=(\d+)&", query)
    assert sign(secret, path.encode(), int(expires)) == query
