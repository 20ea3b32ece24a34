"""Fixtures of the image API: a client in memory, or one of two daemons behind a balancer."""

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256
from tests.balanced_daemons import IMAGES, balanced_daemons
from tests.daemon_process import ROOT
from tests.storage.object_stores import (
    dropped,
    open_backend,
    open_object_records,
    opened_client,
    seaweedfs_client,
)
from tests.web.imageapi.image_wire import BalancedWire, ImageWire

KEPT = {"FORMAT", "KEY", "blobs/FORMAT"}
"""Objects of an image bucket without accounts."""


def pytest_generate_tests(metafunc):
    """Run the tests that use ``wire`` once for each server of the closest mark."""
    mark = metafunc.definition.get_closest_marker("servers")
    if "wire" in metafunc.fixturenames and mark:
        metafunc.parametrize("wire", mark.args, indirect=True)


@pytest.fixture(scope="module")
def balanced(seaweedfs, tmp_path_factory):
    """Two daemons behind a balancer, and their prefix of images.

    They have no Pillow, as `ImageWire` has no decoder: images of these tests have no more than a signature.
    """
    prefix, directory = seaweedfs.make_prefix(), tmp_path_factory.mktemp("balanced")
    (directory / "sitecustomize.py").write_text('import sys\nsys.modules["PIL"] = None\n')
    environment = {"PYTHONPATH": f"{directory}:{ROOT}"}
    options = ("--workers", "1", "--open-registration")
    with balanced_daemons(prefix, str(directory), *options, environment=environment) as server:
        yield server, prefix.below(IMAGES)


@pytest.fixture
def wire(request, tmp_path):
    """The image API without accounts: above memory, unless a mark names other servers."""
    kind = getattr(request, "param", "memory")
    if kind == "memory":
        yield ImageWire()
    elif kind == "two daemons":
        server, images = request.getfixturevalue("balanced")
        images.open_store().delete([name for name in images.names() if name not in KEPT])
        with dropped(seaweedfs_client(images)) as client, dropped(client.below("blobs")) as blobs:
            backend = open_backend(blobs, UNIQUE_SHA256, str(tmp_path))
            yield BalancedWire(server.port, open_object_records(client), backend)
    else:
        with opened_client(request) as client, dropped(client.below("blobs")) as blobs:
            records = open_object_records(client)
            yield ImageWire(open_backend(blobs, UNIQUE_SHA256, str(tmp_path)), records)


@pytest.fixture
def token(wire):
    """The token of a new account."""
    return wire.register()
