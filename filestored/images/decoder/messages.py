"""What a worker and its chamber say to each other: a `Request` there, an `Reply` back.

Each is one line of JSON and the bytes that it announces: those of the file, or of a thumbnail. One
job at a time; the next one is sent after the answer. An interrupted job is answered as well.
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum

from filestored.images.decoder.resource_limits import RESULT

MOST_LINE = 1024
"""Bytes of a line, at most."""

INTERRUPT = b"\n"
"""Ends the work on the job whose bytes came before; between jobs it means nothing."""

MEDIA_TYPES = ("image/jpeg", "image/webp")
"""The media types that a thumbnail can have."""


class Status(Enum):
    """What became of a job."""

    DONE = "done"
    REFUSED = "refused"
    """The file is not an image."""
    TOO_LARGE = "too large"
    """The image has more pixels or frames than are decoded."""
    UNDECIDED = "undecided"
    """Nobody knows: the machine had no memory or no processes left."""
    FULL = "full"
    """There was no room to put the file down."""


@dataclass(frozen=True, slots=True)
class Request:
    """Look into a file of `size` bytes. With a `box`, width and height in pixels, also make a thumbnail."""

    size: int
    box: tuple[int, int] | None = None

    def to_line(self) -> bytes:
        """The line that announces this job."""
        return _line(asdict(self))

    @classmethod
    def from_line(cls, line: bytes) -> "Request":
        """The job that a line announces."""
        found = json.loads(line)
        return cls(found["size"], tuple(found["box"]) if found["box"] else None)


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a job; a thumbnail of `media_type` in `size` bytes follows, unless that is empty."""

    verdict: Status
    media_type: str = ""
    size: int = 0

    def to_line(self) -> bytes:
        """The line that announces this answer."""
        return _line({**asdict(self), "verdict": self.verdict.value})

    @classmethod
    def from_line(cls, line: bytes) -> "Reply":
        """The answer that a line announces. Raises `ValueError` for what is none."""
        try:
            found = json.loads(line)
            answer = cls(Status(found["verdict"]), str(found["media_type"]), int(found["size"]))
        except (KeyError, TypeError) as error:
            raise ValueError(line) from error
        if answer.media_type not in ("", *MEDIA_TYPES) or not 0 <= answer.size <= RESULT:
            raise ValueError(line)
        return answer


class ReplyReader:
    """Puts an answer together from the pieces in which it arrives."""

    def __init__(self) -> None:
        self._line = b""
        self._answer: Reply | None = None
        self._data = bytearray()

    def feed(self, data: bytes) -> tuple[Reply, bytes] | None:
        """The answer and its bytes, as soon as they are there. Raises `ValueError` for anything else."""
        if self._answer is None:
            self._line, newline, data = (self._line + data).partition(b"\n")
            if len(self._line) > MOST_LINE:
                raise ValueError("no answer is that long")
            if not newline:
                return None
            self._answer = Reply.from_line(self._line)
        self._data += data
        if len(self._data) > self._answer.size:
            raise ValueError("more follows than was announced")
        if len(self._data) < self._answer.size:
            return None
        return self._answer, bytes(self._data)


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
