"""Order of flushes of the real daemon under strace; a daemon without one flush must be detected."""

import hashlib
import os
from io import BytesIO

import pytest
import requests
from PIL import Image

from tests.daemon.running import until
from tests.durability.durability_rule import broken_rules, unconfirmed
from tests.durability.tracing import read_calls, strace
from tests.durability.without_flushes import without_flushes_of

pytestmark = pytest.mark.needs("strace")

CONTENTS = {"small": b"a small file", "large": bytes(range(256)) * 4096}


def broken(start_daemon, tmp_path, content, environment=None):
    """Return the broken rules of three uploads of this content, each deleted by hand before the next."""
    trace = str(tmp_path / "trace")
    daemon = start_daemon("--workers", "1", wrap=strace(trace), environment=environment)
    digest = hashlib.sha256(content).hexdigest()
    shard = os.path.join(os.path.realpath(daemon.store), digest[:2])
    for _ in range(3):
        answer = requests.post(daemon.url, data=content, headers={"Content-Type": "a/b"}, timeout=60)
        assert (200, digest) == (answer.status_code, answer.text)
        os.unlink(os.path.join(shard, digest))
    daemon.end()
    until(lambda: not os.path.exists(f"/proc/{daemon.pid}"), "all calls are written down")
    return broken_rules(read_calls(trace), shard, '"HTTP/1.1 200 OK')


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_bytes_are_flushed_then_named_and_the_name_flushed_then_acknowledged(start_daemon, tmp_path, content):
    assert [] == broken(start_daemon, tmp_path, content)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("S_ISREG", "the bytes are not flushed when they are named"),
        ("S_ISDIR", "the name is not flushed when it is acknowledged"),
        ("FORMAT", "the flush of the name is not confirmed when it is acknowledged"),
    ],
    ids=["files", "directories", "confirmations"],
)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_daemon_without_one_flush_is_detected(start_daemon, tmp_path, content, kind, expected):
    environment = without_flushes_of(kind, str(tmp_path / "patched"))
    assert [expected] * 3 == broken(start_daemon, tmp_path, content, environment)


def pixel(level):
    """Return a PNG of one grey pixel."""
    data = BytesIO()
    Image.new("L", (1, 1), level).save(data, "PNG")
    return data.getvalue()


def mix(daemon):
    """Make changing requests of both APIs, each acknowledged."""
    with requests.Session() as session:

        def ask(method, path, status, **more):
            answer = session.request(method, daemon.url + path, timeout=60, **more)
            assert status == answer.status_code, answer.text
            return answer

        digest = ask("POST", "", 200, data=b"a file", headers={"Content-Type": "a/b"}).text
        ask("DELETE", f"files/{digest}", 200)
        token = ask("GET", "imageapi/generate-token/anna/", 201).json()["token"]
        home = f"imageapi/token/{token}"
        identity = ask("POST", f"{home}/upload-image/", 201, files={"image": ("a.png", pixel(1))}).json()[
            "File ID"
        ]
        ask("PATCH", f"{home}/update-image/{identity}/", 200, files={"image": ("b.png", pixel(2))})
        ask("DELETE", f"{home}/delete-image/{identity}/", 200)
        ask("POST", f"{home}/regenerate-token/", 200)


def unconfirmed_in_mix(start_daemon, tmp_path, environment=None):
    """Return the directories whose flush was not confirmed before an acknowledgement."""
    trace = str(tmp_path / "trace")
    daemon = start_daemon("--workers", "1", wrap=strace(trace), environment=environment)
    mix(daemon)
    daemon.end()
    until(lambda: not os.path.exists(f"/proc/{daemon.pid}"), "all calls are written down")
    return unconfirmed(read_calls(trace), '"HTTP/1.1 20')


def test_directory_flush_is_confirmed_before_acknowledgement(start_daemon, tmp_path):
    assert [] == unconfirmed_in_mix(start_daemon, tmp_path)


def test_daemon_without_confirmed_directory_flush_is_detected(start_daemon, tmp_path):
    environment = without_flushes_of("FORMAT", str(tmp_path / "patched"))
    assert 7 == len(unconfirmed_in_mix(start_daemon, tmp_path, environment))
