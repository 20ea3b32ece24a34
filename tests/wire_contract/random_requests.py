"""Random changes of valid requests."""

from tests.wire_contract.raw import chunked, form, head

JUNK = [
    *(b"\0", b"\x01", b"\x0b", b"\x7f", b"\x80", b"\xff", b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"),
    *(b" ", b"\t", b":", b",", b";", b"(", b'"', b"%", b"%00", b"..", b"/", b"?", b"#", b"-", b"+", b"0x"),
    *(b"9" * 20, b"f" * 17, b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.0", b"GET ", b" HTTP/1.1\r\n"),
    *(b"Host: y\r\n", b"Content-Length: 5\r\n", b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding : chunked\r\n", b" folded\r\n", b"A" * 9000),
]


def seeds(digest):
    """Return valid requests for the stored file `digest`, and uploads."""
    kind = "Content-Type: multipart/form-data; boundary=frontier"
    filed = form(b"a file")
    return [
        head("GET", f"/files/{digest}", ["Accept: */*", "Range: bytes=0-1"]),
        head("GET", f"/?file_hash={digest}", ["User-Agent: x", 'If-None-Match: "a"']),
        head("HEAD", f"/files/{digest}"),
        head("POST", "/", ["Content-Length: 5"]) + b"hello",
        head("POST", "/", ["Transfer-Encoding: chunked"]) + chunked(b"hel", b"lo"),
        head("POST", "/", [kind, f"Content-Length: {len(filed)}"]) + filed,
        head("POST", "/", [kind, "Transfer-Encoding: chunked"]) + chunked(filed[:50], filed[50:]),
        head("PUT", f"/files/{digest}", ["Content-Length: 12"]) + b"still served",
    ]


def change(dice, data):
    """Return the request with a random insertion, deletion, replacement, or repeated line."""
    at = dice.randrange(len(data) + 1)
    match dice.randrange(5):
        case 0:
            return data[:at] + dice.choice(JUNK) + data[at:]
        case 1:
            return data[:at] + data[at + dice.randint(1, 8) :]
        case 2:
            return data[:at] + dice.randbytes(dice.randint(1, 3)) + data[at + dice.randint(1, 3) :]
        case 3:
            lines = data.split(b"\r\n")
            lines.insert(dice.randrange(len(lines)), dice.choice(lines))
            return b"\r\n".join(lines)
        case _:
            lines = data.split(b"\r\n")
            lines.insert(dice.randrange(1, len(lines) + 1), dice.choice(JUNK))
            return b"\r\n".join(lines)
