"""Changes of the access file of a running daemon: in all workers, on kept connections, for cached answers.

The 2 seconds of the contract are asserted by ``python -m tests.deep access`` only: a busy machine needs more.
"""

import datetime
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.clients import Clients
from tests.daemon_process import Running, until

ADMIN = Token("admin", {"*": RIGHTS})
ANNA = Token("anna", {"one": ["read"], "two": ["read"]})
BERT = Token("bert", {"one": ["read"]})
CARL = Token("carl", {"one": ["read"]})
DORA = Token("dora", {"one": ["read"]})
STRANGER = Token("stranger", {"one": ["read"]})
BUCKETS = (Bucket("one"), Bucket("two", public=["read"]), Bucket("three", public=["read"]))
TEXT = access_text(ADMIN, ANNA, BERT, CARL, DORA, *BUCKETS)

WORKERS = 4
SECONDS_OF_CHECKS = 2.5
"""So long that the daemon has looked for changes of the file twice, which it does every second."""

FILE = b"a file that many read"
HASH = hashlib.sha256(FILE).hexdigest()
IN_ONE, IN_TWO, IN_THREE = (f"/buckets/{name}/files/{HASH}" for name in ("one", "two", "three"))

several_workers = pytest.mark.parametrize("daemon", [WORKERS], indirect=True)


@pytest.fixture(scope="module", params=[1, WORKERS])
def daemon(request, start_with_access) -> Running:
    """A daemon with one process, and one with several workers."""
    return start_with_access(TEXT, "--workers", str(request.param))


@contextmanager
def connected(daemon: Running) -> Iterator[Clients]:
    """Clients of all workers, each with connections of its own."""
    with ExitStack() as stack:
        yield Clients(daemon, stack)


@pytest.fixture
def clients(daemon: Running) -> Iterator[Clients]:
    """Clients of all workers, which all have the first rules; the buckets store the file."""
    with connected(daemon) as clients:
        clients.write(TEXT)
        clients.await_status(200, "/buckets/three/files/?limit=1", bearer(ADMIN.secret))
        for target in (IN_ONE, IN_TWO, IN_THREE):
            clients.put(target, FILE, bearer(ADMIN.secret))
        for token in (ANNA, BERT, CARL, DORA):
            clients.await_status(200, IN_ONE, bearer(token.secret))
        for target in (IN_TWO, IN_THREE):
            clients.await_status(200, target)
        yield clients


def errors(daemon: Running) -> list[str]:
    """Return the lines of the log about the access file."""
    return [line for line in daemon.log.splitlines() if "ERROR" in line and "rules.toml" in line]


# --- changes -----------------------------------------------------------------------------------------------


def test_change_of_the_file_is_in_force_on_kept_connections(clients):
    link = f"{IN_ONE}?{ANNA.sign(IN_ONE)}"
    before = [
        *((200, IN_ONE, bearer(token.secret)) for token in (ANNA, BERT, CARL)),
        *((200, IN_ONE, basic(ANNA.secret)), (200, IN_TWO, bearer(ANNA.secret))),
        *((200, link), (200, IN_TWO), (200, IN_THREE), (401, IN_ONE, bearer(STRANGER.secret))),
    ]
    for status, target, *lines in before:
        clients.await_status(status, target, *lines)
    changed = Token("bert", {"one": ["write"]}), Token("carl", {"two": ["list"]})
    text = access_text(ADMIN, *changed, DORA, STRANGER, Bucket("one"), Bucket("two"))
    new_secret = Token("another", {}).sha256.hex()
    clients.write(text.replace(DORA.sha256.hex(), new_secret))
    after = {
        "a revoked token": (401, IN_ONE, bearer(ANNA.secret)),
        "a revoked token, as Basic": (401, IN_ONE, basic(ANNA.secret)),
        "a revoked token where the public could read": (401, IN_TWO, bearer(ANNA.secret)),
        "a link of a revoked token": (403, link),
        "a token without the right": (403, IN_ONE, bearer(BERT.secret)),
        "a token without any right": (404, IN_ONE, bearer(CARL.secret)),
        "a token with a new secret": (401, IN_ONE, bearer(DORA.secret)),
        "the new secret": (200, IN_ONE, bearer(Token("another", {}).secret)),
        "a new token": (200, IN_ONE, bearer(STRANGER.secret)),
        "a bucket that is no longer public": (401, IN_TWO),
        "a bucket that is not declared any more": (404, IN_THREE, bearer(ADMIN.secret)),
        "such a bucket without credentials": (401, IN_THREE),
    }
    for status, target, *lines in after.values():
        clients.await_status(status, target, *lines)
    found = {case: clients.statuses(target, *lines) for case, (_, target, *lines) in after.items()}
    assert {case: {status} for case, (status, *_) in after.items()} == found


@several_workers
def test_token_and_link_expire_by_themselves(clients):
    moment = int(time.time()) + 4
    expires = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    brief = Token("brief", {"one": ["read"]}, expires=expires)
    clients.write(TEXT + access_text(brief))
    links = [f"{IN_ONE}?{ANNA.sign(IN_ONE, str(moment))}", f"{IN_ONE}?{brief.sign(IN_ONE)}"]
    clients.await_status(200, IN_ONE, bearer(brief.secret))
    for link in links:
        clients.statuses(link)
    clients.await_status(401, IN_ONE, bearer(brief.secret))
    assert moment <= time.time()
    for link in links:
        clients.await_status(403, link)
    assert {200} == clients.statuses(IN_ONE, bearer(ANNA.secret))


# --- broken versions ---------------------------------------------------------------------------------------

BROKEN = {
    "no TOML": ("[tokens.anna", 0o600),
    "an unknown key": (TEXT + "[buckets.b]\nqouta = 1\n", 0o600),
    "a file that others may read": (access_text(ADMIN), 0o604),
    "no file": None,
}


@several_workers
def test_broken_file_changes_nothing_and_is_one_line(clients):
    for case, version in BROKEN.items():
        before = len(errors(clients.daemon))
        if version is None:
            os.unlink(clients.path)
        else:
            clients.write(*version)
        until(lambda before=before: len(errors(clients.daemon)) > before, f"{case} is logged")
        assert before + 1 == len(errors(clients.daemon))
    time.sleep(SECONDS_OF_CHECKS)
    assert before + 1 == len(errors(clients.daemon))
    assert {200} == clients.statuses(IN_ONE, bearer(ANNA.secret))
    assert {401} == clients.statuses(IN_ONE)
    clients.write(access_text(ADMIN, BERT, *BUCKETS))
    clients.await_status(401, IN_ONE, bearer(ANNA.secret))


@several_workers
def test_worker_that_was_killed_comes_back_with_the_rules_before_a_broken_file(clients):
    before = len(errors(clients.daemon))
    clients.write("[tokens.anna")
    until(lambda: len(errors(clients.daemon)) > before, "the broken file is logged")
    workers = set(clients.daemon.workers())
    killed = min(workers)
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(set(clients.daemon.workers()) - {killed}) == WORKERS, "the worker is replaced")
    with connected(clients.daemon) as again:
        assert {200} == again.statuses(IN_ONE, bearer(ANNA.secret))
        assert {401} == again.statuses(IN_ONE) | again.statuses(IN_ONE, bearer(STRANGER.secret))
        clients.write(access_text(ADMIN, BERT, *BUCKETS))
        again.await_status(401, IN_ONE, bearer(ANNA.secret))


# --- SIGHUP ------------------------------------------------------------------------------------------------


def test_signal_hup_reads_the_file_again(clients):
    """The file keeps inode, size and time of the change, as far as a program can set it."""
    found = os.stat(clients.path)
    with open(clients.path, "r+", encoding="utf-8") as file:
        file.write(TEXT.replace(ANNA.sha256.hex(), STRANGER.sha256.hex()))
    os.utime(clients.path, ns=(found.st_atime_ns, found.st_mtime_ns))
    clients.daemon.kill(signal.SIGHUP)
    clients.await_status(401, IN_ONE, bearer(ANNA.secret))


@several_workers
def test_signal_hup_logs_a_file_that_is_still_broken_and_the_daemon_goes_on(clients):
    before = len(errors(clients.daemon))
    clients.write("[tokens.anna")
    until(lambda: len(errors(clients.daemon)) == before + 1, "the broken file is logged")
    clients.daemon.kill(signal.SIGHUP)
    until(lambda: len(errors(clients.daemon)) == before + 2, "the broken file is logged again")
    assert {200} == clients.statuses(IN_ONE, bearer(ANNA.secret))
