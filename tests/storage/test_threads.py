"""Pools of I/O threads: each kind of work waits for its own kind only, and is sent to the right one."""

import os
import threading
from dataclasses import fields
from functools import partial

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gzip_backend import GunzippedFile, GzipBackend
from filestored.images.image_store import ImageStore
from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.interfaces import Thumbnail
from filestored.request_context import call_for_request, current_request_id
from filestored.storage.health import Health
from filestored.storage.memory import MemoryBackend, MemoryRecords
from filestored.storage.read_circuit_breaker import ReadCircuitBreaker
from filestored.storage.store import Store
from filestored.storage.threads import MAX_THREADS, IOThreads, ThreadPools
from tests.images.catalog_samples import PNG
from tests.storage.contract import MD5, digest_of, outcome
from tests.storage.recording_consumer import RecordingConsumer

KINDS = sorted(MAX_THREADS)


# --- the pools --------------------------------------------------------------------------------------


@pytest.fixture
def pools():
    made = ThreadPools(reactor)
    yield made
    made.stop()


@pytest_twisted.ensureDeferred
async def test_job_runs_and_fires_on_behalf_of_the_request_that_is_served(pools):
    run = pools.make("files").write
    pools.start()
    jobs = [call_for_request(each, run, current_request_id.get) for each in (b"a", b"", b"b")]
    fired = [job.addCallback(lambda ran: (ran, current_request_id.get())) for job in jobs]
    assert [(each, each) for each in (b"a", b"", b"b")] == [await each for each in fired]
    assert (b"", b"") == (await run(current_request_id.get), current_request_id.get())


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_a_job_waits_for_no_job_of_another_kind_or_api(pools, kind):
    files, images = pools.make("files"), pools.make("images")
    pools.start()
    go_on = threading.Event()
    hanging = [
        getattr(threads, other)(go_on.wait)
        for threads in (files, images)
        for other, most in MAX_THREADS.items()
        for _ in range(most + 1)
        if (threads, other) != (files, kind)
    ]
    try:
        assert "done" == await getattr(files, kind)(lambda: "done").addTimeout(20, reactor)
        assert not any(each.called for each in hanging)
    finally:
        go_on.set()
    for each in hanging:
        await each


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_a_pool_has_no_more_threads_than_its_bound(pools, kind):
    run = getattr(pools.make("files"), kind)
    pools.start()
    lock, at_once = threading.Lock(), [0, 0]

    def job():
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        threading.Event().wait(0.02)
        with lock:
            at_once[0] -= 1

    for done in [run(job) for _ in range(3 * MAX_THREADS[kind])]:
        await done
    assert MAX_THREADS[kind] == at_once[1]


def test_no_thread_is_started_without_jobs(pools):
    before = threading.active_count()
    pools.make("files")
    pools.start()
    assert before == threading.active_count()


@pytest.mark.slow
def test_a_stop_waits_for_a_job_that_hangs_for_a_bounded_time():
    pools, go_on = ThreadPools(reactor), threading.Event()
    run = pools.make("files").write
    pools.start()
    run(go_on.wait).addErrback(lambda _: None)
    late = threading.Timer(30, go_on.set)  # the end of a stop that has no bound
    late.start()
    try:
        assert pools.stop() is False
        assert not go_on.is_set()
    finally:
        late.cancel()
        go_on.set()


def test_a_stop_waits_for_jobs_under_way():
    pools, done = ThreadPools(reactor), threading.Event()
    run = pools.make("files").write
    pools.start()
    run(lambda: threading.Event().wait(0.2) or done.set())
    assert pools.stop() is True
    assert done.is_set()


def test_interpreter_exit_waits_for_no_job():
    pools, found = ThreadPools(reactor), []
    run = pools.make("files").write
    pools.start()
    run(lambda: found.append(threading.current_thread().daemon))
    pools.stop()
    assert [True] == found


# --- which work goes where --------------------------------------------------------------------------


class Ledger:
    """I/O threads that do each job on the spot, and note its kind and function."""

    def __init__(self):
        self.jobs = []
        self.threads = IOThreads(**{each.name: partial(self._run, each.name) for each in fields(IOThreads)})

    def _run(self, kind, function, /, *args, **kwargs):
        measured = getattr(function, "__func__", None) is ReadCircuitBreaker.call
        self.jobs.append((kind, (args[0] if measured else function).__name__))
        return maybeDeferred(function, *args, **kwargs)

    def noted(self):
        jobs, self.jobs = self.jobs, []
        return jobs


@pytest.fixture
def ledger():
    return Ledger()


def put_in(store, data):
    upload = store.upload()
    upload.write(data)
    return outcome(upload.commit())


def test_a_small_upload_is_a_job_of_the_group_commit(ledger):
    put_in(Store(MemoryBackend(MD5), MD5, ledger.threads), b"small")
    assert [("commit", "run")] == ledger.noted()


def test_a_large_upload_is_written_sealed_and_committed_in_three_pools(ledger):
    put_in(Store(MemoryBackend(MD5), MD5, ledger.threads), b"x" * 300_000)
    assert [("write", "write"), ("seal", "finish"), ("commit", "run")] == ledger.noted()


def test_an_aborted_upload_is_discarded_by_the_pool_for_writing(ledger):
    upload = Store(MemoryBackend(MD5), MD5, ledger.threads).upload()
    upload.write(b"x" * 300_000)
    upload.abort()
    assert [("write", "write"), ("write", "discard")] == ledger.noted()


def test_opening_reading_and_listing_are_jobs_of_the_pool_for_reading(ledger):
    store = Store(MemoryBackend(MD5), MD5, ledger.threads)
    put_in(store, b"read")
    ledger.noted()
    blob = outcome(store.open(digest_of(b"read")))
    outcome(blob.produce(RecordingConsumer(), 0, 4))
    blob.close()
    outcome(store.digests())
    assert {"read"} == {kind for kind, _ in ledger.noted()}


def test_a_deletion_is_made_by_the_pool_for_writing_and_committed(ledger):
    store = Store(MemoryBackend(MD5), MD5, ledger.threads)
    put_in(store, b"deleted")
    ledger.noted()
    assert outcome(store.delete(digest_of(b"deleted")))
    assert ["write", "commit"] == [kind for kind, _ in ledger.noted()]


def test_a_gzipped_file_is_read_by_the_pool_for_decompressing(ledger):
    data = bytes(100_000)
    store = Store(GzipBackend(MemoryBackend(MD5)), MD5, ledger.threads)
    stored = put_in(store, data)
    ledger.noted()
    blob, consumer = (
        outcome(store.open(stored.digest, partial(GunzippedFile, size=len(data)))),
        RecordingConsumer(),
    )
    outcome(blob.produce(consumer, 0, len(data)))
    assert data == consumer.data
    assert ["read", "decompress"] == [kind for kind, _ in ledger.noted()]


def test_records_are_looked_up_changed_and_listed_in_three_pools(ledger):
    health, records = Health(), MemoryRecords()
    store = Store(GzipBackend(MemoryBackend(UNIQUE_SHA256)), UNIQUE_SHA256, ledger.threads, health=health)
    room = ImageStore(records, Accounts(records, b"k" * 32), store, ledger.threads, health)
    token = outcome(room.register("anna"))
    assert [("record", "register")] == ledger.noted()
    assert token == outcome(room.get_token("anna"))
    gallery = outcome(room.authenticate(token))
    assert ["read", "read"] == [kind for kind, _ in ledger.noted()]
    upload = outcome(gallery.upload())
    upload.begin("cat.png")
    upload.write(PNG)
    identity = outcome(upload.commit())
    assert ("record", "_write_record") == ledger.noted()[-1]
    assert {"cat.png": identity} == outcome(gallery.list_images())
    assert [("list", "step")] == ledger.noted()
    outcome(gallery.delete(identity))
    assert ["record", "write", "commit"] == [kind for kind, _ in ledger.noted()]
    outcome(gallery.regenerate_token())
    assert [("record", "renew")] == ledger.noted()


class Painter:
    def thumbnail(self, blob, bounds, owner):
        return succeed(Thumbnail("image/jpeg", b"small"))


@pytest.fixture
def cache(tmp_path):
    made = ThumbnailCache(str(tmp_path / "thumbnails"))
    yield made
    made.close()


@pytest.fixture
def blob():
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred)
    put_in(store, b"a picture")
    return outcome(store.open(digest_of(b"a picture")))


def test_thumbnails_are_looked_up_stored_and_removed_in_three_pools(ledger, cache, blob):
    thumbnails = Thumbnails(Painter(), cache, ledger.threads, lambda digest: True)
    outcome(thumbnails.get(blob, (9, 9), "anna"))
    assert {("read", "get"), ("record", "_put")} == set(ledger.noted())
    outcome(Deferred.fromCoroutine(thumbnails.forget(blob.digest)))
    assert [("write", "forget")] == ledger.noted()


def test_a_thumbnail_is_answered_while_the_flush_of_its_file_hangs_and_few_such_files_wait(
    ledger, cache, blob, tmp_path
):
    hanging = []

    def hang(function, /, *args, **kwargs):
        hanging.append((Deferred(), partial(function, *args, **kwargs)))
        return hanging[-1][0]

    threads = {each.name: getattr(ledger.threads, each.name) for each in fields(IOThreads)}
    hanging_threads = IOThreads(**{**threads, "record": hang})
    thumbnails = Thumbnails(Painter(), cache, hanging_threads, lambda digest: True)
    for width in range(1, 6):
        made = outcome(thumbnails.get(blob, (width, 9), "anna"))
        assert b"small" == made.data
    assert 2 == len(hanging)
    for done, put in hanging:
        done.callback(put())
    assert 2 == len(os.listdir(tmp_path / "thumbnails"))
