"""Clients that leave while an image is decoded for them: the decoding ends, everything else goes on."""

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.interfaces import Thumbnail
from tests.images.catalog_samples import BMP
from tests.web.image_wire import FORM, ImageWire, form, part, said
from tests.web.later import Later

LEFT = "The client closed its side of the connection before the image was decoded."


class Pictures:
    """Decoders that end when the test says so; `asked` and `cancelled` list the jobs."""

    def __init__(self):
        self.asked = []
        self.cancelled = []

    def verify(self, blob, owner):
        self.asked.append((owner, Deferred(self.cancelled.append)))
        return self.asked[-1][1]

    def thumbnail(self, blob, bounds, owner):
        return self.verify(blob, owner)

    def answer(self, result=None):
        self.asked[-1][1].callback(result)


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def wire(pictures, tmp_path):
    cache = ThumbnailCache(str(tmp_path / "thumbnails"))
    yield ImageWire(pictures=pictures, thumbnails=Thumbnails(pictures, cache, maybeDeferred))
    cache.close()


@pytest.fixture
def token(wire):
    return wire.register()


def send_upload(wire, token, method="POST", path="upload-image/"):
    body = form(part(BMP, "new.bmp"))
    head = f"{method} /imageapi/token/{token}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
    wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def add(wire, pictures, token):
    """The id of an image that was verified."""
    send_upload(wire, token)
    pictures.answer()
    (answer,) = wire.answers("POST")
    return said(answer)[1]["File ID"]


def thumbnail_of(token, identity):
    path = f"/imageapi/token/{token}/get-image/{identity}/?width=9"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def close_sending_side(wire):
    wire.channel.readConnectionLost()


def test_an_upload_whose_client_left_is_not_decoded_and_leaves_nothing(wire, pictures, token, logged):
    send_upload(wire, token)
    ((owner, job),) = pictures.asked
    assert (owner, pictures.cancelled) == ("anna", [])
    wire.hang_up()
    assert pictures.cancelled == [job]
    assert wire.backend.digests(None, 9) == []
    assert wire.blobs.uploads_in_flight == 0
    wire.connect()
    assert wire.list_images(token) == {}
    assert logged() == []


def test_an_update_whose_client_left_changes_nothing(wire, pictures, token):
    identity = add(wire, pictures, token)
    send_upload(wire, token, "PATCH", f"update-image/{identity}/")
    wire.hang_up()
    assert len(pictures.cancelled) == 1
    wire.connect()
    assert wire.get(token, identity, Accept_Encoding="identity").body == BMP
    assert len(wire.backend.digests(None, 9)) == 1


def test_a_client_that_closes_its_sending_side_during_decoding_is_answered_400(wire, pictures, token):
    send_upload(wire, token)
    close_sending_side(wire)
    assert len(pictures.cancelled) == 1
    assert said(wire.answers("POST")[0]) == (400, LEFT)
    assert wire.backend.digests(None, 9) == []


@pytest.mark.parametrize("jobs", range(12))
def test_a_client_that_leaves_at_any_time_of_an_upload_leaves_all_or_nothing(pictures, jobs, logged):
    later = Later()
    wire = ImageWire(pictures=pictures, run=later)
    wire.send(b"GET /imageapi/generate-token/anna/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    later.finish()
    (answer,) = wire.answers("GET")
    token = said(answer)[1]["token"]
    send_upload(wire, token)
    for _ in range(jobs):
        later.work()
        if jobs % 2 and pictures.asked and not pictures.asked[-1][1].called:
            pictures.answer()
    wire.hang_up()
    later.finish()
    assert [job for _, job in pictures.asked if not job.called] == []
    assert len(wire.backend.digests(None, 9)) == len(wire.records.names("accounts/anna/images"))
    assert wire.blobs.uploads_in_flight == 0
    assert logged() == []


def test_an_image_that_was_verified_stays_when_the_client_leaves_later(wire, pictures, token):
    identity = add(wire, pictures, token)
    wire.hang_up()
    wire.connect()
    assert wire.list_images(token) == {"new.bmp": identity}
    assert pictures.cancelled == []


@pytest.mark.parametrize("leave", [ImageWire.hang_up, close_sending_side])
def test_a_thumbnail_whose_client_left_is_not_made(wire, pictures, token, leave, logged):
    identity = add(wire, pictures, token)
    wire.send(thumbnail_of(token, identity))
    owner, job = pictures.asked[-1]
    assert owner == "anna"
    leave(wire)
    assert pictures.cancelled == [job]
    assert logged() == []


def test_a_thumbnail_that_two_clients_want_is_made_when_one_leaves(wire, pictures, token):
    identity = add(wire, pictures, token)
    request = thumbnail_of(token, identity)
    wire.send(request)
    leaving = wire.channel
    wire.connect()
    wire.send(request)
    leaving.connectionLost(Failure(ConnectionDone()))
    assert pictures.cancelled == []
    pictures.answer(Thumbnail("image/jpeg", b"small"))
    (answer,) = wire.answers("GET")
    assert (answer.status, answer.body) == (200, b"small")
