"""Copies of a store by rclone, from a disk to a bucket and back: the same bytes, names and absences."""

import random
from functools import partial

import pytest
import requests

from tests.balanced_daemons import FILES, IMAGES, start_on_engine
from tests.images.image_client import Client, png
from tests.rclone import NEEDS, copy_to_bucket, copy_to_directory

pytestmark = NEEDS

CONTENTS = b"", b"small", random.Random(1).randbytes(3 << 20)
PICTURES = {"a b.png": png(3), "é.png": png(5), "%41#?*.png": png(7), ".dot": png(8), "x\ny": png(10)}
ACCOUNT = "tmp"
"""A name that is also that of a directory which is not copied."""

PARTS = {"store": FILES, "images": IMAGES}
"""Directories of a daemon, and their prefixes in the bucket."""


@pytest.fixture
def start_in_bucket(prefix, tmp_path):
    """A function that starts a daemon on the bucket."""
    started = []
    yield partial(start_on_engine, prefix, str(tmp_path / "bucket"), started, "--workers", "1")
    for running in started:
        running.end()


def put_files(daemon):
    """Upload `CONTENTS`, and a file that is deleted; return the hashes of the former and of the latter."""
    fields = {"Content-Type": "a/b"}
    contents = [b"deleted", *CONTENTS]
    answers = [requests.post(daemon.url, data=iter([each]), headers=fields, timeout=60) for each in contents]
    deleted, *kept = (answer.text for answer in answers)
    assert 200 == requests.delete(f"{daemon.url}files/{deleted}", timeout=60).status_code
    return kept, deleted


def files(daemon, digests):
    """Return the bytes of stored files."""
    return tuple(requests.get(f"{daemon.url}files/{digest}", timeout=60).content for digest in digests)


def images(client):
    """Return all images of an account with their bytes and thumbnails, by name."""
    return {
        name: tuple(client.call("GET", f"get-image/{identity}/{query}").content for query in ("", "?width=2"))
        for name, identity in client.list_images().items()
    }


def put_images(daemon):
    """Make an account with `PICTURES`, and one image more that is deleted; return its client."""
    client = Client(daemon, ACCOUNT)
    identity = client.upload("deleted.png", png(9)).json()["File ID"]
    for name, data in PICTURES.items():
        assert 201 == client.upload(name, data).status_code
    assert 200 == client.call("DELETE", f"delete-image/{identity}/").status_code
    return client


def at(client, daemon):
    """Return the client of the same account at another daemon."""
    other = Client.__new__(Client)
    other.url, other.token = f"{daemon.url}imageapi/", client.token
    return other


def assert_same(daemon, client, made, digests, deleted):
    """Assert that a daemon serves files and images, and none that was deleted."""
    assert CONTENTS == files(daemon, digests)
    assert 404 == requests.get(f"{daemon.url}files/{deleted}", timeout=60).status_code
    assert made == images(client)


def test_a_bucket_copied_from_a_disk_serves_the_same(start_daemon, start_in_bucket, prefix, tmp_path):
    disk = start_daemon("--workers", "1")
    digests, deleted = put_files(disk)
    client = put_images(disk)
    made = images(client)
    assert set(PICTURES) == set(made)
    for part, name in PARTS.items():
        copy_to_bucket(str(tmp_path / part), prefix.below(name))
    bucket = start_in_bucket()
    assert_same(bucket, at(client, bucket), made, digests, deleted)
    assert 201 == at(client, bucket).upload("deleted.png", png(9)).status_code


def test_a_disk_copied_from_a_bucket_serves_the_same(start_daemon, start_in_bucket, prefix, tmp_path):
    bucket = start_in_bucket()
    digests, deleted = put_files(bucket)
    client = put_images(bucket)
    made = images(client)
    assert set(PICTURES) == set(made)
    for part, name in PARTS.items():
        copy_to_directory(prefix.below(name), str(tmp_path / part))
    disk = start_daemon("--workers", "1")
    assert_same(disk, at(client, disk), made, digests, deleted)
    assert 201 == at(client, disk).upload("deleted.png", png(9)).status_code


def test_a_copy_from_a_bucket_is_readable_by_its_owner_only(prefix, tmp_path):
    prefix.write("FORMAT", b"{}")
    prefix.write("ab/abcd", b"x")
    copy_to_directory(prefix, str(tmp_path / "copy"))
    paths = [tmp_path / "copy" / name for name in ("", "FORMAT", "ab", "ab/abcd")]
    assert [0o700, 0o600, 0o700, 0o600] == [path.stat().st_mode & 0o777 for path in paths]
