"""Requests and replies between a worker and its decoder process."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.images.decoder.messages import MAX_LINE_BYTES, Reply, ReplyReader, Request, Status
from filestored.images.decoder.resource_limits import MAX_RESULT_BYTES

DONE = Reply(Status.DONE, "image/webp", 5)


@pytest.mark.parametrize("job", [Request(0), Request(2**40), Request(7, (1, 2048))])
def test_request_survives_a_round_trip(job):
    assert Request.from_line(job.to_line()) == job


@pytest.mark.parametrize("answer", [DONE, Reply(Status.REFUSED), Reply(Status.UNSUPPORTED, "image/heic")])
def test_reply_survives_a_round_trip(answer):
    assert Reply.from_line(answer.to_line()) == answer


def test_reply_is_parsed_whole_and_bytewise():
    sent = DONE.to_line() + b"bytes"
    assert ReplyReader().feed(sent) == (DONE, b"bytes")
    reader = ReplyReader()
    assert [reader.feed(bytes([byte])) for byte in sent] == [None] * (len(sent) - 1) + [(DONE, b"bytes")]


@pytest.mark.parametrize(
    "line",
    [
        DONE.to_line() + b"bytes and garbage",
        Reply(Status.DONE, "image/heic", 5).to_line(),
        Reply(Status.UNSUPPORTED, "image/png").to_line(),
        b"x" * (MAX_LINE_BYTES + 1),
        b"\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b'{"status": "fine", "media_type": "", "size": 0}\n',
        b'{"status": "done", "media_type": "text/html", "size": 0}\n',
        b'{"status": "done", "media_type": "", "size": -1}\n',
        b'{"status": "done", "media_type": "", "size": %d}\n' % (MAX_RESULT_BYTES + 1),
        b'{"status": "done", "media_type": "", "size": null}\n',
    ],
)
def test_malformed_reply_raises_value_error(line):
    with pytest.raises(ValueError):
        ReplyReader().feed(line)


@given(st.lists(st.binary(max_size=50)))
def test_garbage_reply_raises_only_value_error(pieces):
    reader = ReplyReader()
    with suppress(ValueError):
        assert [reader.feed(piece) for piece in pieces] == [None] * len(pieces)
