"""What a worker and its chamber say to each other."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.images.decoder.messages import MAX_LINE_BYTES, Reply, ReplyReader, Request, Status
from filestored.images.decoder.resource_limits import MAX_RESULT_BYTES

DONE = Reply(Status.DONE, "image/webp", 5)


@pytest.mark.parametrize("job", [Request(0), Request(2**40), Request(7, (1, 2048))])
def test_a_job_arrives_as_it_was_sent(job):
    assert Request.from_line(job.to_line()) == job


@pytest.mark.parametrize("answer", [DONE, Reply(Status.REFUSED), Reply(Status.FULL)])
def test_an_answer_arrives_as_it_was_sent(answer):
    assert Reply.from_line(answer.to_line()) == answer


def test_an_answer_is_put_together_whole_and_bytewise():
    sent = DONE.to_line() + b"bytes"
    assert ReplyReader().feed(sent) == (DONE, b"bytes")
    reader = ReplyReader()
    assert [reader.feed(bytes([byte])) for byte in sent] == [None] * (len(sent) - 1) + [(DONE, b"bytes")]


@pytest.mark.parametrize(
    "line",
    [
        DONE.to_line() + b"bytes and garbage",
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
def test_anything_else_is_no_answer(line):
    with pytest.raises(ValueError):
        ReplyReader().feed(line)


@given(st.lists(st.binary(max_size=50)))
def test_garbage_is_no_answer_and_no_fault(pieces):
    reader = ReplyReader()
    with suppress(ValueError):
        assert [reader.feed(piece) for piece in pieces] == [None] * len(pieces)
