"""A daemon on a slow disk, which strace delays: requests that do not need the slow calls are answered."""

import hashlib
import os
import re
import select
import signal
import threading
import time

import pytest
import requests

from tests.daemon.fault_injection import FLUSHES, delayed
from tests.daemon_process import read, until
from tests.images.image_client import Client, bmp, png

pytestmark = pytest.mark.needs("strace")

HANGING = 60.0
"""Seconds of each delay; no test waits for that long, for the end of strace ends it."""

SOON = 10
"""Seconds in which a request is answered that does not wait for a delayed call, on a busy machine."""

UPLOADS = 20


def fetch(url, method="GET", **fields):
    answer = requests.request(method, url, timeout=SOON, **fields)
    return answer.status_code, answer.content


def begin_upload(daemon, content):
    peer = daemon.connect()
    peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
    return peer


def started(trace):
    return read(trace).count("sync(") + read(trace).count("syncfs(")


# --- slow flushes -------------------------------------------------------------------------------------


@pytest.fixture
def trace(tmp_path):
    return str(tmp_path / "trace")


def test_reads_of_both_apis_are_answered_while_more_flushes_hang_than_there_are_threads(daemon, trace):
    anna = Client(daemon)
    small, large = b"a small file", bytes(range(256)) * 4096
    for content in (small, large):
        assert 200 == requests.post(daemon.url, data=content, timeout=SOON).status_code
    pictures = {"plain.png": png(), "gzipped.bmp": bmp(200, 200)}
    ids = {name: anna.upload(name, data).json()["File ID"] for name, data in pictures.items()}
    assert 200 == anna.call("GET", f"get-image/{ids['plain.png']}/?width=4").status_code
    until(lambda: os.listdir(f"{daemon.directory}/images/thumbnails"), "the thumbnail is stored")
    api = f"{anna.url}token/{anna.token}"
    contents = [os.urandom(200_000) for _ in range(UPLOADS)]
    with delayed(daemon.pid, FLUSHES, HANGING, trace):
        uploads = [begin_upload(daemon, content) for content in contents]
        until(lambda: started(trace) >= 15, "the flushes hang")
        for content in (small, large):
            assert (200, content) == fetch(f"{daemon.url}files/{hashlib.sha256(content).hexdigest()}")
        assert 404 == fetch(f"{daemon.url}files/{'0' * 64}")[0]
        assert 404 == fetch(f"{daemon.url}files/{'0' * 64}", "DELETE")[0]
        assert 200 == fetch(f"{daemon.url}health")[0]
        assert 200 == fetch(f"{anna.url}retrieve-token/anna/")[0]
        assert 401 == fetch(f"{api}x/get-image-list/")[0]
        assert ids == anna.list_images()
        for name, data in pictures.items():
            for coding in ("identity", "gzip"):
                path = f"{api}/get-image/{ids[name]}/"
                assert (200, data) == fetch(path, headers={"Accept-Encoding": coding})
        for query in ("?width=4", "?width=3"):
            assert 200 == fetch(f"{api}/get-image/{ids['plain.png']}/{query}")[0]
        assert ([], [], []) == select.select(uploads, [], [], 0), "an upload was answered without its flush"
    for peer, content in zip(uploads, contents, strict=True):
        with peer:
            assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert (200, content) == fetch(f"{daemon.url}files/{hashlib.sha256(content).hexdigest()}")


def test_hanging_flushes_of_accounts_do_not_delay_reads(daemon, trace):
    anna = Client(daemon)
    identity = anna.upload("cat.png", png()).json()["File ID"]
    with delayed(daemon.pid, FLUSHES, HANGING, trace):
        asked = []
        for number in range(UPLOADS):
            asked.append(daemon.connect())
            asked[-1].sendall(
                b"GET /imageapi/generate-token/user%d/ HTTP/1.1\r\nHost: localhost\r\n\r\n" % number
            )
        until(lambda: started(trace) >= 7, "the flushes hang")
        assert 200 == fetch(f"{anna.url}token/{anna.token}/get-image/{identity}/")[0]
        assert {"cat.png": identity} == anna.list_images()
        assert ([], [], []) == select.select(asked, [], [], 0)
    for peer in asked:
        with peer:
            assert peer.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_a_stop_ends_although_a_flush_hangs(start_daemon, trace):
    daemon = start_daemon("--workers", "1", "--drain", "0.2")
    with delayed(daemon.pid, FLUSHES, HANGING, trace), begin_upload(daemon, os.urandom(200_000)):
        until(lambda: started(trace), "the flush hangs")
        daemon.kill(signal.SIGTERM)
        until(lambda: "(zombie)" in read(f"/proc/{daemon.pid}/status"), "only the hung thread is left")
    until(daemon.ended, "it ends")
    assert "a disk hangs" in daemon.log


# --- slow reads ---------------------------------------------------------------------------------------

DELAY = 2.0
"""Seconds of each delayed read: far longer than the reactor's thread may wait."""

NOT_BLOCKED = 1.0
"""Seconds in which a request is answered that meets no slow read."""

SMALL, MEDIUM, LARGE = b"a small file", os.urandom(200_000), os.urandom(3 << 20)
READS = {
    "openat": (LARGE, slice(None)),
    "newfstatat": (SMALL, slice(None)),
    "pread64": (LARGE, slice(5, 5000)),
    "sendfile,pread64": (MEDIUM, slice(None)),
}
"""Calls that the reactor's thread makes to read a file, with a request in which it does."""


class Reader(threading.Thread):
    """Reads a part of a stored file again and again, until it is told to stop."""

    def __init__(self, daemon, content, part):
        super().__init__()
        self._url = f"{daemon.url}files/{hashlib.sha256(content).hexdigest()}"
        whole = part == slice(None)
        self._fields = {} if whole else {"Range": f"bytes={part.start}-{part.stop - 1}"}
        self._expected = (200 if whole else 206, content[part])
        self.count = 0
        self.wrong = False
        self.stopped = False

    def run(self):
        with requests.Session() as session:
            while not self.stopped:
                answer = session.get(self._url, headers=self._fields, timeout=HANGING)
                self.wrong = self.wrong or (answer.status_code, answer.content) != self._expected
                self.count += 1


def places(daemon, content):
    """Return the paths that strace prints for the directory of a stored file, and for the file."""
    digest = hashlib.sha256(content).hexdigest()
    shard = os.path.join(os.path.realpath(daemon.store), digest[:2])
    return shard, os.path.join(shard, digest)


def calls_of(trace, thread, calls):
    return len(re.findall(rf"^{thread} +({calls.replace(',', '|')})\(", read(trace), re.MULTILINE))


@pytest.mark.parametrize("call", READS)
def test_a_slow_read_blocks_the_other_clients_at_most_once(daemon, trace, call):
    content, part = READS[call]
    for each in (SMALL, MEDIUM, LARGE):
        assert 200 == requests.post(daemon.url, data=each, timeout=SOON).status_code
    readers = [Reader(daemon, content, part) for _ in range(3)]
    waited = []
    with delayed(daemon.pid, call, DELAY, trace, *places(daemon, content)), requests.Session() as session:
        for reader in readers:
            reader.start()
        until(lambda: max(reader.count for reader in readers), "the first slow read is over")
        before = calls_of(trace, daemon.pid, call)
        until_then = time.monotonic() + 1.5 * DELAY
        while (began := time.monotonic()) < until_then:
            assert 200 == session.get(f"{daemon.url}health", timeout=SOON).status_code
            waited.append(time.monotonic() - began)
            time.sleep(0.05)
        after = calls_of(trace, daemon.pid, call)
    for reader in readers:
        reader.stopped = True
        reader.join()
    assert max(waited) < NOT_BLOCKED
    assert 1 <= before == after, "made in the reactor's thread"
    assert not any(reader.wrong for reader in readers)
    until(lambda: "reads are made in threads now" in daemon.log, "the slow read is logged")


def test_reads_return_to_the_reactors_thread_when_the_disk_is_fast_again(daemon, trace):
    assert 200 == requests.post(daemon.url, data=LARGE, timeout=SOON).status_code
    url = f"{daemon.url}files/{hashlib.sha256(LARGE).hexdigest()}"
    with delayed(daemon.pid, "openat", 0.2, trace, *places(daemon, LARGE)):
        assert [(200, LARGE)] * 2 == [fetch(url) for _ in range(2)]
        made = calls_of(trace, daemon.pid, "openat")
    assert 1 == made
    until(lambda: fetch(url) and "reads are fast again" in daemon.log, "the disk is fast again")
    with delayed(daemon.pid, "openat", 0, trace, *places(daemon, LARGE)):
        assert (200, LARGE) == fetch(url)
        until(lambda: calls_of(trace, daemon.pid, "openat"), "the reactor's thread opens the file")
