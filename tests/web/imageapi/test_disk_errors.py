"""Disk errors in the image API: full disks, I/O errors, missing and corrupt blobs."""

import errno

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.storage.memory import MemoryBackend, MemoryRecords
from tests.images.catalog_samples import BMP, PNG
from tests.web.imageapi.image_wire import ImageWire, said, value


class FailingRecords(MemoryRecords):
    """Records whose verbs fail while there is an `error`."""

    error = None

    def create(self, name, value):
        self._fail()
        return super().create(name, value)

    def replace(self, name, old, new):
        self._fail()
        return super().replace(name, old, new)

    def remove(self, name, old):
        self._fail()
        return super().remove(name, old)

    def _fail(self):
        if self.error is not None:
            raise OSError(self.error, "as told")


@pytest.fixture
def records():
    return FailingRecords()


@pytest.fixture
def wire(records):
    return ImageWire(records=records)


CHANGES = {
    "upload": lambda wire, token, identity: wire.upload(token, BMP, "new.bmp"),
    "update": lambda wire, token, identity: wire.update(token, identity, BMP),
    "rename": lambda wire, token, identity: wire.update(token, identity, BMP, "new.bmp"),
    "delete": lambda wire, token, identity: wire.delete(token, identity),
    "renew": lambda wire, token, identity: wire.call("POST", f"token/{token}/regenerate-token/"),
    "register": lambda wire, token, identity: wire.call("GET", "generate-token/bert/"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EMFILE, 503), (errno.EIO, 500)]
)
def test_failed_record_write_is_refused_and_changes_nothing(wire, records, token, change, number, status):
    identity = wire.add(token)
    records.error = number
    answer = change(wire, token, identity)
    assert status == answer.status
    assert "as told" not in value(answer)
    records.error = None
    assert {"cat.png": identity} == wire.list_images(token)
    assert PNG == wire.get(token, identity).body


def test_disk_error_suspends_writes_and_reading_still_works(wire, records, token):
    identity = wire.add(token)
    assert 200 == wire.ask("GET", "/health").status
    records.error = errno.EIO
    assert 500 == wire.upload(token, BMP, "new.bmp").status
    records.error = None
    for change in CHANGES.values():
        answer = change(wire, token, identity)
        assert (503, "60") == (answer.status, answer.fields["retry-after"])
    assert PNG == wire.get(token, identity).body
    assert {"cat.png": identity} == wire.list_images(token)
    assert 503 == wire.ask("GET", "/health").status


def test_full_disk_is_507_until_there_is_free_space():
    wire = ImageWire(backend=MemoryBackend(UNIQUE_SHA256, capacity=len(PNG) + 100))
    token = wire.register()
    identity = wire.add(token)
    assert 507 == wire.upload(token, PNG, "dog.png").status
    assert 507 == wire.update(token, identity).status
    assert PNG == wire.get(token, identity).body
    assert 200 == wire.delete(token, identity).status
    assert 201 == wire.upload(token, PNG, "dog.png").status


def test_missing_blob_is_500(wire, token, logged):
    identity = wire.add(token)
    wire.backend.delete(wire.backend.digests(None, 1)[0])
    assert 500 == wire.get(token, identity).status
    assert ["the bytes of an image are missing"] == [str(error) for error in logged()]
    assert (200, "Image deleted") == said(wire.delete(token, identity))


def test_corrupt_gzip_data_aborts_the_connection(wire, token, logged):
    identity = wire.add(token, BMP)
    (blob,) = wire.backend.digests(None, 1)
    stored = wire.backend._files[blob]
    wire.backend._files[blob] = stored[:-6] + b"\xff" + stored[-5:]
    wire.send(
        f"GET /imageapi/token/{token}/get-image/{identity}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    assert not wire.connected
    assert BMP not in wire.received()
    assert ["damaged" in str(error) for error in logged()] == [True]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_disconnected_download_leaves_no_open_file(wire, token, method, logged):
    identity = wire.add(token, BMP)
    path = f"/imageapi/token/{token}/get-image/{identity}/"
    wire.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wire.disconnect()
    wire.connect()
    assert {"cat.png": identity} == wire.list_images(token)
    assert logged() == []
