"""A daemonised twistd with two workers on an object store: forks come first, then the first request to it."""

import hashlib
import os
import signal
import threading

import pytest
import requests

from tests.balanced_daemons import start_on_engine
from tests.daemon_process import TIMEOUT, until
from tests.images.image_client import Client, png
from tests.seaweedfs import NEEDS

pytestmark = [NEEDS, pytest.mark.slow]

REQUESTS = 24
"""Number of requests, each on a connection of its own: some reach either worker."""


@pytest.fixture(params=[1, 2])
def daemonised(request, prefix, tmp_path):
    """A twistd in the background, with one process or two workers."""
    started = []
    start_on_engine(prefix, str(tmp_path), started, "--workers", str(request.param), twistd=())
    yield started[0]
    for running in started:
        running.end()


def exchange(daemon):
    """Store files and read them back, on a connection for each request; return their hashes."""
    hashes = []
    for number in range(REQUESTS):
        data = os.urandom(10 + number * 70_000)
        answer = requests.post(daemon.url, data=data, headers={"Content-Type": "x/y"}, timeout=TIMEOUT)
        assert (200, hashlib.sha256(data).hexdigest()) == (answer.status_code, answer.text)
        assert data == requests.get(f"{daemon.url}files/{answer.text}", timeout=TIMEOUT).content
        hashes.append(answer.text)
    return hashes


def test_each_process_of_a_daemonised_twistd_uses_the_object_store(daemonised, prefix):
    assert daemonised.pid != daemonised.process.pid
    hashes = exchange(daemonised)
    assert set(hashes) <= {name[3:] for name in prefix.below("files").names()}
    client = Client(daemonised)
    identities = [client.upload(f"{number}.png", png(8 + number)).json()["File ID"] for number in range(8)]
    assert sorted(identities) == sorted(client.list_images().values())
    assert {200} == {client.call("GET", f"get-image/{each}/?width=4").status_code for each in identities}


@pytest.mark.parametrize("daemonised", [2], indirect=True)
def test_successor_of_a_killed_worker_uses_the_object_store(daemonised):
    (hashes, before) = exchange(daemonised), daemonised.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in daemonised.workers(), "it is dead")
    until(lambda: len(daemonised.workers()) == 2, "both workers have successors")
    assert not set(before) & set(daemonised.workers())
    assert 200 == requests.get(f"{daemonised.url}files/{hashes[0]}", timeout=TIMEOUT).status_code
    exchange(daemonised)


@pytest.mark.parametrize("daemonised", [2], indirect=True)
def test_daemonised_twistd_stops_and_starts_again(daemonised, prefix, tmp_path):
    (digest, *_) = exchange(daemonised)
    daemonised.end()
    again = start_on_engine(prefix, str(tmp_path), [], "--workers", "2", twistd=())
    try:
        assert 200 == requests.get(f"{again.url}files/{digest}", timeout=TIMEOUT).status_code
    finally:
        again.end()


def test_daemons_that_start_at_once_on_an_empty_prefix_serve_one_store(prefix, tmp_path):
    started = []

    def start(number):
        start_on_engine(prefix, str(tmp_path / f"{number}"), started, "--workers", "1")

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert 4 == len(started)
        (digest, *_) = exchange(started[0])
        client = Client(started[1])
        for daemon in started:
            assert 200 == requests.get(f"{daemon.url}files/{digest}", timeout=TIMEOUT).status_code
            assert {} == Client.of(daemon, client.token).list_images()
    finally:
        for running in started:
            running.end()
