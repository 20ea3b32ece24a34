"""Client of an object store: requests of ``obstore``, with errors translated and outages detected. Blocking.

In: keys relative to the prefix of the URL. Out: bytes, `ObjectInfo`, or an error::

    FileNotFoundError    there is no such object, and the store itself is there
    EngineUnavailable    the service does not answer, or refuses the credentials
    EngineError          the service answers, but could not do this

``obstore`` repeats requests within the timeout, except conditional writes: a repeated one may meet its own
effect, which is told by the content (`ObjectStoreClient.create`).

A service that is away must not look like a missing object. So after a 404 the object ``FORMAT`` is read: the
absence counts if that is there. After any other failure it is read too: if it cannot be, all requests fail at
once for a second, then one is let through, until one succeeds (`outage`).

A fork must not happen after the first request: the threads of ``obstore`` would be missing in the child.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from mmap import mmap
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from filestored.errors import EngineError, EngineUnavailable, OutcomeUnknown, UnusableStore
from filestored.storage.object_store.connection import (
    Connect,
    connect,
    describe,
    is_temporary,
    is_unsatisfied_range,
    names_no_bucket,
)
from filestored.storage.object_store.outage import Outage
from filestored.storage.object_store.url import ObjectStoreURL

FORMAT = "FORMAT"
"""Key of the object that each store has."""

MAX_PROBE_SECONDS = 3.0
"""Maximum seconds in which an outage, or the absence of an object, is confirmed."""

PUT_BYTES_PER_SECOND = 1024 * 1024
"""Minimum rate of the largest PUT: the timeout of those beyond `PART_BYTES` is longer by its duration."""

PART_BYTES = 8 * 1024 * 1024
"""Minimum size of a part of a multipart upload."""

MAX_PUT_BYTES = 64 * 1024 * 1024
"""Maximum size of one PUT; larger content is a multipart upload."""

_MAX_PARTS = 10_000
_PARALLEL_PARTS = 4
_PAGE_OBJECTS = 1000
_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 1.0
_MAX_COMPARED_BYTES = 64 * 1024

_T = TypeVar("_T")

Buffer = bytes | bytearray | memoryview | mmap


class NoSuchRange(EngineError):
    """Raised when an object has no byte of a range."""


class ObjectChanged(OSError):
    """Raised when an object was replaced while it was read."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Metadata of an object: key, size in bytes, time of its last change; `version` is for conditions."""

    key: str
    size: int
    changed: datetime
    version: Mapping[str, str]

    @property
    def etag(self) -> str | None:
        """Return the entity tag of this version, if the service has one."""
        return self.version.get("e_tag")


class ObjectBody:
    """The body of a GET: `info` of the whole object, the half-open range `span`, and its chunks."""

    def __init__(self, where: str, info: ObjectInfo, result: Any) -> None:
        self.info = info
        self.span: tuple[int, int] = result.range
        self._where = where
        self._result = result

    def read_all(self) -> bytes:
        """Return all bytes. Raises `EngineError`."""
        chunks = list(self.chunks(self.info.size + 1))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the bytes in chunks of at least `size`, except for the last. Raises `EngineError`."""
        start, stop = self.span
        stream = self._result.stream(min_chunk_size=size)
        while start < stop:
            try:
                chunk: bytes = next(stream, b"")
            except BaseError as error:
                raise EngineError(f"{self._where}: {describe(error)}") from None
            if not chunk:
                raise EngineError(f"{self._where} ended at byte {start} of {stop}")
            start += len(chunk)
            yield chunk


class ObjectStoreClient:
    """The objects below one URL. Thread-safe; makes no request before the first call.

    `timeout` is the maximum of seconds of one operation with its repetitions; `connect` makes the stores of
    ``obstore``.
    """

    def __init__(self, url: ObjectStoreURL, timeout: float, connect: Connect = connect) -> None:
        self.url = url
        self.timeout = timeout
        self._confirmed = self._path(FORMAT)
        self._outage = Outage()
        bulk_timeout = timeout + MAX_PUT_BYTES / PUT_BYTES_PER_SECOND
        self._streams = connect(url, timeout, streams=True)
        self._store = connect(url, timeout)
        self._once = connect(url, timeout, retries=False)
        self._probe = connect(url, min(timeout, MAX_PROBE_SECONDS))
        self._bulk = connect(url, bulk_timeout)
        self._bulk_once = connect(url, bulk_timeout, retries=False)

    def below(self, name: str, *, confirms: bool = True) -> "ObjectStoreClient":
        """Return the client of the store with the prefix `name` within this one, by the same connections.

        If it `confirms`, its own ``FORMAT`` tells whether the store is there, else that of this one.
        """
        client = copy(self)
        client.url = self.url.below(name)
        if confirms:
            client._confirmed = client._path(FORMAT)
        return client

    # --- reading --------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectInfo:
        """Return the metadata of an object. Raises `FileNotFoundError` or `EngineError`."""
        with self._absence_confirmed():
            return self._info(self.call(key, obstore.head, self._store, self._path(key)))

    def get(self, key: str, start: int = 0, stop: int | None = None, etag: str | None = None) -> ObjectBody:
        """Start to read a half-open range of an object, or all of it.

        With `etag` it must be that version, else `ObjectChanged` is raised. Raises `NoSuchRange` when no byte
        of the range exists, `FileNotFoundError` or `EngineError`.
        """
        options: dict[str, Any] = {"if_match": etag} if etag else {}
        if start or stop is not None:
            options["range"] = {"offset": start} if stop is None else (start, stop)
        with self._absence_confirmed():
            try:
                result = self.call(
                    key,
                    obstore.get,
                    self._streams,
                    self._path(key),
                    options=options,
                    conditional=etag is not None,
                )
            except PreconditionError:
                raise ObjectChanged(f"the object {key} was replaced while it was read") from None
            return self._body(result)

    def read(self, key: str) -> tuple[bytes, ObjectInfo]:
        """Return the bytes and metadata of a small object. Raises `FileNotFoundError` or `EngineError`."""
        with self._absence_confirmed():
            result = self.call(key, obstore.get, self._store, self._path(key))
        body = self._body(result)
        return body.read_all(), body.info

    def objects(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects below `prefix`, a directory, in ascending order, after the key `after`.

        Each page is a request. Raises `EngineError`.
        """
        stream = obstore.list(
            self._store,
            self._path(prefix).rstrip("/") or None,
            offset=self._path(after) if after else None,
            chunk_size=_PAGE_OBJECTS,
        )
        while page := self.call(prefix, next, stream, None):
            yield from map(self._info, page)

    def entries(self, prefix: str) -> list[str]:
        """Return the names directly below `prefix`, of objects and of directories, in ascending order."""
        path = self._path(prefix).rstrip("/")
        found = self.call(prefix, obstore.list_with_delimiter, self._store, path or None)
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted(each.removeprefix(f"{path}/" if path else "").rstrip("/") for each in paths)

    # --- writing --------------------------------------------------------------------------------

    def create(self, key: str, data: Buffer) -> bool:
        """Create an object; return False when it exists.

        Raises `OutcomeUnknown` when it exists after a request without an answer, and `EngineError`, of which
        the outcome is unknown, too.
        """
        return self._put_conditionally(key, data, "create")

    def replace(self, key: str, data: Buffer, version: Mapping[str, str]) -> bool:
        """Replace this version of an object; return False if it is no longer that. Raises as `create`."""
        return self._put_conditionally(key, data, dict(version))

    def find(self, key: str) -> ObjectInfo | None:
        """Return the metadata of an object; None if there seems to be none. Raises `EngineError`.

        For a caller that writes the object then: that fails if the store itself is missing.
        """
        try:
            return self._info(self.call(key, obstore.head, self._store, self._path(key)))
        except FileNotFoundError:
            return None

    def put(self, key: str, data: Buffer) -> None:
        """Write an object, whether it exists or not; in parts if it is large. Raises `EngineError`."""
        store = self._bulk if len(data) > PART_BYTES else self._store
        try:
            self._put(key, data, store, "overwrite")
        except FileNotFoundError:  # the bucket, or the upload in parts
            self.confirm_format()
            raise EngineError(f"{self.url}: {key} could not be written") from None

    def delete(self, key: str, *, once: bool = False) -> None:
        """Delete an object, if it exists; `once` does not repeat the request. Raises `EngineError`."""
        try:
            self.call(key, obstore.delete, self._once if once else self._store, self._path(key))
        except FileNotFoundError:
            self.confirm_format()

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the service. Raises `FileNotFoundError` or `EngineError`."""
        with self._absence_confirmed():
            self.call(source, obstore.copy, self._bulk, self._path(source), self._path(target))

    # --- outages --------------------------------------------------------------------------------

    def read_format(self) -> bytes | None:
        """Return the value of ``FORMAT``; None if it is missing. Raises `UnusableStore` or `EngineError`."""
        try:
            result = self.call(FORMAT, obstore.get, self._store, self._path(FORMAT))
            return bytes(self.call(FORMAT, result.bytes))
        except FileNotFoundError as error:
            if names_no_bucket(error):
                raise UnusableStore(f"the bucket {self.url.bucket} does not exist; create it") from None
            return None

    def confirm_format(self, reason: str = "") -> None:
        """Read ``FORMAT`` within a short time. Raises `EngineUnavailable` when that fails.

        `reason` is that of an earlier failure.
        """
        try:
            obstore.get(self._probe, self._confirmed).bytes()
        except FileNotFoundError:
            missing = f"{self.url} has no {FORMAT} object any more"
            raise self._outage.begin(reason or missing) from None
        except BaseError as error:
            raise self._outage.begin(f"{self.url}: {describe(error)}") from None
        self._outage.end()

    def call(
        self, key: str, function: Callable[..., _T], *args: Any, conditional: bool = False, **kwargs: Any
    ) -> _T:
        """Call a function of ``obstore``; translate its errors, except that of absence.

        The error of a condition is raised as it is for a `conditional` request.
        """
        self._outage.check()
        try:
            result = function(*args, **kwargs)
        except FileNotFoundError:
            raise
        except BaseError as error:
            if conditional and isinstance(error, AlreadyExistsError | PreconditionError):
                raise
            if is_unsatisfied_range(error):
                raise NoSuchRange from None
            self.confirm_format(f"{self.url}: {describe(error)}")
            reason = f"{self.url}: {key}: {describe(error)}"
            raise EngineError(reason, temporary=is_temporary(error)) from None
        self._outage.end()
        return result

    def _put_conditionally(self, key: str, data: Buffer, mode: Any) -> bool:
        """Write if the condition holds. A failed request is repeated, and may meet its own effect.

        That may even have been changed again by another process, which only the caller could tell.
        """
        store = self._bulk_once if len(data) > PART_BYTES else self._once
        deadline, pause = time.monotonic() + self.timeout, _FIRST_PAUSE_SECONDS
        failed = False
        while True:
            try:
                self._put(key, data, store, mode)
                return True
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as met:
                if isinstance(met, FileNotFoundError) and mode == "create":  # the bucket is missing
                    self.confirm_format()
                if not failed:
                    return False
                if self._has(key, data):
                    return True
                raise OutcomeUnknown(f"{self.url}: {key} was changed, by this request or another") from None
            except EngineError as error:
                failed = True
                outage = isinstance(error, EngineUnavailable)
                if outage or not error.temporary or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)

    def _has(self, key: str, data: Buffer) -> bool:
        """Return whether an object has exactly this content, if that is small."""
        try:
            return len(data) <= _MAX_COMPARED_BYTES and self.read(key)[0] == bytes(data)
        except FileNotFoundError:
            return False

    def _put(self, key: str, data: Buffer, store: Any, mode: Any) -> None:
        size = len(data)
        self.call(
            key,
            obstore.put,
            store,
            self._path(key),
            data,
            mode=mode,
            conditional=mode != "overwrite",
            use_multipart=mode == "overwrite" and size > MAX_PUT_BYTES,
            chunk_size=max(PART_BYTES, -(-size // _MAX_PARTS)),
            max_concurrency=_PARALLEL_PARTS,
        )

    @contextmanager
    def _absence_confirmed(self) -> Iterator[None]:
        """Let a `FileNotFoundError` pass only while the store itself is there."""
        try:
            yield
        except FileNotFoundError:
            self.confirm_format()
            raise

    def _path(self, key: str) -> str:
        return self.url.prefix + key

    def _body(self, result: Any) -> ObjectBody:
        info = self._info(result.meta)
        return ObjectBody(f"{self.url}: {info.key}", info, result)

    def _info(self, meta: Any) -> ObjectInfo:
        key = meta["path"].removeprefix(self.url.prefix)
        version = {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
        return ObjectInfo(key, meta["size"], meta["last_modified"], version)
