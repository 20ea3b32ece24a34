"""Byte ranges: which parts of a file a `Range` field asks for (RFC 9110 section 14).

In: the field's value and the file's size. Out: half-open spans, or None for "send it
whole". A server may ignore any `Range`, so everything is ignored that is malformed, in
another unit, or greedy: more than `MOST_RANGES`, not ascending, overlapping. What remains
can't cost more than the file itself, but for the frames around the parts (`ByteRanges`), which
whoever sends them holds against `MOST_OVERHEAD`.

Rejected: merging and sorting ranges for the client (section 15.3.7.2 allows it). Those who
send such ranges are broken or hostile, and a 200 serves both.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]
"""A half-open range of bytes: first, and one behind the last."""

MOST_RANGES = 8
"""How many ranges one request may name."""

MOST_OVERHEAD = 1024
"""By how many bytes a body in several parts may be longer than the file."""


def parse_range(value: bytes, size: int) -> list[Span] | None:
    """The spans that `value` asks for of `size` bytes.

    None when the field is to be ignored, an empty list when no range can be satisfied.
    """
    unit, _, listed = value.partition(b"=")
    specs = [spec for spec in (part.strip(b" \t") for part in listed.split(b",")) if spec]
    if unit.strip(b" \t").lower() != b"bytes" or not 0 < len(specs) <= MOST_RANGES:
        return None
    try:
        spans = [_resolve(spec, size) for spec in specs]
    except ValueError:
        return None
    return _modest([span for span in spans if span is not None])


def content_range(span: Span, size: int) -> bytes:
    """The value of `Content-Range` for one part (section 14.4)."""
    return b"bytes %d-%d/%d" % (span[0], span[1] - 1, size)


def unsatisfied_range(size: int) -> bytes:
    """The value of `Content-Range` in a 416."""
    return b"bytes */%d" % size


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """A multipart/byteranges body (section 14.6): each span with the bytes before it, and the last bytes.

    `length` is that of the whole body.
    """

    boundary: bytes
    spans: list[Span]
    heads: list[bytes]
    tail: bytes
    length: int

    @property
    def kind(self) -> bytes:
        """The media type of the whole body."""
        return b"multipart/byteranges; boundary=" + self.boundary

    @classmethod
    def of(cls, spans: list[Span], size: int, kind: bytes, boundary: bytes) -> "ByteRanges":
        """Put spans of a file of `size` bytes and media type `kind` into frames."""
        opening = b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: " % (boundary, kind)
        heads = [b"%s%s\r\n\r\n" % (opening, content_range(span, size)) for span in spans]
        heads[0] = heads[0].removeprefix(b"\r\n")
        tail = b"\r\n--%s--\r\n" % boundary
        length = sum(map(len, heads)) + sum(stop - start for start, stop in spans) + len(tail)
        return cls(boundary, spans, heads, tail, length)


def _resolve(spec: bytes, size: int) -> Span | None:
    """One range, or None when it lies behind the end; raises ValueError when it is none."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError("not a byte range")
    first, last = match.groups()
    if not first:
        return _suffix(int(last), size)
    start = int(first)
    if last and int(last) < start:
        raise ValueError("ends before it begins")
    stop = min(int(last) + 1, size) if last else size
    return (start, stop) if start < size else None


def _suffix(count: int, size: int) -> Span | None:
    """The last `count` bytes. None of an empty file: no `Content-Range` could say so."""
    if count and not size:
        raise ValueError("an empty file has no last byte")
    return (max(size - count, 0), size) if count else None


def _modest(spans: list[Span]) -> list[Span] | None:
    """The spans, or None unless they ascend and are disjoint."""
    return spans if all(before[1] <= after[0] for before, after in pairwise(spans)) else None


# Longer numbers would only cost time; no file has so many bytes.
_SPEC = re.compile(rb"(?=[0-9]|-[0-9])([0-9]{0,40})-([0-9]{0,40})")
