"""Buckets of a process: which are opened, and errors of opening them."""

import os

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from filestored.digest import algorithm
from filestored.errors import NotFound, StoreMissing, UnusableStore
from filestored.interfaces import BucketLimits
from filestored.storage.buckets import Buckets, EmptyStore, OpenedStore
from filestored.storage.disk.layout import prepare, prepare_bucket
from filestored.storage.limits.expiry import ExpirySweeper
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.storage.threads import JobCount

OWN = algorithm("sha256")


def unusable(name, *, create):
    raise UnusableStore(f"{name} has no FORMAT")


def make_buckets(open_store, max_open=10):
    backend, clock = MemoryBackend(OWN), Clock()
    default = OpenedStore(Store(backend, OWN, maybeDeferred), backend, JobCount(), None)
    return Buckets(
        clock,
        open_store,
        maybeDeferred,
        EmptyStore(OWN, 1),
        sweeper=ExpirySweeper(clock),
        default=("default", default),
        closing=lambda: None,
        max_open=max_open,
    )


def test_unusable_bucket_with_an_expiry_is_one_line_in_the_log():
    with capturedLogs() as logged:
        make_buckets(unusable).use_limits({"one": BucketLimits(expire=60.0)})
    lines = [event["log_format"].format(**event) for event in logged]
    assert ["the bucket one cannot be opened: one has no FORMAT"] == lines


def test_request_for_an_unusable_bucket_fails():
    opening = make_buckets(unusable).get("one", create=False)
    assert opening.addErrback(lambda failure: failure.type).result is StoreMissing


@pytest.fixture
def store(tmp_path):
    """The path of a store, with a directory of buckets."""
    path = str(tmp_path / "store")
    prepare(path, "sha256")
    os.mkdir(f"{path}/buckets", 0o700)
    return path


def test_missing_bucket_is_not_found(store):
    with pytest.raises(NotFound):
        prepare_bucket(store, "one", OWN, create=False)


def test_bucket_that_cannot_be_read_is_not_an_empty_one(store):
    os.symlink("one", f"{store}/buckets/one")
    with pytest.raises(UnusableStore, match="symbolic links"):
        prepare_bucket(store, "one", OWN, create=False)


def test_file_in_the_place_of_a_bucket_is_not_an_empty_one(store):
    with (
        open(f"{store}/buckets/one", "wb"),
        pytest.raises(UnusableStore, match="one is not a directory; remove it"),
    ):
        prepare_bucket(store, "one", OWN, create=False)


def test_no_more_buckets_stay_open_than_allowed():
    closed = []

    def open_store(name, *, create):
        backend = MemoryBackend(OWN)
        store = Store(backend, OWN, maybeDeferred)
        return OpenedStore(store, backend, JobCount(), lambda: closed.append(name))

    buckets = make_buckets(open_store, max_open=2)
    for name in ("one", "two", "three"):
        buckets.get(name, create=True)
    assert ["one"] == closed
