"""Batched writes: sent after the events of a batch, in order, and never lost."""

import socket
from contextlib import suppress

import pytest
from twisted.internet.task import Clock

from filestored.http.factory import TIMEOUT_POLL_SECONDS, HTTPFactory
from filestored.http.limits import Limits
from filestored.http.transport.output import SocketOutput
from tests.http.file_source import FileSource
from tests.http.test_response_cache import FileResource, InMemoryFile, Log
from tests.http_clients.blocking import request_head
from tests.http_clients.in_memory import parse_responses
from tests.http_clients.socket_pair import EventBatch, SocketPairClient

CONTENT = bytes(range(250)) * 64
"""Several fill the buffer of a socket pair."""


class Transport:
    """The transport of a `SocketOutput`; records what it is asked for."""

    def __init__(self, reactor):
        self.reactor = reactor
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append(name)


@pytest.fixture
def batch():
    return EventBatch()


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def drained():
    return []


@pytest.fixture
def output(batch, ends, drained):
    return SocketOutput(Transport(batch), ends[0], lambda: drained.append(True))


def received(ends):
    with suppress(BlockingIOError):
        return ends[1].recv(1 << 20)
    return b""


def test_batched_write_is_sent_at_the_end_of_the_batch(output, batch, ends, drained):
    output.write_batched(b"one")
    assert output.pending
    assert b"" == received(ends)
    batch.end()
    assert b"one" == received(ends)
    assert not output.pending
    assert [True] == drained
    batch.end()
    assert [True] == drained


@pytest.mark.parametrize("further", ["write", "write_batched"])
def test_further_write_is_sent_behind_a_batched_one(output, batch, ends, further):
    output.write_batched(b"one")
    getattr(output, further)(b"two")
    batch.end()
    assert b"onetwo" == received(ends)


def test_file_is_sent_behind_a_batched_write(output, batch, ends, tmp_path):
    (tmp_path / "f").write_bytes(b"two")
    output.write_batched(b"one")
    with open(tmp_path / "f", "rb") as file:
        assert output.write_file(FileSource(file.fileno()), 0, 3) is None
    batch.end()
    assert b"onetwo" == received(ends)


@pytest.fixture
def source(tmp_path):
    """A file of ten bytes."""
    (tmp_path / "f").write_bytes(b"0123456789")
    with open(tmp_path / "f", "rb") as file:
        yield FileSource(file.fileno())


def test_head_and_short_file_are_sent_at_the_end_of_the_batch(output, batch, ends, drained, source):
    ended = []
    output.write_head_and_file(b"head", source, 2, 5, ended.append)
    assert output.pending
    assert (b"", []) == (received(ends), ended)
    batch.end()
    assert b"head234" == received(ends)
    assert ([None], [True], False) == (ended, drained, output.pending)


def test_head_and_file_are_sent_behind_a_batched_write(output, batch, ends, source):
    ended = []
    output.write_batched(b"one")
    output.write_head_and_file(b"head", source, 0, 5, ended.append)
    batch.end()
    assert b"onehead01234" == received(ends)
    assert ([None], False) == (ended, output.pending)


def test_head_and_file_of_a_lost_connection_are_dropped(output, batch, ends, drained, source):
    ended = []
    output.write_head_and_file(b"head", source, 0, 5, ended.append)
    output.lost()
    assert [None] == ended
    batch.end()
    assert (b"", [None], []) == (received(ends), ended, drained)


def test_truncated_file_behind_a_head_is_an_error(output, batch, ends, source):
    ended = []
    output.write_head_and_file(b"head", source, 5, 20, ended.append)
    batch.end()
    assert b"head56789" == received(ends)
    assert output.pending
    output.resumeProducing()
    assert [OSError] == list(map(type, ended))


def test_head_and_file_are_sent_at_once_by_a_reactor_without_batches(ends, drained, source):
    ended = []
    output = SocketOutput(Transport(None), ends[0], lambda: drained.append(True))
    output.write_head_and_file(b"head", source, 0, 5, ended.append)
    assert b"head01234" == received(ends)
    assert ([None], [], False) == (ended, drained, output.pending)


def test_long_file_does_not_wait_for_other_events(output, batch, ends, tmp_path):
    (tmp_path / "f").write_bytes(CONTENT * 20)
    ended = []
    with open(tmp_path / "f", "rb") as file:
        output.write_head_and_file(b"head", FileSource(file.fileno()), 0, len(CONTENT) * 20, ended.append)
        assert received(ends).startswith(b"head" + CONTENT)
        output.lost()
    assert [None] == ended


def test_rest_of_a_batched_write_is_queued(output, batch, ends, drained):
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    output.write_batched(b"x" * 100_000)
    batch.end()
    assert output.pending
    assert [] == drained
    count = 0
    while not drained:
        count += len(received(ends))
        output.resumeProducing()
    assert 100_000 == count + len(received(ends))
    assert 100_000 == output.taken


def test_batched_write_of_a_lost_connection_is_dropped(output, batch, ends, drained):
    output.write_batched(b"one")
    output.lost()
    batch.end()
    assert b"" == received(ends)
    assert [] == drained


def test_batched_write_to_a_failed_connection_aborts_it(output, batch, ends, drained):
    ends[1].close()
    output.write_batched(b"one")
    batch.end()
    assert "abortConnection" in output._transport.calls
    assert [] == drained


def test_write_is_sent_at_once_by_a_reactor_without_batches(ends, drained):
    output = SocketOutput(Transport(None), ends[0], lambda: drained.append(True))
    output.write_batched(b"one")
    assert b"one" == received(ends)
    assert not output.pending
    assert [] == drained


# --- on a connection --------------------------------------------------------------------------


class SlowClient(SocketPairClient):
    """A client that has asked for cached responses and has read none of the last ones."""

    def __init__(self, path, limits=None):
        clock = Clock()
        self.log = Log()
        path.write_bytes(CONTENT)
        factory = HTTPFactory(FileResource(str(path), InMemoryFile), clock, limits, self.log)
        super().__init__(factory, clock)
        self.send(request_head("/"))
        self.received()
        self.count = 0
        while not self.channel.pending:
            self.send(request_head("/"))
            self.count += 1

    def bodies(self):
        """Read everything; return the bodies."""
        return [each.body for each in parse_responses(self.received(), self.connected, *["GET"] * self.count)]


@pytest.fixture
def client(tmp_path):
    client = SlowClient(tmp_path / "content")
    yield client
    client.close()


def test_response_that_was_not_taken_is_logged_when_it_was(client):
    assert client.count == len(client.log)  # the first response, and all but the last of the others
    assert [CONTENT] * client.count == client.bodies()
    assert client.count + 1 == len(client.log)


def test_draining_waits_for_a_batched_response(client):
    drained = client.factory.drain()
    client.wait(2)
    assert not drained.called
    assert [CONTENT] * client.count == client.bodies()
    assert drained.called or not client.open


def test_response_before_the_end_of_the_batch_is_not_lost_in_a_drain(tmp_path):
    client = SlowClient(tmp_path / "content")
    client.bodies()
    client.count = 1
    client.channel.dataReceived(request_head("/"))
    client.factory.drain()
    assert client.connected
    client.run_reactor()
    assert [CONTENT] == client.bodies()
    client.close()


def test_half_closed_client_gets_its_batched_response(client):
    client.channel.readConnectionLost()
    client.wait(2)
    assert [CONTENT] * client.count == client.bodies()


def test_keep_alive_timeout_does_not_end_a_response_that_is_not_taken(tmp_path):
    client = SlowClient(tmp_path / "content", Limits(keep_alive_timeout=1.0))
    client.wait(5)
    assert [CONTENT] * client.count == client.bodies()
    client.close()


def test_client_that_never_takes_its_response_is_closed(tmp_path):
    client = SlowClient(tmp_path / "content", Limits(write_timeout=3.0))
    client.wait(3 + 4 * TIMEOUT_POLL_SECONDS)
    assert not client.connected


def test_client_that_only_sends_is_not_read_on(client):
    """Its responses would fill the memory."""
    client.send(request_head("/") * 10)
    assert "paused" == client.transport.producerState
    assert client.count == len(client.log)
