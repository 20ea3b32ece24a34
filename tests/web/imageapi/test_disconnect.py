"""Disconnected clients of the image API: decoding is cancelled, everything else completes."""

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.interfaces import Thumbnail
from tests.images.catalog_samples import BMP
from tests.web.deferred_jobs import DeferredJobs
from tests.web.forms import FORM, form
from tests.web.imageapi.image_wire import ImageWire, part, said

LEFT = "The client closed its side of the connection before the image was decoded."


class Pictures:
    """A decoder whose jobs end when the test says so; `asked` and `cancelled` list them."""

    def __init__(self):
        self.asked = []
        self.cancelled = []

    def check_format(self, media_type):
        pass

    def verify(self, blob, owner):
        self.asked.append((owner, Deferred(self.cancelled.append)))
        return self.asked[-1][1]

    def thumbnail(self, blob, bounds, owner):
        return self.verify(blob, owner)

    def answer(self, result=None):
        self.asked[-1][1].callback(result)


@pytest.fixture
def decoder():
    return Pictures()


@pytest.fixture
def wire(decoder, tmp_path):
    cache = ThumbnailCache(str(tmp_path / "thumbnails"))
    thumbnails = Thumbnails(decoder, cache, maybeDeferred, lambda digest: True)
    yield ImageWire(decoder=decoder, thumbnails=thumbnails)
    cache.close()


def send_upload(wire, token, method="POST", path="upload-image/"):
    body = form(part(BMP, "new.bmp"))
    head = f"{method} /imageapi/token/{token}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
    wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def add(wire, decoder, token):
    """Upload and verify an image; return its id."""
    send_upload(wire, token)
    decoder.answer()
    (answer,) = wire.answers("POST")
    return said(answer)[1]["File ID"]


def thumbnail_of(token, identity):
    path = f"/imageapi/token/{token}/get-image/{identity}/?width=9"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def close_sending_side(wire):
    wire.channel.readConnectionLost()


def test_upload_of_disconnected_client_is_neither_decoded_nor_stored(wire, decoder, token, logged):
    send_upload(wire, token)
    ((owner, job),) = decoder.asked
    assert (owner, decoder.cancelled) == ("anna", [])
    wire.disconnect()
    assert decoder.cancelled == [job]
    assert wire.backend.digests(None, 9) == []
    assert wire.blobs.uploads_in_flight == 0
    wire.connect()
    assert wire.list_images(token) == {}
    assert logged() == []


def test_update_of_disconnected_client_changes_nothing(wire, decoder, token):
    identity = add(wire, decoder, token)
    send_upload(wire, token, "PATCH", f"update-image/{identity}/")
    wire.disconnect()
    assert len(decoder.cancelled) == 1
    wire.connect()
    assert wire.get(token, identity, Accept_Encoding="identity").body == BMP
    assert len(wire.backend.digests(None, 9)) == 1


def test_half_closed_connection_during_decoding_gets_400(wire, decoder, token):
    send_upload(wire, token)
    close_sending_side(wire)
    assert len(decoder.cancelled) == 1
    assert said(wire.answers("POST")[0]) == (400, LEFT)
    assert wire.backend.digests(None, 9) == []


@pytest.mark.parametrize("jobs", range(12))
def test_disconnect_at_any_time_of_an_upload_stores_all_or_nothing(decoder, jobs, logged):
    later = DeferredJobs()
    wire = ImageWire(decoder=decoder, run=later)
    wire.send(b"GET /imageapi/generate-token/anna/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    later.finish()
    (answer,) = wire.answers("GET")
    token = said(answer)[1]["token"]
    send_upload(wire, token)
    for _ in range(jobs):
        later.work()
        if jobs % 2 and decoder.asked and not decoder.asked[-1][1].called:
            decoder.answer()
    wire.disconnect()
    later.finish()
    assert [job for _, job in decoder.asked if not job.called] == []
    assert len(wire.backend.digests(None, 9)) == len(wire.records.names("accounts/anna/images"))
    assert wire.blobs.uploads_in_flight == 0
    assert logged() == []


def test_disconnect_after_verification_keeps_the_image(wire, decoder, token):
    identity = add(wire, decoder, token)
    wire.disconnect()
    wire.connect()
    assert wire.list_images(token) == {"new.bmp": identity}
    assert decoder.cancelled == []


@pytest.mark.parametrize("leave", [ImageWire.disconnect, close_sending_side])
def test_thumbnail_is_cancelled_when_its_client_disconnects(wire, decoder, token, leave, logged):
    identity = add(wire, decoder, token)
    wire.send(thumbnail_of(token, identity))
    owner, job = decoder.asked[-1]
    assert owner == "anna"
    leave(wire)
    assert decoder.cancelled == [job]
    assert logged() == []


def test_shared_thumbnail_is_made_when_one_of_two_clients_disconnects(wire, decoder, token):
    identity = add(wire, decoder, token)
    request = thumbnail_of(token, identity)
    wire.send(request)
    leaving = wire.channel
    wire.connect()
    wire.send(request)
    leaving.connectionLost(Failure(ConnectionDone()))
    assert decoder.cancelled == []
    decoder.answer(Thumbnail("image/jpeg", b"small"))
    (answer,) = wire.answers("GET")
    assert (answer.status, answer.body) == (200, b"small")
