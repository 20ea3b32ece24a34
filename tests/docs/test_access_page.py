"""The page on access: its example of an access file is valid, and its commands run."""

import hashlib
import json
import re
from dataclasses import fields
from datetime import UTC, datetime

import pytest
import requests

from filestored.access.rules import AccessRules, BucketRules, Right, Token
from filestored.access.signed_links import sign
from filestored.access.tokens import has_checksum, make_secret, sha256_of
from tests.daemon_process import TIMEOUT
from tests.docs.pages import code, commands, run, run_in

PAGE = "docs/access.md"
HASH = hashlib.sha256(b"Hello, bucket\n").hexdigest()


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


def first_line(block: str) -> str:
    return block.splitlines()[0]


def checked(block: str) -> str:
    """Return the commands of a block, of which curl fails where the status is an error."""
    return block.replace("curl ", "curl -sS --fail ")


@pytest.mark.needs("curl")
@pytest.mark.needs("openssl")
def test_commands_of_the_page_store_list_and_sign(start_daemon, tmp_path):
    secret = run_in(
        str(tmp_path),
        first_line(block_with("token add ci --access access.toml --bucket builds=read,write,list")),
    ).strip()
    daemon = start_daemon("--workers", "1", "--access", str(tmp_path / "access.toml"))
    variables = f"TOKEN={secret} HASH={HASH}\n"
    blocks = [block for block in commands(PAGE) if "http://localhost:9000" in block]
    assert 4 == len(blocks)
    printed = run(variables + "\n".join(map(checked, blocks)), daemon)
    assert printed.startswith(HASH)
    assert "Hello, bucket\n" == (tmp_path / HASH).read_text()
    page, line, counted, *links = printed.removeprefix(HASH).splitlines()
    listed, entry, usage = map(json.loads, (page, line, counted))
    assert [entry] == listed["files"]
    assert (HASH, 14) == (entry["hash"], entry["size"])
    assert ("builds", 1, 14) == (usage["bucket"], usage["files"], usage["bytes"])
    assert 2 == len(links)
    for link in links:
        assert b"Hello, bucket\n" == requests.get(link, timeout=TIMEOUT).content
        assert 401 == requests.get(link.partition("?")[0], timeout=TIMEOUT).status_code


def test_commands_of_the_page_add_list_and_revoke_tokens(tmp_path):
    secret, *listed = run_in(
        str(tmp_path), block_with("token revoke web --access access.toml\n")
    ).splitlines()
    assert has_checksum(secret)
    assert any("web" in line for line in listed)
    assert {} == AccessRules.parse((tmp_path / "access.toml").read_text()).tokens


def test_hash_of_configuration_management_is_that_of_the_package(tmp_path):
    secret = make_secret()
    printed = run_in(str(tmp_path), f"TOKEN={secret}\n{block_with('sha256sum | cut')}")
    assert sha256_of(secret).hex() == printed.strip()
