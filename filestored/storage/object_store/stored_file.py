"""Objects as stored files: whole in memory if they are small, else read as a stream. Blocking.

A stream is one GET for one range, read as fast as the consumer takes the bytes: what the consumer has not
asked for stays in the buffers of the connection. A GET that breaks off is resumed at the next byte, for the
same version of the object. An object that is deleted or replaced meanwhile cannot be read to its end.
"""

import errno
import time

from twisted.logger import Logger
from zope.interface import implementer

from filestored.errors import EngineError
from filestored.interfaces import IInMemory, IReadAhead, IStoredFile
from filestored.storage.health import ReadFailed
from filestored.storage.object_store.client import (
    ObjectBody,
    ObjectChanged,
    ObjectInfo,
    ObjectStoreClient,
)

CHUNK_BYTES = 256 * 1024
"""Minimum size of a chunk of a stream. A download holds two, and its connection to the client one."""

RESUME_SECONDS = 0.2
"""Seconds before a broken GET is resumed; repeated until the timeout of the client without a byte."""


@implementer(IStoredFile, IInMemory)
class SmallObject:
    """An object whose bytes are in memory: `data`, `size` bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read(self, offset: int, count: int) -> bytes:
        """Return a slice."""
        return self.data[offset : offset + count]

    def close(self) -> None:
        """Do nothing."""


@implementer(IStoredFile, IReadAhead)
class ObjectFile:
    """The object of `info`, read as a stream. `body` is the answer to a GET, if there was one."""

    _log = Logger()

    def __init__(self, client: ObjectStoreClient, info: ObjectInfo, body: ObjectBody | None = None) -> None:
        self.size = info.size
        self._client = client
        self._info = info
        self._chunks = body.chunks(CHUNK_BYTES) if body is not None else None
        self._rest = b""
        self._position, self._stop = body.span if body is not None else (0, info.size)

    def read_first(self) -> None:
        """Read the first chunk, so that an error comes before the response. Raises as `read`."""
        self._rest = self._next_chunk()

    def will_read(self, start: int, stop: int) -> None:
        """See `IReadAhead`."""
        if (start, stop) != (self._position, self._stop):
            self._chunks, self._rest = None, b""
            self._position, self._stop = start, stop

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes of the stream; begin a new one unless `offset` is its position. Raises `OSError`."""
        if offset != self._position or offset >= self._stop:
            self.will_read(offset, self.size)
        data, self._rest = self._rest, b""
        if not data and offset < self._stop:
            data = self._next_chunk()
        if len(data) > count:
            data, self._rest = data[:count], data[count:]
        self._position += len(data)
        return data

    def close(self) -> None:
        """Drop the stream."""
        self._chunks, self._rest = None, b""

    def _next_chunk(self) -> bytes:
        """Return the next bytes; resume a broken stream, also after a short outage.

        Raises `ReadFailed` or `EngineError`.
        """
        deadline = time.monotonic() + self._client.timeout
        while True:
            try:
                if self._chunks is None:
                    body = self._client.get(self._info.key, self._position, self._stop, self._info.etag)
                    self._chunks = body.chunks(CHUNK_BYTES)
                return next(self._chunks, b"")
            except (FileNotFoundError, ObjectChanged):
                raise ReadFailed(errno.EIO, f"{self._info.key} was deleted while it was read") from None
            except EngineError as error:
                self._chunks = None
                if time.monotonic() > deadline:
                    raise
                self._log.info("a stream is resumed: {reason}", reason=error.reason)
            time.sleep(RESUME_SECONDS)
