"""A bad sector and a flipped bit, seen by clients of a real daemon: one object fails, and writing goes on."""

import hashlib
import os
import subprocess
from contextlib import contextmanager, suppress
from io import BytesIO

import pytest
import requests
from PIL import Image

from tests.daemon_process import until

SIZES = {"small": 100, "large": 300_000}


@contextmanager
def failing(daemon, call, path):
    """The daemon under strace, with EIO of this call for this path, while the context lasts."""
    paths = ["-P", path, "-P", os.path.basename(path)]  # by a descriptor, and below that of a directory
    words = ["strace", "-f", "-o", "/dev/null", *paths, "-e", f"inject={call}:error=EIO"]
    with subprocess.Popen([*words, "-p", str(daemon.pid)], stderr=subprocess.PIPE) as tracer:
        assert b"attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()


def everything_else_works(daemon, session):
    """Another file is uploaded, read and deleted, and health is well."""
    data = os.urandom(50)
    digest = session.post(daemon.url, data=data, timeout=30).text
    assert data == session.get(f"{daemon.url}files/{digest}", timeout=30).content
    assert session.delete(f"{daemon.url}files/{digest}", timeout=30).ok
    assert session.get(f"{daemon.url}imageapi/generate-token/u{digest[:9]}/", timeout=30).status_code == 201
    assert session.get(f"{daemon.url}health", timeout=30).status_code == 200


def stored(daemon, session, size):
    """The digest, the URL and the path of a new file."""
    data = os.urandom(size)
    digest = session.post(daemon.url, data=data, timeout=30).text
    assert hashlib.sha256(data).hexdigest() == digest
    path = os.path.join(daemon.store, digest[:2], digest)
    return data, digest, f"{daemon.url}files/{digest}", path


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["openat", "pread64"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_bad_sector_fails_only_its_file_until_an_upload_replaces_it(daemon, call, size):
    with requests.Session() as session:
        data, digest, url, path = stored(daemon, session, size)
        with failing(daemon, call, path):
            if call == "openat" or size == SIZES["small"]:
                assert [500, 500] == [
                    session.request(m, url, timeout=30).status_code for m in ("GET", "HEAD")
                ]
                until(lambda: digest in daemon.log, "the unreadable file is logged")
            everything_else_works(daemon, session)
            again = session.post(daemon.url, data=data, timeout=30)
            assert (200, digest) == (again.status_code, again.text)
            everything_else_works(daemon, session)
        assert data == session.get(url, timeout=30).content
        kept = [name for name in os.listdir(f"{daemon.store}/quarantine") if name.startswith(digest)]
        assert 2 == len(kept)


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["openat", "pread64"])
def test_a_file_on_a_bad_sector_can_be_deleted(daemon, call):
    with requests.Session() as session:
        _, _, url, path = stored(daemon, session, 100)
        with failing(daemon, call, path):
            assert 500 == session.get(url, timeout=30).status_code
            assert 200 == session.delete(url, timeout=30).status_code
            everything_else_works(daemon, session)
        assert 404 == session.get(url, timeout=30).status_code
        assert not os.path.exists(path)


def bitmap(level):
    """A BMP that is stored gzipped."""
    data = BytesIO()
    Image.linear_gradient("L").resize((300, 300)).point(lambda value: value ^ level).save(data, "BMP")
    return data.getvalue()


@pytest.mark.parametrize(
    "read",
    [
        lambda session, url: session.get(url, headers={"Accept-Encoding": "identity"}, timeout=30),
        lambda session, url: session.get(f"{url}?width=20", timeout=30),
        lambda session, url: session.get(url, headers={"Range": "bytes=80000-"}, timeout=30),
    ],
    ids=["whole", "thumbnail", "range"],
)
@pytest.mark.parametrize("mend", ["DELETE", "PATCH"])
def test_a_flipped_bit_in_a_gzipped_image_suspends_nothing(daemon, read, mend):
    with requests.Session() as session:
        token = session.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=30).json()["token"]
        home = f"{daemon.url}imageapi/token/{token}"
        form = {"image": ("a.bmp", bitmap(0))}
        identity = session.post(f"{home}/upload-image/", files=form, timeout=30).json()["File ID"]
        _flip(os.path.join(daemon.directory, "images", "blobs"))
        with suppress(requests.RequestException):  # the connection breaks when the head has gone out
            assert not read(session, f"{home}/get-image/{identity}/").ok
        everything_else_works(daemon, session)
        if mend == "PATCH":
            form = {"image": ("a.bmp", bitmap(1))}
            assert session.patch(f"{home}/update-image/{identity}/", files=form, timeout=30).ok
            assert bitmap(1) == session.get(f"{home}/get-image/{identity}/", timeout=30).content
        assert session.delete(f"{home}/delete-image/{identity}/", timeout=30).ok
        everything_else_works(daemon, session)
        assert "suspended" not in daemon.log


def _flip(blobs):
    """Flip one bit near the end of the only file below a directory."""
    (path,) = (
        os.path.join(where, name) for where, _, names in os.walk(blobs) for name in names if len(name) > 80
    )
    with open(path, "rb") as file:
        content = bytearray(file.read())
    assert content.startswith(b"\x1f\x8b")
    content[-6] ^= 1  # the checksum
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(content)
