"""Stored bytes that have changed on the disk are never sent as a 200 with a clean end by a real daemon."""

import os
import random
from io import BytesIO

import pytest
import requests
from PIL import Image

from tests.daemon_process import until

SMALL = b"a small file that is kept in memory after it was read"


def flip(content):
    return bytes([content[0] ^ 1]) + content[1:]


DAMAGES = {"flipped": flip, "truncated": lambda content: content[:7], "empty": lambda content: b""}


def damage(path, change):
    """Change a file in place, and leave its time of modification as it was."""
    status = os.stat(path)
    os.chmod(path, 0o600)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(change(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("was_read", [False, True])
@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_corrupt_small_file_is_500_until_an_upload_replaces_it(start_daemon, algorithm, was_read):
    daemon = start_daemon("--workers", "1", "--hash", algorithm)
    with requests.Session() as session:
        for name, change in DAMAGES.items():
            data = SMALL + name.encode()
            digest = session.post(daemon.url, data=data, timeout=30).text
            url = f"{daemon.url}files/{digest}"
            if was_read:
                assert [data] * 3 == [session.get(url, timeout=30).content for _ in range(3)]
            damage(os.path.join(daemon.store, digest[:2], digest), change)
            answers = [session.get(url, timeout=30) for _ in range(2)]
            assert [500, 500] == [answer.status_code for answer in answers]
            assert 500 == session.get(url, headers={"Range": "bytes=0-3"}, timeout=30).status_code
            until(lambda line=f"{digest} is damaged": line in daemon.log, "the damage is logged")
            assert digest == session.post(daemon.url, data=data, timeout=30).text
            assert data == session.get(url, timeout=30).content
        assert 200 == session.get(f"{daemon.url}health", timeout=30).status_code
    assert 2 * len(DAMAGES) == len(os.listdir(os.path.join(daemon.store, "quarantine")))


def picture(kind):
    """A PNG, which is stored as it is, or a BMP, which is stored gzipped."""
    noise = Image.frombytes("L", (300, 300), random.Random(1).randbytes(90_000))
    data = BytesIO()
    (noise if kind == "PNG" else Image.linear_gradient("L")).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_truncated_image_is_never_sent_with_a_clean_end(daemon, kind, coding):
    with requests.Session() as session:
        token = session.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=30).json()["token"]
        home = f"{daemon.url}imageapi/token/{token}"
        form = {"image": ("a", picture(kind))}
        identity = session.post(f"{home}/upload-image/", files=form, timeout=30).json()["File ID"]
        url, headers = f"{home}/get-image/{identity}/", {"Accept-Encoding": coding}
        assert picture(kind) == session.get(url, headers=headers, timeout=30).content
        blobs = os.path.join(daemon.directory, "images", "blobs")
        (path,) = (
            f"{where}/{name}" for where, _, names in os.walk(blobs) for name in names if len(name) > 80
        )
        damage(path, lambda content: content[:-50])
        if coding == "gzip" or kind == "PNG":
            assert 500 == session.get(url, headers=headers, timeout=30).status_code
        else:
            with pytest.raises(requests.RequestException):
                session.get(url, headers=headers, timeout=30)
        assert 200 == session.get(f"{daemon.url}health", timeout=30).status_code
        assert session.delete(f"{home}/delete-image/{identity}/", timeout=30).ok
