"""The same wire whatever names the files: a daemon for each algorithm, the former default among them."""

import base64
import hashlib
import json

import pytest

from filestored.digest import ALGORITHMS, algorithm
from tests.http_clients.raw_socket import FORM, JSON, RAW, ask, form
from tests.storage.md5_collision import COLLIDING
from tests.wire_contract.servers import serve

SPELLINGS = pytest.mark.parametrize("spelling", ["/?file_hash={}", "/?hash={}", "/files/{}"])
KEYS = {"sha256": "sha-256", "sha512": "sha-512"}
"""Names of RFC 9530 for the algorithms that it knows and has not deprecated."""


@pytest.fixture(scope="module", params=ALGORITHMS)
def own(request):
    """The algorithm of the store."""
    return algorithm(request.param)


@pytest.fixture(scope="module")
def served(request, own, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp(own.name))
    with serve(request, request.param, directory, "--hash", own.name) as served:
        yield served


@pytest.fixture
def name_of(own):
    """A function that answers the name of some bytes."""

    def name_of(content):
        hasher = own.new()
        hasher.update(content)
        return hasher.digest().hex()

    return name_of


@pytest.fixture
def stored(port, fresh, name_of):
    """The name and the bytes of a file that is stored."""
    content = fresh()
    answer = ask(port, "POST", "/", RAW, body=content)
    assert (200, name_of(content)) == (answer.status, answer.body.decode())
    return name_of(content), content


def test_a_form_and_a_raw_body_are_answered_the_same_hash(port, stored):
    name, content = stored
    answer = ask(port, "POST", "/", FORM, body=form(content))
    assert (200, name.encode()) == (answer.status, answer.body)


def test_json_names_the_algorithm(port, own, fresh, name_of):
    content = fresh()
    told = json.loads(ask(port, "POST", "/", RAW, JSON, body=content).body)
    assert {
        "hash": name_of(content),
        "algorithm": own.name,
        "size": len(content),
        "created": True,
        "url": f"/files/{name_of(content)}",
    } == told


def test_the_digest_is_told_where_the_rfc_has_a_key_for_it(port, own, fresh, name_of):
    content = fresh()
    value = base64.b64encode(bytes.fromhex(name_of(content))).decode()
    expected = f"{KEYS[own.name]}=:{value}:" if own.name in KEYS else None
    assert expected == ask(port, "POST", "/", RAW, body=content).fields.get("repr-digest")


@SPELLINGS
def test_a_file_is_read_under_its_hash_which_is_its_tag(port, stored, spelling):
    name, content = stored
    got = ask(port, "GET", spelling.format(name))
    assert (200, content, f'"{name}"') == (got.status, got.body, got.fields["etag"])
    asked = ask(port, "HEAD", spelling.format(name))
    assert (200, b"", f'"{name}"') == (asked.status, asked.body, asked.fields["etag"])


def test_the_tag_decides_conditions(port, stored):
    name, content = stored
    assert 304 == ask(port, "GET", f"/files/{name}", f'If-None-Match: "{name}"').status
    part = ask(port, "GET", f"/files/{name}", f'If-Range: "{name}"', "Range: bytes=3-")
    assert (206, content[3:]) == (part.status, part.body)


@SPELLINGS
def test_a_file_is_deleted_under_its_hash(port, stored, spelling, files):
    target = spelling.format(stored[0])
    assert [200, 404] == [ask(port, "DELETE", target).status for _ in range(2)]
    assert 404 == ask(port, "GET", target).status
    assert stored[0] not in files()


def test_a_put_is_201_then_200(port, fresh, name_of):
    content = fresh()
    target = f"/files/{name_of(content)}"
    assert [201, 200] == [ask(port, "PUT", target, body=content).status for _ in range(2)]
    assert content == ask(port, "GET", target).body


def test_a_put_of_other_bytes_is_422_and_stores_nothing(port, fresh, name_of, files):
    before = files()
    assert 422 == ask(port, "PUT", f"/files/{name_of(fresh())}", body=fresh()).status
    assert before == files()


def test_a_digest_sent_along_is_checked_beside_the_name(port, fresh, files):
    content = fresh()
    right, wrong = (
        f"Content-Digest: sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
        for data in (content, content + b"!")
    )
    before = files()
    assert 422 == ask(port, "POST", "/", RAW, wrong, body=content).status
    assert before == files()
    assert 200 == ask(port, "POST", "/", RAW, right, body=content).status


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_a_name_of_another_length_is_400(port, own, method):
    body = b"" if method == "PUT" else None
    for digits in {32, 40, 64, 128} - {2 * own.size}:
        assert 400 == ask(port, method, f"/files/{'0' * digits}", body=body).status


def test_files_that_collide_in_md5_are_refused_there_and_two_elsewhere(port, own):
    statuses = [ask(port, "POST", "/", RAW, body=content).status for content in COLLIDING]
    assert [200, 409 if own.name == "md5" else 200] == statuses
