"""Digests announced with a large form: checked in bounded memory, outside the reactor thread."""

import threading
from base64 import b64encode
from hashlib import sha256, sha512

import pytest
import pytest_twisted
import requests
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from filestored import digest as digests
from filestored.digest import algorithm
from filestored.errors import DigestMismatch
from filestored.http.factory import HTTPFactory
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.storage.thread_pool import ThreadPool, in_threads
from filestored.web.digest_check import CHUNK_BYTES, MAX_INLINE_BYTES, DigestCheck
from filestored.web.site import make_site
from tests.web.forms import FORM, form, part

DATA = bytes(range(251)) * 20_000
ENCODED_FORM = form(part(DATA))
DIGESTS = {"sha-256": sha256(ENCODED_FORM).digest(), "sha-512": sha512(ENCODED_FORM).digest()}


def field(values):
    return ", ".join(f"{name}=:{b64encode(value).decode()}:" for name, value in values.items())


@implementer(IPushProducer)
class Producer:
    def __init__(self):
        self.paused = False

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False

    def stopProducing(self):
        self.paused = None


class Consumer:
    def __init__(self):
        self.received = b""
        self.producer = None

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def write(self, data):
        self.received += data


class Jobs:
    """Queued jobs and their sizes."""

    def __init__(self):
        self.waiting = []

    def __call__(self, work):
        done = Deferred()
        self.waiting.append((work, done))
        return done

    def do(self):
        work, done = self.waiting.pop(0)
        work()
        done.callback(None)


def parse_digests(data):
    return [
        algorithm(name).parse(new(data).hexdigest()) for name, new in (("sha256", sha256), ("sha512", sha512))
    ]


def checking(data, run):
    consumer, producer = Consumer(), Producer()
    check = DigestCheck(consumer, parse_digests(data), run)
    check.registerProducer(producer, True)
    return check, consumer, producer


def test_producer_is_paused_while_bytes_wait_for_hashing():
    jobs, chunk = Jobs(), b"x" * 65536
    check, consumer, producer = checking(chunk * 20, jobs)
    sent = 0
    while sent < 20:
        while not producer.paused and sent < 20:
            check.write(chunk)
            sent += 1
        assert len(check._buffer) < CHUNK_BYTES + 2 * len(chunk)
        assert len(jobs.waiting) <= 1
        if sent < 20:
            jobs.do()
    check.unregisterProducer()
    finished = ensureDeferred(check.finish())
    while jobs.waiting:
        jobs.do()
    assert None is finished.result
    assert chunk * 20 == consumer.received


def test_consumer_pauses_the_producer():
    jobs = Jobs()
    check, consumer, producer = checking(b"", jobs)
    consumer.producer.pauseProducing()
    assert producer.paused
    check.write(b"x" * CHUNK_BYTES)  # a job
    check.write(b"x" * CHUNK_BYTES)  # a backlog
    consumer.producer.resumeProducing()
    assert producer.paused
    jobs.do()
    assert not producer.paused
    consumer.producer.stopProducing()
    assert None is producer.paused


@pytest.mark.parametrize(
    "size", [0, 1, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 1]
)
@pytest.mark.parametrize("right", [True, False])
def test_digest_check_of_any_size(size, right):
    data = b"x" * size
    check, _, _ = checking(data if right else data + b"y", maybeDeferred)
    for start in range(0, size, 100_000):
        check.write(data[start : start + 100_000])
    check.unregisterProducer()
    finished = ensureDeferred(check.finish())
    if right:
        assert None is finished.result
    else:
        finished.addErrback(lambda failure: failure.trap(DigestMismatch))
        assert DigestMismatch is finished.result


def test_failed_hashing_job_fails_the_check():
    jobs = Jobs()
    check, _, _ = checking(b"", jobs)
    check.write(b"x" * CHUNK_BYTES)
    check.unregisterProducer()
    finished = ensureDeferred(check.finish())
    jobs.waiting.pop()[1].errback(MemoryError())
    finished.addErrback(lambda failure: failure.trap(MemoryError))
    assert MemoryError is finished.result


def test_failed_hashing_job_resumes_and_fails_a_paused_form():
    jobs = Jobs()
    check, _, producer = checking(b"", jobs)
    check.write(b"x" * CHUNK_BYTES)  # a job
    check.write(b"x" * CHUNK_BYTES)  # a backlog
    assert producer.paused
    jobs.waiting.pop()[1].errback(MemoryError())
    assert not producer.paused
    with pytest.raises(MemoryError):
        check.write(b"x")


@pytest.fixture
def hashed(monkeypatch):
    """Count the bytes hashed with SHA-2 in the reactor's thread, and in others."""
    counts = {True: 0, False: 0}
    reactor_thread = threading.get_ident()

    class Counted:
        def __init__(self, new):
            self._hasher = new()
            self.digest = self._hasher.digest

        def update(self, data):
            counts[threading.get_ident() == reactor_thread] += len(data)
            self._hasher.update(data)

    monkeypatch.setitem(digests._HASHLIB, "sha256", lambda: Counted(sha256))
    monkeypatch.setitem(digests._HASHLIB, "sha512", lambda: Counted(sha512))
    return counts


@pytest.fixture
def base(hashed):
    own = algorithm("md5")
    pool = ThreadPool("test", 4)
    pool.start()
    store = Store(MemoryBackend(own), own, in_threads(reactor, pool))
    factory = HTTPFactory(make_site(store), reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    yield f"http://127.0.0.1:{port.getHost().port}/"
    factory.abort()
    pytest_twisted.blockon(port.stopListening())
    pool.stop()
    pytest_twisted.blockon(factory.drain())


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
async def test_large_form_is_not_hashed_in_the_reactor_thread(base, hashed, name):
    wrong = {**DIGESTS, "sha-512": bytes(64)}
    for values, status in ((DIGESTS, 200), (wrong, 422)):
        headers = {"Content-Type": FORM, name: field(values)}
        answer = await deferToThread(requests.post, base, ENCODED_FORM, headers=headers, timeout=60)
        assert status == answer.status_code
    assert hashed[True] + hashed[False] == 4 * len(ENCODED_FORM)
    assert hashed[True] <= 4 * MAX_INLINE_BYTES
