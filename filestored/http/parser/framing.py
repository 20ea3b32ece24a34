"""The framing of a body: from bytes on the wire to bytes of the body (RFC 9112 sections 6 and 7).

A `LengthReader` counts. A `ChunkedReader` reads the chunked coding itself, so that the limits on
lines are exact and the end of the message is known to the byte. It passes every line and every piece
of data on to llhttp, too, which must find the same bytes of the body in them, and the same end.

Both are fed whole pieces, as they come, and answer which bytes are body, which bytes were not
read, and whether the body is complete.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from httptools import HttpParserError, HttpRequestParser

from filestored.errors import BodyMalformed
from filestored.http.limits import Limits

_CRLF = b"\r\n"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[^\r\n]*)?\r\n")  # 20 digits are the most that h11 reads
_ANY_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


MAX_CHUNKS = 256
"""Lines and chunks that one call of `ChunkedReader.feed` reads; 256 chunks of one byte take 1 ms."""


class Decoded(NamedTuple):
    """The result of a `feed`: bytes of the body, bytes that were not read, whether the body is complete.

    The bytes not read lie behind the end of a complete body; else they are to be fed again.
    """

    body: bytes
    rest: bytes
    complete: bool


class LengthReader:
    """Reads a body of an announced number of bytes."""

    def __init__(self, length: int) -> None:
        self._missing = length

    def feed(self, data: bytes) -> Decoded:
        """Take the next bytes."""
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            return Decoded(data, b"", complete=False)
        self._missing = 0
        if missing == 0:
            return Decoded(data, b"", complete=True)
        return Decoded(data[:missing], data[missing:], complete=True)


class ChunkedReader:
    """Reads a body in the chunked coding; trailers are read and dropped."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._report = _Callbacks()
        self._parser = HttpRequestParser(self._report)
        self._parser.feed_data(_ANY_CHUNKED_HEAD)
        self._buffer = b""
        self._missing = 0
        self._trailers = 0
        self._step: Callable[[bytes, int], tuple[int, bytes]] = self._read_size

    def feed(self, data: bytes) -> Decoded:
        """Read the next bytes, at most `MAX_CHUNKS` chunks of them. Raises `BodyMalformed`."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        pieces: list[bytes] = []
        position = 0
        for _ in range(MAX_CHUNKS):
            if position == len(data) or self._report.complete:
                break
            end, body = self._step(data, position)
            if end == position:
                self._buffer = data[position:]
                return Decoded(b"".join(pieces), b"", complete=False)
            self._check(data, position, end, body)
            if body:
                pieces.append(body)
            position = end
        return Decoded(b"".join(pieces), data[position:], self._report.complete)

    def _check(self, data: bytes, position: int, end: int, body: bytes) -> None:
        """Raise `BodyMalformed` unless llhttp finds the same body and the same end in these bytes."""
        try:
            self._parser.feed_data(memoryview(data)[position:end])
        except HttpParserError as error:
            raise BodyMalformed("the chunked coding is broken") from error
        found, self._report.body = self._report.body, b""  # not kept: the reader is part of a cycle
        if found != body:
            raise BodyMalformed("the size of a chunk is ambiguous")
        if self._report.complete != (self._step == self._past_end):
            raise BodyMalformed("the chunked coding ends where it should not")

    # Each step returns the position behind the bytes that it has read, and the bytes of the body
    # among them. It returns the same position when it needs more bytes. It also sets the next step.

    def _read_size(self, data: bytes, position: int) -> tuple[int, bytes]:
        """Read the line with the size of a chunk; read the whole chunk if it is there."""
        end = _line_end(data, position, self._limits.chunk_line)
        if end == position:
            return position, b""
        match = _SIZE_LINE.fullmatch(data, position, end)
        if match is None:
            raise BodyMalformed("a chunk begins with its size")
        size = int(match[1], 16)
        if 0 < size <= len(data) - end - len(_CRLF):
            return self._whole_chunk(data, end, size)
        self._missing = size
        self._step = self._read_data if size else self._read_trailer
        return end, b""

    def _whole_chunk(self, data: bytes, position: int, size: int) -> tuple[int, bytes]:
        end, _ = self._read_chunk_end(data, position + size)
        return end, data[position : position + size]

    def _read_data(self, data: bytes, position: int) -> tuple[int, bytes]:
        body = data[position : position + self._missing]
        self._missing -= len(body)
        if not self._missing:
            self._step = self._read_chunk_end
        return position + len(body), body

    def _read_chunk_end(self, data: bytes, position: int) -> tuple[int, bytes]:
        end = position + len(_CRLF)
        if end > len(data):
            return position, b""
        if data[position:end] != _CRLF:
            raise BodyMalformed("a chunk is longer than its size")
        self._step = self._read_size
        return end, b""

    def _read_trailer(self, data: bytes, position: int) -> tuple[int, bytes]:
        end = _line_end(data, position, self._limits.trailers - self._trailers)
        self._trailers += end - position
        if end - position == len(_CRLF):
            self._step = self._past_end
        return end, b""

    def _past_end(self, data: bytes, position: int) -> tuple[int, bytes]:
        return position, b""


class _Callbacks:
    """What llhttp reports of a chunked body: the bytes of it since the last time, and its end."""

    body = b""
    complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

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
