"""Framing of a request body: Content-Length and chunked coding (RFC 9112 sections 6 and 7).

In: pieces of input, as they arrive. Out: the bytes of the body, the bytes that were not read, and whether the
body is complete.

A `LengthReader` counts. A `ChunkedReader` parses the chunked coding itself, so the limits on lines are exact
and the end of the message is known to the byte. It also passes each line and each piece of data to llhttp,
which must find the same bytes of the body, and the same end. llhttp rejects blanks in the extensions of a
chunk, which RFC 9112 section 7.1.1 allows, so it gets these lines without blanks.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from httptools import HttpParserError, HttpRequestParser

from filestored.errors import BodyMalformed
from filestored.http.limits import Limits

_CRLF = b"\r\n"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,20})([ \t]*(?:;[^\r\n]*)?)\r\n")  # h11 reads at most 20 digits
_BLANKS = b" \t"
_ANY_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


MAX_CHUNKS = 256
"""Lines and chunks that one call of `ChunkedReader.feed` reads; 256 chunks of one byte take 1 ms."""


class FramingResult(NamedTuple):
    """The result of `feed`: bytes of the body, bytes that were not read, and whether the body is complete.

    The bytes not read follow a complete body; otherwise they are to be fed again.
    """

    body: bytes
    rest: bytes
    complete: bool


class LengthReader:
    """Reader of a body with ``Content-Length``."""

    def __init__(self, length: int) -> None:
        self._missing = length

    def feed(self, data: bytes) -> FramingResult:
        """Return the next bytes of the body."""
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            return FramingResult(data, b"", complete=False)
        self._missing = 0
        if missing == 0:
            return FramingResult(data, b"", complete=True)
        return FramingResult(data[:missing], data[missing:], complete=True)


class ChunkedReader:
    """Reader of a body in the chunked coding; trailers are read and discarded."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._callbacks = _Callbacks()
        self._parser = HttpRequestParser(self._callbacks)
        self._parser.feed_data(_ANY_CHUNKED_HEAD)
        self._buffer = b""
        self._missing = 0
        self._trailers = 0
        self._has_extension = False
        self._step: Callable[[bytes, int], tuple[int, bytes]] = self._read_size

    def feed(self, data: bytes) -> FramingResult:
        """Return the next bytes of the body, of at most `MAX_CHUNKS` chunks. Raises `BodyMalformed`."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        pieces: list[bytes] = []
        position = 0
        for _ in range(MAX_CHUNKS):
            if position == len(data) or self._callbacks.complete:
                break
            end, body = self._step(data, position)
            if end == position:
                self._buffer = data[position:]
                return FramingResult(b"".join(pieces), b"", complete=False)
            self._check(data, position, end, body)
            if body:
                pieces.append(body)
            position = end
        return FramingResult(b"".join(pieces), data[position:], self._callbacks.complete)

    def _check(self, data: bytes, position: int, end: int, body: bytes) -> None:
        """Raise `BodyMalformed` unless llhttp finds the same body and the same end in these bytes."""
        piece: bytes | memoryview = memoryview(data)[position:end]
        if self._has_extension:
            self._has_extension = False
            piece = data[position:end].translate(None, _BLANKS)
        try:
            self._parser.feed_data(piece)
        except HttpParserError as error:
            raise BodyMalformed("the chunked coding is broken") from error
        found = self._callbacks.body
        self._callbacks.body = b""  # the reader is part of a cycle, which may keep it long
        if found != body:
            raise BodyMalformed("the size of a chunk is ambiguous")
        if self._callbacks.complete != (self._step == self._past_end):
            raise BodyMalformed("the chunked coding ends where it should not")

    # Each step returns the position after the bytes that it has read, and the bytes of the body among them.
    # It returns the same position if it needs more bytes. It also sets the next step.

    def _read_size(self, data: bytes, position: int) -> tuple[int, bytes]:
        """Read the line with the size of a chunk; read the whole chunk if it has arrived."""
        end = _line_end(data, position, self._limits.chunk_line)
        if end == position:
            return position, b""
        match = _SIZE_LINE.fullmatch(data, position, end)
        if match is None:
            raise BodyMalformed("a chunk begins with its size")
        size = int(match[1], 16)
        self._has_extension = bool(match[2])
        if 0 < size <= len(data) - end - len(_CRLF) and not self._has_extension:
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
    """Callbacks of llhttp: the bytes of a chunked body since the last call, and its end."""

    body = b""
    complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


def _line_end(data: bytes, position: int, limit: int) -> int:
    """Return the position after the line at `position`, or `position` if the line is unfinished."""
    end = data.find(_CRLF, position, position + limit)
    if end >= 0:
        return end + len(_CRLF)
    if len(data) - position >= limit:
        raise BodyMalformed("a line of the chunked coding is too long")
    return position
