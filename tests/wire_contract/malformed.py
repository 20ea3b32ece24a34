"""Malformed requests, written by hand: the defect, and the bytes.

Each is complete: a server that waits for more of it has already taken it for something else.
"""

GOOD = b"GET /files/" + b"0" * 64 + b" HTTP/1.1\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def _line(line: bytes) -> bytes:
    return line + b"\r\nHost: x\r\n\r\n"


def _field(*fields: bytes) -> bytes:
    return GOOD + b"Host: x\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def _target(target: bytes) -> bytes:
    return _line(b"GET " + target + b" HTTP/1.1")


def _post(*fields: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + b"".join(f + b"\r\n" for f in fields) + b"\r\nhello"


MALFORMED: dict[str, bytes] = {
    # the request line
    "no version": _line(b"GET /"),
    "no target": _line(b"GET HTTP/1.1"),
    "no method": _line(b"/ HTTP/1.1"),
    "a space before the method": _line(b" GET / HTTP/1.1"),
    "two spaces before the target": _line(b"GET  / HTTP/1.1"),
    "two spaces behind the target": _line(b"GET /  HTTP/1.1"),
    "a tab for a space": _line(b"GET\t/ HTTP/1.1"),
    "a space behind the version": _line(b"GET / HTTP/1.1 "),
    "a fourth word": _line(b"GET / x HTTP/1.1"),
    "a method with a parenthesis": _line(b"G(T / HTTP/1.1"),
    "a method with a NUL": _line(b"G\0T / HTTP/1.1"),
    "a method beyond ASCII": _line(b"G\xc3\xa9T / HTTP/1.1"),
    "a method with a colon": _line(b"GE:T / HTTP/1.1"),
    "a version in lower case": _line(b"GET / http/1.1"),
    "another protocol": _line(b"GET / ICY/1.1"),
    "a version of one digit": _line(b"GET / HTTP/1"),
    "a version of three digits": _line(b"GET / HTTP/1.10"),
    "a version with a comma": _line(b"GET / HTTP/1,1"),
    "a version with a sign": _line(b"GET / HTTP/+1.1"),
    "version 0.9": _line(b"GET / HTTP/0.9"),
    "version 2.0": _line(b"GET / HTTP/2.0"),
    "version 3.0": _line(b"GET / HTTP/3.0"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "nothing but zeros": bytes(64) + b"\r\n\r\n",
    # the target
    "an absolute target without a host": _target(b"http:///files/0"),
    "an absolute target with a user": _target(b"http://user@x/"),
    "an absolute target of another scheme": _target(b"ftp://x/"),
    "a target of an authority": _target(b"x:80"),
    "a target of an asterisk": _target(b"*"),
    "a target without a slash": _target(b"files"),
    "a target of a question mark": _target(b"?file_hash=0"),
    "a target with a fragment": _target(b"/#x"),
    "a target with a NUL": _target(b"/\0"),
    "a target with a control character": _target(b"/\x01"),
    "a target with DEL": _target(b"/\x7f"),
    "a target beyond ASCII": _target(b"/\xc3\xa9"),
    "dots that lead upward": _target(b"/../FORMAT"),
    "dots that lead upward later": _target(b"/files/../FORMAT"),
    "dots at the end": _target(b"/files/.."),
    "escaped dots": _target(b"/%2e%2e/FORMAT"),
    "half-escaped dots": _target(b"/.%2E/FORMAT"),
    "an escaped slash": _target(b"/files%2f0"),
    "an escaped slash in capitals": _target(b"/files%2F0"),
    "an escape NUL": _target(b"/files/%00"),
    # Host
    "no host": GOOD + b"\r\n",
    "two hosts": GOOD + b"Host: x\r\nHost: x\r\n\r\n",
    "two hosts that differ": GOOD + b"Host: x\r\nhost: y\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    # fields
    "a field without a colon": _field(b"X"),
    "a field without a name": _field(b": x"),
    "a space before the colon": _field(b"X : y"),
    "a tab before the colon": _field(b"X\t: y"),
    "a space in a name": _field(b"X Y: z"),
    "a NUL in a name": _field(b"X\0: y"),
    "a name beyond ASCII": _field(b"X\xe9: y"),
    "a parenthesis in a name": _field(b"X(): y"),
    "a NUL in a value": _field(b"X: y\0z"),
    "a control character in a value": _field(b"X: y\x01z"),
    "a backspace in a value": _field(b"X: y\x08"),
    "a folded field": _field(b"X: y", b" z"),
    "a field folded with a tab": _field(b"X: y", b"\tz"),
    "a first field that is folded": GOOD + b" Host: x\r\n\r\n",
    "a bare CR in a value": _field(b"X: y\rz"),
    "a bare CR that ends a line": GOOD + b"Host: x\rX: y\r\n\r\n",
    "a bare LF that ends a line": GOOD + b"Host: x\nX: y\r\n\r\n",
    "bare LF everywhere": GOOD.replace(b"\r\n", b"\n") + b"Host: x\n\n",
    "a bare LF that ends the request line": GOOD.replace(b"\r\n", b"\n") + b"Host: x\r\n\r\n",
    "a bare LF that ends the head": GOOD + b"Host: x\r\n\n",
    "CR CR LF": GOOD + b"Host: x\r\r\n\r\n",
    # the length of a body
    "a length that is no number": _post(b"Content-Length: five"),
    "a length with a sign": _post(b"Content-Length: +5"),
    "a negative length": _post(b"Content-Length: -5"),
    "a length in hexadecimal": _post(b"Content-Length: 0x5"),
    "a length with a dot": _post(b"Content-Length: 5.0"),
    "a length with an underscore": _post(b"Content-Length: 0_5"),
    "an empty length": _post(b"Content-Length:"),
    "a length with a space inside": _post(b"Content-Length: 5 5"),
    "a length in other digits": _post(b"Content-Length: \xd9\xa5"),
    "lengths that differ": _post(b"Content-Length: 5", b"Content-Length: 6"),
    "lengths that differ in one line": _post(b"Content-Length: 5, 6"),
    "a length and an empty one": _post(b"Content-Length: 5,"),
    "a length and chunks": _post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunks and a length": _post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    # transfer codings
    "a coding that is not chunked": _post(b"Transfer-Encoding: gzip"),
    "identity": _post(b"Transfer-Encoding: identity"),
    "two codings": _post(b"Transfer-Encoding: gzip, chunked"),
    "two codings in two lines": _post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
    "chunked twice": _post(b"Transfer-Encoding: chunked, chunked"),
    "chunked twice in two lines": _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked before another": _post(b"Transfer-Encoding: chunked, identity"),
    "almost chunked": _post(b"Transfer-Encoding: xchunked"),
    "chunked in quotes": _post(b'Transfer-Encoding: "chunked"'),
    "chunked with a parameter": _post(b"Transfer-Encoding: chunked;q=1"),
    "chunked behind a vertical tab": _post(b"Transfer-Encoding: \x0bchunked"),
    "no coding at all": _post(b"Transfer-Encoding:"),
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"5\r\nhello\r\n0\r\n\r\n",
    # chunks
    "a chunk of no size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"g\r\nhello\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a sign": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a space before a chunk size": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": CHUNKED + b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
    "a chunk shorter than its size": CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind a chunk size": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a bare LF behind a chunk": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "a bare CR behind a chunk size": CHUNKED + b"5\rhello\r\n0\r\n\r\n",
    "a bare LF in an extension": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a NUL in an extension": CHUNKED + b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    "a trailer without a colon": CHUNKED + b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "a NUL in a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
}


def malformed_heads(target: bytes) -> dict[str, bytes]:
    """Return heads of `MALFORMED`, as reads of this target and without what follows the head.

    Chunked bodies are left out, for they are malformed behind the head only.
    """
    heads = {}
    for name, data in MALFORMED.items():
        if not data.startswith(CHUNKED):
            head, end, _ = data.partition(b"\r\n\r\n")
            for other in (b"POST / ", b"GET / ", b"GET /files/" + b"0" * 64 + b" "):
                head = head.replace(other, b"GET " + target + b" ", 1)
            heads[name] = head + end
    return heads
