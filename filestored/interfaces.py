"""Every interface on one page.

Three seams hold the house together. The wire (``web/``) asks an `IStore`; the store asks
an `IBackend`; a request that can stream provides `IStreamedRequest`. Nobody asks which
class an object has: a fast path is an optional interface, asked for with ``providedBy``.

Values that cross a seam (`UploadResult`) stand here too.

Interfaces say *blocking* where a call may wait for a disk: such calls belong in an I/O
thread. All others return at once and are made in the reactor's thread only.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IRequest
from zope.interface import Attribute, Interface

from filestored.digest import Algorithm, Digest


@dataclass(frozen=True, slots=True)
class UploadResult:
    """What a finished upload amounts to: its digest, its size in bytes, and whether it is new."""

    digest: Digest
    size: int
    created: bool


# --- the asynchronous store: what the wire sees ---------------------------------------------


class IStore(Interface):
    """Distinct byte strings, each kept once under its digest."""

    algorithm: Algorithm = Attribute("The algorithm of the digests that name what is stored.")
    max_size: int = Attribute("How many bytes one upload may have at most.")
    degraded: str | None = Attribute("Why nothing can be written, for the operator; None while all is well.")

    def parse(text: str) -> Digest:
        """Read the name of a file as clients write it; raises `MalformedDigest`.

        Takes digests of `algorithm`, and of those by which files were named before the store moved
        to it. All of them may be opened and deleted; what is uploaded gets one of `algorithm`.
        """

    def upload(expected: Iterable[Digest] = (), length: int | None = None) -> "IUpload":
        """Begin to take in a byte string.

        `expected` are digests, of any algorithm, that the bytes must turn out to have;
        `length` is their number as announced, or None. Raises `UploadRefused` at once when
        it is known already that nothing could be stored.
        """

    def open(digest: Digest, view: "FileView | None" = None) -> "Deferred[IBlob]":
        """The bytes stored under `digest`; fails with `NotFound`. The caller closes the blob.

        `view` makes of the stored file the one that is read in its place, such as one that
        decompresses; it is given the file to close, and must not read yet. A view may demand to be
        read in order, from its first byte on.
        """

    def delete(digest: Digest) -> "Deferred[bool]":
        """Forget `digest`. True when it was stored; deleting what is not there is an answer, no error.

        A blob that is open goes on to give its bytes.
        """

    def digests(after: Digest | None = None, limit: int = 1000) -> "Deferred[list[Digest]]":
        """At most `limit` stored digests in ascending order, from the first behind `after` on."""


class ISyncOpen(Interface):
    """Optional, of a store: it opens without waiting for anything worth a Deferred."""

    slow: bool = Attribute("Whether the disk is slow to read now: then only `IStore.open` is to be used.")

    def open_sync(digest: Digest) -> "IBlob":
        """What `IStore.open` fires with, or raises what it fails with."""

    def reopen(digest: Digest) -> "IBlob":
        """The same, of what was open before. Who can't have it any more asks `open_sync` for the reason.

        Raises `NotFound` or `OSError`; neither is counted, and nothing concluded from it. Raises
        `BlockingIOError` without trying while the store is `slow`.
        """


class IUpload(IConsumer):
    """One byte string on its way in. Ends with exactly one of `commit` and `abort`.

    A producer registered with it is paused while the disk is behind: back-pressure from the
    disk to the client's socket is `registerProducer`.
    """

    def write(data: bytes) -> None:
        """Take the next bytes. Raises `TooLarge` as soon as they are too many; the caller then aborts.

        Raises `Overloaded` when too many other uploads write to disk, or when this client is too slow then.
        Errors of the disk are kept for `commit`; bytes that follow one are dropped.
        """

    def commit() -> "Deferred[UploadResult]":
        """All bytes have been written: make them durable, then give them their name.

        Fires when a power cut could no longer lose them. Fails with an `UploadRefused`,
        or with `OSError`; nothing remains then.
        """

    def abort() -> None:
        """Drop everything. Always allowed, also twice, during and after `commit`; no error."""


class IBlob(Interface):
    """An open stored byte string. One owner closes it, whatever happens."""

    digest: Digest = Attribute("Its digest.")
    size: int = Attribute("Its size in bytes.")

    def produce(consumer: IConsumer, start: int, stop: int) -> "Deferred[None]":
        """Write the bytes of the half-open range to `consumer`, as a push producer.

        Fires when the last one was written and the producer unregistered; fails with
        `OSError` when they cannot be read, or with `CancelledError` when the consumer stops it.
        """

    def close() -> None:
        """Let go of the bytes. Also allowed twice, and while producing."""


class IInMemory(Interface):
    """Optional, of a blob and of a stored file: all its bytes are in memory."""

    data: bytes = Attribute("The bytes.")


class IFileBacked(Interface):
    """Optional, of a stored file and of a blob: its bytes are those of a regular file."""

    def fileno() -> int:
        """The descriptor of the file, valid until it is closed."""


class IFileSource(IFileBacked):
    """Optional, of a blob: a regular file that is read in the reactor's thread unless the disk is slow."""

    slow: bool = Attribute("Whether the disk is slow to read now: then only `read` is to be used.")

    def record_latency(seconds: float) -> None:
        """Note how long a read of the descriptor in the reactor's thread took."""

    def read(start: int, stop: int) -> "Coroutine[Any, Any, bytes]":
        """Read at least one byte from `start` on, none behind `stop`, in an I/O thread.

        Raises `OSError`. One read at a time. The blob may be closed meanwhile.
        """


# --- images: what the image API sees -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of a stored image.

    `name` as its owner gave it, media type, `size` of the original in bytes, the `blob` that its bytes are
    stored under, and whether they are stored `packed`, which is compressed with gzip.
    """

    name: str
    media_type: str
    size: int
    blob: Digest
    packed: bool


class IImageStore(Interface):
    """Accounts, each with a token that opens it, and the images in them."""

    max_size: int = Attribute("How many bytes one image may have at most.")
    degraded: str | None = Attribute("Why nothing can be written, for the operator; None while all is well.")

    def register(username: str) -> "Deferred[str]":
        """A token for a new account; fails with `AlreadyExists`, or `UploadRefused`."""

    def get_token(username: str) -> "Deferred[str]":
        """The token of an account; fails with `NotFound`."""

    def authenticate(token: str) -> "Deferred[IGallery]":
        """The account that `token` opens; fails with `UnknownToken`."""


class IGallery(Interface):
    """The images of one account, for somebody who has shown its token.

    All that changes something fails with `UnknownToken` once the token was renewed, with
    `UploadRefused` when nothing can be written, or with `OSError`; nothing has changed then.
    """

    owner: str = Attribute("The name of the account.")

    def upload(replacing: str | None = None) -> "Deferred[IImageUpload]":
        """Begin to take in an image: a new one, or what the id `replacing` is to mean from then on.

        Fails with `NotFound` when there is no image to replace.
        """

    def list_images() -> "Deferred[dict[str, str]]":
        """The ids of all images by their names. Cancel it when nothing waits for the result any more."""

    def open(identity: str, packed: Callable[[Image], bool]) -> "Deferred[tuple[Image, IBlob]]":
        """An image and its bytes: as they are stored if `packed` says so of a packed one, else the original.

        Fails with `NotFound`. The caller closes the blob.
        """

    def delete(identity: str) -> "Deferred[None]":
        """Delete an image; fails with `NotFound`."""

    def regenerate_token() -> "Deferred[str]":
        """A new token for the account. The old one is dead when this fires, and this gallery closed."""


class IImageUpload(IConsumer):
    """One image on its way in; an `IUpload` that wants to know a name, and images only."""

    def begin(name: str) -> None:
        """The file that follows has this name. Called once, before any `write`; raises `InvalidFileName`."""

    def write(data: bytes) -> None:
        """As `IUpload.write`; also raises `NotAnImage` as soon as the first bytes say so."""

    def commit() -> "Deferred[str]":
        """As `IUpload.commit`; fires with the image's id. Fails also with `NotAnImage` or `AlreadyExists`."""

    def abandon() -> None:
        """Cancel the decoding of the image, waiting or under way, as the client has left.

        `commit` then fails with `CancelledError`, and nothing is kept. Every other step goes on to its end.
        """

    def abort() -> None:
        """As `IUpload.abort`."""


# --- pictures: who looks into images -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture made of a large one: its media type, such as ``image/jpeg``, and its bytes."""

    content_type: str
    data: bytes


class IImageDecoder(Interface):
    """Looks into stored images. What is in them is nobody's word to trust, so that is done far away.

    Work is done in turns between owners: `owner` is the name of the account that the image belongs to.
    Cancelling what is returned ends the work, or the wait for it.
    """

    def verify(blob: IBlob, owner: str) -> "Deferred[None]":
        """Make sure that the bytes of `blob` are one image, from the first byte to the last.

        Fails with `NotAnImage` unless they decode completely and nothing else follows, or with
        `TooManyPixels`; with `Overloaded` or `StorageFull` when nobody can tell now; with `OSError`
        when the bytes can't be read. Reads the whole blob; the caller closes it, and not before.
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


# --- the blocking backend: what the store sees ----------------------------------------------


class IBackend(Interface):
    """Where bytes rest. Blocking throughout; called in I/O threads, by many at once.

    It neither hashes nor counts nor limits: the store above does that once for all backends.
    """

    def begin() -> "ISink":
        """A place for the bytes of one upload that nobody else can see. Raises `OSError`."""

    def flush_names(digests: Iterable[Digest]) -> None:
        """Make the names given by `ISink.publish`, or taken by `delete`, durable. Raises `OSError`.

        One call serves many: this is what group commit saves on.
        """

    def open(digest: Digest) -> "IStoredFile":
        """Open what is stored under `digest`; raises `NotFound` or `OSError`."""

    def delete(digest: Digest) -> bool:
        """Take the name away; True when there was one. Durable after `flush_names`."""

    def digests(after: Digest | None, limit: int) -> list[Digest]:
        """At most `limit` digests in ascending order, behind `after`."""

    def free_space() -> int:
        """How many bytes could still be written, less the reserve that is always kept free."""


class INonBlockingOpen(Interface):
    """Optional, of a backend: its `open` takes microseconds, and may be called in the reactor's thread."""


class IQuarantine(Interface):
    """Optional, of a backend: moves files that nothing refers to into quarantine, and back. Blocking."""

    def changed(digest: Digest) -> float:
        """When the file was last written, linked or renamed, in seconds since the epoch.

        Raises `NotFound` or `OSError`.
        """

    def set_aside(digest: Digest, reason: str) -> bool:
        """Move the file to quarantine, durably, with a `reason`. False when it is not there, or no file.

        Raises `OSError`.
        """

    def recover(digest: Digest) -> bool:
        """Move the file back, durably. False when `set_aside` has not moved it. Raises `OSError`."""


class IAliases(Interface):
    """Optional, of a backend: its files once had names of other algorithms, which are remembered."""

    former: Sequence[Algorithm] = Attribute("The algorithms of these names; their lengths all differ.")

    def current(digest: Digest) -> Digest:
        """The name under which a file named `digest` once would rest now, be it there or not.

        Takes microseconds, and may be called in the reactor's thread. Raises `NotFound` for a
        name that no file had, or `OSError`.
        """


class IBatchFlush(Interface):
    """Optional, of a backend: one flush makes everything durable, for less than many flushes cost."""

    def is_worthwhile(files: int, digests: Collection[Digest]) -> bool:
        """Whether `flush` costs less than to flush so many sealed files, and to flush_names `digests`."""

    def flush() -> None:
        """Make durable what was sealed without a flush, and all names given or taken before the call.

        Blocking. Raises `OSError`; it is unknown then what is durable, and no later flush can tell.
        """


class ISink(Interface):
    """The bytes of one upload while they have no name. Blocking.

    The order is the store's safety: `write`*, `seal`, `publish`, then `IBackend.flush_names`.
    `discard` is allowed at any time, also after `publish` (it then only frees resources),
    and is always called last.
    """

    def write(data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`. Raises `OSError`."""

    def seal(flush: bool = True) -> None:
        """Make the bytes unchangeable and durable. Raises `OSError`; never to be tried again then.

        Without `flush` they are durable after `IBatchFlush.flush`, and not to be published before.
        """

    def publish(digest: Digest) -> bool:
        """Give the sealed bytes their name; True when they are new, False when they were there.

        Never replaces good bytes. Raises `Collision` when other bytes that truly have this
        digest hold the name; bytes that do not have it are moved aside and replaced.
        """

    def discard() -> None:
        """Let go of everything held; never raises."""


class IStoredFile(Interface):
    """An open file of a backend. Blocking, but for `size`."""

    size: int = Attribute("Its size in bytes.")

    def read(offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on; empty at the end. Raises `OSError`."""

    def close() -> None:
        """Let go of the file. Called exactly once."""


FileView = Callable[[IStoredFile], IStoredFile]
"""What makes of a file another one that reads it in another way."""


class IRecords(Interface):
    """Small named values, each verb atomic between processes, and durable when it returns. Blocking.

    A name is a path of non-empty segments without a leading dot, such as ``accounts/anna/account``.
    To lose a race is an answer, not an error. All raise `OSError`, after which it is unknown
    whether the verb has done its work.
    """

    def create(name: str, value: bytes) -> bool:
        """Give `name` a value, unless it has one. True when it was this call that gave it."""

    def replace(name: str, old: bytes, new: bytes) -> bool:
        """Give `name` the value `new` if it has the value `old`. True when it had."""

    def remove(name: str, old: bytes) -> bool:
        """Take `name` away if it has the value `old`. True when it had."""

    def read(name: str) -> bytes | None:
        """The value of `name`, None when it has none."""

    def held(name: str, value: bytes) -> AbstractContextManager[bool]:
        """Keep the value of `name` while the context lasts, if it is `value`; the context is whether it is.

        `replace` and `remove` of `name` wait until the last context ends, in every process. Many may hold
        a name at once. A change of `name` inside of its own context waits for ever.
        """

    def read_all(prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """Last segment and value of each name that is `prefix`, a slash and one more segment.

        The value is None when it cannot be read. In no order. What is created or removed meanwhile may be
        among them or not.
        """

    def entries(prefix: str) -> list[str]:
        """The segments that follow `prefix` and a slash, in order, each once.

        Includes entries that lead to no record, such as symbolic links and empty directories.
        """

    def names(prefix: str) -> list[str]:
        """All names that begin with `prefix` and a slash, in order."""


# --- requests that stream: what ``http/`` offers to ``web/`` --------------------------------


class IBody(Interface):
    """The body of a request, not read before somebody asks for it."""

    present: bool = Attribute("Whether the request has a body at all, if only one of zero bytes.")
    length: int | None = Attribute("Its announced length in bytes, or None when it comes in chunks.")

    def deliver(consumer: IConsumer) -> "Deferred[None]":
        """Write the body to `consumer`, as its push producer, and unregister at the end.

        Called at most once. This is the moment at which a waiting client is told to continue.
        Fires when the whole body was written; fails with a `BodyError`, or with what
        ``consumer.write`` raised.
        """


class IStreamedRequest(IRequest, IConsumer):
    """A request that is rendered at the end of its headers, before its body has arrived.

    What is written to it after its connection was lost is dropped, `finish` included.
    """

    body: "IBody" = Attribute("The body.")
    clientproto: bytes = Attribute("The version of HTTP that the client speaks, such as b'HTTP/1.1'.")

    def notifyFinish() -> "Deferred[None]":
        """As `IRequest.notifyFinish`: fires when the response is sent, fails when the connection is lost."""

    def header(name: bytes) -> bytes | None:
        """Return the value of that lower-case name; several are joined by commas (RFC 9110 section 5.3)."""

    def header_values(name: bytes) -> Sequence[bytes]:
        """The values of all fields of that lower-case name, in their order; cheaper than `requestHeaders`."""

    def set_headers(fields: Mapping[bytes, bytes]) -> None:
        """Set several fields of the response, as `filestored.http.response.preformat` formats them."""

    def when_left(action: Callable[[], None]) -> None:
        """Call `action` once the client has left, or at once if it has. The last action given counts.

        A client that only closes its sending side counts as left: after the end of a request a server
        can't tell one from the other.
        """

    def abort() -> None:
        """End the connection at once, so that nobody takes what was sent for a whole response."""


class IFileSender(Interface):
    """Optional, of a request: it can send a range of a file by itself."""

    def write_file(source: IFileSource, start: int, stop: int) -> "Deferred[None] | None":
        """Send the bytes of the half-open range as the next part of the response.

        None when the source is no longer needed; else fires when it is not, also when the
        connection is lost (which `notifyFinish` reports). Raises, or fails with, `OSError` when
        the file cannot be read or ends too early; the response can't be completed then.
        """


class ICacheable(Interface):
    """Optional, of a request: its answer can be given again, unread, when the same question comes."""

    def cache_with(reopen: "Callable[[], IBlob]") -> None:
        """Say that the response that is about to begin, if it is a 200, is for all who send the same head.

        Its body is all bytes of what `reopen` returns, which is `IInMemory` or `IFileSource`. That is called
        each time anew and the blob closed; when it raises a `FilestoredError` or `OSError`, or the size
        is another one, the question is read as if it were new. A question with a body always is.
        """


class IAccessLog(Interface):
    """Somebody who is told of each request that was answered."""

    def format_entry(entry: "AccessEntry") -> str:
        """What is written of a request and its answer, whoever asked and whenever.

        To be kept where the same is answered again: describing takes several times as long as noting.
        """

    def record(moment: float, peer: str, description: str) -> None:
        """Note that what is described was answered to somebody at `peer`; it may be written later.

        `moment` in seconds since the epoch.
        """


class AccessEntry(NamedTuple):
    """A request and its answer, as the combined log format wants them, but for who asked and when.

    `sent` in bytes of body; texts as they came from the client, unchecked.
    """

    method: bytes
    target: bytes
    version: bytes
    status: int
    sent: int
    referer: bytes | None
    agent: bytes | None
