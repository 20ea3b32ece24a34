"""Wire format between a worker and its decoder process: a `Request`, then a `Reply`.

Each is one line of JSON followed by the announced bytes: those of the file, or of a thumbnail. One job at a
time; the next request follows the reply. An interrupted job gets a reply as well.
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum

from filestored.images.decoder.optional_formats import OPTIONAL_FORMATS
from filestored.images.decoder.resource_limits import MAX_RESULT_BYTES

MAX_LINE_BYTES = 1024
"""Maximum length of a line."""

INTERRUPT = b"\n"
"""Interrupts the job whose bytes came before; ignored between jobs."""

MEDIA_TYPES = ("image/jpeg", "image/webp")
"""The media types of thumbnails."""


class Status(Enum):
    """The result of a job."""

    DONE = "done"
    REFUSED = "refused"
    """The file is not an image."""
    TOO_LARGE = "too large"
    """The image has too many pixels or frames."""
    TOO_COSTLY = "too costly"
    """Decoding takes too much memory or processor time."""
    UNDECIDED = "undecided"
    """The machine ran out of memory or processes, which says nothing about the file."""
    UNSUPPORTED = "unsupported"
    """The format cannot be decoded here; the reply has its media type."""
    FULL = "full"
    """The temporary file could not be written."""


@dataclass(frozen=True, slots=True)
class Request:
    """Verify a file of `size` bytes, or with a `box` (width and height in pixels) make its thumbnail."""

    size: int
    box: tuple[int, int] | None = None

    def to_line(self) -> bytes:
        """Return the line of this request."""
        return _line(asdict(self))

    @classmethod
    def from_line(cls, line: bytes) -> "Request":
        """Parse a line."""
        found = json.loads(line)
        return cls(found["size"], tuple(found["box"]) if found["box"] else None)


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a job; after `DONE` a thumbnail of `size` bytes follows, unless `media_type` is empty."""

    status: Status
    media_type: str = ""
    size: int = 0

    def to_line(self) -> bytes:
        """Return the line of this reply."""
        return _line({**asdict(self), "status": self.status.value})

    @classmethod
    def from_line(cls, line: bytes) -> "Reply":
        """Parse a line. Raises `ValueError`."""
        try:
            found = json.loads(line)
            answer = cls(Status(found["status"]), str(found["media_type"]), int(found["size"]))
        except (KeyError, TypeError) as error:
            raise ValueError(line) from error
        media_types = OPTIONAL_FORMATS if answer.status is Status.UNSUPPORTED else ("", *MEDIA_TYPES)
        if answer.media_type not in media_types or not 0 <= answer.size <= MAX_RESULT_BYTES:
            raise ValueError(line)
        return answer


class ReplyReader:
    """Incremental parser of a reply."""

    def __init__(self) -> None:
        self._line = b""
        self._answer: Reply | None = None
        self._data = bytearray()

    def feed(self, data: bytes) -> tuple[Reply, bytes] | None:
        """Return the reply and its bytes when complete, else None. Raises `ValueError`."""
        if self._answer is None:
            self._line, newline, data = (self._line + data).partition(b"\n")
            if len(self._line) > MAX_LINE_BYTES:
                raise ValueError("the line of the reply is too long")
            if not newline:
                return None
            self._answer = Reply.from_line(self._line)
        self._data += data
        if len(self._data) > self._answer.size:
            raise ValueError("the reply is longer than announced")
        if len(self._data) < self._answer.size:
            return None
        return self._answer, bytes(self._data)


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
