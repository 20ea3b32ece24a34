"""The resource tree on real sockets and a real disk, with sendfile."""

import os
import socket
from hashlib import sha256
from itertools import pairwise

import pytest
import pytest_twisted
import requests
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from filestored.http.factory import HTTPFactory
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.store import Store
from filestored.storage.thread_pool import ThreadPool, in_threads
from filestored.web.site import make_site
from tests.reactor_wait import until

DATA = bytes(range(251)) * 20_000
NAME = sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    pool = ThreadPool("test-io", 4)
    pool.start()
    algorithm = prepare(str(tmp_path / "store"), "sha256")
    backend = DiskBackend(str(tmp_path / "store"), algorithm)
    yield Store(backend, algorithm, in_threads(reactor, pool))
    pool.stop()
    backend.close()


@pytest.fixture
def address(store):
    factory = HTTPFactory(make_site(store), reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    yield "127.0.0.1", port.getHost().port
    factory.abort()
    pytest_twisted.blockon(port.stopListening())
    pytest_twisted.blockon(factory.drain())


@pytest.fixture
def base(address):
    return "http://{}:{}".format(*address)


async def ask(method, *arguments, **options):
    """Send a request with the `requests` library, from another thread."""
    return await deferToThread(requests.request, method, *arguments, timeout=60, **options)


@pytest_twisted.ensureDeferred
async def test_file_is_unchanged_after_upload_and_download(base):
    pieces = [DATA[start : start + 70_000] for start in range(0, len(DATA), 70_000)]
    plain = await ask("POST", base, data=DATA)
    chunked = await ask("POST", base, data=iter(pieces))
    form = await ask("POST", base, files={"file": ("name.bin", DATA)}, data={"field": "value"})
    put = await ask("PUT", f"{base}/files/{NAME}", data=DATA)
    assert [plain.text, chunked.text, form.text, put.text] == [NAME] * 4
    assert (await ask("GET", f"{base}/?file_hash={NAME}")).content == DATA
    assert (await ask("GET", f"{base}/files/{NAME}")).content == DATA


@pytest_twisted.ensureDeferred
async def test_ranges_of_all_sizes_make_up_the_file(base):
    await ask("POST", base, data=DATA)
    edges = [0, 1, 70_000, 70_001, 1_500_000, len(DATA)]
    parts = [
        await ask("GET", f"{base}/files/{NAME}", headers={"Range": f"bytes={start}-{stop - 1}"})
        for start, stop in pairwise(edges)
    ]
    assert [part.status_code for part in parts] == [206] * 5
    assert b"".join(part.content for part in parts) == DATA


@pytest_twisted.ensureDeferred
async def test_small_and_large_ranges_in_one_response(base):
    await ask("POST", base, data=DATA)
    answer = await ask("GET", f"{base}/files/{NAME}", headers={"Range": "bytes=0-9,100-3000000,-5"})
    assert len(answer.content) == int(answer.headers["Content-Length"])
    assert all(piece in answer.content for piece in (DATA[:10], DATA[100:3000001], DATA[-5:]))


@pytest_twisted.ensureDeferred
async def test_connection_stays_in_sync_after_head_and_304(base):
    await ask("POST", base, data=DATA)
    url = f"{base}/files/{NAME}"
    with requests.Session() as session:
        head = await deferToThread(session.head, url)
        unchanged = await deferToThread(session.get, url, headers={"If-None-Match": head.headers["ETag"]})
        whole = await deferToThread(session.get, url)
    assert [head.status_code, unchanged.status_code, whole.content] == [200, 304, DATA]


@pytest_twisted.ensureDeferred
async def test_download_completes_after_the_file_is_deleted(base):
    await ask("POST", base, data=DATA)
    answer = await ask("GET", f"{base}/files/{NAME}", stream=True)
    assert (await ask("DELETE", f"{base}/files/{NAME}")).status_code == 200
    assert (await ask("GET", f"{base}/files/{NAME}")).status_code == 404
    assert await deferToThread(lambda: answer.content) == DATA


def leave_after(address, request, count):
    """Send a request, read `count` bytes of the response, and disconnect."""
    with socket.create_connection(address) as connection:
        connection.sendall(request)
        while count > 0:
            count -= len(connection.recv(count))


@pytest.mark.parametrize("count", [0, 1, 300, 1_000_000])
@pytest.mark.parametrize("wanted", ["", "Range: bytes=0-2000000,2000009-\r\n"])
@pytest_twisted.ensureDeferred
async def test_disconnected_download_leaks_no_descriptor(address, base, count, wanted):
    await ask("POST", base, data=DATA)
    before = descriptors()
    request = f"GET /files/{NAME} HTTP/1.1\r\nHost: h\r\n{wanted}\r\n".encode()
    for _ in range(5):
        await deferToThread(leave_after, address, request, count)
    assert (await ask("GET", f"{base}/files/{NAME}")).content == DATA
    await until(lambda: descriptors() <= before)


@pytest.mark.parametrize("sent", [0, 1, 70_000, 1_500_000])
@pytest_twisted.ensureDeferred
async def test_disconnected_upload_leaks_no_descriptor_and_no_file(address, base, store, sent):
    before = descriptors()
    head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
    await deferToThread(leave_after, address, head + DATA[:sent], 0)
    await until(lambda: store.statistics.failed_uploads == 1 and descriptors() <= before)
    assert await store.digests() == []
    assert (await ask("POST", base, data=DATA)).text == NAME


def descriptors():
    """Return the number of open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
