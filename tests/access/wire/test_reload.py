"""Changes of the access file of a running daemon: in all workers, on kept connections, for cached answers.

The 2 seconds of the contract are asserted by ``python -m tests.deep access`` only: a busy machine needs more.
"""

import datetime
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.clients import Clients
from tests.daemon_process import Running, until

ADMIN = Token("admin", {"*": RIGHTS})
ANNA = Token("anna", {"one": ["read"], "two": ["read"]})
BERT = Token("bert", {"one": ["read"]})
ONE, TWO = Bucket("one"), Bucket("two", public=["read"])
TEXT = access_text(ADMIN, ANNA, BERT, ONE, TWO)

WORKERS = 4

FILE = b"a file that many read"
HASH = hashlib.sha256(FILE).hexdigest()
IN_ONE, IN_TWO = f"/buckets/one/files/{HASH}", f"/buckets/two/files/{HASH}"


@pytest.fixture(scope="module", params=[1, WORKERS])
def daemon(request, start_with_access) -> Running:
    """A daemon with one process, and one with several workers."""
    return start_with_access(TEXT, "--workers", str(request.param))


@pytest.fixture
def clients(daemon: Running) -> Iterator[Clients]:
    """Kept connections, to which the file and the first rules are known."""
    with ExitStack() as stack:
        clients = Clients(daemon, stack)
        clients.write(TEXT)
        clients.await_status(200, IN_TWO.replace(HASH, "") + "?limit=1", bearer(ADMIN.secret))
        for target in (IN_ONE, IN_TWO):
            clients.put(target, FILE, bearer(ADMIN.secret))
        clients.await_status(200, IN_ONE, bearer(ANNA.secret))
        clients.await_status(200, IN_ONE, bearer(BERT.secret))
        clients.await_status(200, IN_TWO)
        yield clients


def errors(daemon: Running) -> list[str]:
    """Return the lines of the log about the access file."""
    return [line for line in daemon.log.splitlines() if "ERROR" in line and "rules.toml" in line]


def test_revoked_token_is_401_on_kept_connections(clients):
    clients.await_status(200, IN_ONE, basic(ANNA.secret))
    link = f"{IN_ONE}?{ANNA.sign(IN_ONE)}"
    clients.await_status(200, link)
    clients.write(access_text(ADMIN, BERT, ONE, TWO))
    clients.await_status(401, IN_ONE, bearer(ANNA.secret))
    clients.await_status(401, IN_ONE, basic(ANNA.secret))
    clients.await_status(401, IN_TWO, bearer(ANNA.secret))
    clients.await_status(403, link)
    assert {200} == clients.statuses(IN_ONE, bearer(BERT.secret))


def test_new_token_and_new_secret_are_in_force(clients):
    carl = Token("carl", {"one": ["read"]})
    assert {401} == clients.statuses(IN_ONE, bearer(carl.secret))
    clients.write(TEXT + access_text(carl))
    clients.await_status(200, IN_ONE, bearer(carl.secret))
    other = Token("other-secret", {"one": ["read"]})
    clients.write(TEXT.replace(ANNA.sha256.hex(), other.sha256.hex()))
    clients.await_status(200, IN_ONE, bearer(other.secret))
    clients.await_status(401, IN_ONE, bearer(ANNA.secret))


def test_right_that_was_withdrawn_is_403_and_then_404(clients):
    clients.write(access_text(ADMIN, Token("anna", {"one": ["list"]}), BERT, ONE, TWO))
    clients.await_status(403, IN_ONE, bearer(ANNA.secret))
    clients.write(access_text(ADMIN, Token("anna", {"one": []}), BERT, ONE, TWO))
    clients.await_status(404, IN_ONE, bearer(ANNA.secret))


def test_bucket_that_is_no_longer_public_is_401(clients):
    clients.write(access_text(ADMIN, ANNA, BERT, ONE, Bucket("two")))
    clients.await_status(401, IN_TWO)
    assert {200} == clients.statuses(IN_TWO, bearer(ANNA.secret))


def test_bucket_that_was_removed_is_404(clients):
    clients.write(access_text(ADMIN, Token("anna", {"two": ["read"]}), TWO))
    clients.await_status(404, IN_ONE, bearer(ADMIN.secret))
    clients.await_status(401, IN_ONE)


def test_token_and_link_expire_by_themselves(clients):
    moment = int(time.time()) + 3
    expires = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    brief = Token("brief", {"one": ["read"]}, expires=expires)
    clients.write(TEXT + access_text(brief))
    clients.await_status(200, IN_ONE, bearer(brief.secret))
    links = [f"{IN_ONE}?{ANNA.sign(IN_ONE, str(moment))}", f"{IN_ONE}?{brief.sign(IN_ONE)}"]
    for link in links:
        clients.statuses(link)
    clients.await_status(401, IN_ONE, bearer(brief.secret))
    assert moment <= time.time()
    for link in links:
        clients.await_status(403, link)
    assert {200} == clients.statuses(IN_ONE, bearer(ANNA.secret))


def test_link_that_expires_is_403_after_cached_answers(clients):
    moment = int(time.time()) + 3
    link = f"{IN_ONE}?{ANNA.sign(IN_ONE, str(moment))}"
    first = clients.statuses(link)
    assert {200} == first or moment <= time.time()
    clients.await_status(403, link)
    assert moment <= time.time()


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[tokens.anna", 0o600),
        (TEXT + "[buckets.b]\nqouta = 1\n", 0o600),
        (access_text(ADMIN), 0o604),
        ("", None),
    ],
)
def test_broken_file_changes_nothing_and_is_one_line(clients, text, mode):
    before = len(errors(clients.daemon))
    if mode is None:
        os.unlink(clients.path)
    else:
        clients.write(text, mode)
    until(lambda: len(errors(clients.daemon)) > before, "the broken file is logged")
    time.sleep(2.5)  # it is read each second
    assert before + 1 == len(errors(clients.daemon))
    assert {200} == clients.statuses(IN_ONE, bearer(ANNA.secret))
    assert {401} == clients.statuses(IN_ONE)
    clients.write(access_text(ADMIN, BERT, ONE, TWO))
    clients.await_status(401, IN_ONE, bearer(ANNA.secret))


def test_worker_that_was_killed_comes_back_with_the_rules_before_a_broken_file(clients):
    if not clients.daemon.workers():
        return
    before = len(errors(clients.daemon))
    clients.write("[tokens.anna")
    until(lambda: len(errors(clients.daemon)) > before, "the broken file is logged")
    killed = clients.daemon.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(clients.daemon.workers()) - set(killed)) == WORKERS, "the workers are replaced")
    with ExitStack() as stack:
        again = Clients(clients.daemon, stack)
        assert {200} == again.statuses(IN_ONE, bearer(ANNA.secret))
        assert {401} == again.statuses(IN_ONE)
        assert {401} == again.statuses(IN_ONE, bearer(Token("stranger", {}).secret))
        clients.write(access_text(ADMIN, BERT, ONE, TWO))
        again.await_status(401, IN_ONE, bearer(ANNA.secret))


def test_signal_hup_reads_the_file_again(clients):
    """The file keeps inode, size and time, so that only the signal tells of the change."""
    found = os.stat(clients.path)
    text = TEXT.replace(ANNA.sha256.hex(), Token("stranger", {}).sha256.hex())
    assert len(text) == len(TEXT)
    with open(clients.path, "r+", encoding="utf-8") as file:
        file.write(text)
    os.utime(clients.path, ns=(found.st_atime_ns, found.st_mtime_ns))
    clients.daemon.kill(signal.SIGHUP)
    clients.await_status(401, IN_ONE, bearer(ANNA.secret))


def test_signal_hup_logs_a_file_that_is_still_broken_and_the_daemon_goes_on(clients):
    before = len(errors(clients.daemon))
    clients.write("[tokens.anna")
    until(lambda: len(errors(clients.daemon)) == before + 1, "the broken file is logged")
    clients.daemon.kill(signal.SIGHUP)
    until(lambda: len(errors(clients.daemon)) == before + 2, "the broken file is logged again")
    assert {200} == clients.statuses(IN_ONE, bearer(ANNA.secret))
