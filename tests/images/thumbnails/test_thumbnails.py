"""Thumbnails that were made once: the directory, and the answers made of it."""

import dataclasses
import errno
import os
import shutil
from io import BytesIO

import pytest
import pytest_twisted
from PIL import Image
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from zope.interface import implementer

from filestored.digest import algorithm
from filestored.errors import NotAnImage
from filestored.images.decoder.pool import DecoderPool
from filestored.images.gzip_backend import GunzippedFile
from filestored.images.thumbnails.cache import TOUCH_INTERVAL_SECONDS, ThumbnailCache, prefix
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.interfaces import IImageDecoder, Thumbnail
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.storage.threads import IOThreads
from filestored.web.imageapi.image_download import send_thumbnail, wants_thumbnail
from filestored.web.resource import AsyncResource
from tests.http_clients.in_memory import InMemoryClient
from tests.images.decodable_images import PICTURE, SAMPLES, SVG

MD5 = algorithm("md5")
ONE, OTHER = MD5.parse("1" * 32), MD5.parse("2" * 32)
JPEG = Thumbnail("image/jpeg", b"\xff\xd8\xff a small picture")
WEBP = Thumbnail("image/webp", b"RIFF another")
NOW = 2_000_000_000.0


def always_stored(digest):
    return True


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "images" / "thumbnails")


@pytest.fixture
def open_cache(place):
    opened = []

    def open_it(**settings):
        opened.append(ThumbnailCache(place, **settings))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()


# --- the directory ---------------------------------------------------------------------------


def test_cached_thumbnail_is_a_hit_for_every_worker(open_cache, place):
    first, second = open_cache(), open_cache()
    assert first.get("a") is None
    first.put("a", JPEG)
    first.put("b", WEBP)
    assert [second.get("a"), second.get("b"), second.get("c")] == [JPEG, WEBP, None]
    assert sorted(os.listdir(place)) == ["a.jpg", "b.webp"]


def test_threads_that_list_the_directory_at_once_see_all_of_it(open_cache, place):
    """Descriptors that share one position would share the entries out between two threads."""
    cache = open_cache()
    names = {f"sha256-{'0' * 64}-{number}x9.jpg" for number in range(2000)}
    for name in names:
        open(os.path.join(place, name), "w").close()
    with cache._scan() as first, cache._scan() as second:
        found = [next(first).name]
        assert names == {entry.name for entry in second}
        assert names == {*found, *(entry.name for entry in first)}


def test_cache_directory_is_created_by_a_later_use_after_a_failure(open_cache, place):
    os.makedirs(os.path.dirname(place))
    with open(place, "w"):
        cache = open_cache()
    with pytest.raises(OSError):
        cache.get("a")
    os.unlink(place)
    cache.put("a", JPEG)
    assert cache.get("a") == JPEG


def test_cache_hit_on_a_read_only_disk_ignores_the_failed_touch(open_cache, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    open_cache().put("a", JPEG)
    monkeypatch.setattr(os, "utime", refuse)
    assert open_cache(now=lambda: 3 * NOW).get("a") == JPEG


def test_cache_directory_is_private(open_cache, place):
    open_cache().put("a", JPEG)
    assert oct(os.stat(place).st_mode & 0o777) == "0o700"
    assert oct(os.stat(os.path.join(place, "a.jpg")).st_mode & 0o777) == "0o600"


def test_put_replaces_an_entry(open_cache):
    cache = open_cache()
    cache.put("a", JPEG)
    cache.put("a", Thumbnail("image/jpeg", b"new"))
    assert cache.get("a") == Thumbnail("image/jpeg", b"new")


def test_forget_removes_all_sizes_of_an_image(open_cache):
    cache = open_cache()
    names = [prefix(ONE) + "1x1", prefix(ONE) + "2x2", prefix(OTHER) + "1x1"]
    for name in names:
        cache.put(name, JPEG)
    cache.forget(ONE)
    cache.forget(ONE)
    assert [cache.get(name) for name in names] == [None, None, JPEG]


def test_full_cache_evicts_the_oldest(open_cache, place):
    cache = open_cache(max_bytes=1000)
    for age in range(12):
        cache.put(f"n{age:02}", Thumbnail("image/jpeg", b"x" * 100))
        os.utime(os.path.join(place, f"n{age:02}.jpg"), (NOW + age, NOW + age))
    left = sorted(os.listdir(place))
    assert left == [f"n{age:02}.jpg" for age in range(12 - len(left), 12)]
    assert sum(os.stat(os.path.join(place, name)).st_size for name in left) <= 1000


def test_new_worker_evicts_files_of_others_and_of_crashes(open_cache, place):
    open_cache(max_bytes=10**6).put("old", Thumbnail("image/jpeg", b"x" * 900))
    for name in (".left-by-a-crash", "old.jpg"):
        with open(os.path.join(place, name), "wb") as file:
            file.write(bytes(900))
        os.utime(os.path.join(place, name), (NOW - 99, NOW - 99))
    open_cache(max_bytes=1000).put("new", JPEG)
    assert os.listdir(place) == ["new.jpg"]


def test_cache_hit_touches_the_entry(open_cache, place):
    cache = open_cache()
    cache.put("a", JPEG)
    path = os.path.join(place, "a.jpg")
    os.utime(path, (1000, 1000))
    assert open_cache(now=lambda: 1000 + TOUCH_INTERVAL_SECONDS).get("a") == JPEG
    assert os.stat(path).st_mtime == 1000
    assert open_cache(now=lambda: 1001 + TOUCH_INTERVAL_SECONDS).get("a") == JPEG
    assert os.stat(path).st_mtime > 1000


def test_symbolic_link_in_the_cache_is_not_followed(open_cache, place, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    cache = open_cache()
    os.symlink(tmp_path / "secret", os.path.join(place, "a.jpg"))
    with pytest.raises(OSError) as caught:
        cache.get("a")
    assert caught.value.errno == errno.ELOOP
    cache.put("a", JPEG)
    assert cache.get("a") == JPEG
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_removed_cache_directory_is_recreated(open_cache, place):
    cache = open_cache()
    held = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        shutil.rmtree(place)
        assert cache.get("a") is None
        cache.put("a", JPEG)
        assert JPEG == cache.get("a")
    assert held == len(os.listdir("/proc/self/fd"))


def test_cache_directory_without_a_parent_is_not_recreated(tmp_path):
    os.mkdir(tmp_path / "images")
    cache = ThumbnailCache(str(tmp_path / "images/thumbnails"))
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(FileNotFoundError):
        cache.put("a", JPEG)
    assert not os.path.exists(tmp_path / "images")
    cache.close()


def test_cache_stores_nothing_when_only_the_reserve_is_free(open_cache, place):
    cache = open_cache(reserve=2**62)
    cache.put("a", JPEG)
    assert [] == os.listdir(place)


def test_failed_cache_write_leaves_no_file(open_cache, place):
    cache = open_cache()
    os.mkdir(os.path.join(place, "a.jpg"))
    with pytest.raises(IsADirectoryError):
        cache.put("a", JPEG)
    assert os.listdir(place) == ["a.jpg"]


# --- the answers -----------------------------------------------------------------------------


class Gallery(AsyncResource):
    """Answers every path with a thumbnail of the one image that there is."""

    def __init__(self, store, digest, thumbnails):
        super().__init__()
        self._store, self._digest, self._thumbnails = store, digest, thumbnails

    async def render_GET(self, request):
        assert wants_thumbnail(request)
        await send_thumbnail(request, await self._store.open(self._digest), self._thumbnails, "anna")

    render_HEAD = render_GET


class OnBlobDeleted(ThumbnailCache):
    """A directory on a dead disk."""

    def get(self, *args):
        raise OSError(errno.EIO, "dead")

    put = forget = get


@pytest.fixture
def decoder_pool():
    room = DecoderPool(reactor)
    yield room
    pytest_twisted.blockon(room.stop())


@pytest.fixture
def ask(decoder_pool, open_cache, place):
    """A function that asks for a thumbnail of an image, and waits for the answer."""
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred)

    async def ask_it(data, query, method="GET", cache=None, **fields):
        upload = store.upload()
        upload.write(data)
        stored = await upload.commit()
        thumbnails = Thumbnails(decoder_pool, cache or open_cache(), maybeDeferred, always_stored)
        root = Resource()
        root.putChild(b"image", Gallery(store, stored.digest, thumbnails))
        wire = InMemoryClient(root)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        wire.send(f"{method} /image{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
        while wire.connected and not wire.transport.disconnecting:
            await deferLater(reactor, 0.01)
        (answer,) = wire.answers(method)
        return answer

    return ask_it


@pytest_twisted.ensureDeferred
async def test_thumbnail_response_has_content_type_and_etag(ask):
    answer = await ask(SAMPLES["png"], "?width=50")
    assert (answer.status, answer.fields["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(answer.body)).size == (50, 31)
    assert answer.fields["cache-control"] == "private, no-cache"
    assert answer.fields["x-content-type-options"] == "nosniff"
    assert answer.fields["content-length"] == str(len(answer.body))
    assert answer.fields["etag"].endswith('-50x2048"')


@pytest_twisted.ensureDeferred
async def test_matching_etag_of_a_thumbnail_is_304(ask):
    tag = (await ask(SAMPLES["png"], "?height=20")).fields["etag"]
    answer = await ask(SAMPLES["png"], "?height=20", If_None_Match=tag)
    assert (answer.status, answer.body, answer.fields["etag"]) == (304, b"", tag)
    assert (await ask(SAMPLES["png"], "?height=21", If_None_Match=tag)).status == 200
    assert (await ask(SAMPLES["png"], "?height=20", If_Match='"other"')).status == 412


@pytest_twisted.ensureDeferred
async def test_head_of_a_thumbnail_has_the_headers_of_get_and_no_body(ask):
    answer, expected = await ask(SAMPLES["png"], "?width=9", "HEAD"), await ask(SAMPLES["png"], "?width=9")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.fields["content-length"] == expected.fields["content-length"]


@pytest.mark.parametrize(
    "query",
    [
        "?width=",
        "?width=0",
        "?width=-1",
        "?width=1.5",
        "?width=%D9%A1",
        "?width=9999999999",
        "?width=2049",
        "?width=1&width=1",
        "?width=1&height=x",
    ],
)
@pytest_twisted.ensureDeferred
async def test_invalid_thumbnail_size_is_400(ask, query):
    assert (await ask(SAMPLES["png"], query)).status == 400
    assert (await ask(SAMPLES["png"], query, If_None_Match="*")).status == 400


@pytest_twisted.ensureDeferred
async def test_thumbnail_of_an_invalid_image_is_406(ask):
    answer = await ask(SVG, "?width=5")
    assert (answer.status, answer.body.decode().strip()) == (406, str(NotAnImage()))


@pytest_twisted.ensureDeferred
async def test_second_thumbnail_request_is_a_cache_hit(ask, decoder_pool):
    first = await ask(SAMPLES["png"], "?width=40")
    await decoder_pool.stop()
    assert (await ask(SAMPLES["png"], "?width=40&height=2048")).undated == first.undated
    assert (await ask(SAMPLES["png"], "?width=41")).status == 503


@pytest_twisted.ensureDeferred
async def test_broken_cache_disk_costs_no_responses(ask, place):
    cache = OnBlobDeleted(place)
    answers = [await ask(SAMPLES["png"], "?width=40", cache=cache) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    cache.close()


@implementer(IImageDecoder)
class Painter:
    """Paints a thumbnail when it is told to, and counts."""

    def __init__(self):
        self.asked = []

    def check_format(self, media_type):
        pass

    def verify(self, blob, owner):
        raise AssertionError("nobody asks for that here")

    def thumbnail(self, blob, bounds, owner):
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.fixture
def painter():
    return Painter()


@pytest.fixture
def thumbnails(painter, open_cache):
    return Thumbnails(painter, open_cache(), maybeDeferred, always_stored)


@pytest.fixture
def open_picture():
    """A function that opens the same stored bytes, as a blob that is read."""
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred)

    async def open_it():
        upload = store.upload()
        upload.write(b"a picture")
        digest = (await upload.commit()).digest
        return await store.open(digest, lambda file: GunzippedFile(file, file.size))

    return open_it


@pytest_twisted.ensureDeferred
async def test_identical_thumbnail_requests_share_one_job(thumbnails, painter, open_picture):
    asked = [thumbnails.get(await open_picture(), (width, 9), "anna") for width in (7, 7, 8)]
    assert len(painter.asked) == 2
    painter.asked[0].callback(JPEG)
    assert [await asked[0], await asked[1]] == [JPEG, JPEG]
    painter.asked[1].errback(NotAnImage())
    with pytest.raises(NotAnImage):
        await asked[2]
    assert await thumbnails.get(await open_picture(), (7, 9), "anna") == JPEG
    assert len(painter.asked) == 2


@pytest_twisted.ensureDeferred
async def test_thumbnail_job_is_cancelled_with_its_last_client(thumbnails, painter, open_picture):
    first = thumbnails.get(await open_picture(), (7, 9), "anna")
    second = thumbnails.get(await open_picture(), (7, 9), "anna")
    first.addErrback(lambda _: None).cancel()
    assert not painter.asked[0].called
    second.addErrback(lambda _: None).cancel()
    assert painter.asked[0].called
    third = thumbnails.get(await open_picture(), (7, 9), "anna")
    painter.asked[1].callback(JPEG)
    assert await third == JPEG


@pytest_twisted.ensureDeferred
async def test_blob_is_closed_once_after_a_thumbnail_or_its_cancellation(thumbnails, painter, open_picture):
    blobs = [await open_picture() for _ in range(4)]
    asked = [thumbnails.get(blob, (7, 9), "anna") for blob in blobs[:2]]
    asked.append(thumbnails.get(blobs[2], (8, 9), "anna").addErrback(lambda _: None))
    assert [blob._closed for blob in blobs] == [False, True, False, False]
    painter.asked[0].callback(JPEG)
    asked[2].cancel()
    assert [blob._closed for blob in blobs] == [True, True, True, False]
    assert await thumbnails.get(blobs[3], (7, 9), "anna") == JPEG
    assert [blob._closed for blob in blobs] == [True] * 4


@pytest_twisted.ensureDeferred
async def test_deleted_image_loses_its_cached_thumbnails(decoder_pool, open_cache, place):
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred)
    upload = store.upload()
    upload.write(SAMPLES["png with alpha"])
    blob = await store.open((await upload.commit()).digest)
    thumbnails = Thumbnails(decoder_pool, open_cache(), maybeDeferred, always_stored)
    made = await thumbnails.get(blob, (10, 10), "anna")
    assert (made.content_type, Image.open(BytesIO(made.data)).size) == ("image/webp", (10, 6))
    assert len(os.listdir(place)) == 1
    await thumbnails.forget(blob.digest)
    assert os.listdir(place) == []
    assert PICTURE.size == (97, 61)


@pytest_twisted.ensureDeferred
async def test_thumbnail_of_an_image_deleted_meanwhile_is_not_kept(painter, open_cache, open_picture, place):
    """The deletion may come from another worker, which does not see the thumbnail yet."""
    writing, stored = [], set()
    threads = dataclasses.replace(
        IOThreads.of(maybeDeferred), record=lambda *job: writing.append(job) or Deferred()
    )
    thumbnails = Thumbnails(painter, open_cache(), threads, stored.__contains__)
    blob = await open_picture()
    stored.add(blob.digest)
    made = thumbnails.get(blob, (10, 10), "anna")
    painter.asked[0].callback(JPEG)
    assert JPEG == await made
    stored.clear()
    await thumbnails.forget(blob.digest)
    ((put, *arguments),) = writing
    put(*arguments)
    assert [] == os.listdir(place)
