"""Fixtures of the image API, with a client in memory."""

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256
from tests.storage.object_stores import ENGINES, dropped, open_backend, open_object_records, opened_client
from tests.web.imageapi.image_wire import ImageWire


@pytest.fixture(params=["memory", *ENGINES])
def wire(request, tmp_path):
    """The image API above records and blobs in memory, and in object stores."""
    if request.param == "memory":
        yield ImageWire()
        return
    with opened_client(request) as client:
        records = open_object_records(client)
        with dropped(client.below("blobs")) as blobs:
            yield ImageWire(open_backend(blobs, UNIQUE_SHA256, str(tmp_path)), records)


@pytest.fixture
def token(wire):
    """The token of a new account."""
    return wire.register()
