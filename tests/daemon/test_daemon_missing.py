"""Directories that are removed under a running daemon: made anew, or said to be gone."""

import os
import shutil
import signal
import subprocess
from functools import partial

import requests

from tests.daemon.running import until


def status_of(daemon, method, path, **more):
    return requests.request(method, daemon.url + path, timeout=30, **more).status_code


def replaced(daemon, former):
    return len(set(daemon.workers()) - set(former)) == 2


def test_empty_directories_that_cron_removes_are_made_anew(daemon):
    kept = requests.post(daemon.url, data=b"kept", timeout=30).text
    assert 201 == status_of(daemon, "GET", "imageapi/generate-token/anna/")
    for place in (daemon.store, f"{daemon.directory}/images"):
        subprocess.run(["find", place, "-type", "d", "-empty", "-delete"], check=True)
    assert 1 == sum(len(name) == 2 for name in os.listdir(daemon.store))
    for number in range(20):
        digest = requests.post(daemon.url, data=b"%d" % number, timeout=30).text
        assert b"%d" % number == requests.get(f"{daemon.url}files/{digest}", timeout=30).content
    assert b"kept" == requests.get(f"{daemon.url}files/{kept}", timeout=30).content
    assert 404 == status_of(daemon, "GET", f"files/{'0' * 64}")
    assert 201 == status_of(daemon, "GET", "imageapi/generate-token/bob/")
    assert 200 == status_of(daemon, "GET", "health")


def test_a_store_that_was_removed_is_unavailable_and_not_made_anew(daemon):
    digest = requests.post(daemon.url, data=b"a file", timeout=30).text
    shutil.rmtree(daemon.store)
    assert 503 == status_of(daemon, "GET", f"files/{digest}")
    assert [503, 503] == [status_of(daemon, method, f"files/{digest}") for method in ("HEAD", "DELETE")]
    assert 503 == status_of(daemon, "POST", "", data=b"another")
    assert 503 == status_of(daemon, "GET", "health")
    assert "The directory of the store was removed" in daemon.log
    assert not os.path.exists(daemon.store)


def test_images_that_were_removed_are_unavailable_and_not_made_anew(daemon):
    token = requests.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=30).json()["token"]
    shutil.rmtree(f"{daemon.directory}/images")
    assert 503 == status_of(daemon, "GET", f"imageapi/token/{token}/get-image-list/")
    assert 503 == status_of(daemon, "GET", "imageapi/generate-token/bob/")
    assert 503 == status_of(daemon, "GET", "health")
    assert 200 == status_of(daemon, "POST", "", data=b"files go on")
    assert not os.path.exists(f"{daemon.directory}/images")


def test_all_workers_and_replaced_ones_know_that_the_images_were_removed(start_daemon):
    daemon = start_daemon("--workers", "2")
    assert 201 == status_of(daemon, "GET", "imageapi/generate-token/anna/")
    shutil.rmtree(f"{daemon.directory}/images")
    assert 503 == status_of(daemon, "GET", "imageapi/generate-token/bob/")
    for _ in range(2):
        until(lambda: {503} == {status_of(daemon, "GET", "health") for _ in range(10)}, "all workers know")
        assert {200} == {status_of(daemon, "POST", "", data=b"files go on") for _ in range(10)}
        former = daemon.workers()
        for pid in former:
            os.kill(pid, signal.SIGKILL)
        until(partial(replaced, daemon, former), "they are replaced")
