"""Race of uploads and sweeps: no acknowledged upload is lost, on a disk and in object stores."""

import os
import time

import pytest

from filestored.digest import algorithm
from filestored.errors import EngineError
from filestored.storage.limits.object_expiry import GRANULARITY_SECONDS
from filestored.storage.thread_pool import in_parallel
from tests.storage.contract import digest_of, put, read
from tests.storage.object_stores import ENGINES, open_backend, opened_client

ROUNDS = 200
FILES = 12
OLD, BEFORE = 1_000.0, 2_000.0
SHA256 = algorithm("sha256")


@pytest.mark.parametrize("deletes", [False, True])
def test_race_on_a_disk_loses_no_acknowledged_upload(disk, place, limit, deletes):
    """One of the uploads may begin with a DELETE request."""
    data = os.urandom(1000)
    digest = digest_of(data)
    limited = limit(disk, expire=1.0)
    path = f"{place}/{digest.shard}/{digest.hex}"

    def sweep():
        disk.delete_expired(digest, BEFORE)

    def upload():
        if deletes:
            disk.delete(digest)
        put(limited, data)

    lost = 0
    for _ in range(ROUNDS):
        put(disk, data)
        os.utime(path, (OLD, OLD))
        in_parallel(lambda actor: actor(), [sweep, upload, sweep], 3)
        lost += not (os.path.exists(path) and os.stat(path).st_mtime > OLD)
    assert 0 == lost


@pytest.fixture(params=ENGINES)
def store(request, tmp_path):
    """An empty object store, and the time after which two objects have different times there."""
    with opened_client(request) as client:
        pause = GRANULARITY_SECONDS + 0.1 if request.param == "SeaweedFS" else 0.001
        yield open_backend(client, SHA256, str(tmp_path)), pause


def test_race_in_an_object_store_loses_no_acknowledged_upload(store, limit):
    backend, pause = store
    limited = limit(backend, expire=1.0)
    contents = [b"%d" % number * 100 for number in range(FILES)]
    digests = [SHA256.digest(data) for data in contents]
    for data, digest in zip(contents, digests, strict=True):
        put(backend, data, digest)
    before = max(backend.describe(digest).modified for digest in digests) + pause / 2
    time.sleep(pause)
    acknowledged = set()

    def act(number):
        data, digest = contents[number % FILES], digests[number % FILES]
        try:
            if number // FILES % 2:
                backend.delete_expired(digest, before)
            else:
                put(limited, data, digest)
                acknowledged.add(digest)
        except EngineError:
            pass  # it is not acknowledged

    in_parallel(act, [file + FILES * kind for file in range(FILES) for kind in range(4)], 8)
    assert acknowledged
    assert [] == [digest for digest in acknowledged if SHA256.digest(read(backend, digest)) != digest]
    assert {*acknowledged} <= {*backend.digests(None, 100)}
