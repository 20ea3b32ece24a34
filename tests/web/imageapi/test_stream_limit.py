"""Limits of concurrent decompression, and clients that disconnect."""

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from filestored.errors import Overloaded
from filestored.images.gzip_backend import GunzippedFile
from filestored.web.imageapi.stream_limit import MAX_STREAMS_PER_OWNER, StreamLimit
from tests.images.catalog_samples import BMP, PNG
from tests.web.deferred_jobs import DeferredJobs
from tests.web.imageapi.image_wire import ImageWire


class PatientWire(ImageWire):
    """An image store; `stream` leaves the read jobs queued, `ask` runs those of one request."""

    def __init__(self):
        self.later = DeferredJobs()
        super().__init__(run=self.later)

    def ask(self, method, target, body=None, **fields):
        held, self.later.jobs = self.later.jobs, []
        self.connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        self.later.finish()
        self.later.jobs = held
        (answer,) = self.answers(method)
        return answer

    def stream(self, token, identity, *fields):
        """Request an image until its first read job is queued; return the new connection."""
        held, self.later.jobs = self.later.jobs, []
        self.connect()
        path = f"/imageapi/token/{token}/get-image/{identity}/"
        self.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode())
        for _ in range(3):  # the token, the record, the file
            self.later.work()
        assert len(self.later.jobs) == 1
        self.later.jobs = held + self.later.jobs
        return self.channel


@pytest.fixture
def wire():
    return PatientWire()


@pytest.fixture
def decompressed(monkeypatch):
    """A list of the sizes of decompressed chunks."""
    counts = []
    decompress = GunzippedFile._decompress

    def counting(self, packed, count):
        data = decompress(self, packed, count)
        counts.append(len(data))
        return data

    monkeypatch.setattr(GunzippedFile, "_decompress", counting)
    return counts


def leave(channel):
    channel.connectionLost(Failure(ConnectionDone()))


def test_concurrent_decompressions_of_an_account_are_limited(wire, token):
    identity, plain = wire.add(token, BMP), wire.add(token, PNG, "plain.png")
    other = wire.register("bert")
    others = wire.add(other, BMP)
    channels = [wire.stream(token, identity) for _ in range(MAX_STREAMS_PER_OWNER)]
    answer = wire.get(token, identity)
    assert (503, "1") == (answer.status, answer.fields["retry-after"])
    assert 200 == wire.get(token, identity, Accept_Encoding="gzip").status
    assert 200 == wire.get(token, plain).status
    assert 200 == wire.get(other, others).status
    leave(channels[0])
    wire.later.finish()
    assert (200, BMP) == (wire.get(token, identity).status, wire.get(token, identity).body)


@pytest.mark.parametrize("fields", [(), ("Range: bytes=4000-",)])
def test_disconnected_client_causes_no_decompression(wire, token, decompressed, fields):
    identity = wire.add(token, BMP)
    for channel in [wire.stream(token, identity, *fields) for _ in range(5)]:
        leave(channel)
    wire.later.finish()
    assert decompressed == []
    assert BMP == wire.get(token, identity).body


def test_head_request_decompresses_nothing(wire, token, decompressed):
    identity = wire.add(token, BMP)
    answer = wire.call("HEAD", f"token/{token}/get-image/{identity}/")
    assert (200, str(len(BMP))) == (answer.status, answer.fields["content-length"])
    assert decompressed == []


def test_stream_limit_per_owner_and_in_total():
    streams = StreamLimit(limit=3, limit_per_owner=2)
    with streams.slot("anna"), streams.slot("anna"):
        with pytest.raises(Overloaded), streams.slot("anna"):
            raise AssertionError("one too many")
        with streams.slot("bert"), pytest.raises(Overloaded), streams.slot("carl"):
            raise AssertionError("one too many")
        with streams.slot("carl"):
            pass
    assert not streams._open
