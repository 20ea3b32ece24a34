"""Limited backend: what fits into a quota, and the recorded usage after each order of events."""

import errno
import os
import random
import threading

import pytest
from zope.interface import implementer, providedBy
from zope.interface.verify import verifyObject

from filestored.errors import Collision, NotFound, QuotaExceeded
from filestored.interfaces import (
    INLINE_HASH_MAX_BYTES,
    BucketLimits,
    IBackend,
    ILimitedBackend,
    IRenewableSink,
    ISink,
    Usage,
)
from filestored.storage.limits.limited_backend import LimitedBackend
from filestored.storage.limits.usage_count import count_usage
from filestored.storage.memory import MemoryBackend, MemorySink
from filestored.storage.thread_pool import in_parallel
from tests.storage.contract import HELLO, MD5, digest_of, put, read
from tests.storage.object_stores import ENGINES, IN_MEMORY

QUOTA = 10

each_backend = pytest.mark.parametrize("backend", ["memory", "disk", IN_MEMORY], indirect=True)


def assert_exact(limited: LimitedBackend, backend: IBackend) -> None:
    """Check that the recorded usage is that of the stored files."""
    assert count_usage(backend) == limited.recorded_usage()


@each_backend
def test_limited_backend_provides_all_interfaces_of_its_backend(backend, limit):
    limited = limit(backend)
    for interface in [*providedBy(backend), IBackend, ILimitedBackend]:
        assert interface.providedBy(limited)
        assert verifyObject(interface, limited)


@each_backend
def test_sink_of_a_limited_backend_provides_its_interface(backend, limit):
    sink = limit(backend).begin()
    assert verifyObject(ISink, sink)
    assert sink.encoding is None
    sink.discard()


@each_backend
def test_reading_calls_the_backend_directly(backend, limit):
    limited = limit(backend, quota_bytes=QUOTA)
    for name in ("open", "describe", "entries", "digests", "flush_names", "free_space"):
        assert getattr(backend, name) == getattr(limited, name)


@each_backend
def test_nothing_is_recorded_without_a_quota(backend, limit, tmp_path):
    limited = limit(backend)
    assert put(limited, HELLO)
    assert HELLO == read(limited, digest_of(HELLO))
    assert limited.delete(digest_of(HELLO))
    assert (None, False, []) == (limited.recorded_usage(), limited.needs_ledger, os.listdir(tmp_path))


SEQUENCES = {
    "it fits to the byte": (["+aaaaa", "+bbbbb"], ["new", "new"], Usage(2, 10)),
    "one byte too many": (["+aaaaa", "+bbbbbb"], ["new", "quota"], Usage(1, 5)),
    "refused at once": (["+aaaaaaaaaaa"], ["quota"], Usage(0, 0)),
    "empty files need no bytes": (["+aaaaaaaaaa", "+"], ["new", "new"], Usage(2, 10)),
    "too many files": (["+a", "+b", "+c", "+"], ["new", "new", "new", "quota"], Usage(3, 3)),
    "stored content again": (["+aaaaaaaaaa", "+aaaaaaaaaa"], ["new", "stored"], Usage(1, 10)),
    "deleted": (["+aaaaaaaa", "+bbb", "-aaaaaaaa", "+bbb"], ["new", "quota", True, "new"], Usage(1, 3)),
    "deleted twice": (["+aaa", "-aaa", "-aaa"], ["new", True, False], Usage(0, 0)),
    "uploaded again": (["+aaa", "-aaa", "+aaa"], ["new", True, "new"], Usage(1, 3)),
    "refused, then smaller": (["+aaaaaaaa", "+bbb", "+cc"], ["new", "quota", "new"], Usage(2, 10)),
}  # fmt: skip


@each_backend
@pytest.mark.parametrize("case", SEQUENCES)
def test_quota_decides_and_usage_is_exact(backend, limit, case):
    steps, expected, usage = SEQUENCES[case]
    limited = limit(backend, quota_bytes=QUOTA, quota_files=3)
    assert expected == [done(limited, step[0], step[1:].encode()) for step in steps]
    assert usage == limited.recorded_usage()
    assert_exact(limited, backend)


@pytest.mark.parametrize("backend", ENGINES, indirect=True)
def test_usage_of_an_object_store_is_exact_after_a_second_opening(backend, limit):
    first = limit(backend, quota_bytes=QUOTA)
    assert ["new", "new", "quota"] == [done(first, "+", data) for data in (b"aaaaa", b"bbbb", b"cc")]
    second = limit(backend, quota_bytes=QUOTA)
    assert [True, "new", "quota"] == [
        done(second, *each) for each in (("-", b"bbbb"), ("+", b"cc"), ("+", b"dddd"))
    ]
    assert Usage(2, 7) == first.recorded_usage() == second.recorded_usage()
    assert_exact(first, backend)


def done(limited: LimitedBackend, verb: str, data: bytes) -> object:
    """Result of one step."""
    if verb == "-":
        return limited.delete(digest_of(data))
    try:
        return "new" if put(limited, data) else "stored"
    except QuotaExceeded:
        return "quota"


@each_backend
def test_refused_upload_leaves_nothing(backend, limit):
    limited = limit(backend, quota_bytes=4)
    with pytest.raises(QuotaExceeded):
        put(limited, HELLO)
    with pytest.raises(NotFound):
        limited.describe(digest_of(HELLO))


@each_backend
def test_error_names_the_quota(backend, limit):
    limited = limit(backend, quota_bytes=1234)
    with pytest.raises(QuotaExceeded, match="1,234 bytes"):
        put(limited, b"x" * 1235)
    limited.set_limits(BucketLimits(quota_files=0))
    with pytest.raises(QuotaExceeded, match="0 files"):
        put(limited, b"x")


@each_backend
def test_files_that_were_stored_before_count(backend, limit):
    put(backend, HELLO)
    limited = limit(backend, quota_bytes=9)
    with pytest.raises(QuotaExceeded):
        put(limited, b"world")
    assert put(limited, b"more")
    assert Usage(2, 9) == limited.recorded_usage()


@each_backend
def test_content_is_refused_while_it_is_written(backend, limit):
    limited = limit(backend, quota_bytes=INLINE_HASH_MAX_BYTES + 1)
    limited.open_ledger()
    sink = limited.begin()
    sink.write(b"x" * INLINE_HASH_MAX_BYTES)
    sink.write(b"x")
    with pytest.raises(QuotaExceeded):
        sink.write(b"x")
    sink.discard()


@each_backend
def test_limits_that_are_set_during_an_upload_concern_it(backend, limit):
    limited = limit(backend)
    sinks = []
    for data in (b"first", b"second"):
        sink = limited.begin()
        sinks.append(sink)
        sink.write(data)
        sink.seal()
    limited.set_limits(BucketLimits(quota_bytes=9))
    assert sinks[0].publish(digest_of(b"first"))
    with pytest.raises(QuotaExceeded):
        sinks[1].publish(digest_of(b"second"))
    limited.set_limits(BucketLimits())
    assert sinks[1].publish(digest_of(b"second"))
    assert Usage(2, 11) == count_usage(backend)
    for sink in sinks:
        sink.discard()


@each_backend
def test_lowered_quota_refuses_and_a_raised_one_allows(backend, limit):
    limited = limit(backend, quota_bytes=5)
    assert put(limited, HELLO)
    limited.set_limits(BucketLimits(quota_bytes=4))
    with pytest.raises(QuotaExceeded):
        put(limited, b"")
    limited.set_limits(BucketLimits(quota_bytes=6))
    assert put(limited, b"x")
    assert_exact(limited, backend)


@each_backend
def test_quota_that_is_set_again_counts_what_was_stored_meanwhile(backend, limit):
    limited = limit(backend, quota_bytes=QUOTA)
    put(limited, HELLO)
    ledger = limited.quota.ledger
    limited.set_limits(BucketLimits())
    for thread in threading.enumerate():
        if thread.name == "close-ledger":
            thread.join()
    assert not ledger.is_open
    put(limited, b"more")
    limited.set_limits(BucketLimits(quota_bytes=QUOTA))
    assert (True, None) == (limited.needs_ledger, limited.recorded_usage())
    with pytest.raises(QuotaExceeded):
        put(limited, b"xx")
    assert Usage(2, 9) == limited.recorded_usage()


class FailingSink(MemorySink):
    """A sink whose `publish` fails, after it has stored the bytes if `stores` is true."""

    stores = False
    error: Exception = OSError(errno.EIO, "planted")

    def publish(self, digest):
        if self.stores:
            super().publish(digest)
        raise self.error


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "planted"), Collision(), ValueError()])
def test_failed_publish_counts_only_content_that_may_be_stored(limit, stores, error, monkeypatch):
    backend = MemoryBackend(MD5)
    limited = limit(backend, quota_bytes=QUOTA)
    sink = FailingSink(backend)
    sink.stores, sink.error = stores, error
    monkeypatch.setattr(backend, "begin", lambda: sink)
    with pytest.raises(type(error)):
        put(limited, HELLO)
    expected = Usage(1, 5) if stores and isinstance(error, OSError) else Usage(0, 0)
    assert expected == limited.recorded_usage()


@each_backend
def test_content_that_was_deleted_since_it_was_found_counts_once(backend, limit, monkeypatch):
    """Another process has deleted it, and has given its size back."""
    limited, other = limit(backend, quota_bytes=QUOTA), limit(backend, quota_bytes=QUOTA)
    put(limited, HELLO)
    other.open_ledger()
    describe = backend.describe

    def describe_and_delete(digest):
        found = describe(digest)
        monkeypatch.setattr(backend, "describe", describe)
        assert other.delete(digest)
        return found

    monkeypatch.setattr(backend, "describe", describe_and_delete)
    assert put(limited, HELLO)
    assert Usage(1, 5) == limited.recorded_usage()


@each_backend
def test_content_that_another_process_publishes_at_the_same_time_fits(backend, limit, monkeypatch):
    """Both have seen that it is missing; the first has used up the quota by this content itself."""
    limited, other = limit(backend, quota_bytes=5), limit(backend, quota_bytes=5)
    for each in (limited, other):
        each.open_ledger()
    describe = backend.describe

    def describe_then_publish(digest):
        try:
            return describe(digest)
        finally:
            monkeypatch.setattr(backend, "describe", describe)
            assert put(other, HELLO)

    monkeypatch.setattr(backend, "describe", describe_then_publish)
    assert not put(limited, HELLO)
    assert Usage(1, 5) == limited.recorded_usage()


def test_repaired_file_counts_once(disk, place, limit):
    limited = limit(disk, quota_bytes=QUOTA)
    put(limited, HELLO)
    path = os.path.join(place, digest_of(HELLO).shard, digest_of(HELLO).hex)
    os.chmod(path, 0o640)
    with open(path, "ab") as file:
        file.write(b"!!!")
    limited.quota.ledger.add(Usage(0, 3))
    assert put(limited, HELLO)
    assert Usage(1, 5) == limited.recorded_usage()


@pytest.mark.parametrize("backend", [IN_MEMORY], indirect=True)
def test_repaired_object_counts_once(backend, limit):
    backend._client.put(f"{digest_of(HELLO).shard}/{digest_of(HELLO).hex}", b"damaged")
    limited = limit(backend, quota_bytes=QUOTA)
    limited.open_ledger()
    assert Usage(1, 7) == limited.recorded_usage()
    assert put(limited, HELLO)
    assert Usage(1, 5) == limited.recorded_usage()


@each_backend
def test_quarantined_file_does_not_count_until_it_is_restored(backend, limit):
    limited = limit(backend, quota_bytes=QUOTA)
    put(limited, HELLO)
    assert limited.move_to_quarantine(digest_of(HELLO), "planted")
    assert not limited.move_to_quarantine(digest_of(HELLO), "planted")
    assert Usage(0, 0) == limited.recorded_usage()
    assert limited.restore(digest_of(HELLO))
    assert not limited.restore(digest_of(HELLO))
    assert_exact(limited, backend)


@pytest.mark.parametrize("backend", ["disk", IN_MEMORY], indirect=True)
def test_expired_file_does_not_count(backend, limit):
    limited = limit(backend, quota_bytes=QUOTA, expire=60.0)
    put(limited, HELLO)
    now = limited.describe(digest_of(HELLO)).modified
    assert not limited.delete_expired(digest_of(HELLO), now - 60)
    assert Usage(1, 5) == limited.recorded_usage()
    assert limited.delete_expired(digest_of(HELLO), now + 60)
    assert not limited.delete_expired(digest_of(HELLO), now + 60)
    assert Usage(0, 0) == limited.recorded_usage()


@implementer(IRenewableSink)
class RenewedSink(MemorySink):
    """A sink whose content is deleted before the first `deletions` renewals."""

    deletions = 0
    renewed: list[bool]

    def renew(self, digest, created):
        self.renewed.append(created)
        if self.deletions:
            self.deletions -= 1
            self._limited.delete(digest)
            return False
        return True


@pytest.mark.parametrize("deletions", [0, 1, 3])
@pytest.mark.parametrize("quota", [None, 5])
def test_content_that_expires_before_it_is_renewed_is_published_again(limit, deletions, quota, monkeypatch):
    backend = MemoryBackend(MD5)
    put(backend, HELLO)
    limited = limit(backend, quota_bytes=quota, expire=60.0)
    sink = RenewedSink(backend)
    sink.deletions, sink.renewed, sink._limited = deletions, [], limited
    monkeypatch.setattr(backend, "begin", lambda: sink)
    assert (deletions > 0) == put(limited, HELLO)
    assert [False] + [True] * deletions == sink.renewed
    assert Usage(1, 5) == count_usage(backend)
    assert quota is None or Usage(1, 5) == limited.recorded_usage()


def test_lifetime_is_not_renewed_in_a_bucket_without_expiry(limit, monkeypatch):
    backend = MemoryBackend(MD5)
    limited = limit(backend, quota_bytes=5)
    sink = RenewedSink(backend)
    sink.renewed = []
    monkeypatch.setattr(backend, "begin", lambda: sink)
    assert put(limited, HELLO)
    assert [] == sink.renewed


def test_same_content_waits_for_its_publication(limit):
    """While it is published, its size is reserved; the same content must not be refused for that."""
    publishing, released = threading.Event(), threading.Event()

    class SlowSink(MemorySink):
        def publish(self, digest):
            publishing.set()
            assert released.wait(20)
            return super().publish(digest)

    backend = MemoryBackend(MD5)
    limited = limit(backend, quota_bytes=len(HELLO))
    backend.begin, begin = lambda: SlowSink(backend), backend.begin
    created = []
    threads = [threading.Thread(target=lambda: created.append(put(limited, HELLO))) for _ in range(2)]
    threads[0].start()
    assert publishing.wait(20)
    backend.begin = begin
    threads[1].start()
    threads[1].join(0.05)
    released.set()
    for thread in threads:
        thread.join(20)
    assert [True, False] == created
    assert Usage(1, 5) == limited.recorded_usage()


@each_backend
def test_same_content_from_many_threads_needs_its_size_once(backend, limit):
    limited = limit(backend, quota_bytes=len(HELLO))
    results = in_parallel(lambda _: put(limited, HELLO), range(32), 32)
    assert 1 == sum(results)
    assert Usage(1, 5) == limited.recorded_usage()


@pytest.mark.parametrize("backend", ["disk", IN_MEMORY], indirect=True)
@pytest.mark.parametrize("count", [1, 2])
def test_usage_is_exact_after_concurrent_uploads_and_deletions(backend, limit, count):
    """Two ledgers are as two processes: a lock belongs to the open file.

    One process never exceeds the quota; two exceed it at most by files that both change at once.
    """
    quota = 64
    allowed = quota if count == 1 else quota + 8 * 15
    processes = [limit(backend, quota_bytes=quota) for _ in range(count)]
    for each in processes:
        each.open_ledger()
    contents = [bytes([number]) * number for number in range(1, 16)]
    exceeded: list[Usage] = []

    def work(number: int) -> None:
        choice = random.Random(number)
        for _ in range(25):
            limited, data = choice.choice(processes), choice.choice(contents)
            done(limited, choice.choice("++-"), data)
            usage = limited.recorded_usage()
            if usage.bytes > allowed:
                exceeded.append(usage)

    in_parallel(work, range(8), 8)
    assert [] == exceeded
    for each in processes:
        assert_exact(each, backend)
