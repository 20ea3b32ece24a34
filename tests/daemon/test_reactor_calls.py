"""Blocking system calls of the reactor's thread: none, in a run of all kinds of requests.

strace notes which thread of a real daemon makes each call; the reactor's is the one whose id is that of the
process. Opening and reading files is allowed there while the disk is fast. A flush, or a change of a
directory, is not: it may wait for the journal of the file system.
"""

import os
import re
import socket
import struct
from contextlib import suppress

import pytest
import requests

from filestored.storage.threads import MAX_THREADS
from tests.daemon_process import ROOT, read, until
from tests.images.image_client import Client, bmp, png

pytestmark = pytest.mark.needs("strace")

FORBIDDEN = (
    "fsync,fdatasync,syncfs,sync_file_range,fallocate,ftruncate,fchmod,flock,link,linkat,symlinkat,"
    "unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,utimensat,getdents64,fstatfs,statfs"
)
"""Calls that belong in I/O threads."""

SMALL, LARGE = b"a small file", bytes(range(256)) * 4096
SIXTY_SECONDS = 60


def start_traced(start_daemon, trace, environment=None):
    wrap = ("strace", "-f", "-y", "-qq", "--seccomp-bpf", "--signal=none", "-o", trace)
    return start_daemon("--workers", "1", wrap=(*wrap, "-e", f"trace={FORBIDDEN}"), environment=environment)


def calls(trace, daemon):
    """The calls in a trace, by whether the reactor's thread made them.

    Directories are read to start a process and to import a module, too; only those of the daemon count.
    """
    by_reactor, by_others = [], []
    for line in read(trace).splitlines():
        match = re.match(r"(\d+) +(\w+)\(", line)
        if match and (match[2] != "getdents64" or daemon.directory in line):
            (by_reactor if int(match[1]) == daemon.pid else by_others).append(match[2])
    return by_reactor, by_others


def call(method, url, expected, **more):
    answer = requests.request(method, url, timeout=SIXTY_SECONDS, **more)
    assert expected == answer.status_code, answer.text
    return answer


def use_files(daemon):
    """Upload, read and delete files in all ways."""
    url, digests = daemon.url, {}
    for content in (SMALL, LARGE):
        for _ in range(2):
            digests[content] = call("POST", url, 200, data=content).text
        file = f"{url}files/{digests[content]}"
        for fields in ({}, {"Range": "bytes=1-2"}, {"If-None-Match": "*"}):
            call("GET", file, 304 if "If-None-Match" in fields else 206 if fields else 200, headers=fields)
        call("HEAD", file, 200)
        call("DELETE", file, 412, headers={"If-Match": '"other"'})
        call("DELETE", file, 200)
        call("DELETE", file, 404)
        call("PUT", file, 201, data=content)
        call("PUT", file, 422, data=content + b"?")
        call("POST", url, 200, files={"f": ("name", content + b"!")})
        call("POST", url, 200, data=iter([content, b"in chunks"]))
        call("POST", url, 422, data=content, headers={"Content-Digest": "sha-256=:" + "A" * 43 + "=:"})
    heal(daemon, digests[LARGE])
    break_off(daemon)


def heal(daemon, digest):
    """Upload a file again whose stored bytes are damaged."""
    path = os.path.join(daemon.store, digest[:2], digest)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"damaged")
    call("POST", daemon.url, 200, data=LARGE)


def break_off(daemon):
    """Send half of a large file, and reset the connection when it is being written."""
    with daemon.connect() as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + LARGE)
        until(lambda: temp_files(daemon.pid), "a scratch file is open")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not temp_files(daemon.pid), "the scratch file is gone")


def temp_files(pid):
    """The descriptors of files without a name that a process has open."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found += re.findall(r".*\(deleted\)", os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def use_images(daemon):
    """Make an account, and use everything that it can do."""
    anna = Client(daemon)
    call("GET", f"{anna.url}retrieve-token/anna/", 200)
    for name, data in (("small.png", png()), ("large.bmp", bmp(300, 300))):
        identity = anna.upload(name, data).json()["File ID"]
        assert 409 == anna.upload(name, data).status_code
        assert 406 == anna.upload("note.png", b"no image at all, in no way").status_code
        for query in ("", "?width=20", "?width=20", "?height=10"):
            assert 200 == anna.call("GET", f"get-image/{identity}/{query}").status_code
        assert {name: identity} == anna.list_images()
        answer = anna.call("PATCH", f"update-image/{identity}/", files={"x": (f"new {name}", data)})
        assert 200 == answer.status_code
        assert 200 == anna.call("DELETE", f"delete-image/{identity}/").status_code
        assert 404 == anna.call("DELETE", f"delete-image/{identity}/").status_code
    assert 200 == anna.call("POST", "regenerate-token/").status_code
    assert 401 == anna.call("GET", "get-image-list/").status_code


def use_pages(daemon):
    for path in ("health", "openapi.json", "static/app.js", "files/nothing"):
        requests.get(daemon.url + path, timeout=SIXTY_SECONDS)
    call("GET", daemon.url, 200, headers={"Accept": "text/html"})


def use(daemon):
    use_files(daemon)
    use_images(daemon)
    use_pages(daemon)


def made(start_daemon, tmp_path, environment=None):
    """The calls made by the reactor's thread of a daemon, and those by its other threads, after the start."""
    trace = str(tmp_path / "trace")
    daemon = start_traced(start_daemon, trace, environment)
    at_start = [len(found) for found in calls(trace, daemon)]
    use(daemon)
    return [found[count:] for found, count in zip(calls(trace, daemon), at_start, strict=True)]


def test_reactor_thread_makes_no_flush_and_changes_no_directory(start_daemon, tmp_path):
    by_reactor, by_others = made(start_daemon, tmp_path)
    assert set(by_others) >= {
        "fsync",
        "linkat",
        "unlinkat",
        "renameat",
        "mkdirat",
        "fchmod",
        "flock",
        "getdents64",
    }
    assert [] == by_reactor


@pytest.mark.parametrize("kind", sorted(MAX_THREADS.keys() - {"read", "decompress"}))
def test_missing_thread_pool_is_detected(start_daemon, tmp_path, kind):
    """A daemon with a planted fault runs the jobs of that pool in the reactor's thread."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT_POOL.format(kind=kind))
    environment = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    assert [] != made(start_daemon, tmp_path, environment)[0]


WITHOUT_POOL = """
from dataclasses import replace
from twisted.internet.defer import maybeDeferred
from filestored.storage.threads import ThreadPools

make = ThreadPools.make
ThreadPools.make = lambda self, *words: replace(make(self, *words), {kind}=maybeDeferred)
"""
