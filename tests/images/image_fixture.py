"""Image store on disk with watched system calls, run synchronously in the thread of the test."""

import os
import time

from twisted.internet.defer import maybeDeferred

from filestored.images import directory as image_directory
from filestored.images.accounts import Accounts, read_key
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gzip_backend import GzipBackend
from filestored.images.image_store import ImageStore
from filestored.images.orphans.cleaner import MIN_AGE_SECONDS, OrphanCleaner
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.records import DiskRecords
from filestored.storage.health import Health
from filestored.storage.store import Store
from tests.images.catalog_samples import listing, names_of
from tests.storage.contract import outcome


def done(answer):
    """Return the result of a Deferred, or raise its error."""
    result = outcome(answer)
    if isinstance(result, Exception):
        raise result
    return result


class ImageFixture:
    """An open image directory at `place`, prepared if new; the caller closes it."""

    def __init__(self, place, calls=None):
        if not os.path.exists(os.path.join(place, "KEY")):
            image_directory.prepare(place)
        self.records = DiskRecords(place, calls)
        self.blobs = DiskBackend(os.path.join(place, "blobs"), UNIQUE_SHA256, calls, reserve=0)
        self.backend = GzipBackend(self.blobs)
        key = read_key(self.records)
        self.accounts = Accounts(self.records, key)
        health = Health()
        self.store = Store(self.backend, UNIQUE_SHA256, maybeDeferred, health=health)
        self.image_store = ImageStore(
            self.records, self.accounts, self.store, maybeDeferred, health, recover=self.blobs.restore
        )

    def gallery(self, token):
        return done(self.image_store.authenticate(token))

    def put(self, token, name, data, replacing=None):
        """Upload an image, or update one; returns the id."""
        upload = done(self.gallery(token).upload(replacing))
        try:
            upload.begin(name)
            upload.write(data)
            return done(upload.commit())
        finally:
            upload.abort()

    def delete(self, token, identity):
        return done(self.gallery(token).delete(identity))

    def contents(self, username="anna"):
        """All images of an account as (type, bytes) by name, read back through the gallery."""
        token = done(self.image_store.get_token(username))
        gallery = self.gallery(token)
        return {name: self._read(gallery, identity) for name, identity in done(gallery.list_images()).items()}

    def sweep(self, later=2 * MIN_AGE_SECONDS):
        """Remove orphans as a daemon does `later` seconds from now, when no upload can be in progress."""
        return OrphanCleaner(self.records, self.accounts, self.blobs, now=time.time() + later).run()

    def check(self):
        """Each account opens with its token, and the store has the bytes of its images and no others."""
        blobs = set()
        usernames = {name.split("/")[1] for name in self.records.names("accounts")}
        for username in usernames:
            images = listing(self.records, username)
            blobs |= {image.blob for image in images.values()}
            assert set(images) <= set(names_of(self.records, username))
            assert len(images) <= len(self.records.names(f"accounts/{username}/images"))
            token = done(self.image_store.get_token(username))
            assert username == self.accounts.authenticate(token).name
        assert blobs == set(self.blobs.digests(None, 10_000))
        assert len(usernames) <= len(self.records.names("tokens"))

    def close(self):
        self.records.close()
        self.blobs.close()

    def _read(self, gallery, identity):
        image, blob = done(gallery.open(identity, gzipped=lambda _: False))
        sink = _Sink()
        done(blob.produce(sink, 0, blob.size))
        blob.close()
        assert image.size == len(sink.data)
        return image.media_type, sink.data


class _Sink:
    def __init__(self):
        self.data = b""

    def registerProducer(self, producer, streaming):
        pass

    def unregisterProducer(self):
        pass

    def write(self, data):
        self.data += data


def in_child(work):
    """Run `work` in a forked process; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
