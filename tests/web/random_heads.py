"""Random request heads: valid ones with all fields known to HTTP, and heads with one or more defects."""

from dataclasses import dataclass
from random import Random

from filestored.http.limits import Limits
from filestored.http.response_cache import MAX_HEAD_BYTES, MAX_KEY_BYTES
from tests.http_clients.blocking import request_head
from tests.web.field_names import REGISTERED, UNREGISTERED

NAMES = [name.encode("ascii") for name in (*REGISTERED, *UNREGISTERED)]

LIMITS = Limits()

TAG = b'"%b"' % (b"0" * 64)
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"

SENT_IDS = [b"0123456789abcdef" * 2, b"A.b_c~1:2/3+4=5@6-7", b"fst_0123456789", b"x" * 128]
"""Request ids that are taken; the first has the form of a made one."""

VALUES: dict[bytes, list[bytes]] = {
    b"Accept": [b"*/*", b"text/html", b"application/json", b"text/html;q=0.5, */*", b"text/html, x/y;q=0"],
    b"Accept-Encoding": [b"gzip, deflate, br", b"identity;q=0", b"gzip;q=0, *;q=0", b"*", b"zstd"],
    b"Authorization": [b"Bearer 0123", b"Basic YTpi", b"Negotiate"],
    b"Cache-Control": [b"no-cache", b"no-store", b"max-age=0", b"only-if-cached"],
    b"Connection": [
        *(b"close", b"keep-alive", b"Close", b"close, TE", b"X-Request-Id, close", b"Upgrade", b"x , close"),
        *(b"Range", b"keep-alive, Upgrade, HTTP2-Settings", b"closed", b'"close"', b",,close"),
    ],
    b"Content-Length": [b"0", b"5", b"+0", b"-1", b"00", b"0, 0", b"5, 5", b"9" * 19, b"0x0", b"five"],
    b"Content-Range": [b"bytes 0-4/10", b"bytes */10"],
    b"Content-Type": [b"text/plain", b"multipart/form-data; boundary=b"],
    b"Cookie": [b"a=b", b"session=0123; theme=dark", b"a=b; Range: bytes=0-1"],
    b"Expect": [b"100-continue", b"100-Continue", b"200-ok", b"100-continue, x"],
    b"Forwarded": [b"for=203.0.113.9", b'for="[2001:db8::9]:1";by=_x', b"for=unknown", b"x", b""],
    b"Host": [b"h", b"H", b"h.", b"h:1", b"localhost", b"127.0.0.1:9000", b"[::1]", b"y.example", b"x y"],
    b"If-Match": [TAG, b'"x"', b"*", b"W/" + TAG, b"x", b'"x", ' + TAG],
    b"If-Modified-Since": [DATE, b"x"],
    b"If-None-Match": [TAG, b'"x"', b"*", b"W/" + TAG, b"x", b'"x", ' + TAG],
    b"If-Range": [TAG, b'"x"', DATE, b"W/" + TAG],
    b"If-Unmodified-Since": [DATE, b"x"],
    b"Keep-Alive": [b"timeout=5, max=100", b"300"],
    b"Origin": [b"http://h", b"https://foreign.example", b"null"],
    b"Range": [
        *(b"bytes=0-0", b"bytes=0-99", b"bytes=1-16385", b"bytes=0-65535", b"bytes=4000-5000", b"bytes=5-"),
        *(b"bytes=60000-99999", b"bytes=4095-4095", b"bytes=4095-4096", b"bytes=99999-99999", b"bytes=-5"),
        *(b"bytes=100000-", b"bytes=100000-100001", b"bytes=-0", b"bytes=0-", b"bytes=9-2", b"bytes=01-002"),
        *(b"bytes=0-0,5-9", b"bytes=0-0, -1", b"bytes=1-2,", b"items=0-5", b"BYTES=1-2", b"bytes = 1-2"),
        *(b"bytes=1 - 2", b"bytes=+1-2", b"bytes=1-2x", b"bytes=", b"bytes=0-18446744073709551616"),
        *(b"bytes=0-999999999999999999", b"bytes=999999999999999999-999999999999999999", b"bytes=1-2;"),
    ],
    b"Referer": [b"http://h/", b"https://foreign.example/?token=0123", b'"\\'],
    b"Sec-Fetch-Site": [b"same-origin", b"cross-site", b"none", b"same-site"],
    b"TE": [b"trailers", b"trailers, deflate;q=0.5"],
    b"Transfer-Encoding": [b"chunked", b"gzip, chunked", b"identity", b"Chunked", b"x", b"\x0bchunked"],
    b"Upgrade": [b"websocket", b"h2c", b"HTTP/2.0"],
    b"User-Agent": [b"curl/8", b"Mozilla/5.0 (X11; Linux)", b'a "quoted" name', b"\xe9\xff"],
    b"X-Forwarded-For": [b"203.0.113.9", b"198.51.100.1, 192.168.1.1", b"192.168.1.1", b"unknown", b""],
    b"X-HTTP-Method-Override": [b"DELETE", b"HEAD"],
    b"X-Request-Id": [*SENT_IDS * 2, b"", b"x" * 129, b"a b", b"a,b", b'"a"', b"\xe9", b"a\tb", b"a;b"],
}
"""Values of fields that have a meaning here, or are often believed to have one."""

MEANINGFUL = [
    b"Connection",
    b"X-Forwarded-For",
    b"X-Request-Id",
    b"If-Match",
    b"If-None-Match",
    b"If-Range",
    b"Range",
    b"Range",
    b"Host",
] * 3 + [*VALUES]

ANY_VALUE = [
    *(b"1", b"0", b"x", b"close", b"no-cache", b"chunked", b"100-continue", b"bytes=0-9", b"true", b"?1"),
    *(b"", b"a, b", b",,", b'"a, b"', b'"\\""', b"a;b=c", b"a b\tc", b"\xe9", b"\x80\xff", b"%00"),
    *(b"192.0.2.1, 127.0.0.1", b"for=192.0.2.1;host=y", b"http://y/", b"sha-256=:AAAA:", DATE, b":", b": x"),
    *(b"x" * 100, b'W/"x"', b"\\r\\n", b"text/html", b"f-", b"Host: y", b"Range:", b"range: bytes=0-1"),
]

BLANKS = [b" "] * 12 + [b"", b"", b"\t", b"  ", b" \t "]
BLANKS_BEHIND = [b""] * 12 + [b" ", b"\t", b" \t"]

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ODD_BYTES = [
    *(b"\0", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x80", b"\xff"),
    *(b"\r", b"\n", b" ", b"\t", b":", b"\r\n", b"\r\n\r\n"),
]

ODD_LINES = [
    *(b" folded", b"\tfolded: x", b" ", b"\t", b"", b":", b": x", b"no colon", b"X y: z", b"X\t: y"),
    *(b"X : y", b"\xe9: x", b"X(: y", b"X\0: y", b"@: x", b'"X": y', b"\x0bX: y", b"\nX: y", b"\rX: y"),
    *(b"X: \0", b"X: \x0bclose", b"X: a\rb", b"X: a\nb", b"X: a\r", b"X: a\r\n\r", b"GET / HTTP/1.1"),
    *(b"X: a\nHost: y", b"X: a\nRange: bytes=0-1", b"X: a\nConnection: close", b"X: a\rConnection: close"),
    *(b"X: a\rRange: bytes=0-1", b"Range : bytes=0-1", b" Range: bytes=0-1", b"Content-Length : 5"),
    *(b"Transfer-Encoding\t: chunked", b"Connection : close"),
]
"""Lines that no valid head has."""

VERSIONS = [b"HTTP/1.1"] * 80 + [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1"]
PREFIXES = [b"http://h", b"http://foreign.example", b"HTTP://H:80", b"ftp://h", b"//", b"h"]
METHODS = [b"GET"] * 80 + [b"HEAD"] * 4 + [b"get", b"OPTIONS", b"TRACE", b"PATCH", b"Get", b"BREW"]


@dataclass(frozen=True)
class Target:
    """A target with the entity tag of its file."""

    path: bytes
    tag: bytes

    def plain(self) -> bytes:
        """Return a head without any field but ``Host``."""
        return request_head(self.path.decode("ascii"))


@dataclass(frozen=True)
class RandomHead:
    """A head for `target` in the pieces in which it is sent, perhaps with bytes behind it."""

    target: Target
    pieces: tuple[bytes, ...]


def random_head(random: Random, targets: list[Target]) -> RandomHead:
    """Return a head for one of the targets; a fifth of the heads has a defect."""
    target = random.choice(targets)
    lines = [b"Host: h", *_random_lines(random)]
    if random.random() < 0.3:
        random.shuffle(lines)
    head = b"\r\n".join([_request_line(random, target.path), *lines, b"", b""]).replace(TAG, target.tag)
    if random.random() < 0.2:
        for _ in range(random.choice([1, 1, 1, 2])):
            head = random.choice(DEFECTS)(random, head)
    if random.random() < 0.06:
        rest = _random_rest(random, random.choice(targets))
        return RandomHead(target, random.choice([(head, rest), _random_cut(random, head + rest)]))
    return RandomHead(target, _random_cut(random, head))


def with_another_request_line(random: Random, head: RandomHead, targets: list[Target]) -> RandomHead:
    """Return a head with the header lines of another one, perhaps for another target."""
    target = random.choice([head.target, random.choice(targets)])
    lines = b"".join(head.pieces).partition(b"\r\n")[2]
    return RandomHead(target, (_request_line(random, target.path) + b"\r\n" + lines,))


def _request_line(random: Random, path: bytes) -> bytes:
    if random.random() < 0.02:
        path = random.choice(PREFIXES) + path
    return b" ".join([random.choice(METHODS), path, random.choice(VERSIONS)])


# --- lines --------------------------------------------------------------------------------------------------


def _random_lines(random: Random) -> list[bytes]:
    """Return some lines, now and then as many or as long ones as the limits allow, or one more."""
    lines = [_any_line(random) for _ in range(random.choice([0, 1, 1, 1, 2, 3, 8]))]
    if random.random() < 0.3:
        names = random.choices(MEANINGFUL, k=random.choice([1, 1, 2, 3]))
        lines += [_meaningful_line(random, name) for name in names]
    match random.randrange(20):
        case 0:
            count = random.choice([random.randint(20, 26), random.randint(94, 101)])
            lines += [b"X%d: y" % number for number in range(count - len(lines))]
        case 1:
            lines.append(_long_line(random, sum(map(len, lines))))
        case 2:
            lines += [_any_line(random) for _ in range(random.randint(9, 40))]
        case 3:
            lines += [_meaningful_line(random, name) for name in (b"Range", b"If-Range")]
        case 4 if lines:
            name = random.choice(lines).partition(b":")[0]
            lines.append(_line(random, name, random.choice(VALUES.get(name, ANY_VALUE))))
    return lines


def _long_line(random: Random, others: int) -> bytes:
    """Return a line of about the maximum length, or with which a head has that of the cache."""
    name = random.choice([b"X-Long", b"X-Long", b"Cookie", b"User-Agent", b"Referer"]) + b": "
    size = random.choice([MAX_KEY_BYTES - others - 100, MAX_HEAD_BYTES - others - 100, LIMITS.field_line])
    return name + b"x" * (size - len(name) + random.randint(-50, 30))


def _any_line(random: Random) -> bytes:
    name = random.choice(NAMES) if random.random() < 0.9 else _random_token(random)
    return _line(random, name, _random_value(random))


def _meaningful_line(random: Random, name: bytes) -> bytes:
    value = random.choice(VALUES[name]) if random.random() < 0.95 else _random_value(random)
    return _line(random, name, value)


def _line(random: Random, name: bytes, value: bytes) -> bytes:
    match random.randrange(12):
        case 0:
            name = name.lower()
        case 1:
            name = name.upper()
        case 2:
            name = name.swapcase()
    return name + b":" + random.choice(BLANKS) + value + random.choice(BLANKS_BEHIND)


def _random_token(random: Random) -> bytes:
    return bytes(random.choices(TOKEN_BYTES, k=random.choice([1, 2, 5, 12, 40])))


def _random_value(random: Random) -> bytes:
    if random.random() < 0.8:
        return random.choice(ANY_VALUE)
    return bytes(random.choices(range(0x20, 0x7F), k=random.choice([1, 3, 20, 60])))


# --- defects ------------------------------------------------------------------------------------------------


def _insert_line(random: Random, head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    lines.insert(random.randint(1, max(1, len(lines) - 2)), random.choice(ODD_LINES))
    return b"\r\n".join(lines)


def _repeat_line(random: Random, head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    lines.insert(random.randint(1, max(1, len(lines) - 2)), random.choice(lines))
    return b"\r\n".join(lines)


def _remove_line(random: Random, head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    del lines[random.randrange(len(lines))]
    return b"\r\n".join(lines)


def _replace_a_line_end(random: Random, head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    at = random.randint(1, max(1, len(lines) - 1))
    end = random.choice([b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n\n", b"\0\r\n", b"\r\n "])
    return b"\r\n".join(lines[:at]) + end + b"\r\n".join(lines[at:])


def _fold_a_line(random: Random, head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    at = random.randrange(len(lines))
    lines[at] += b"\r\n" + random.choice([b" ", b"\t"]) + random.choice([b"x", b"", b"Range: bytes=0-1"])
    return b"\r\n".join(lines)


def _replace_all_line_ends(random: Random, head: bytes) -> bytes:
    return head.replace(b"\r\n", b"\n")


def _insert_bytes(random: Random, head: bytes) -> bytes:
    at = random.randrange(len(head) + 1)
    return head[:at] + random.choice(ODD_BYTES) + head[at + random.choice([0, 0, 0, 1]) :]


def _insert_blank_before_colon(random: Random, head: bytes) -> bytes:
    before, _, after = head.rpartition(b":")
    return before + random.choice([b" ", b"\t"]) + b":" + after


def _prepend(random: Random, head: bytes) -> bytes:
    return random.choice([b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\0"]) + head


def _cut_off(random: Random, head: bytes) -> bytes:
    return head[: random.randint(1, max(1, len(head) - 1))]


DEFECTS = [
    *(_insert_line, _insert_line, _repeat_line, _remove_line, _fold_a_line, _fold_a_line),
    *(_replace_a_line_end, _replace_a_line_end, _replace_all_line_ends, _insert_bytes, _insert_bytes),
    *(_insert_blank_before_colon, _prepend, _cut_off),
]


# --- pieces -------------------------------------------------------------------------------------------------


def _random_rest(random: Random, target: Target) -> bytes:
    """Return bytes behind a head: a body, or the next requests, perhaps not all of the last one."""
    requests = b"".join(target.plain() for _ in range(random.choice([1, 1, 2, 20])))
    match random.randrange(4):
        case 0:
            return random.choice([b"hello", b"0\r\n\r\n", b"\r\n", b"\0", b"5\r\nhello\r\n0\r\n\r\n"])
        case 1:
            return requests[: random.randrange(1, len(requests))]
    return requests


def _random_cut(random: Random, data: bytes) -> tuple[bytes, ...]:
    if random.random() < 0.95 or len(data) < 2:
        return (data,)
    at = random.randrange(1, len(data))
    return data[:at], data[at:]
