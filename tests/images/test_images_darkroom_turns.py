"""Decoders are shared: turns between accounts, cancelled jobs, refused bytes."""

import os
import signal

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from filestored.digest import Digest
from filestored.errors import NotAnImage, Overloaded
from filestored.images.decoder.process import DecoderProcess
from filestored.images.decoder.resource_limits import ResourceLimits
from tests.images.pictures import SAMPLES, SVG, laborious_jpeg
from tests.images.test_images_darkroom import (
    LABORIOUS,
    Slow,
    a_fork_of,
    blob_of,
    darkroom,
    ended,
    make_darkroom,
    outcome,
    processes_of,
    until,
)

__all__ = ["blob_of", "darkroom", "make_darkroom"]


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
async def test_an_account_with_many_jobs_delays_no_other(darkroom, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    hostile = [
        darkroom.verify(await blob_of(laborious_jpeg(4000, 1600, b"%d" % number)), "mallory")
        for number in range(10)
    ]
    assert await outcome(darkroom.verify(await blob_of(SAMPLES["gif"]), "anna")) is None
    assert len(jobs) == 2
    assert not any(each.called for each in hostile)
    ends = [Deferred.fromCoroutine(outcome(each)) for each in hostile]
    for each in reversed(hostile):  # those that wait first
        each.cancel()
    assert {await end for end in ends} <= {CancelledError, Overloaded}
    assert len(jobs) == 2


@pytest_twisted.ensureDeferred
async def test_thumbnails_leave_a_process_to_uploads(darkroom, blob_of):
    made = [
        Deferred.fromCoroutine(outcome(darkroom.thumbnail(Slow(10**6), (9, 9), name)))
        for name in ("anna", "bert")
    ]
    assert await outcome(darkroom.verify(await blob_of(SAMPLES["gif"]), "carl")) is None
    assert [each.called for each in made] == [False, False]
    await darkroom.stop()
    assert [await each for each in made] == [Overloaded, Overloaded]


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_a_decoder_that_works(make_darkroom, blob_of):
    darkroom = make_darkroom(processes=1)
    checked = darkroom.verify(await blob_of(LABORIOUS), "anna")
    fork = await a_fork_of(darkroom)
    (chamber,) = processes_of(darkroom)
    end = Deferred.fromCoroutine(outcome(checked))
    checked.cancel()
    assert await end is CancelledError
    await until(lambda: ended(fork))
    assert await outcome(darkroom.verify(await blob_of(SAMPLES["gif"]), "anna")) is None
    assert processes_of(darkroom) == [chamber]


@pytest_twisted.ensureDeferred
async def test_cancelling_at_any_moment_costs_no_process(make_darkroom, blob_of):
    darkroom = make_darkroom(processes=1)
    blob = await blob_of(SAMPLES["gif"])
    await darkroom.verify(blob, "anna")
    chambers = processes_of(darkroom)
    for number in range(40):
        checked = darkroom.verify(blob, "anna")
        end = Deferred.fromCoroutine(outcome(checked))
        reactor.callLater(number / 2000, checked.cancel)
        assert await end in (None, CancelledError)
        assert await outcome(darkroom.verify(await blob_of(SVG[number:]), "anna")) is NotAnImage
        assert (await darkroom.thumbnail(blob, (9 + number, 99), "anna")).content_type == "image/jpeg"
    assert processes_of(darkroom) == chambers


@pytest_twisted.ensureDeferred
async def test_cancelling_twice_ends_the_process(make_darkroom, blob_of):
    darkroom = make_darkroom(processes=1)
    checked = darkroom.verify(await blob_of(LABORIOUS), "anna")
    fork = await a_fork_of(darkroom)
    (chamber,) = processes_of(darkroom)
    os.kill(chamber, signal.SIGSTOP)  # it answers nothing
    end = Deferred.fromCoroutine(outcome(checked))
    checked.cancel()
    assert not end.called
    checked.cancel()
    assert await end is CancelledError
    await until(lambda: ended(fork) and ended(chamber))


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_a_process_that_waits_for_bytes(make_darkroom, blob_of):
    darkroom = make_darkroom(processes=1)
    blob = Slow(10**6)
    checked = darkroom.verify(blob, "anna")
    await blob.started
    (chamber,) = processes_of(darkroom)
    checked.addErrback(lambda _: None).cancel()
    await until(lambda: ended(chamber))
    assert await outcome(darkroom.verify(await blob_of(SAMPLES["gif"]), "anna")) is None


@pytest_twisted.ensureDeferred
async def test_refused_bytes_are_not_decoded_again(darkroom, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    for _ in range(3):
        assert await outcome(darkroom.verify(await blob_of(SVG), "anna")) is NotAnImage
    assert len(jobs) == 1
    for width in (5, 6, 7):
        assert await outcome(darkroom.thumbnail(await blob_of(SVG), (width, 9), "anna")) is NotAnImage
    assert len(jobs) == 2
    assert await outcome(darkroom.verify(await blob_of(SAMPLES["gif"]), "anna")) is None


@pytest_twisted.ensureDeferred
async def test_identical_refused_bytes_that_wait_are_not_decoded_either(make_darkroom, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    darkroom = make_darkroom(processes=1, bounds=ResourceLimits(seconds=1))
    checked = [darkroom.verify(await blob_of(LABORIOUS), "anna") for _ in range(5)]
    assert [await outcome(each) for each in checked] == [NotAnImage] * 5
    assert len(jobs) == 1


@pytest_twisted.ensureDeferred
async def test_names_of_one_content_share_their_refusal(darkroom, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    for suffix in ("0", "1"):
        blob = await blob_of(SVG)
        blob.digest = Digest("sha256-apart", 64 * "a" + 32 * suffix)
        assert await outcome(darkroom.verify(blob, "anna")) is NotAnImage
    assert len(jobs) == 1


@pytest_twisted.ensureDeferred
async def test_an_undecided_image_is_decoded_again(darkroom, blob_of, monkeypatch):
    jobs = count_decodes(monkeypatch)
    for _ in range(2):
        checked = darkroom.verify(await blob_of(LABORIOUS), "anna")
        os.kill(await a_fork_of(darkroom), signal.SIGKILL)
        assert await outcome(checked) is Overloaded
    assert len(jobs) == 2
