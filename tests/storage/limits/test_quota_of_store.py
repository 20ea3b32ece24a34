"""Quota of a store: refusals before the body, during it and at its end; uploads that wait for the ledger."""

import errno

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.logger import capturedLogs

from filestored.errors import NotFound, QuotaExceeded, StorageFull
from filestored.interfaces import INLINE_HASH_MAX_BYTES, BucketLimits, UploadResult, Usage
from filestored.storage.health import Health
from filestored.storage.limits.disk_usage import DiskUsage
from filestored.storage.limits.limited_backend import LimitedBackend
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.storage.threads import IOThreads
from filestored.web.errors import http_error_for
from tests.storage.contract import HELLO, MD5, Workbench, digest_of, outcome, put, send

LARGE = b"x" * (INLINE_HASH_MAX_BYTES + 1)


@pytest.fixture
def limited(tmp_path):
    backend = LimitedBackend(MemoryBackend(MD5), lambda inner: DiskUsage(str(tmp_path), inner))
    yield backend
    backend.close()


@pytest.fixture
def store(limited):
    """A store whose jobs are done at once, with a quota of 100,000 bytes and 3 files; its ledger is open."""
    store = Store(limited, MD5, maybeDeferred)
    store.set_limits(BucketLimits(quota_bytes=100_000, quota_files=3))
    limited.open_ledger()
    return store


def test_quota_is_507_and_its_text_names_it(store):
    with pytest.raises(QuotaExceeded) as caught:
        store.upload(length=100_001)
    answer = http_error_for(caught.value)
    assert (507, True) == (answer.status, "100,000 bytes" in str(answer))


def test_quota_leaves_the_health_of_the_store_unchanged():
    health = Health()
    error = QuotaExceeded.of_bytes(5)
    assert (error, error) == (health.classify(error), health.classify_read(error))
    assert health.degraded is None
    assert isinstance(error, StorageFull)


ADMISSION = {
    "fits": ([], 100_000, None),
    "announced length exceeds": ([], 100_001, "bytes"),
    "unknown length": ([b"x" * 99_999], None, None),
    "unknown length in a full bucket": ([b"x" * 100_000], None, "bytes"),
    "empty file in a full bucket": ([b"x" * 100_000], 0, None),
    "less room than announced": ([b"x" * 99_999], 2, "bytes"),
    "files used up": ([b"1", b"2", b"3"], 1, "3 files"),
    "files used up, length unknown": ([b"1", b"2", b"3"], None, "3 files"),
    "last file": ([b"1", b"2"], 1, None),
}


@pytest.mark.parametrize("case", ADMISSION)
def test_upload_is_admitted_by_what_is_left(store, limited, case):
    stored, length, refusal = ADMISSION[case]
    for data in stored:
        put(limited, data)
    if refusal is None:
        store.upload(length=length).abort()
    else:
        with pytest.raises(QuotaExceeded, match=refusal):
            store.upload(length=length)
        if length is not None and length <= INLINE_HASH_MAX_BYTES:
            with pytest.raises(QuotaExceeded, match=refusal):
                store.put(b"x" * length)
    assert 0 == store.uploads_in_flight


def test_upload_that_exceeds_the_whole_quota_is_refused_before_the_ledger_is_open(limited):
    store = Store(limited, MD5, maybeDeferred)
    store.set_limits(BucketLimits(quota_bytes=100_000))
    with pytest.raises(QuotaExceeded):
        store.upload(length=100_001)
    assert limited.needs_ledger
    store.upload(length=100_000).abort()


def test_upload_is_refused_as_soon_as_it_exceeds_the_quota(store):
    """A body without a length: the write after the piece that does not fit raises."""
    upload = store.upload()
    written: list[int] = []

    def write_all() -> None:
        for _ in range(100):
            upload.write(LARGE)
            written.append(len(LARGE))

    with pytest.raises(QuotaExceeded):
        write_all()
    assert sum(written) < 600_000
    upload.abort()
    assert (0, Usage(0, 0)) == (store.uploads_in_flight, outcome(store.usage()))


def test_upload_is_refused_when_others_have_used_up_what_was_left(store, limited):
    upload = store.upload(length=90_000)
    upload.write(b"x" * 90_000)
    outcome(send(store, b"y" * 20_000))
    assert isinstance(outcome(upload.commit()), QuotaExceeded)
    assert Usage(1, 20_000) == outcome(store.usage())


@pytest.mark.parametrize("data", [HELLO, LARGE])
def test_content_that_is_stored_needs_no_room(store, data):
    """Its length is not announced, so it is not refused before its digest is known."""
    outcome(send(store, data))
    store.set_limits(BucketLimits(quota_bytes=2 * len(data)))
    assert UploadResult(digest_of(data), len(data), False) == outcome(send(store, data))


def test_refused_upload_does_not_fail_its_batch(limited):
    bench = Workbench()
    store = Store(limited, MD5, bench)
    store.set_limits(BucketLimits(quota_bytes=5))
    limited.open_ledger()
    answers = [store.put(data) for data in (b"1234", b"56", b"7", b"89")]
    bench.do_all()
    kinds = [type(outcome(each)) for each in answers]
    assert [UploadResult, QuotaExceeded, UploadResult, QuotaExceeded] == kinds
    assert store.degraded is None
    assert (0, Usage(2, 5)) == (store.uploads_in_flight, usage_of(store, bench))


def usage_of(store, bench) -> Usage:
    answer = store.usage()
    bench.do_all()
    return outcome(answer)


@pytest.fixture
def benches():
    """Workbenches of each kind of job."""
    return IOThreads(*(Workbench() for _ in range(7)))


def test_uploads_wait_for_the_ledger_in_the_reactor(limited, benches):
    """No thread that other buckets need waits for the count."""
    store = Store(limited, MD5, benches)
    store.set_limits(BucketLimits(quota_bytes=len(LARGE) + 5))
    small, large = store.put(HELLO), send(store, LARGE)
    benches.write.do_all()
    assert (1, 0, 0) == tuple(len(each.jobs) for each in (benches.list, benches.commit, benches.seal))
    assert limited.needs_ledger
    benches.list.do_one()
    assert (0, 1, 1) == tuple(len(each.jobs) for each in (benches.list, benches.commit, benches.seal))
    for _ in range(3):
        for each in (benches.seal, benches.commit, benches.write):
            each.do_all()
    assert [True, True] == [outcome(each).created for each in (small, large)]


def test_deletion_waits_for_the_ledger(limited, benches):
    put(limited, HELLO)
    store = Store(limited, MD5, benches)
    store.set_limits(BucketLimits(quota_bytes=5))
    deleted = store.delete(digest_of(HELLO))
    assert (1, 0) == (len(benches.list.jobs), len(benches.write.jobs))
    for each in (benches.list, benches.write, benches.commit):
        each.do_all()
    assert outcome(deleted)
    assert Usage(0, 0) == limited.recorded_usage()


def test_ledger_that_cannot_be_opened_refuses_uploads_and_allows_deletions(limited, monkeypatch):
    put(limited, HELLO)
    store = Store(limited, MD5, maybeDeferred)
    store.set_limits(BucketLimits(quota_bytes=100_000))

    def fail(*_):
        raise OSError(errno.ENOSPC, "planted")

    monkeypatch.setattr(limited._ledger, "_open_file", fail)
    with capturedLogs():
        assert isinstance(outcome(store.put(b"small")), StorageFull)
        assert isinstance(outcome(send(store, LARGE)), StorageFull)
        assert outcome(store.delete(digest_of(HELLO)))
    assert (None, 0) == (store.degraded, store.uploads_in_flight)
    with pytest.raises(NotFound):
        limited.describe(digest_of(HELLO))


def test_usage_comes_from_the_ledger(store, limited, monkeypatch):
    outcome(send(store, HELLO))
    monkeypatch.setattr(limited._backend, "entries", None)
    assert Usage(1, 5) == outcome(store.usage())


def test_usage_is_counted_while_no_ledger_is_open(limited):
    store = Store(limited, MD5, maybeDeferred)
    store.set_limits(BucketLimits(quota_bytes=100))
    put(limited._backend, HELLO)
    assert limited.needs_ledger
    assert Usage(1, 5) == outcome(store.usage())
    assert limited.needs_ledger


def test_limits_may_change_during_an_upload(store):
    upload = store.upload(length=100_000)
    upload.write(LARGE)
    store.set_limits(BucketLimits(quota_bytes=len(LARGE)))
    upload.write(b"x" * (100_000 - len(LARGE)))
    assert isinstance(outcome(upload.commit()), QuotaExceeded)
    store.set_limits(BucketLimits())
    assert outcome(send(store, b"y" * 200_000)).created
