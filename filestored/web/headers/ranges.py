"""Byte ranges: the `Range` header and multipart/byteranges (RFC 9110 section 14).

In: the value of `Range` and the size of the file. Out: half-open spans, or None for the complete file. A
server may ignore any `Range`. Ignored are malformed headers, other units, more than `MAX_RANGES`, and ranges
that overlap or do not ascend. So a response has at most the bytes of the file and the heads of the parts;
`download` compares these with `MAX_MULTIPART_OVERHEAD_BYTES`.

Rejected: merging and sorting ranges (section 15.3.7.2 allows it). Clients that send such ranges are broken or
hostile; a 200 is correct for both.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]
"""A half-open range of bytes: the first, and the one after the last."""

MAX_RANGES = 8
"""Maximum number of ranges in a request."""

MAX_MULTIPART_OVERHEAD_BYTES = 1024
"""Maximum number of bytes by which a multipart body may be longer than the file."""


def parse_range(value: bytes, size: int) -> list[Span] | None:
    """Return the spans that `value` selects of `size` bytes.

    None when the header is ignored, an empty list when no range can be satisfied.
    """
    unit, _, listed = value.partition(b"=")
    specs = [spec for spec in (part.strip(b" \t") for part in listed.split(b",")) if spec]
    if unit.strip(b" \t").lower() != b"bytes" or not 0 < len(specs) <= MAX_RANGES:
        return None
    try:
        spans = [_resolve(spec, size) for spec in specs]
    except ValueError:
        return None
    return _ascending_and_disjoint([span for span in spans if span is not None])


def content_range(span: Span, size: int) -> bytes:
    """Return the value of `Content-Range` for a span (section 14.4)."""
    return b"bytes %d-%d/%d" % (span[0], span[1] - 1, size)


def unsatisfied_range(size: int) -> bytes:
    """Return the value of `Content-Range` in a 416."""
    return b"bytes */%d" % size


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """A multipart/byteranges body (section 14.6).

    `heads` are the bytes before each of the `spans`, `tail` the bytes after the last. `length` is that of the
    complete body.
    """

    boundary: bytes
    spans: list[Span]
    heads: list[bytes]
    tail: bytes
    length: int

    @property
    def content_type(self) -> bytes:
        """The media type of the body."""
        return b"multipart/byteranges; boundary=" + self.boundary

    @classmethod
    def of(cls, spans: list[Span], size: int, content_type: bytes, boundary: bytes) -> "ByteRanges":
        """Make a body of spans of a file of `size` bytes."""
        opening = b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: " % (boundary, content_type)
        heads = [b"%s%s\r\n\r\n" % (opening, content_range(span, size)) for span in spans]
        heads[0] = heads[0].removeprefix(b"\r\n")
        tail = b"\r\n--%s--\r\n" % boundary
        length = sum(map(len, heads)) + sum(stop - start for start, stop in spans) + len(tail)
        return cls(boundary, spans, heads, tail, length)


def _resolve(spec: bytes, size: int) -> Span | None:
    """Return a span, or None if it starts after the end. Raises ValueError if malformed."""
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
    """Return the last `count` bytes. Raises ValueError for an empty file, which no `Content-Range` fits."""
    if count and not size:
        raise ValueError("an empty file has no last byte")
    return (max(size - count, 0), size) if count else None


def _ascending_and_disjoint(spans: list[Span]) -> list[Span] | None:
    """Return the spans, or None unless they ascend and are disjoint."""
    return spans if all(before[1] <= after[0] for before, after in pairwise(spans)) else None


# Forty digits exceed any file size; longer numbers only cost time.
_SPEC = re.compile(rb"(?=[0-9]|-[0-9])([0-9]{0,40})-([0-9]{0,40})")
