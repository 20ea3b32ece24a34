"""Directories of buckets that were removed, or replaced: only their bucket is affected."""

import hashlib
import pathlib
import shutil

import pytest
import requests

from tests.access.wire.access_files import write_access
from tests.daemon_process import TIMEOUT, start

ACCESS = """
[buckets.file]
public = ["read", "write", "list"]
[buckets.link]
public = ["read", "write", "list"]
[buckets.default]
public = ["read", "write"]
[buckets.one]
public = ["read", "write", "list"]
[buckets.two]
public = ["read", "write", "list"]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A daemon with two buckets besides the default one."""
    directory, started = tmp_path_factory.mktemp("daemon"), []
    access = write_access(str(directory / "access.toml"), ACCESS)
    running = start(str(directory), started, "--workers", "1", "--access", access)
    running.buckets = pathlib.Path(running.store, "buckets")
    yield running
    running.end()


def upload(daemon, path, data):
    return requests.post(daemon.url + path, data=data, timeout=TIMEOUT).status_code


def usage(daemon, name):
    answer = requests.get(f"{daemon.url}buckets/{name}/usage", timeout=TIMEOUT)
    return answer.status_code, answer.json().get("files")


def test_removed_directory_is_made_again_and_concerns_no_other_bucket(daemon):
    assert [200] * 2 == [upload(daemon, f"buckets/{name}/", b"first") for name in ("one", "two")]
    shutil.rmtree(daemon.buckets / "one")
    assert upload(daemon, "buckets/one/", b"second") in (200, 503)
    assert [200] * 2 == [upload(daemon, path, b"third") for path in ("", "buckets/two/")]
    assert 200 == upload(daemon, "buckets/one/", b"fourth")
    assert (200, 2) == usage(daemon, "two")
    assert 200 == requests.get(daemon.url + "health", timeout=TIMEOUT).status_code


@pytest.mark.parametrize("name", ["file", "link"])
def test_bucket_that_is_no_directory_is_an_error_and_not_empty(daemon, name):
    assert 200 == upload(daemon, "buckets/two/", b"first")
    (daemon.buckets / "file").write_text("no directory")
    (daemon.buckets / "link").unlink(missing_ok=True)
    (daemon.buckets / "link").symlink_to("two")
    assert 503 == upload(daemon, f"buckets/{name}/", b"second")
    for path in ("usage", "files/", f"files/{hashlib.sha256(b'first').hexdigest()}"):
        answer = requests.get(f"{daemon.url}buckets/{name}/{path}", timeout=TIMEOUT)
        assert 503 == answer.status_code
    assert 200 == upload(daemon, "buckets/two/", b"third")
