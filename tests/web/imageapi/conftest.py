"""Fixtures of the image API in memory."""

import pytest

from tests.web.imageapi.image_wire import ImageWire


@pytest.fixture
def wire():
    """The image API above records and blobs in memory."""
    return ImageWire()


@pytest.fixture
def token(wire):
    """The token of a new account."""
    return wire.register()
