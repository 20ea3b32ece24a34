"""Faults of an object store: bodies that break off, lost answers, refusals, silence; killed daemons."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from functools import partial

import pytest
import requests

from tests.balanced_daemons import FILES, start_on_engine
from tests.daemon_process import until
from tests.engine_daemons import partial_objects, spooled
from tests.engine_load import Load, back, lost
from tests.engine_proxy import Fault, FaultProxy
from tests.http_clients.blocking import connect, request_head
from tests.images.image_client import Client, png
from tests.seaweedfs import BUCKET, NEEDS, SeaweedFS

pytestmark = NEEDS

SIZE = 4 << 20
TIMEOUT_SECONDS = "2"
"""``--engine-timeout`` of a daemon whose requests have to fail."""


@pytest.fixture
def start_on(tmp_path):
    """A function that starts a daemon on a prefix: ``start_on(prefix, "--engine-timeout", "2")``."""
    started = []

    def start(prefix, *options, name="daemon", **more):
        return start_on_engine(prefix, str(tmp_path / name), started, "--workers", "1", *options, **more)

    yield start
    for running in started:
        running.end()


@pytest.fixture
def proxy(seaweedfs):
    """A proxy in front of SeaweedFS, which makes no fault until its `decide` is set."""
    with FaultProxy(seaweedfs, lambda _: None) as running:
        yield running


@pytest.fixture
def start_behind(start_on, prefix, proxy):
    """A function that starts a daemon behind the proxy."""
    return partial(start_on, prefix, environment=proxy.environment)


@pytest.fixture
def assert_whole(prefix, tmp_path):
    """A function that asserts that no object is partial, and no file is left in a spool."""

    def check():
        assert [] == partial_objects(prefix)[1]
        assert [] == [path for spool in tmp_path.glob("*/spool") for path in spooled(str(spool))]

    return check


def upload(daemon, content):
    return requests.post(daemon.url, data=content, headers={"Content-Type": "a/b"}, timeout=60)


def is_get_of(digest):
    """Return a function that says whether a request reads the object of this hash."""
    return lambda request: request.method == "GET" and digest in request.target


def faulty(matches, fault, times=None):
    """Return a function that decides on `fault` for the first `times` requests that match, or for all."""
    lock, numbers = threading.Lock(), iter(range(times if times is not None else 1 << 30))

    def decide(request):
        with lock:
            return fault if matches(request) and next(numbers, None) is not None else None

    return decide


# --- downloads -------------------------------------------------------------------------------


@pytest.mark.parametrize(("cut", "reset"), [(0, True), (1_500_001, False), (SIZE - 1, True)])
def test_a_body_that_breaks_off_is_resumed_at_its_byte(start_behind, proxy, cut, reset):
    content = random.Random(cut).randbytes(SIZE)
    daemon = start_behind()
    digest = upload(daemon, content).text
    proxy.requests.clear()
    proxy.decide = faulty(is_get_of(digest), Fault(cut=cut, reset=reset), times=2)
    answer = requests.get(f"{daemon.url}files/{digest}", timeout=60)
    assert (200, hashlib.sha256(content).digest()) == (
        answer.status_code,
        hashlib.sha256(answer.content).digest(),
    )
    assert 2 <= sum(map(is_get_of(digest), proxy.requests))


@pytest.mark.parametrize("size", [100_000, SIZE])
def test_a_body_that_breaks_off_for_good_has_no_clean_end(start_behind, proxy, size):
    daemon = start_behind("--engine-timeout", TIMEOUT_SECONDS)
    digest = upload(daemon, random.randbytes(size)).text
    cuts = itertools.chain([50_000], itertools.repeat(0))
    proxy.decide = lambda request: Fault(cut=next(cuts)) if is_get_of(digest)(request) else None
    with connect(daemon.port) as client:
        client.connection.settimeout(60)
        client.send(request_head(f"/files/{digest}"))
        try:
            answer = client.read_response()
        except (EOFError, ConnectionError):
            return
    assert 503 == answer.status
    assert "retry-after" in answer.fields


def test_a_range_whose_body_breaks_off_is_resumed_within_it(start_behind, proxy):
    content = random.Random(1).randbytes(SIZE)
    daemon = start_behind()
    digest = upload(daemon, content).text
    proxy.decide = faulty(is_get_of(digest), Fault(cut=300_000), times=1)
    fields = {"Range": "bytes=1000000-2999999"}
    answer = requests.get(f"{daemon.url}files/{digest}", headers=fields, timeout=60)
    assert 206 == answer.status_code
    assert content[1_000_000:3_000_000] == answer.content


# --- answers that are lost or refuse ---------------------------------------------------------

LOST = {
    "lost": Fault(reset=True),
    "an internal error": Fault(status=500),
    "a request to slow down": Fault(status=503, forwarded=False),
    "a reset": Fault(reset=True, forwarded=False),
}


@pytest.mark.parametrize(("case", "size"), [("lost", 1000), ("a request to slow down", 1000), ("lost", SIZE)])
def test_an_upload_whose_first_put_is_answered_by_a_fault_is_kept(
    start_behind, proxy, prefix, assert_whole, case, size
):
    content = random.randbytes(size)
    digest = hashlib.sha256(content).hexdigest()
    daemon = start_behind()
    proxy.decide = faulty(
        lambda request: request.method == "PUT" and digest in request.target, LOST[case], times=1
    )
    answer = upload(daemon, content)
    assert answer.status_code in {200, 503}
    if answer.ok:
        assert digest == answer.text
    assert 200 == upload(daemon, content).status_code
    assert content == prefix.read(f"{FILES}/{digest[:2]}/{digest}")
    assert_whole()


@pytest.mark.parametrize("case", ["lost", "an internal error"])
def test_an_account_whose_creation_is_answered_by_a_fault_does_not_exist_already(start_behind, proxy, case):
    """A client that asks for a name first may get it or 503, and not another client's 409."""
    daemon = start_behind()
    for number in range(4):
        seen = iter(range(100))
        proxy.decide = lambda request, number=number, seen=seen: (
            LOST[case] if request.method == "PUT" and next(seen) == number else None
        )
        url = f"{daemon.url}imageapi/generate-token/user_{number}/"
        assert requests.get(url, timeout=60).status_code in {201, 503}


@pytest.mark.parametrize("case", ["lost", "a reset"])
def test_an_image_whose_claim_is_answered_by_a_fault_does_not_exist_already(start_behind, proxy, case):
    daemon = start_behind()
    client = Client(daemon)
    for number in range(6):
        seen = iter(range(100))
        proxy.decide = lambda request, number=number, seen=seen: (
            LOST[case] if request.method == "PUT" and next(seen) == number else None
        )
        answer = client.upload(f"{number}.png", png(number + 1))
        assert answer.status_code in {201, 503}
        proxy.decide = lambda _: None
        if answer.status_code == 201:
            found = client.call("GET", f"get-image/{answer.json()['File ID']}/")
            assert png(number + 1) == found.content


@pytest.mark.parametrize("fault", [Fault(status=503, forwarded=False)])
def test_refusals_of_the_engine_are_503_until_they_end(start_behind, proxy, fault):
    daemon = start_behind("--engine-timeout", TIMEOUT_SECONDS)
    kept = upload(daemon, b"kept").text
    missing = "0" * 64
    proxy.decide = lambda _: fault
    for answer in (
        upload(daemon, b"new"),
        upload(daemon, random.randbytes(SIZE)),
        requests.get(f"{daemon.url}files/{kept}", timeout=60),
        requests.get(f"{daemon.url}files/{missing}", timeout=60),
        requests.delete(f"{daemon.url}files/{kept}", timeout=60),
        requests.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=60),
    ):
        assert 503 == answer.status_code
        assert answer.headers["Retry-After"].isdigit()
    assert 503 == requests.get(f"{daemon.url}health", timeout=60).status_code
    proxy.decide = lambda _: None
    until(lambda: requests.get(f"{daemon.url}health", timeout=60).status_code == 200, "it has recovered")
    assert b"kept" == requests.get(f"{daemon.url}files/{kept}", timeout=60).content
    assert 404 == requests.get(f"{daemon.url}files/{missing}", timeout=60).status_code
    assert 200 == upload(daemon, b"new").status_code


def test_nothing_is_wrong_or_lost_under_random_faults(start_behind, proxy, assert_whole):
    daemon = start_behind()
    dice = random.Random(12)

    def decide(_):
        if dice.random() > 0.15:
            return None
        forwarded = dice.random() < 0.5
        return dice.choice(
            [
                *(Fault(status=status, forwarded=forwarded) for status in (500, 503)),
                *(Fault(reset=True, forwarded=forwarded), Fault(delay_seconds=dice.random() / 5)),
                Fault(cut=dice.randrange(200_000), reset=forwarded),
            ]
        )

    proxy.decide = decide
    load = Load([str(daemon.port)] * 4, seed=12, max_size=1 << 20)
    time.sleep(4)
    record = load.end()
    proxy.decide = lambda _: None
    until(lambda: requests.get(f"{daemon.url}health", timeout=60).status_code == 200, "it has recovered")
    statuses = Counter(each.response.status for each in record.failures if each.complete)
    assert {503} >= set(statuses)
    assert {200, 206} >= {each.response.status for each in record.failures if not each.complete}
    assert [] == record.wrong
    assert record.kept
    assert [] == lost(str(daemon.port), record)
    assert [] == back(str(daemon.port), record)
    assert_whole()


# --- silence ---------------------------------------------------------------------------------


def test_daemon_answers_503_while_the_engine_is_silent_and_recovers(start_on, tmp_path):
    with SeaweedFS(str(tmp_path / "seaweedfs")) as server:
        daemon = start_on(server.make_prefix(), "--engine-timeout", TIMEOUT_SECONDS)
        kept = upload(daemon, b"kept").text
        os.kill(server.pid, signal.SIGSTOP)
        answers = [
            upload(daemon, b"new"),
            requests.get(f"{daemon.url}files/{kept}", timeout=60),
            requests.get(f"{daemon.url}health", timeout=60),
        ]
        os.kill(server.pid, signal.SIGCONT)
        assert [503, 503, 503] == [answer.status_code for answer in answers]
        assert all("Retry-After" in answer.headers for answer in answers[:2])
        until(lambda: requests.get(f"{daemon.url}health", timeout=60).status_code == 200, "it has recovered")
        assert b"kept" == requests.get(f"{daemon.url}files/{kept}", timeout=60).content
        assert 200 == upload(daemon, b"new").status_code
        daemon.end()


# --- a killed daemon -------------------------------------------------------------------------


def unfinished_uploads(server):
    """Return the answer of the engine to a list of the unfinished multipart uploads."""
    environment = server.environment
    user = f"{environment['AWS_ACCESS_KEY_ID']}:{environment['AWS_SECRET_ACCESS_KEY']}"
    url = f"{server.endpoint}/{BUCKET}?uploads="
    command = ["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", user, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.needs("curl")
def test_a_daemon_killed_in_a_multipart_upload_leaves_no_object(
    start_behind, seaweedfs, proxy, prefix, assert_whole
):
    """It leaves parts, which a lifecycle rule for unfinished uploads removes."""
    content = random.randbytes(1 << 20) * 70
    digest = hashlib.sha256(content).hexdigest()
    daemon = start_behind()
    other_part_comes, over = threading.Event(), threading.Event()

    def decide(request):
        if "partNumber=" in request.target and "partNumber=1&" not in request.target:
            other_part_comes.set()
            over.wait(60)

    proxy.decide = decide
    client = threading.Thread(target=_upload_in_vain, args=(daemon, content))
    client.start()
    assert other_part_comes.wait(60)
    daemon.kill(signal.SIGKILL)
    daemon.process.wait()
    client.join()
    over.set()
    proxy.decide = lambda _: None
    assert [] == [name for name in prefix.below(FILES).names() if digest in name]
    assert digest in unfinished_uploads(seaweedfs)
    assert_whole()
    again = start_behind()
    assert 404 == requests.get(f"{again.url}files/{digest}", timeout=60).status_code
    assert 200 == upload(again, content).status_code
    assert len(content) == len(prefix.read(f"{FILES}/{digest[:2]}/{digest}"))


def _upload_in_vain(daemon, content):
    with pytest.raises(requests.ConnectionError):
        upload(daemon, content)


def test_a_killed_daemon_fails_only_its_own_requests_and_loses_nothing(start_on, prefix, assert_whole):
    other, victim = (start_on(prefix, name=name) for name in ("other", "victim"))
    load = Load([str(other.port), str(victim.port)] * 3, seed=3, max_size=1 << 20)
    until(lambda: len(load.record.successes) > 200, "the load is on its way")
    victim.kill(signal.SIGKILL)
    succeeded = len(load.record.successes)
    until(lambda: len(load.record.successes) > succeeded + 100, "the load goes on")
    record = load.end()
    assert {(str(victim.port), False)} == {(each.address, each.complete) for each in record.failures}
    assert [] == record.wrong
    assert [] == lost(str(other.port), record)
    assert [] == back(str(other.port), record)
    assert_whole()
