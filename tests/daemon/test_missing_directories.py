"""Directories that are removed under a running daemon: made anew, or said to be gone."""

import os
import shutil
import signal
import subprocess

import pytest
import requests

from tests.daemon_process import until


def status_of(daemon, method, path, **more):
    return requests.request(method, daemon.url + path, timeout=30, **more).status_code


def test_removed_empty_directories_are_created_again(daemon):
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


def test_removed_store_is_503_and_not_created_again(daemon):
    digest = requests.post(daemon.url, data=b"a file", timeout=30).text
    shutil.rmtree(daemon.store)
    assert 503 == status_of(daemon, "GET", f"files/{digest}")
    assert [503, 503] == [status_of(daemon, method, f"files/{digest}") for method in ("HEAD", "DELETE")]
    assert 503 == status_of(daemon, "POST", "", data=b"another")
    assert 503 == status_of(daemon, "GET", "health")
    until(lambda: "The directory of the store was removed" in daemon.log, "the removal is logged")
    assert not os.path.exists(daemon.store)


def test_removed_images_are_503_and_not_created_again(daemon):
    token = requests.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=30).json()["token"]
    shutil.rmtree(f"{daemon.directory}/images")
    assert 503 == status_of(daemon, "GET", f"imageapi/token/{token}/get-image-list/")
    assert 503 == status_of(daemon, "GET", "imageapi/generate-token/bob/")
    assert 503 == status_of(daemon, "GET", "health")
    assert 200 == status_of(daemon, "POST", "", data=b"files go on")
    assert not os.path.exists(f"{daemon.directory}/images")


def test_removed_images_are_503_in_all_workers(start_daemon):
    daemon = start_daemon("--workers", "2")
    assert 201 == status_of(daemon, "GET", "imageapi/generate-token/anna/")
    shutil.rmtree(f"{daemon.directory}/images")
    assert 503 == status_of(daemon, "GET", "imageapi/generate-token/bob/")
    until(lambda: {503} == {status_of(daemon, "GET", "health") for _ in range(10)}, "all workers know")
    assert {200} == {status_of(daemon, "POST", "", data=b"files go on") for _ in range(10)}


@pytest.mark.parametrize("name", ["store", "images"])
def test_restarted_worker_creates_no_directory_for_one_that_is_not_mounted(start_daemon, name):
    daemon = start_daemon("--workers", "2")
    digest = requests.post(daemon.url, data=b"a file", timeout=30).text
    place, aside = f"{daemon.directory}/{name}", f"{daemon.directory}/aside"
    os.rename(place, aside)
    os.mkdir(place, 0o700)
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.log.count("it was removed or is not mounted") >= 2, "both workers have refused")
    assert [] == os.listdir(place)
    os.rmdir(place)
    os.rename(aside, place)
    until(lambda: serves(daemon, digest), "the file is served again")


def serves(daemon, digest):
    try:
        return 200 == requests.get(f"{daemon.url}files/{digest}", timeout=5).status_code
    except requests.RequestException:
        return False
