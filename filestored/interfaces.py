"""Every interface.

``web/`` calls an `IStore`; the store calls an `IBackend`; a request that streams provides `IStreamedRequest`.
A fast path is an optional interface, tested with ``providedBy``; no caller tests for a class.

*Blocking* marks interfaces and methods that may wait for a disk: they are called in I/O threads. All others
return at once and are called in the reactor's thread only.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum, auto
from time import gmtime, strftime
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from zope.interface import Attribute, Interface

from filestored.digest import Algorithm, Digest
from filestored.metrics.refusals import Refusal

INLINE_HASH_MAX_BYTES = 64 * 1024
"""Maximum size of content that is hashed in the reactor's thread."""


WantedRange = tuple[int, int | None]
"""A half-open range of bytes; None is the end of the file, wherever that is."""

ALL_BYTES: WantedRange = (0, None)
"""The range of a whole file."""


class UploadResult(NamedTuple):
    """Result of an upload: digest, size in bytes, whether the content is new, and its `ISink.encoding`."""

    digest: Digest
    size: int
    created: bool
    encoding: str | None = None


class StoredFileInfo(NamedTuple):
    """A stored file: digest, size of the stored bytes, and last upload in seconds since the epoch."""

    digest: Digest
    size: int
    modified: float

    @property
    def moment(self) -> str:
        """The time of the last upload as RFC 3339 text: UTC, whole seconds."""
        return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(self.modified))

    def to_json(self) -> str:
        """Return the entry of a list. Takes 1.1 us; `json.dumps` of a dictionary and `datetime` took 5 us."""
        return f'{{"hash": "{self.digest.hex}", "size": {self.size}, "modified": "{self.moment}"}}'


class Usage(NamedTuple):
    """Number of stored files, and the sum of their sizes in bytes."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BucketLimits:
    """Limits of a bucket: maximum sum of sizes, maximum number of files, lifetime of a file in seconds.

    None is no limit.
    """

    quota_bytes: int | None = None
    quota_files: int | None = None
    expire: float | None = None


# --- the asynchronous store, called by ``web/`` ----------------------------------------------


class IStore(Interface):
    """A store of distinct byte strings, each kept once under its digest."""

    algorithm: Algorithm = Attribute("The hash algorithm of stored digests.")
    max_size: int = Attribute("Maximum size of an upload in bytes.")
    degraded: str | None = Attribute("The reason why writes are suspended, for the operator; else None.")
    limits: BucketLimits = Attribute("The limits in force, see `set_limits`.")
    max_listed_files: int = Attribute("Maximum `limit` of `entries` that delays no other request for long.")

    def parse(text: str) -> Digest:
        """Parse the digest of a stored file. Raises `MalformedDigest`.

        Accepts digests of `algorithm` and of former algorithms of the store. All of them can be opened and
        deleted; uploads get digests of `algorithm`.
        """

    def upload(expected: Iterable[Digest] = (), length: int | None = None) -> "IUpload":
        """Start an upload.

        `expected` are digests of any algorithm, which the content must match; `length` is its announced size
        in bytes, or None. Raises `UploadRefused` when the upload cannot succeed.
        """

    def put(data: bytes, expected: Sequence[Digest] = ()) -> "Deferred[UploadResult]":
        """Store content of at most `INLINE_HASH_MAX_BYTES`, as an upload with one `write` would.

        Raises `UploadRefused` when the content cannot be stored. Fails as `IUpload.commit`.
        """

    def upload_series() -> "Callable[[], IUpload]":
        """Return a function that starts the next upload of one client, as `upload` does.

        The uploads share one upload slot, so that they may be held, and are evicted together.
        """

    def open(
        digest: Digest, view: "FileView | None" = None, *, wanted: "WantedRange | None" = ALL_BYTES
    ) -> "Deferred[IBlob]":
        """Open the blob of `digest`; fails with `NotFound`. The caller closes the blob.

        `wanted` is the range that the caller expects to read first, or None; that may save a request.

        `view` wraps the stored file, for example to decompress it. It owns the file and must not read before
        it is read. A view may require reading in order, from the first byte.
        """

    def delete(digest: Digest) -> "Deferred[bool]":
        """Delete `digest`; fires with False when it was not stored, which is no error.

        Blobs that are open stay readable.
        """

    def digests(after: Digest | None = None, limit: int = 1000) -> "Deferred[list[Digest]]":
        """Return at most `limit` stored digests in ascending order, after `after`."""

    def entries(after: Digest | None = None, limit: int = 1000) -> "Deferred[list[StoredFileInfo]]":
        """Return at most `limit` stored files in ascending order of their digests, after `after`.

        Fewer than `limit` are the last ones. Fails with `OSError`.
        """

    def usage() -> "Deferred[Usage]":
        """Return the usage: the recorded one of a bucket with a quota, else a count of all files.

        The count begins after the call; concurrent calls share one. Fails with `OSError`.
        """

    def set_limits(limits: BucketLimits) -> None:
        """Set the limits from now on, also of the uploads in progress; may be called at any time.

        Only a store with an `ILimitedBackend` can have limits.
        """

    def in_use() -> "AbstractContextManager[None]":
        """Keep the store of a bucket open during the context, also between calls of its methods."""


class IBuckets(Interface):
    """All buckets, each with a store of its own."""

    def get(name: str, *, create: bool) -> "IStore | Deferred[IStore]":
        """Return the store of a bucket; one that is not open fires when it is.

        `create` makes a store if there is none, else an empty one is returned that takes no uploads. Fails
        with `StoreMissing` or `OSError`.
        """


class ISyncOpen(Interface):
    """Optional, of a store: it opens blobs without a Deferred."""

    slow: bool = Attribute("True while the disk reads slowly: only `IStore.open` may be called then.")

    def open_sync(digest: Digest) -> "IBlob":
        """Return or raise the result of `IStore.open`."""

    def reopen(digest: Digest) -> "IBlob":
        """Open a blob that was open before, for a cached response.

        Raises `NotFound` or `OSError`, which do not affect statistics or health; `open_sync` tells the reason
        then. Raises `BlockingIOError` while the store is `slow`.
        """


class IUpload(IConsumer):
    """An upload. Ends with exactly one of `commit` and `abort`.

    Its producer is paused while the disk is slower than the client: back-pressure to the client's socket.
    """

    def write(data: bytes) -> None:
        """Append bytes. Raises `TooLarge` beyond the maximum size; the caller then aborts.

        Raises `Overloaded` when too many other uploads write to disk, or when this client is too slow then.
        `commit` fails with errors of the disk; bytes after an error are dropped.
        """

    def spill() -> None:
        """Write large content to disk now: no more bytes follow, and `commit` is called later."""

    def commit() -> "Deferred[UploadResult]":
        """Make the content durable and publish it under its digest.

        Fires when a power failure cannot lose it. Fails with `UploadRefused` or `OSError`; nothing is stored
        then.
        """

    def abort() -> None:
        """Discard the upload. Idempotent; allowed at any time, also during and after `commit`."""


class IBlob(Interface):
    """An open stored byte string. Its owner closes it in every case."""

    digest: Digest = Attribute("Its digest.")
    size: int = Attribute("Its size in bytes.")

    def produce(consumer: IConsumer, start: int, stop: int) -> "Deferred[None]":
        """Write a half-open range of bytes to `consumer`, as a push producer.

        Fires after the last byte, when the producer is unregistered. Fails with `OSError` when reading fails,
        or with `CancelledError` when the consumer stops the producer.
        """

    def close() -> None:
        """Close the blob. Idempotent; allowed while producing."""


class IInMemory(Interface):
    """Optional, of a blob or stored file: all its bytes are in memory."""

    data: bytes = Attribute("The bytes.")


class IFileBacked(Interface):
    """Optional, of a blob or stored file: it is a regular file."""

    def fileno() -> int:
        """Return the descriptor of the file, valid until it is closed."""


class IFileSource(IFileBacked):
    """Optional, of a blob: a regular file, read in the reactor's thread unless the disk is slow."""

    slow: bool = Attribute("True while the disk reads slowly: only `read` may be called then.")

    def record_latency(seconds: float) -> None:
        """Record the duration of a read of the descriptor in the reactor's thread."""

    def read(start: int, stop: int) -> "Coroutine[Any, Any, bytes]":
        """Read at least one byte of the half-open range in an I/O thread.

        Raises `OSError`. Several downloads may read at a time. The blob may be closed meanwhile.
        """


class IRevalidatable(Interface):
    """Optional, of a blob or stored file: it can stay open for several downloads.

    Each stored file that provides `IFileBacked` provides this, too.
    """

    def is_current() -> bool:
        """Return whether its name still leads to the open file. Takes microseconds.

        False also while the disk is slow.
        """


# --- images, called by the image API --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """Metadata of a stored image.

    `name` as given by the owner, media type, `size` of the original in bytes, the digest of its `blob`, and
    whether that is stored `gzipped`.
    """

    name: str
    media_type: str
    size: int
    blob: Digest
    gzipped: bool


class IImageStore(Interface):
    """Accounts, their tokens, and their images."""

    max_size: int = Attribute("Maximum size of an image in bytes.")
    degraded: str | None = Attribute("The reason why writes are suspended, for the operator; else None.")

    def register(username: str) -> "Deferred[str]":
        """Create an account; fires with its token. Fails with `AlreadyExists` or `UploadRefused`."""

    def get_token(username: str) -> "Deferred[str]":
        """Return the token of an account; fails with `NotFound`."""

    def authenticate(token: str) -> "Deferred[IGallery]":
        """Return the gallery of the account with this token; fails with `UnknownToken`."""


class IGallery(Interface):
    """The images of one account, for a client that has authenticated with its token.

    All methods that write fail with `UnknownToken` after the token was regenerated, with `UploadRefused`
    while writes are suspended, or with `OSError`; nothing has changed then.
    """

    owner: str = Attribute("The name of the account.")

    def upload(replacing: str | None = None) -> "Deferred[IImageUpload]":
        """Start the upload of a new image, or of new content for the id `replacing`.

        Fails with `NotFound` when there is no image to replace.
        """

    def list_images() -> "Deferred[dict[str, str]]":
        """Map the names of all images to their ids. May be cancelled."""

    def open(
        identity: str, gzipped: Callable[[Image], bool], *, wanted: "WantedRange | None" = ALL_BYTES
    ) -> "Deferred[tuple[Image, IBlob]]":
        """Open an image: gzipped as it is stored if `gzipped` returns True for it, else the original.

        Fails with `NotFound`. The caller closes the blob. `wanted` is that of `IStore.open`.
        """

    def delete(identity: str) -> "Deferred[None]":
        """Delete an image; fails with `NotFound`."""

    def regenerate_token() -> "Deferred[str]":
        """Replace the token of the account; invalidates the former token and this gallery."""


class IImageUpload(IConsumer):
    """The upload of an image: an `IUpload` with a name, which accepts images only."""

    def begin(name: str) -> None:
        """Set the name. Called once, before any `write`. Raises `InvalidFileName`."""

    def write(data: bytes) -> None:
        """As `IUpload.write`; also raises `NotAnImage` when the first bytes are of no accepted format."""

    def commit() -> "Deferred[str]":
        """As `IUpload.commit`; fires with the image's id. Also fails with `NotAnImage` or `AlreadyExists`."""

    def abandon() -> None:
        """Cancel the decoding of the image, because the client has disconnected.

        `commit` then fails with `CancelledError`, and nothing is kept. Any other step completes.
        """

    def abort() -> None:
        """As `IUpload.abort`."""


# --- decoding of images ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A thumbnail: media type, such as ``image/jpeg``, and bytes."""

    content_type: str
    data: bytes


class IImageDecoder(Interface):
    """Decodes untrusted images in sandboxed child processes.

    `owner` is the account name of an image; jobs of owners are scheduled fairly. Cancelling a Deferred ends
    its job, queued or running.
    """

    def check_format(media_type: str) -> None:
        """Raise `NotAnImage`, which names the format, if images of this media type cannot be decoded here."""

    def verify(blob: IBlob, owner: str) -> "Deferred[None]":
        """Check that `blob` is an image that decodes completely, whatever follows it.

        Fails with `NotAnImage`, `TooManyPixels`, `DecodingTooCostly` or `TooLarge`; with `Overloaded` or
        `StorageFull` when it cannot be decoded now; with `OSError` when the bytes cannot be read. Reads the
        whole blob; the caller closes it afterwards.
        """

    def thumbnail(blob: IBlob, bounds: tuple[int, int], owner: str) -> "Deferred[Thumbnail]":
        """Make a thumbnail of the image in `blob`: upright, without metadata, within `bounds`.

        `bounds` are width and height in pixels. The proportions stay, and nothing is enlarged. Fails as
        `verify` does.
        """


class IThumbnails(Interface):
    """Thumbnails of stored images, made once and cached."""

    def get(blob: IBlob, bounds: tuple[int, int], owner: str) -> "Deferred[Thumbnail]":
        """Return a thumbnail, as `IImageDecoder.thumbnail` makes it; `blob` is closed in the end.

        Cancelling what is returned ends the work, unless another caller waits for the same thumbnail.
        """


# --- the blocking backend, called by the store ------------------------------------------------


class IBackend(Interface):
    """A storage backend. Blocking; called by many I/O threads at once.

    Hashing, limits and statistics are the store's, once for all backends.
    """

    def begin() -> "ISink":
        """Return a sink for the content of one upload, invisible to others. Raises `OSError`."""

    def flush_names(digests: Iterable[Digest]) -> None:
        """Make names published by `ISink.publish` or removed by `delete` durable. Raises `OSError`.

        One call serves a batch: this is the saving of group commit.
        """

    def open(digest: Digest) -> "IStoredFile":
        """Open the file of `digest`. Raises `NotFound` or `OSError`."""

    def delete(digest: Digest) -> bool:
        """Remove the name; False when there was none. Durable after `flush_names`."""

    def digests(after: Digest | None, limit: int) -> list[Digest]:
        """Return at most `limit` digests in ascending order, after `after`."""

    def describe(digest: Digest) -> StoredFileInfo:
        """Return size and time of a stored file. Raises `NotFound` or `OSError`."""

    def entries(after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """Return at most `limit` stored files in ascending order of their digests, after `after`.

        Fewer than `limit` are the last ones. Raises `OSError`.
        """

    def free_space() -> int:
        """Return the free space in bytes, less the reserve."""


class ILimitedBackend(Interface):
    """Optional, of a backend: it keeps `BucketLimits`.

    Usage is recorded in a ledger while there is a quota.
    """

    needs_ledger: bool = Attribute("True while there is a quota, and the ledger is not open.")

    def set_limits(limits: BucketLimits) -> None:
        """See `IStore.set_limits`. Does not block."""

    def admit(length: int | None) -> None:
        """Raise `QuotaExceeded` if an upload of so many bytes does not fit now; None is unknown.

        Does not block: while the ledger is not open, the usage counts as none.
        """

    def open_ledger() -> None:
        """Open the ledger, which may count all files. Blocking; raises `OSError`. Idempotent."""

    def recorded_usage() -> "Usage | None":
        """Return the usage that the ledger records; None if it is not open. Blocking; raises `OSError`."""


class IOpenToRead(Interface):
    """Optional, of a backend: opening a file and reading a range of it can be one request."""

    def open_to_read(digest: Digest, wanted: "WantedRange") -> "IStoredFile":
        """As `IBackend.open`, for a caller that reads this range first. Small files are `IInMemory`."""


class IDurablePublish(Interface):
    """Optional, of a backend: `ISink.publish` and `IBackend.delete` are durable when they return.

    `IBackend.flush_names` does nothing then, and uploads are not batched: each waits for its own requests.
    """


class INonBlockingOpen(Interface):
    """Optional, of a backend: `open` takes microseconds and may be called in the reactor's thread."""


class IQuarantine(Interface):
    """Optional, of a backend: moves unreferenced files to quarantine and back. Blocking."""

    def changed_at(digest: Digest) -> float:
        """Return when the file was last written, linked or renamed, in seconds since the epoch.

        Raises `NotFound` or `OSError`.
        """

    def move_to_quarantine(digest: Digest, reason: str) -> bool:
        """Move the file to quarantine, durably, with a `reason`. Return False when there is no such file.

        Raises `OSError`.
        """

    def restore(digest: Digest) -> bool:
        """Move the file back, durably. Return False when it is not in quarantine. Raises `OSError`."""


class IExpiringBackend(Interface):
    """Optional, of a backend: deletes files whose last upload is long ago. Blocking."""

    def claimed_sweep(interval: float) -> "AbstractContextManager[float | None]":
        """Claim a search for old files, for the context; it is the time by the clock of `StoredFileInfo`.

        It is None while another process searches, or if one did within the last `interval` seconds. Raises
        `OSError`.
        """

    def delete_expired(digest: Digest, before: float) -> bool:
        """Delete the file if its last upload was `before` that time; return whether it was deleted.

        An upload that is acknowledged meanwhile is kept, see `IRenewableSink`. After a power failure the file
        may be back. Raises `OSError`.
        """


class IAliases(Interface):
    """Optional, of a backend: resolves digests of former algorithms."""

    alias_algorithms: Sequence[Algorithm] = Attribute(
        "The former algorithms; their digests differ in length."
    )

    def resolve(digest: Digest) -> Digest:
        """Return the current digest of a file with the former digest `digest`; it may not be stored any more.

        Takes microseconds; may be called in the reactor's thread. Raises `NotFound` or `OSError`.
        """


class IBatchFlush(Interface):
    """Optional, of a backend: one flush makes a whole batch durable."""

    def is_worthwhile(files: int, digests: Collection[Digest]) -> bool:
        """Return whether `flush_all` is cheaper than single flushes of these sealed files and names."""

    def flush_all() -> None:
        """Make durable all content sealed without a flush, and all names published or removed before.

        Blocking. Raises `OSError`; what is durable is unknown then, also after a later flush.
        """


class ISink(Interface):
    """The content of one upload before it has a name. Blocking.

    The order makes the store safe: `write`*, `seal`, `publish`, then `IBackend.flush_names`. `discard` is
    called last in every case, and allowed at any time; after `publish` it only frees resources.
    """

    encoding: str | None = Attribute("The content coding of the stored bytes, final after `seal`; else None.")

    def write(data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`. Raises `OSError`."""

    def seal(flush: bool = True) -> None:
        """Make the content read-only and durable. Raises `OSError`; must not be retried then.

        Without `flush` it is durable after that of `IBatchFlush`, and must not be published before.
        """

    def publish(digest: Digest) -> bool:
        """Publish the sealed content; return False when it was stored already.

        Never replaces valid content. Raises `Collision` when different content with the same digest is
        stored; corrupt content is moved to quarantine and replaced.
        """

    def discard() -> None:
        """Free all resources. Does not raise."""


class IRepairingSink(Interface):
    """Optional, of a sink: `ISink.publish` may move damaged files to quarantine."""

    displaced: Usage = Attribute("Number and size of the files that were moved, of the name it published.")


class IRenewableSink(Interface):
    """Optional, of a sink: it starts the lifetime of a file anew, for a bucket with `BucketLimits.expire`."""

    def renew(digest: Digest, created: bool) -> bool:
        """Start the lifetime of a published file anew, durably; `created` is the result of `ISink.publish`.

        Returns False when the file was deleted meanwhile: the caller publishes the content again. Called
        between `ISink.publish` and `ISink.discard`. Blocking; raises `OSError`.
        """


class IStoredFile(Interface):
    """An open file of a backend. Blocking, except for `size`."""

    size: int = Attribute("Its size in bytes.")

    def read(offset: int, count: int) -> bytes:
        """Read at most `count` bytes from `offset`; empty at the end. Raises `OSError`."""

    def close() -> None:
        """Close the file. Called exactly once."""


class IReadAhead(Interface):
    """Optional, of a stored file: it is read as a stream."""

    def will_read(start: int, stop: int) -> None:
        """Announce that this half-open range is read next, in order."""


FileView = Callable[[IStoredFile], IStoredFile]
"""Wraps a file, for example to decompress it."""


class IRecords(Interface):
    """Records: small named values. Each method is atomic between processes and durable on return. Blocking.

    A name is a path of non-empty segments without a leading dot, such as ``accounts/anna/account``. Losing a
    race is a result, not an error. All raise `OSError`; whether the change was made is unknown then.
    """

    def create(name: str, value: bytes) -> bool:
        """Create `name`; return False when it exists."""

    def replace(name: str, old: bytes, new: bytes) -> bool:
        """Replace the value of `name` by `new` if it is `old`; return whether it was."""

    def remove(name: str, old: bytes) -> bool:
        """Remove `name` if its value is `old`; return whether it was."""

    def read(name: str) -> bytes | None:
        """Return the value of `name`; None when it does not exist."""

    def held(name: str, value: bytes) -> AbstractContextManager[bool]:
        """Lock `name` (shared) for the context, if its value is `value`; the context is whether it is.

        `replace` and `remove` of `name` wait until the last context ends, in all processes. Changing `name`
        within its own context deadlocks.
        """

    def read_all(prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """Yield the last segment and the value of each name directly below `prefix`, in no order.

        The value is None when it cannot be read. Names created or removed meanwhile may be missing.
        """

    def entries(prefix: str) -> list[str]:
        """Return the segments directly below `prefix` in ascending order.

        Includes entries without records, such as symbolic links and empty directories.
        """

    def names(prefix: str) -> list[str]:
        """Return all names below `prefix` in ascending order."""

    def is_empty(prefix: str) -> bool:
        """Return whether all records below `prefix` were removed, and nothing else is there.

        False if `prefix` never existed, or is a symbolic link.
        """


# --- streamed requests, provided by ``http/`` to ``web/`` -------------------------------------


class IBody(Interface):
    """The body of a request, read on demand."""

    present: bool = Attribute("Whether the request has a body, which may be empty.")
    length: int | None = Attribute("The announced length in bytes; None for chunked bodies.")

    def read() -> bytes | None:
        """Return all of the body if its length is known and it has arrived; else None, and nothing is read.

        A body that was read is not delivered.
        """

    def deliver(consumer: IConsumer) -> "Deferred[None]":
        """Write the body to `consumer`, as its push producer, and unregister at the end.

        Called at most once; sends ``100 Continue`` if the client waits for it. Fires when the body was
        written; fails with a `BodyError`, or with the exception of ``consumer.write``.
        """


class CacheScope(IntEnum):
    """The caches that may store the response to a request, by what allows the request."""

    PUBLIC = auto()
    """Any client may do this: any cache."""
    PRIVATE = auto()
    """Credentials allow it: the caches of the client."""
    LINK = auto()
    """A signed link allows it: the caches of the client, which ask again each time."""


class IStreamedRequest(IRequest, IConsumer):
    """A request that is rendered at the end of its headers, before its body has arrived.

    After its connection was lost, `write` and `finish` have no effect.
    """

    body: "IBody" = Attribute("The body.")
    cache_scope: CacheScope = Attribute("The caches that may store the response.")
    received: Mapping[bytes, bytes] = Attribute("The last value of each header, by lower-case name.")
    clientproto: bytes = Attribute("The HTTP version of the client, such as b'HTTP/1.1'.")
    refusal: Refusal | None = Attribute("The reason of a refusal in the metrics, where the status is not it.")
    request_id: bytes = Attribute("The id of the request, as in its response and in the logs.")

    def notifyFinish() -> "Deferred[None]":
        """As `IRequest.notifyFinish`: fires when the response is sent, fails when the connection is lost."""

    def header(name: bytes) -> bytes | None:
        """Return the value of a lower-case name, several joined by commas (RFC 9110 section 5.3), or None."""

    def header_values(name: bytes) -> Sequence[bytes]:
        """Return all values of a lower-case name, in order; cheaper than `requestHeaders`."""

    def set_headers(fields: Mapping[bytes, bytes]) -> None:
        """Set several response headers that `filestored.http.response` has preformatted."""

    def on_disconnect(action: Callable[[], None]) -> None:
        """Call `action` when the client has disconnected, or at once if it has; replaces an earlier action.

        A client that closes its sending side counts as disconnected: the server cannot tell them apart.
        """

    def render(resource: IResource) -> None:
        """Have another resource answer."""

    def abort() -> None:
        """Close the connection at once, so that the response is recognisably incomplete."""


class IFileSender(Interface):
    """Optional, of a request: it sends file ranges itself (sendfile)."""

    def write_file(source: IFileSource, start: int, stop: int) -> "Deferred[None] | None":
        """Send a half-open range of bytes as the next part of the response.

        Returns None when the source is no longer needed; else fires then, also when the connection is lost
        (`notifyFinish` reports that). Raises, or fails with, `OSError` when the file cannot be read or ends
        early; the response cannot be completed then.
        """


class ICacheable(Interface):
    """Optional, of a request: its response can be cached."""

    def cache_with(reopen: "Callable[[], IBlob]", size: int) -> None:
        """Cache the response about to start, a 200 or a single range of one, with all its ranges.

        It is then sent to all requests whose heads differ only in headers that change no response
        (`filestored.http.parser.cache_key`). `reopen` is called for a hit and returns the whole body of
        `size` bytes, `IInMemory` or `IFileSource`. That is then closed; one that is `IRevalidatable` may stay
        open for a second, and serve the next hits after `is_current`. If `reopen` raises `FilestoredError` or
        `OSError`, or the size differs, the request is parsed and routed as usual. Requests with a body are
        never served from the cache.
        """


class IAccessLog(Interface):
    """Access log."""

    def format_entry(entry: "AccessEntry") -> str:
        """Format the part of a line that is independent of client and time.

        The caller caches it with a cached response: formatting is the expensive part.
        """

    def log(moment: float, peer: str, description: str, seconds: float, request_id: bytes) -> None:
        """Log a response to the client `peer`; may be written later.

        `moment` in seconds since the epoch; `description` is a result of `format_entry`; `seconds` from the
        end of the request head to the end of the response; `request_id` as in the response.
        """


class AccessEntry(NamedTuple):
    """A request and its response, for the combined log format, without client and time.

    `sent` is the size of the sent body in bytes. Texts are unchecked, as received.
    """

    method: bytes
    target: bytes
    version: bytes
    status: int
    sent: int
    referer: bytes | None
    agent: bytes | None
