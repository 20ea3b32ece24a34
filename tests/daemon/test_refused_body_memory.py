"""Memory after refused uploads: no content is kept.

Errors and the frames they came through hold each other, and bodies with them, and the daemon looks
for such circles seldom. So bodies that make up many times the allowed growth are refused one after the other.
"""

import hashlib
import os

import pytest

from tests.daemon.running import memory
from tests.talk import Talk

TIMES = 400
ROOM = 24 * 1024
"""KiB that the daemon may grow by; the bodies of each kind have 24 to 100 MiB together."""

BYTES = os.urandom(250 * 1024)
BOUNDARY = "Content-Type: multipart/form-data; boundary=edge"


def put(size):
    return f"PUT /files/{hashlib.sha256(b'another').hexdigest()} HTTP/1.1", "", BYTES[:size]


REFUSED = {
    "under another hash": (422, *put(len(BYTES))),
    "small, under another hash": (422, *put(60 * 1024)),
    "chunks that are none": (
        400,
        "POST / HTTP/1.1",
        "Transfer-Encoding: chunked",
        b"3e800\r\n" + BYTES + b"??",
    ),
    "a form that is none": (400, "POST / HTTP/1.1", BOUNDARY, BYTES),
    "a form that breaks off": (
        400,
        "POST / HTTP/1.1",
        BOUNDARY,
        b'--edge\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + BYTES,
    ),
    "beyond the limit": (
        413,
        "POST / HTTP/1.1",
        "Transfer-Encoding: chunked",
        b"3e800\r\n" + BYTES + b"\r\n0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_nothing_is_kept_of_a_refused_body(start_daemon, kind):
    status, line, field, body = REFUSED[kind]
    limit = "200000" if status == 413 else "1000000"
    daemon = start_daemon("--workers", "1", "--max-size", limit)
    length = [] if "chunked" in field else [f"Content-Length: {len(body)}"]
    head = "\r\n".join([line, "Host: x", "Connection: close", *filter(None, [field]), *length, "", ""])
    before = memory(daemon.pid)
    for _ in range(TIMES):
        with Talk(daemon.connect()) as talk:
            talk.say(head.encode() + body)
            assert status == talk.hear().status
    assert memory(daemon.pid) - before < ROOM
