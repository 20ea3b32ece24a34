"""The algorithm of a store: chosen once, when it is made, and asked for ever after."""

import json
import os
from hashlib import md5, sha256

import pytest
import requests

from tests.daemon_process import TIMEOUT, read, run

HELLO, LATER = b"hello", b"later"
OF_0_1_0 = '{"format": 1, "hash": "md5", "id": "4bb1c6b5-6c8e-4d55-9b0a-8d1f6f2f8a3e"}\n'
"""The FORMAT of a store that version 0.1.0 has made, which named files by md5 unless told otherwise."""


@pytest.fixture
def former(tmp_path):
    """The store of a daemon of version 0.1.0 that was started without ``--hash``, with a file in it."""
    name = md5(HELLO).hexdigest()
    store = tmp_path / "store"
    for folder in (f"{number:02x}" for number in range(256)):
        (store / folder).mkdir(mode=0o700, parents=True)
    for path, content in ((store / "FORMAT", OF_0_1_0.encode()), (store / name[:2] / name, HELLO)):
        path.write_bytes(content)
        path.chmod(0o440)
    (store / "quarantine").mkdir(mode=0o700)
    store.chmod(0o700)
    return str(store)


def upload(daemon, content):
    return requests.post(daemon.url, data=content, timeout=TIMEOUT).text


def stored(daemon, name):
    return requests.get(f"{daemon.url}files/{name}", timeout=TIMEOUT).content


def test_a_new_store_is_named_by_sha256(daemon):
    assert sha256(HELLO).hexdigest() == upload(daemon, HELLO)
    assert "sha256" == json.loads(read(os.path.join(daemon.store, "FORMAT")))["hash"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_of_version_0_1_0_is_served_and_stays_as_it_is(start_daemon, former, workers):
    for content in (HELLO, LATER):  # the second time as a store that this version has written into
        daemon = start_daemon("--workers", workers)
        assert HELLO == stored(daemon, md5(HELLO).hexdigest())
        assert md5(content).hexdigest() == upload(daemon, content)
        daemon.end()
    assert OF_0_1_0 == read(os.path.join(former, "FORMAT"))
    names = {name for _, _, names in os.walk(former) for name in names}
    assert {"FORMAT", md5(HELLO).hexdigest(), md5(LATER).hexdigest()} == names


def test_hash_option_may_name_the_hash_of_an_old_store(start_daemon, former):
    assert HELLO == stored(start_daemon("--workers", "1", "--hash", "md5"), md5(HELLO).hexdigest())


def test_hash_option_that_differs_from_the_store_is_refused(former, tmp_path):
    done = run("-n", "filestored", "--store", former, "--hash", "sha256", cwd=str(tmp_path))
    reason = "its files are named by md5, not by sha256 as --hash asks"
    assert (1, f"filestored: the store {former} cannot be used: {reason}\n") == (done.returncode, done.stderr)
    assert OF_0_1_0 == read(os.path.join(former, "FORMAT"))
