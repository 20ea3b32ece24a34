"""Fixtures: decoder pools, and blobs in a memory store."""

from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred

from filestored.images.decoder.pool import DecoderPool
from filestored.interfaces import IBlob
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from tests.images.decoder.decoder_processes import MD5


@pytest.fixture
def make_decoder_pool() -> Iterator:
    made = []

    def make(**settings) -> DecoderPool:
        made.append(DecoderPool(reactor, **settings))
        return made[-1]

    yield make
    for decoder_pool in made:
        pytest_twisted.blockon(decoder_pool.stop())


@pytest.fixture
def decoder_pool(make_decoder_pool) -> DecoderPool:
    return make_decoder_pool()


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
