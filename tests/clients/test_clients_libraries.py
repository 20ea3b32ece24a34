"""Libraries that programs use, against a real daemon."""

import hashlib
import io
import os

import pytest_twisted
import requests
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import HTTPConnectionPool

CONTENT = os.urandom(3 << 20) + b"the end"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_requests_sends_forms_streams_and_files(daemon):
    with requests.Session() as session:
        answers = [
            session.post(daemon.url, files={"file": ("x", CONTENT)}, timeout=30),
            session.post(daemon.url, data=CONTENT, timeout=30),
            session.post(daemon.url, data=io.BytesIO(CONTENT), timeout=30),
            session.post(daemon.url, data=(CONTENT[at : at + 9999] for at in range(0, len(CONTENT), 9999))),
            session.put(f"{daemon.url}files/{DIGEST}", data=CONTENT, timeout=30),
        ]
        assert [(200, DIGEST)] * 5 == [(answer.status_code, answer.text) for answer in answers]


def test_requests_reads_in_pieces_and_deletes(daemon):
    with requests.Session() as session:
        session.post(daemon.url, data=CONTENT, timeout=30)
        with session.get(daemon.url, params={"file_hash": DIGEST}, stream=True, timeout=30) as answer:
            assert CONTENT == b"".join(answer.iter_content(10_000))
        statuses = [
            session.delete(daemon.url, params={"file_hash": DIGEST}, timeout=30).status_code for _ in range(2)
        ]
        assert [200, 404] == statuses


def test_requests_reads_the_answer_that_comes_before_the_end_of_its_body(start_daemon):
    daemon = start_daemon("--workers", "1", "--max-size", "1MiB")
    answer = requests.post(daemon.url, data=CONTENT, timeout=30)
    assert 413 == answer.status_code


@pytest_twisted.ensureDeferred
async def test_treq_sends_a_form_and_reads_it_back(daemon):
    pool = HTTPConnectionPool(reactor, persistent=False)
    sent = await treq.post(daemon.url, files={"file": ("x", io.BytesIO(CONTENT))}, pool=pool)
    assert (200, DIGEST) == (sent.code, await sent.text())
    got = await treq.get(f"{daemon.url}files/{DIGEST}", pool=pool)
    assert CONTENT == await got.content()
    await _settled()


@pytest_twisted.ensureDeferred
async def test_treq_sends_raw_bytes(daemon):
    pool = HTTPConnectionPool(reactor, persistent=False)
    sent = await treq.post(daemon.url, data=CONTENT, pool=pool)
    assert (200, DIGEST) == (sent.code, await sent.text())
    await _settled()


def _settled() -> "Deferred[None]":
    """A few turns of the reactor, in which closed connections go."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0.05, turned.callback, None)
    return turned
