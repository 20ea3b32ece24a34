"""Input buffer: the bound on reads, deferred input, pausing, and the end of the input."""

import pytest

from filestored.http.input_buffer import MAX_READS, InputBuffer


class Harness:
    """An input buffer whose reads take one byte each, while `reading`."""

    def __init__(self):
        self.log = []
        self.calls = []
        self.reading = True
        self.buffer = InputBuffer(self, self.read, lambda: self.log.append("end"), self.calls.append)

    def pauseProducing(self):
        self.log.append("pause")

    def resumeProducing(self):
        self.log.append("resume")

    def read(self):
        if self.reading:
            self.log.append(self.buffer.data[:1])
            self.buffer.data = self.buffer.data[1:]
        return self.reading

    def receive(self, data):
        self.buffer.data += data
        self.buffer.process()

    def iterate(self):
        """Run the calls of the next iteration of the reactor."""
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()


@pytest.fixture
def harness():
    return Harness()


def test_all_input_is_read(harness):
    harness.receive(b"abc")
    assert [b"a", b"b", b"c"] == harness.log


def test_unread_input_pauses_the_socket_once(harness):
    harness.reading = False
    harness.receive(b"a")
    harness.receive(b"b")
    assert ["pause"] == harness.log


def test_socket_resumes_after_the_input_was_read(harness):
    harness.reading = False
    harness.receive(b"a")
    harness.reading = True
    harness.buffer.process()
    assert ["pause", b"a", "resume"] == harness.log


def test_reads_in_one_iteration_are_bounded(harness):
    harness.receive(b"x" * (MAX_READS + 2))
    assert [*[b"x"] * MAX_READS, "pause"] == harness.log
    harness.log.clear()
    harness.receive(b"x")
    assert [] == harness.log
    harness.iterate()
    assert [*[b"x"] * 3, "resume"] == harness.log


def test_end_of_input_waits_for_deferred_input(harness):
    harness.receive(b"x" * (MAX_READS + 1))
    harness.buffer.end()
    assert "end" not in harness.log
    harness.iterate()
    assert "end" == harness.log[-1]


def test_end_of_input_is_reported_at_once_without_deferred_input(harness):
    harness.buffer.end()
    assert ["end"] == harness.log
    assert harness.buffer.ended


def test_process_is_not_reentrant(harness):
    depths = []

    def read():
        harness.buffer.data = harness.buffer.data[1:]
        depths.append(len(harness.buffer.data))
        harness.buffer.process()
        return True

    harness.read = read
    harness.buffer = InputBuffer(harness, read, list, harness.calls.append)
    harness.receive(b"abc")
    assert [2, 1, 0] == depths


def test_closed_buffer_neither_pauses_nor_resumes(harness):
    harness.reading = False
    harness.buffer.close()
    harness.receive(b"a")
    assert [] == harness.log


def test_discarded_bytes_are_counted(harness):
    harness.buffer.data = b"abc"
    harness.buffer.discard()
    harness.buffer.data = b"de"
    harness.buffer.discard()
    assert 5 == harness.buffer.discarded
    assert b"" == harness.buffer.data
