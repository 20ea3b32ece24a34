"""Expiry of the files of a bucket, on a real daemon with two workers."""

import hashlib
import os
import time

import requests

from tests.daemon_process import until
from tests.storage.contract import HELLO

ACCESS = """
[buckets.builds]
expire = "2 s"
public = ["read", "write"]
[buckets.default]
public = ["read", "write"]
"""
DOWNLOADED = os.urandom(1 << 20) * 16
RENEWED_SECONDS = 3.5
"""Longer than the expiry and the interval of the sweeps."""


def upload(url, data):
    """Upload; return the URL of the file."""
    answer = requests.post(url, data=data, timeout=30)
    assert 200 == answer.status_code
    return f"{url}files/{hashlib.sha256(data).hexdigest()}"


def status(file):
    return requests.get(file, timeout=30).status_code


def test_file_is_kept_while_it_is_uploaded_again_and_deleted_afterwards(start_daemon, tmp_path):
    access = tmp_path / "access.toml"
    access.write_text(ACCESS)
    access.chmod(0o600)
    daemon = start_daemon("--workers", "2", "--access", str(access))
    builds = daemon.url + "buckets/builds/"
    large, kept, other = upload(builds, DOWNLOADED), upload(builds, HELLO), upload(daemon.url, HELLO)
    with requests.get(large, stream=True, timeout=30) as download:
        received = download.raw.read(1000)
        end = time.monotonic() + RENEWED_SECONDS
        while time.monotonic() < end:
            assert kept == upload(builds, HELLO)
            assert HELLO == requests.get(kept, timeout=30).content
            time.sleep(0.2)
        until(lambda: 404 == status(large), "the file that was not uploaded again has expired")
        assert DOWNLOADED == received + download.raw.read()
    until(lambda: 404 == status(kept), "the other file has expired, too")
    assert 200 == status(other)
    until(lambda: "deleted 1 file of the bucket builds that expired" in daemon.log, "it is logged")
    assert kept == upload(builds, HELLO)
    assert 200 == status(kept)
