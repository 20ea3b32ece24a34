"""Two daemons on one object store with an access file: buckets, quotas and expiry hold for both."""

import concurrent.futures
import hashlib
import os

import pytest
import requests

from tests.balanced_daemons import start_on_engine
from tests.daemon_process import TIMEOUT, until
from tests.seaweedfs import NEEDS

pytestmark = [NEEDS, pytest.mark.slow]

QUOTA_BYTES = 1 << 20
FILE_BYTES = 64 << 10

ACCESS = f"""
[buckets.small]
quota = {QUOTA_BYTES}
public = ["read", "write", "delete", "list"]
[buckets.short]
expire = "4 s"
public = ["read", "write", "list"]
[buckets.other]
public = ["read", "write", "list"]
"""


@pytest.fixture(scope="module")
def daemons(seaweedfs, tmp_path_factory):
    """Two daemons on one prefix, with one access file."""
    access = tmp_path_factory.mktemp("access") / "access.toml"
    access.write_text(ACCESS)
    access.chmod(0o600)
    prefix, started = seaweedfs.make_prefix(), []
    for name in ("first", "second"):
        directory = str(tmp_path_factory.mktemp("daemons") / name)
        start_on_engine(prefix, directory, started, "--workers", "1", "--access", str(access))
    yield started
    for running in started:
        running.end()


def bucket(daemon, name):
    return f"{daemon.url}buckets/{name}/"


def upload(url, data):
    return requests.post(url, data=data, timeout=TIMEOUT)


def usage(daemon, name):
    found = requests.get(f"{bucket(daemon, name)}usage", timeout=TIMEOUT).json()
    return found["files"], found["bytes"]


def test_a_bucket_is_a_prefix_of_its_own_for_both_daemons(daemons):
    first, second = daemons
    digest = hashlib.sha256(b"here").hexdigest()
    assert 404 == requests.get(f"{bucket(second, 'other')}files/{digest}", timeout=TIMEOUT).status_code
    assert (0, 0) == usage(second, "other")
    assert digest == upload(bucket(first, "other"), b"here").text
    assert b"here" == requests.get(f"{bucket(second, 'other')}files/{digest}", timeout=TIMEOUT).content
    assert 404 == requests.get(f"{bucket(second, 'short')}files/{digest}", timeout=TIMEOUT).status_code
    listed = requests.get(f"{bucket(second, 'other')}files/", timeout=TIMEOUT).json()
    assert [(digest, 4)] == [(each["hash"], each["size"]) for each in listed["files"]]


def test_uploads_to_both_daemons_keep_one_quota(daemons):
    for daemon in daemons:  # both have counted before uploads are in flight, so the figure is exact
        assert 200 == upload(bucket(daemon, "small"), b"first").status_code
    contents = [os.urandom(FILE_BYTES) for _ in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        urls = [bucket(daemons[number % 2], "small") for number in range(len(contents))]
        statuses = [answer.status_code for answer in pool.map(upload, urls, contents)]
    stored = statuses.count(200)
    assert {200, 507} == set(statuses)
    assert (QUOTA_BYTES - len(b"first")) // FILE_BYTES == stored
    expected = (stored + 1, stored * FILE_BYTES + len(b"first"))
    for daemon in daemons:
        until(lambda daemon=daemon: usage(daemon, "small") == expected, "both agree")


def test_file_expires_by_the_clock_of_the_service(daemons):
    first, second = daemons
    kept = hashlib.sha256(b"short").hexdigest()
    upload(bucket(first, "other"), b"short")
    upload(bucket(first, "short"), b"short")
    until(lambda: usage(second, "short") == (0, 0), "it has expired")
    assert 404 == requests.get(f"{bucket(first, 'short')}files/{kept}", timeout=TIMEOUT).status_code
    assert 200 == requests.get(f"{bucket(first, 'other')}files/{kept}", timeout=TIMEOUT).status_code
