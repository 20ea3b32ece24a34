"""Decoder pool shared by accounts: fairness, cancelled jobs, refusal cache."""

import os
import signal

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from filestored.digest import Digest
from filestored.errors import DecodingTooCostly, NotAnImage, Overloaded
from filestored.images.decoder.process import DecoderProcess
from filestored.images.decoder.resource_limits import ResourceLimits
from tests.images.decodable_images import SAMPLES, SVG, laborious_jpeg
from tests.images.decoder.decoder_processes import (
    LABORIOUS,
    Slow,
    ended,
    fork_of,
    outcome,
    processes_of,
)
from tests.reactor_wait import until


def count_decodes(monkeypatch):
    """A list that grows with each job that is sent to a process."""
    jobs = []
    decode = DecoderProcess.run

    def counting(self, job, blob):
        jobs.append(job)
        return decode(self, job, blob)

    monkeypatch.setattr(DecoderProcess, "run", counting)
    return jobs


@pytest_twisted.ensureDeferred
async def test_account_with_many_jobs_delays_no_other(decoder_pool, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    hostile = [
        decoder_pool.verify(await blob_of(laborious_jpeg(4000, 1600, b"%d" % number)), "mallory")
        for number in range(10)
    ]
    assert await outcome(decoder_pool.verify(await blob_of(SAMPLES["gif"]), "anna")) is None
    assert len(jobs) == 2
    assert not any(each.called for each in hostile)
    ends = [Deferred.fromCoroutine(outcome(each)) for each in hostile]
    for each in reversed(hostile):  # those that wait first
        each.cancel()
    assert {await end for end in ends} <= {CancelledError, Overloaded}
    assert len(jobs) == 2


@pytest_twisted.ensureDeferred
async def test_thumbnails_leave_one_process_to_uploads(decoder_pool, blob_of):
    made = [
        Deferred.fromCoroutine(outcome(decoder_pool.thumbnail(Slow(10**6), (9, 9), name)))
        for name in ("anna", "bert")
    ]
    assert await outcome(decoder_pool.verify(await blob_of(SAMPLES["gif"]), "carl")) is None
    assert [each.called for each in made] == [False, False]
    await decoder_pool.stop()
    assert [await each for each in made] == [Overloaded, Overloaded]


@pytest_twisted.ensureDeferred
async def test_cancel_ends_a_running_fork(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(processes=1)
    checked = decoder_pool.verify(await blob_of(LABORIOUS), "anna")
    fork = await fork_of(decoder_pool)
    (decoder_main,) = processes_of(decoder_pool)
    end = Deferred.fromCoroutine(outcome(checked))
    checked.cancel()
    assert await end is CancelledError
    await until(lambda: ended(fork))
    assert await outcome(decoder_pool.verify(await blob_of(SAMPLES["gif"]), "anna")) is None
    assert processes_of(decoder_pool) == [decoder_main]


@pytest_twisted.ensureDeferred
async def test_cancel_at_any_moment_keeps_the_process(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(processes=1)
    blob = await blob_of(SAMPLES["gif"])
    await decoder_pool.verify(blob, "anna")
    processes = processes_of(decoder_pool)
    for number in range(40):
        checked = decoder_pool.verify(blob, "anna")
        end = Deferred.fromCoroutine(outcome(checked))
        reactor.callLater(number / 2000, checked.cancel)
        assert await end in (None, CancelledError)
        assert await outcome(decoder_pool.verify(await blob_of(SVG[number:]), "anna")) is NotAnImage
        assert (await decoder_pool.thumbnail(blob, (9 + number, 99), "anna")).content_type == "image/jpeg"
    assert processes_of(decoder_pool) == processes


@pytest_twisted.ensureDeferred
async def test_second_cancel_kills_the_process(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(processes=1)
    checked = decoder_pool.verify(await blob_of(LABORIOUS), "anna")
    fork = await fork_of(decoder_pool)
    (decoder_main,) = processes_of(decoder_pool)
    os.kill(decoder_main, signal.SIGSTOP)  # it answers nothing
    end = Deferred.fromCoroutine(outcome(checked))
    checked.cancel()
    assert not end.called
    checked.cancel()
    assert await end is CancelledError
    await until(lambda: ended(fork) and ended(decoder_main))


@pytest_twisted.ensureDeferred
async def test_cancel_kills_a_process_that_waits_for_bytes(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(processes=1)
    blob = Slow(10**6)
    checked = decoder_pool.verify(blob, "anna")
    await blob.started
    (decoder_main,) = processes_of(decoder_pool)
    checked.addErrback(lambda _: None).cancel()
    await until(lambda: ended(decoder_main))
    assert await outcome(decoder_pool.verify(await blob_of(SAMPLES["gif"]), "anna")) is None


@pytest_twisted.ensureDeferred
async def test_refused_bytes_are_not_decoded_again(decoder_pool, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    for _ in range(3):
        assert await outcome(decoder_pool.verify(await blob_of(SVG), "anna")) is NotAnImage
    assert len(jobs) == 1
    for width in (5, 6, 7):
        assert await outcome(decoder_pool.thumbnail(await blob_of(SVG), (width, 9), "anna")) is NotAnImage
    assert len(jobs) == 2
    assert await outcome(decoder_pool.verify(await blob_of(SAMPLES["gif"]), "anna")) is None


@pytest_twisted.ensureDeferred
async def test_waiting_job_with_refused_bytes_is_not_decoded(make_decoder_pool, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    decoder_pool = make_decoder_pool(processes=1, limits=ResourceLimits(seconds=1))
    checked = [decoder_pool.verify(await blob_of(LABORIOUS), "anna") for _ in range(5)]
    assert [await outcome(each) for each in checked] == [DecodingTooCostly] * 5
    assert len(jobs) == 1


@pytest_twisted.ensureDeferred
async def test_digests_of_equal_content_share_a_refusal(decoder_pool, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    for suffix in ("0", "1"):
        blob = await blob_of(SVG)
        blob.digest = Digest("sha256-apart", 64 * "a" + 32 * suffix)
        assert await outcome(decoder_pool.verify(blob, "anna")) is NotAnImage
    assert len(jobs) == 1


@pytest_twisted.ensureDeferred
async def test_undecided_image_is_decoded_again(decoder_pool, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    for _ in range(2):
        checked = decoder_pool.verify(await blob_of(LABORIOUS), "anna")
        os.kill(await fork_of(decoder_pool), signal.SIGKILL)
        assert await outcome(checked) is Overloaded
    assert len(jobs) == 2
