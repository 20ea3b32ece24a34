"""The framing of a body: from bytes on the wire to bytes of the body (RFC 9112 sections 6 and 7).

A `LengthReader` counts; a `ChunkedReader` cuts at the lines and lets llhttp judge each of them.
It computes the size of each chunk itself, so that the limits on lines are exact and the end
of the message is known to the byte; llhttp must come to the same end at the same byte.

Both are fed whole pieces, as they come, and answer what of them is body, what lies behind
it, and whether the body is complete.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from httptools import HttpParserError, HttpRequestParser

from filestored.errors import BodyMalformed
from filestored.http.limits import Limits

_CRLF = b"\r\n"
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_ANY_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Piece(NamedTuple):
    """What became of some bytes: those of the body, those behind its end, whether it has ended."""

    body: bytes
    rest: bytes
    complete: bool


class LengthReader:
    """Reads a body of an announced number of bytes."""

    def __init__(self, length: int) -> None:
        self._missing = length

    def feed(self, data: bytes) -> Piece:
        """Take the next bytes."""
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            return Piece(data, b"", complete=False)
        self._missing = 0
        if missing == 0:
            return Piece(data, b"", complete=True)
        return Piece(data[:missing], data[missing:], complete=True)


class ChunkedReader:
    """Reads a body that comes in chunks; trailers are read and dropped."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._report = _End()
        self._parser = HttpRequestParser(self._report)
        self._parser.feed_data(_ANY_CHUNKED_HEAD)
        self._buffer = b""
        self._missing = 0
        self._trailers = 0
        self._step: Callable[[bytes, int, list[bytes]], int] = self._read_size

    def feed(self, data: bytes) -> Piece:
        """Take the next bytes; raises `BodyMalformed`."""
        if self._buffer:
            data = self._buffer + data
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self._report.complete:
            following = self._step(data, position, pieces)
            if following == position:
                break
            self._judge(data[position:following])
            position = following
        return self._piece(pieces, data[position:])

    def _piece(self, pieces: list[bytes], rest: bytes) -> Piece:
        complete = self._report.complete
        self._buffer = b"" if complete else rest
        return Piece(b"".join(pieces), rest if complete else b"", complete)

    def _judge(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            raise BodyMalformed("the chunked coding is broken") from error
        if self._report.complete != (self._step == self._past_end):
            raise BodyMalformed("the chunked coding ends where it should not")

    # Each step answers the position behind what it took of the data, or the same when it
    # needs more bytes, and names the next step.

    def _read_size(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = _line_end(data, position, self._limits.chunk_line)
        if end == position:
            return position
        match = _CHUNK_SIZE.match(data, position, end)
        if match is None:
            raise BodyMalformed("a chunk begins with its size")
        self._missing = int(match[0], 16)
        self._step = self._read_data if self._missing else self._read_trailer
        return end

    def _read_data(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = min(position + self._missing, len(data))
        pieces.append(data[position:end])
        self._missing -= end - position
        if not self._missing:
            self._step = self._read_chunk_end
        return end

    def _read_chunk_end(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = position + len(_CRLF)
        if end > len(data):
            return position
        self._step = self._read_size
        return end

    def _read_trailer(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = _line_end(data, position, self._limits.trailers - self._trailers)
        self._trailers += end - position
        if end - position == len(_CRLF):
            self._step = self._past_end
        return end

    def _past_end(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        return position


class _End:
    """What llhttp reports of a chunked body: its end."""

    complete = False

    def on_message_complete(self) -> None:
        self.complete = True


def _line_end(data: bytes, position: int, limit: int) -> int:
    """The position behind the line that begins at `position`, or that itself when it is unfinished."""
    end = data.find(_CRLF, position, position + limit)
    if end >= 0:
        return end + len(_CRLF)
    if len(data) - position >= limit:
        raise BodyMalformed("a line of the chunked coding is too long")
    return position
