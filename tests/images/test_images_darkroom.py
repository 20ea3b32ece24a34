"""Pictures are looked into by processes: hostile files, dying processes, crowds."""

import os
import resource
import signal
from collections.abc import Iterator
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from filestored.digest import algorithm
from filestored.errors import InvalidThumbnailSize, NotAnImage, Overloaded, StorageFull, TooManyPixels
from filestored.images.decoder.pool import MAX_FILE_BYTES, DecoderPool, available
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.images.thumbnails.thumbnails import thumbnail_bounds
from filestored.interfaces import IBlob, IImageDecoder, IStoredFile
from filestored.storage.blob import Blob
from filestored.storage.health import Health
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from tests.daemon.running import memory
from tests.images.pictures import (
    CAMERA,
    HALF_A_JPEG,
    SAMPLES,
    SVG,
    laborious_gif,
    laborious_jpeg,
    png_of,
)

MD5 = algorithm("md5")
LABORIOUS = laborious_jpeg(4000, 1600)
MIB = 1024 * 1024


@pytest.fixture
def make_darkroom() -> Iterator:
    made = []

    def make(**settings) -> DecoderPool:
        made.append(DecoderPool(reactor, **settings))
        return made[-1]

    yield make
    for darkroom in made:
        pytest_twisted.blockon(darkroom.stop())


@pytest.fixture
def darkroom(make_darkroom) -> DecoderPool:
    return make_darkroom()


@pytest.fixture
def blob_of():
    """A function that stores bytes, and opens them."""
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred)

    async def put(data: bytes) -> IBlob:
        upload = store.upload()
        upload.write(data)
        stored = await upload.commit()
        return await store.open(stored.digest)

    return put


@implementer(IBlob)
class Slow:
    """A blob that begins, and then does what it is told."""

    digest = MD5.parse("0" * 32)

    def __init__(self, size: int) -> None:
        self.size = size
        self.started: Deferred[None] = Deferred()
        self.done: Deferred[None] = Deferred()

    def produce(self, consumer, start, stop):
        consumer.registerProducer(self, True)
        consumer.write(b"GIF89a")
        self.started.callback(None)
        return self.done.addBoth(self._end, consumer)

    def _end(self, outcome, consumer):
        consumer.unregisterProducer()
        return outcome

    def stopProducing(self):
        self.done.errback(CancelledError())

    def pauseProducing(self):
        pass

    resumeProducing = close = pauseProducing


@implementer(IStoredFile)
class Zeros:
    """A large file that is nowhere."""

    size = 200 * 1024 * 1024

    def read(self, offset, count):
        return bytes(count)

    def close(self):
        pass


async def outcome(deferred):
    """The result, or the type of the error."""
    try:
        return await deferred
    except Exception as error:
        return type(error)


def verify(darkroom, blob, owner="anna"):
    return darkroom.verify(blob, owner)


def memory_from_now_on() -> int:
    """Forget the peak of our memory so far; how much it is now, in bytes."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return peak_of_memory()


def peak_of_memory() -> int:
    """In bytes."""
    return memory(os.getpid(), "VmHWM") * 1024


def processes_of(darkroom: DecoderPool) -> list[int]:
    return [process.transport.pid for process in darkroom._processes]


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return list(map(int, file.read().split()))


def ended(pid: int) -> bool:
    """Whether a process is no more, or waits for nothing but being buried."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def until(condition) -> None:
    """Turn the reactor until the condition holds; the test's own time limit ends a wait in vain."""
    while not condition():
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.01, turn.callback, None)
        await turn


async def a_fork_of(darkroom: DecoderPool) -> int:
    """The process that decodes right now, once there is one."""
    (chamber,) = processes_of(darkroom)
    await until(lambda: children(chamber))
    return children(chamber)[0]


def test_a_darkroom_provides_pictures(darkroom):
    assert verifyObject(IImageDecoder, darkroom)
    assert available()


# --- what is an image ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_images_of_every_format_are_verified_and_made_small(darkroom, blob_of):
    for name, data in {**SAMPLES, **CAMERA}.items():
        blob = await blob_of(data)
        assert await outcome(verify(darkroom, blob)) is None, name
        made = await darkroom.thumbnail(blob, thumbnail_bounds(20, None), "anna")
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
async def test_what_is_no_image_is_refused_and_costs_the_worker_nothing(darkroom, blob_of, data):
    blob = await blob_of(data)
    before = memory_from_now_on()
    assert await outcome(verify(darkroom, blob)) is NotAnImage
    assert peak_of_memory() - before < 32 * MIB
    blob.close()
    good = await blob_of(SAMPLES["png"])
    assert await outcome(verify(darkroom, good)) is None


@pytest.mark.parametrize(
    "data",
    [png_of(20_000, 20_000), laborious_gif(5000, 1000), laborious_gif(8, 1001)],
    ids=["a large frame", "many large frames", "too many frames"],
)
@pytest_twisted.ensureDeferred
async def test_an_image_with_too_many_pixels_is_refused_before_decoding(make_darkroom, blob_of, data):
    darkroom = make_darkroom(bounds=ResourceLimits(seconds=1))
    assert await outcome(verify(darkroom, await blob_of(data))) is TooManyPixels


@pytest_twisted.ensureDeferred
async def test_a_large_file_streams_through_the_worker(darkroom):
    blob = Blob(MD5.parse("0" * 32), Zeros(), maybeDeferred, Health())
    before = memory_from_now_on()
    assert await outcome(verify(darkroom, blob)) is NotAnImage
    assert peak_of_memory() - before < 32 * MIB


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_too_large_is_not_even_looked_at(darkroom):
    assert await outcome(verify(darkroom, Slow(MAX_FILE_BYTES + 1))) is NotAnImage
    assert processes_of(darkroom) == []


@pytest.mark.parametrize(
    ("width", "height"), [(None, None), (0, None), (None, 0), (-1, 5), (2049, None), (5, 2049)]
)
def test_thumbnail_bounds_out_of_range_are_refused(width, height):
    with pytest.raises(InvalidThumbnailSize):
        thumbnail_bounds(width, height)


@pytest_twisted.ensureDeferred
async def test_an_image_that_takes_too_much_time_is_none(make_darkroom, blob_of):
    darkroom = make_darkroom(bounds=ResourceLimits(seconds=1))
    assert await outcome(verify(darkroom, await blob_of(LABORIOUS))) is NotAnImage
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_an_image_that_takes_too_much_memory_is_none(make_darkroom, blob_of):
    darkroom = make_darkroom(bounds=ResourceLimits(memory=100 * MIB))
    assert await outcome(verify(darkroom, await blob_of(laborious_gif(9000, 2)))) is NotAnImage
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None


# --- what dies -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_process_that_takes_longer_than_the_deadline_is_killed(make_darkroom, blob_of):
    darkroom = make_darkroom(deadline=0.5)
    blob = await blob_of(LABORIOUS)
    checked = verify(darkroom, blob)
    (chamber,) = processes_of(darkroom)
    assert await outcome(checked) is Overloaded
    await until(lambda: ended(chamber))
    assert processes_of(darkroom) == []


@pytest_twisted.ensureDeferred
async def test_a_blob_that_never_comes_ends_at_the_deadline(make_darkroom):
    darkroom = make_darkroom(deadline=0.5)
    assert await outcome(verify(darkroom, Slow(100))) is Overloaded


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGSEGV, NotAnImage), (signal.SIGABRT, NotAnImage), (signal.SIGKILL, Overloaded)],
)
@pytest_twisted.ensureDeferred
async def test_a_decoder_that_dies_is_an_answer(darkroom, blob_of, number, expected):
    checked = verify(darkroom, await blob_of(LABORIOUS))
    fork = await a_fork_of(darkroom)
    chambers = processes_of(darkroom)
    os.kill(fork, number)
    assert await outcome(checked) is expected
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None
    assert processes_of(darkroom) == chambers


@pytest_twisted.ensureDeferred
async def test_a_chamber_that_dies_is_replaced(darkroom, blob_of):
    checked = verify(darkroom, await blob_of(LABORIOUS))
    fork = await a_fork_of(darkroom)
    (chamber,) = processes_of(darkroom)
    os.killpg(chamber, signal.SIGKILL)
    assert await outcome(checked) is Overloaded
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None
    assert chamber not in processes_of(darkroom)
    await until(lambda: ended(fork))


@pytest_twisted.ensureDeferred
async def test_a_decoder_ends_with_its_chamber(darkroom, blob_of):
    checked = verify(darkroom, await blob_of(LABORIOUS))
    fork = await a_fork_of(darkroom)
    os.kill(*processes_of(darkroom), signal.SIGKILL)
    assert await outcome(checked) is Overloaded
    await until(lambda: ended(fork))


@pytest_twisted.ensureDeferred
async def test_a_chamber_that_dies_while_it_takes_a_file_is_replaced(darkroom, blob_of):
    blob = Slow(10**6)
    checked = verify(darkroom, blob)
    await blob.started
    os.kill(*processes_of(darkroom), signal.SIGKILL)
    assert await outcome(checked) is Overloaded
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_a_chamber_that_dies_idle_is_not_missed(darkroom, blob_of):
    blob = await blob_of(SAMPLES["gif"])
    await verify(darkroom, blob)
    os.kill(*processes_of(darkroom), signal.SIGKILL)
    await until(lambda: not darkroom._processes)
    assert await outcome(verify(darkroom, blob)) is None


@pytest_twisted.ensureDeferred
async def test_polite_signals_end_no_chamber(darkroom, blob_of):
    blob = await blob_of(SAMPLES["gif"])
    await verify(darkroom, blob)
    (chamber,) = processes_of(darkroom)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(chamber, number)
    assert await outcome(verify(darkroom, blob)) is None
    assert processes_of(darkroom) == [chamber]


@pytest_twisted.ensureDeferred
async def test_bytes_that_cannot_be_read_are_an_error_of_the_disk(darkroom, blob_of):
    blob = Slow(10**6)
    checked = verify(darkroom, blob)
    await blob.started
    blob.done.errback(OSError(5, "the disk"))
    assert await outcome(checked) is OSError
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_without_room_for_the_file_nobody_can_tell(darkroom, blob_of):
    small = await blob_of(SAMPLES["gif"])
    await verify(darkroom, small)
    (chamber,) = processes_of(darkroom)
    resource.prlimit(chamber, resource.RLIMIT_FSIZE, (10_000, 10_000))
    assert await outcome(verify(darkroom, await blob_of(LABORIOUS))) is StorageFull
    assert await outcome(verify(darkroom, small)) is None
    assert processes_of(darkroom) == [chamber]


@pytest_twisted.ensureDeferred
async def test_a_chamber_ends_with_its_worker(darkroom, blob_of):
    checked = verify(darkroom, await blob_of(LABORIOUS))
    fork = await a_fork_of(darkroom)
    (process,) = darkroom._processes
    chamber = process.transport.pid
    process.transport.closeStdin()
    assert await outcome(checked) is Overloaded
    await until(lambda: ended(fork) and ended(chamber))


# --- crowds ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_who_finds_too_many_waiting_is_sent_away(make_darkroom, blob_of):
    darkroom = make_darkroom(processes=1, max_waiting_each=2)
    blobs = [Slow(10**6) for _ in range(3)]
    waiting = [verify(darkroom, blob) for blob in blobs]
    assert await outcome(verify(darkroom, Slow(10))) is Overloaded
    for blob in blobs:
        await blob.started
        blob.done.errback(OSError(5, "enough"))
    assert [await outcome(each) for each in waiting] == [OSError] * 3
    assert await outcome(verify(darkroom, await blob_of(SAMPLES["gif"]))) is None


@pytest_twisted.ensureDeferred
async def test_many_at_once_all_get_their_own_answer(darkroom, blob_of):
    names = ["png", "gif", "svg"] * 10
    jobs = [
        verify(darkroom, await blob_of(SVG if name == "svg" else SAMPLES[name]), f"account {number % 5}")
        for number, name in enumerate(names)
    ]
    answers = await gatherResults([Deferred.fromCoroutine(outcome(job)) for job in jobs])
    assert answers == [NotAnImage if name == "svg" else None for name in names]
    assert len(processes_of(darkroom)) == 2


@pytest_twisted.ensureDeferred
async def test_without_descriptors_for_a_process_nobody_can_tell(darkroom, blob_of):
    blob = await blob_of(SAMPLES["gif"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        checked = verify(darkroom, blob)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await outcome(checked) is Overloaded
    assert await outcome(verify(darkroom, blob)) is None


@pytest_twisted.ensureDeferred
async def test_images_with_flipped_bytes_are_judged_one_way_or_the_other(darkroom, blob_of):
    dice = Random(20261122)
    judged = []
    for data in list(SAMPLES.values()) * 5:
        flipped = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            flipped[dice.randrange(len(data))] = dice.randrange(256)
        judged.append(await outcome(verify(darkroom, await blob_of(bytes(flipped)))))
    assert set(judged) == {None, NotAnImage}
    assert len(processes_of(darkroom)) == 1


@pytest_twisted.ensureDeferred
async def test_stopping_ends_what_is_under_way_and_what_waits(make_darkroom, blob_of):
    darkroom = make_darkroom(processes=1)
    blob = await blob_of(LABORIOUS)
    checked = [verify(darkroom, blob), verify(darkroom, Slow(10))]
    fork = await a_fork_of(darkroom)
    stopped = darkroom.stop()
    assert [await outcome(each) for each in checked] == [Overloaded] * 2
    await stopped
    await until(lambda: ended(fork))
    assert await outcome(verify(darkroom, Slow(10))) is Overloaded
    await darkroom.stop()
