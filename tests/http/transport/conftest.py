"""Servers of files, for tests of outputs."""

import pytest
from twisted.web.resource import Resource

from tests.http.transport.file_server import CONTENT, FileOf, Hasty, Refuse, serving
from tests.tls_files import TLSFiles


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    root = Resource()
    root.file = FileOf(str(path))
    root.putChild(b"file", root.file)
    root.hasty = Hasty(str(path))
    root.putChild(b"hasty", root.hasty)
    root.putChild(b"refuse", Refuse())
    return root


@pytest.fixture
def limits():
    """Limits of the servers other than the default ones; parameters of a test replace them."""
    return {}


@pytest.fixture
def serve_plain(root, limits):
    """A server of `root` without TLS."""
    with serving(root, **limits) as address:
        yield address


@pytest.fixture
def serve_tls(root, tmp_path, limits):
    """A server of `root` with TLS."""
    with serving(root, TLSFiles(tmp_path), **limits) as address:
        yield address


@pytest.fixture(params=["plain", "tls"])
def serve(request):
    """A server of `root`, without TLS and with it."""
    return request.getfixturevalue(f"serve_{request.param}")
