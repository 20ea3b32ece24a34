"""Decoder pool: hostile files, crashing processes, full queues."""

import os
import resource
import signal
from random import Random

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from filestored.errors import (
    DecodingTooCostly,
    InvalidThumbnailSize,
    NotAnImage,
    Overloaded,
    StorageFull,
    TooLarge,
    TooManyPixels,
)
from filestored.images.decoder.pool import MAX_FILE_BYTES, available
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.images.thumbnails.thumbnails import thumbnail_bounds
from filestored.interfaces import IImageDecoder, IStoredFile
from filestored.storage.blob import Blob
from filestored.storage.health import Health
from tests.daemon_process import memory
from tests.images.decodable_images import (
    CAMERA,
    HALF_A_JPEG,
    SAMPLES,
    SVG,
    laborious_gif,
    png_of,
)
from tests.images.decoder.decoder_processes import (
    LABORIOUS,
    MD5,
    Slow,
    ended,
    fork_of,
    outcome,
    processes_of,
)
from tests.reactor_wait import until

MIB = 1024 * 1024


@implementer(IStoredFile)
class Zeros:
    """A large file that is nowhere."""

    size = 200 * 1024 * 1024

    def read(self, offset, count):
        return bytes(count)

    def close(self):
        pass


def verify(decoder_pool, blob, owner="anna"):
    return decoder_pool.verify(blob, owner)


def memory_from_now_on() -> int:
    """Reset the peak of memory; return the current use in bytes."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return peak_of_memory()


def peak_of_memory() -> int:
    """In bytes."""
    return memory(os.getpid(), "VmHWM") * 1024


def test_decoder_pool_implements_image_decoder(decoder_pool):
    assert verifyObject(IImageDecoder, decoder_pool)
    assert available()


# --- what is an image ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_every_format_is_verified_and_has_a_thumbnail(decoder_pool, blob_of):
    for name, data in {**SAMPLES, **CAMERA}.items():
        blob = await blob_of(data)
        assert await outcome(verify(decoder_pool, blob)) is None, name
        made = await decoder_pool.thumbnail(blob, thumbnail_bounds(20, None), "anna")
        assert made.content_type in ("image/jpeg", "image/webp")
        assert made.data[:3] == b"\xff\xd8\xff" or made.data[8:12] == b"WEBP"
        blob.close()


@pytest.mark.parametrize(
    "data",
    [
        HALF_A_JPEG,
        SVG,
        b"",
        b"\0" * 100_000,
        b"\x76\x2f\x31\x01" + bytes(100),
    ],
    ids=["half a JPEG", "SVG", "nothing", "zeros", "EXR"],
)
@pytest_twisted.ensureDeferred
async def test_invalid_image_is_refused_in_bounded_memory_of_the_worker(decoder_pool, blob_of, data):
    blob = await blob_of(data)
    before = memory_from_now_on()
    assert await outcome(verify(decoder_pool, blob)) is NotAnImage
    assert peak_of_memory() - before < 32 * MIB
    blob.close()
    good = await blob_of(SAMPLES["png"])
    assert await outcome(verify(decoder_pool, good)) is None


@pytest.mark.parametrize(
    "data",
    [png_of(20_000, 20_000), laborious_gif(5000, 1000), laborious_gif(8, 1001)],
    ids=["a large frame", "many large frames", "too many frames"],
)
@pytest_twisted.ensureDeferred
async def test_image_with_too_many_pixels_is_refused_before_decoding(make_decoder_pool, blob_of, data):
    decoder_pool = make_decoder_pool(limits=ResourceLimits(seconds=1))
    assert await outcome(verify(decoder_pool, await blob_of(data))) is TooManyPixels


@pytest_twisted.ensureDeferred
async def test_large_file_streams_through_the_worker(decoder_pool):
    blob = Blob(MD5.parse("0" * 32), Zeros(), maybeDeferred, Health())
    before = memory_from_now_on()
    assert await outcome(verify(decoder_pool, blob)) is NotAnImage
    assert peak_of_memory() - before < 32 * MIB


@pytest_twisted.ensureDeferred
async def test_file_beyond_the_size_limit_is_refused_unread(decoder_pool):
    assert await outcome(verify(decoder_pool, Slow(MAX_FILE_BYTES + 1))) is TooLarge
    assert processes_of(decoder_pool) == []


@pytest.mark.parametrize(
    ("width", "height"), [(None, None), (0, None), (None, 0), (-1, 5), (2049, None), (5, 2049)]
)
def test_thumbnail_bounds_out_of_range_are_refused(width, height):
    with pytest.raises(InvalidThumbnailSize):
        thumbnail_bounds(width, height)


@pytest_twisted.ensureDeferred
@pytest.mark.slow
async def test_image_beyond_the_cpu_time_limit_is_refused(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(limits=ResourceLimits(seconds=1))
    assert await outcome(verify(decoder_pool, await blob_of(LABORIOUS))) is DecodingTooCostly
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
@pytest.mark.slow
async def test_image_beyond_the_memory_limit_is_refused(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(limits=ResourceLimits(memory=100 * MIB))
    assert await outcome(verify(decoder_pool, await blob_of(laborious_gif(9000, 2)))) is DecodingTooCostly
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None


# --- what dies -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_process_beyond_the_deadline_is_killed(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(deadline=0.5)
    blob = await blob_of(LABORIOUS)
    checked = verify(decoder_pool, blob)
    (decoder_main,) = processes_of(decoder_pool)
    assert await outcome(checked) is Overloaded
    await until(lambda: ended(decoder_main))
    assert processes_of(decoder_pool) == []


@pytest_twisted.ensureDeferred
async def test_stalled_blob_ends_at_the_deadline(make_decoder_pool):
    decoder_pool = make_decoder_pool(deadline=0.5)
    assert await outcome(verify(decoder_pool, Slow(100))) is Overloaded


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGSEGV, NotAnImage), (signal.SIGABRT, NotAnImage), (signal.SIGKILL, Overloaded)],
)
@pytest_twisted.ensureDeferred
async def test_crash_of_the_fork_is_a_refusal(decoder_pool, blob_of, number, expected):
    checked = verify(decoder_pool, await blob_of(LABORIOUS))
    fork = await fork_of(decoder_pool)
    processes = processes_of(decoder_pool)
    os.kill(fork, number)
    assert await outcome(checked) is expected
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None
    assert processes_of(decoder_pool) == processes


@pytest_twisted.ensureDeferred
async def test_crashed_decoder_process_is_replaced(decoder_pool, blob_of):
    checked = verify(decoder_pool, await blob_of(LABORIOUS))
    fork = await fork_of(decoder_pool)
    (decoder_main,) = processes_of(decoder_pool)
    os.killpg(decoder_main, signal.SIGKILL)
    assert await outcome(checked) is Overloaded
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None
    assert decoder_main not in processes_of(decoder_pool)
    await until(lambda: ended(fork))


@pytest_twisted.ensureDeferred
async def test_fork_ends_with_its_decoder_process(decoder_pool, blob_of):
    checked = verify(decoder_pool, await blob_of(LABORIOUS))
    fork = await fork_of(decoder_pool)
    os.kill(*processes_of(decoder_pool), signal.SIGKILL)
    assert await outcome(checked) is Overloaded
    await until(lambda: ended(fork))


@pytest_twisted.ensureDeferred
async def test_decoder_process_that_crashes_while_receiving_is_replaced(decoder_pool, blob_of):
    blob = Slow(10**6)
    checked = verify(decoder_pool, blob)
    await blob.started
    os.kill(*processes_of(decoder_pool), signal.SIGKILL)
    assert await outcome(checked) is Overloaded
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_idle_decoder_process_that_crashes_is_replaced(decoder_pool, blob_of):
    blob = await blob_of(SAMPLES["gif"])
    await verify(decoder_pool, blob)
    os.kill(*processes_of(decoder_pool), signal.SIGKILL)
    await until(lambda: not decoder_pool._processes)
    assert await outcome(verify(decoder_pool, blob)) is None


@pytest_twisted.ensureDeferred
async def test_decoder_process_ignores_sigterm_sigint_and_sighup(decoder_pool, blob_of):
    blob = await blob_of(SAMPLES["gif"])
    await verify(decoder_pool, blob)
    (decoder_main,) = processes_of(decoder_pool)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(decoder_main, number)
    assert await outcome(verify(decoder_pool, blob)) is None
    assert processes_of(decoder_pool) == [decoder_main]


@pytest_twisted.ensureDeferred
async def test_unreadable_blob_is_an_os_error(decoder_pool, blob_of):
    blob = Slow(10**6)
    checked = verify(decoder_pool, blob)
    await blob.started
    blob.done.errback(OSError(5, "the disk"))
    assert await outcome(checked) is OSError
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_full_disk_is_storage_full(decoder_pool, blob_of):
    small = await blob_of(SAMPLES["gif"])
    await verify(decoder_pool, small)
    (decoder_main,) = processes_of(decoder_pool)
    resource.prlimit(decoder_main, resource.RLIMIT_FSIZE, (10_000, 10_000))
    assert await outcome(verify(decoder_pool, await blob_of(LABORIOUS))) is StorageFull
    assert await outcome(verify(decoder_pool, small)) is None
    assert processes_of(decoder_pool) == [decoder_main]


@pytest_twisted.ensureDeferred
async def test_decoder_process_ends_with_its_worker(decoder_pool, blob_of):
    checked = verify(decoder_pool, await blob_of(LABORIOUS))
    fork = await fork_of(decoder_pool)
    (process,) = decoder_pool._processes
    decoder_main = process.transport.pid
    process.transport.closeStdin()
    assert await outcome(checked) is Overloaded
    await until(lambda: ended(fork) and ended(decoder_main))


# --- crowds ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_full_queue_is_overloaded(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(processes=1, max_waiting_each=2)
    blobs = [Slow(10**6) for _ in range(3)]
    waiting = [verify(decoder_pool, blob) for blob in blobs]
    assert await outcome(verify(decoder_pool, Slow(10))) is Overloaded
    for blob in blobs:
        await blob.started
        blob.done.errback(OSError(5, "enough"))
    assert [await outcome(each) for each in waiting] == [OSError] * 3
    assert await outcome(verify(decoder_pool, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_concurrent_jobs_get_their_own_results(decoder_pool, blob_of):
    names = ["png", "gif", "svg"] * 10
    jobs = [
        verify(decoder_pool, await blob_of(SVG if name == "svg" else SAMPLES[name]), f"account {number % 5}")
        for number, name in enumerate(names)
    ]
    answers = await gatherResults([Deferred.fromCoroutine(outcome(job)) for job in jobs])
    assert answers == [NotAnImage if name == "svg" else None for name in names]
    assert len(processes_of(decoder_pool)) == 2


@pytest_twisted.ensureDeferred
async def test_lack_of_descriptors_is_overloaded(decoder_pool, blob_of):
    blob = await blob_of(SAMPLES["gif"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        checked = verify(decoder_pool, blob)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await outcome(checked) is Overloaded
    assert await outcome(verify(decoder_pool, blob)) is None


@pytest_twisted.ensureDeferred
async def test_image_with_flipped_bytes_is_accepted_or_refused(decoder_pool, blob_of):
    dice = Random(20261122)
    judged = []
    for data in list(SAMPLES.values()) * 5:
        flipped = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            flipped[dice.randrange(len(data))] = dice.randrange(256)
        judged.append(await outcome(verify(decoder_pool, await blob_of(bytes(flipped)))))
    assert set(judged) == {None, NotAnImage}
    assert len(processes_of(decoder_pool)) == 1


@pytest_twisted.ensureDeferred
async def test_stop_ends_running_and_waiting_jobs(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(processes=1)
    blob = await blob_of(LABORIOUS)
    checked = [verify(decoder_pool, blob), verify(decoder_pool, Slow(10))]
    fork = await fork_of(decoder_pool)
    stopped = decoder_pool.stop()
    assert [await outcome(each) for each in checked] == [Overloaded] * 2
    await stopped
    await until(lambda: ended(fork))
    assert await outcome(verify(decoder_pool, Slow(10))) is Overloaded
    await decoder_pool.stop()
