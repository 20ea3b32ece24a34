"""Two daemons on one object store: each answers at once what the other has deleted, stored or renewed."""

import hashlib
import os

import pytest
import requests

from tests.balanced_daemons import start_on_engine
from tests.daemon_process import TIMEOUT
from tests.images.image_client import Client, png
from tests.seaweedfs import NEEDS

pytestmark = [NEEDS, pytest.mark.slow]

SIZES = {"small": 100, "a large one": 300_000, "a stream": 3_000_000}
REQUESTS = {
    "GET": ("GET", {}),
    "HEAD": ("HEAD", {}),
    "a range": ("GET", {"Range": "bytes=10-19"}),
    "several ranges": ("GET", {"Range": "bytes=10-19,30-39"}),
    "a tag": ("GET", {"If-None-Match": "*"}),
    "a range of the tag": ("GET", {"Range": "bytes=10-19", "If-Range": "{tag}"}),
}
"""Requests that read a file, each of which may be answered from the response cache the second time."""


@pytest.fixture(scope="module")
def daemons(seaweedfs, tmp_path_factory):
    """Two daemons on one prefix."""
    prefix, started = seaweedfs.make_prefix(), []
    for name in ("first", "second"):
        directory = str(tmp_path_factory.mktemp("daemons") / name)
        start_on_engine(prefix, directory, started, "--workers", "1")
    yield started
    for running in started:
        running.end()


@pytest.fixture
def ask():
    """A function that sends a request on a connection which is kept for each daemon."""
    with requests.Session() as session:

        def ask(daemon, digest, request="GET"):
            method, fields = REQUESTS.get(request, (request, {}))
            fields = {name: value.format(tag=f'"{digest}"') for name, value in fields.items()}
            return session.request(method, f"{daemon.url}files/{digest}", headers=fields, timeout=TIMEOUT)

        yield ask


def store(daemon, data):
    answer = requests.put(f"{daemon.url}files/{hashlib.sha256(data).hexdigest()}", data=data, timeout=TIMEOUT)
    assert 201 == answer.status_code
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_file_deleted_by_one_daemon_is_404_at_the_other_for_each_request(daemons, ask, size):
    first, second = daemons
    digest = store(first, os.urandom(SIZES[size]))
    for _ in range(3):
        statuses = [ask(second, digest, request).status_code for request in REQUESTS]
        assert [200, 200, 206, 206, 304, 206] == statuses
    assert 200 == ask(first, digest, "DELETE").status_code
    assert {404} == {ask(second, digest, request).status_code for request in [*REQUESTS, "DELETE"]}
    assert {404} == {ask(first, digest, request).status_code for request in REQUESTS}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_first_request_after_the_delete_is_404(daemons, ask, request_name):
    first, second = daemons
    data = os.urandom(100)
    for _ in range(20):
        digest = store(first, data)
        assert {True} == {ask(second, digest, request_name).status_code < 400 for _ in range(3)}
        assert 200 == ask(first, digest, "DELETE").status_code
        assert 404 == ask(second, digest, request_name).status_code


def test_file_stored_by_one_daemon_is_served_by_the_other_that_had_none(daemons, ask):
    first, second = daemons
    for number in range(20):
        data = os.urandom(100) * (1 + number * 1000)
        digest = hashlib.sha256(data).hexdigest()
        assert 404 == ask(second, digest).status_code
        assert digest == store(first, data)
        assert data == ask(second, digest).content


def test_download_during_a_delete_has_all_bytes_or_no_end(daemons, ask):
    first, second = daemons
    data = os.urandom(32 << 20)
    digest = store(first, data)
    with requests.get(f"{second.url}files/{digest}", stream=True, timeout=TIMEOUT) as answer:
        pieces = [next(answer.iter_content(1000))]
        assert 200 == ask(first, digest, "DELETE").status_code
        try:
            pieces += answer.iter_content(1 << 20)
        except requests.exceptions.ChunkedEncodingError:
            assert len(b"".join(pieces)) < len(data)
        else:
            assert data == b"".join(pieces)
    assert data.startswith(b"".join(pieces))


def test_image_deleted_by_one_daemon_is_404_at_the_other_with_its_thumbnails(daemons):
    first, second = daemons
    client = Client(first, "deleter")
    identity = client.upload("cat.png", png(300)).json()["File ID"]
    other = Client.of(second, client.token)
    paths = [f"get-image/{identity}/", f"get-image/{identity}/?width=50"]
    assert [200, 200] * 2 == [other.call("GET", path).status_code for path in paths * 2]
    assert 200 == client.call("DELETE", f"delete-image/{identity}/").status_code
    assert [404, 404] == [other.call("GET", path).status_code for path in paths]
    assert {} == other.list_images()


def test_token_renewed_by_one_daemon_is_unknown_at_the_other(daemons):
    first, second = daemons
    client = Client(first, "renewer")
    other = Client.of(second, client.token)
    assert {} == other.list_images()
    client.token = client.call("POST", "regenerate-token/").json()["token"]
    assert 401 == other.call("GET", "get-image-list/").status_code
    assert 401 == other.upload("cat.png", png()).status_code
    other.token = client.token
    assert {} == other.list_images()
