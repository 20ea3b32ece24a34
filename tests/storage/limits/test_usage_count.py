"""Usage count: pages, and counts that callers share."""

from twisted.internet.defer import maybeDeferred
from zope.interface.verify import verifyObject

from filestored.interfaces import BucketLimits, IStore, StoredFileInfo, Usage
from filestored.storage.limits import usage_count
from filestored.storage.limits.usage_count import UsageCount, all_entries
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from tests.storage.contract import MD5, Workbench, digest_of, outcome, put, send

CONTENTS = [b"", b"a", b"bc", b"def", b"ghij"]
TOTAL = Usage(5, 10)


def filled():
    backend = MemoryBackend(MD5)
    for data in CONTENTS:
        put(backend, data)
    return backend


def test_all_pages_are_counted(monkeypatch):
    for page in range(1, 7):
        monkeypatch.setattr(usage_count, "PAGE_FILES", page)
        assert TOTAL == usage_count.count_usage(filled())


def test_entries_of_all_pages_are_in_order(monkeypatch):
    monkeypatch.setattr(usage_count, "PAGE_FILES", 2)
    expected = sorted((digest_of(data) for data in CONTENTS), key=str)
    assert expected == [each.digest for each in all_entries(filled())]


def test_usage_of_an_empty_store_is_zero(backend):
    assert Usage(0, 0) == outcome(Store(backend, MD5, maybeDeferred).usage())


def test_usage_is_that_of_the_stored_files(backend):
    store = Store(backend, MD5, maybeDeferred)
    for data in CONTENTS:
        outcome(send(store, data))
    outcome(send(store, CONTENTS[-1]))
    assert TOTAL == outcome(store.usage())
    assert outcome(store.delete(digest_of(b"def")))
    assert Usage(4, 7) == outcome(store.usage())
    assert verifyObject(IStore, store)


def test_caller_that_joins_waits_for_a_count_that_begins_after_it():
    bench, backend = Workbench(), filled()
    count = UsageCount(backend, bench)
    first = count.count()
    assert 1 == len(bench.jobs)
    put(backend, b"later")
    joined = [count.count(), count.count()]
    assert 1 == len(bench.jobs)
    bench.do_one()
    assert TOTAL._replace(files=6, bytes=15) == outcome(first)
    assert [False, False] == [each.called for each in joined]
    put(backend, b"later still")
    assert 1 == len(bench.jobs)
    bench.do_one()
    assert [Usage(7, 26)] * 2 == [outcome(each) for each in joined]
    assert [] == list(bench.jobs)


def test_error_of_a_count_fails_its_callers_only():
    bench, backend = Workbench(), filled()
    count = UsageCount(backend, bench)
    failing = count.count()
    backend.entries, working = None, backend.entries
    bench.do_one()
    backend.entries = working
    assert isinstance(outcome(failing), TypeError)
    later = count.count()
    bench.do_one()
    assert TOTAL == outcome(later)


def test_list_of_a_store_has_pages(backend):
    store = Store(backend, MD5, maybeDeferred)
    for data in CONTENTS:
        put(backend, data)
    first = outcome(store.entries(limit=3))
    rest = outcome(store.entries(first[-1].digest, 3))
    assert sorted((digest_of(data).hex, len(data)) for data in CONTENTS) == [
        (each.digest.hex, each.size) for each in [*first, *rest]
    ]
    assert (3, 2) == (len(first), len(rest))
    assert isinstance(first[0], StoredFileInfo)


def test_store_without_a_limited_backend_has_no_limits_to_set():
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred)
    assert store.set_limits(BucketLimits()) is None
    assert isinstance(outcome(maybeDeferred(store.set_limits, BucketLimits(1))), TypeError)
