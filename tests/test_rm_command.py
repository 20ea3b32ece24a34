"""``filestored rm``, as an operator runs it, beside daemons that keep a quota and without one."""

import os
import re
import stat
from contextlib import ExitStack
from hashlib import md5, sha256

import pytest
import requests

from filestored.cli import main
from filestored.commands.progress import NoProgress
from filestored.storage.migration.migrate import migrate
from tests.access.wire.access_files import RIGHTS, Bucket, access_text, write_access
from tests.access.wire.clients import Clients, access_path
from tests.command_line import run_as_another_user, run_filestored
from tests.daemon_process import TIMEOUT
from tests.seaweedfs import NEEDS
from tests.storage.contract import MD5
from tests.storage.maintenance.stores import make_store, path_of, store_of_another_user

MISSING = "0" * 64
LIMIT = ["max_files = 3"]
QUOTA = access_text(*(Bucket(name, RIGHTS, LIMIT) for name in ("default", "small", "fresh")))
CONTENTS = [b"one", b"three", b"seven"]
NAMES = [sha256(content).hexdigest() for content in CONTENTS]


@pytest.fixture
def store(tmp_path):
    """A store with three files."""
    path = str(tmp_path / "store")
    make_store(path, CONTENTS)
    return path


def rm(capsys, *words):
    """Run the command in this process; return its exit status and the lines on stderr."""
    status = main(["rm", *words])
    output = capsys.readouterr()
    assert "" == output.out
    return status, output.err.splitlines()


def test_rm_deletes_files(store, capsys):
    assert (0, []) == rm(capsys, store, NAMES[0], NAMES[1].upper())
    assert [False, False, True] == [os.path.exists(path_of(store, name)) for name in NAMES]


def test_rm_names_missing_files_and_deletes_the_others(store, capsys):
    complaint = f"filestored: {MISSING} is not stored"
    assert (1, [complaint]) == rm(capsys, store, NAMES[0], MISSING, NAMES[2])
    assert [False, True, False] == [os.path.exists(path_of(store, name)) for name in NAMES]


def test_rm_of_a_malformed_hash_deletes_nothing(store, capsys):
    complaint = "filestored: abc is no hash here: a sha256 digest has 64 hexadecimal digits"
    assert (1, [complaint]) == rm(capsys, store, NAMES[0], "abc")
    assert os.path.exists(path_of(store, NAMES[0]))


def test_rm_deletes_in_one_bucket_only(store, capsys):
    bucket = f"{store}/buckets/builds"
    make_store(bucket, CONTENTS)
    assert (0, []) == rm(capsys, store, NAMES[0], "--bucket", "builds")
    assert [False, True] == [os.path.exists(path_of(each, NAMES[0])) for each in (bucket, store)]
    assert (1, [f"filestored: the store {store} has no bucket x"]) == rm(
        capsys, store, NAMES[0], "--bucket", "x"
    )


def test_rm_of_a_former_hash_deletes_the_file(tmp_path, capsys):
    path = str(tmp_path / "store")
    make_store(path, CONTENTS, MD5)
    migrate(path, "sha256", NoProgress())
    assert (0, []) == rm(capsys, path, md5(b"one").hexdigest(), NAMES[1])
    assert [False, False, True] == [os.path.exists(path_of(path, name)) for name in NAMES]
    unknown = md5(b"x").hexdigest()
    assert (1, [f"filestored: {unknown} is not stored"]) == rm(capsys, path, unknown)


def test_rm_leaves_directories_with_the_name_of_a_file(store, capsys):
    os.mkdir(path_of(store, MISSING))
    assert (1, [f"filestored: {MISSING} is not stored"]) == rm(capsys, store, MISSING)
    assert os.path.isdir(path_of(store, MISSING))


@pytest.mark.needs("strace")
def test_rm_flushes_each_directory_after_the_last_deletion(store, tmp_path):
    trace = str(tmp_path / "trace")
    words = ("strace", "-f", "-qq", "-y", "-o", trace, "-e", "trace=unlinkat,fsync,syncfs")
    done = run_filestored("rm", store, *NAMES, wrap=words)
    assert (0, "") == (done.returncode, done.stderr)
    with open(trace) as file:
        calls = re.findall(r"(unlinkat|fsync)\(\d+<([^>]*)>", file.read())
    shards = sorted(os.path.dirname(path_of(store, name)) for name in NAMES)
    assert [("unlinkat", os.path.dirname(path_of(store, name))) for name in NAMES] == calls[: len(NAMES)]
    assert shards == sorted(
        place for call, place in calls[len(NAMES) :] if call == "fsync" and place in shards
    )


@pytest.mark.needs("strace")
def test_rm_names_a_file_that_cannot_be_deleted_and_deletes_the_others(store):
    path = os.path.dirname(path_of(store, NAMES[1]))
    words = ("strace", "-f", "-qq", "-o", os.devnull, "-P", path, "-e", "inject=unlinkat:error=EPERM")
    done = run_filestored("rm", store, *NAMES, wrap=words)
    assert f"filestored: {NAMES[1]} cannot be deleted: Operation not permitted\n" == done.stderr
    assert 1 == done.returncode
    assert [False, True, False] == [os.path.exists(path_of(store, name)) for name in NAMES]


@pytest.fixture
def owned():
    """A store that root would share with its owner, below a directory that others can reach."""
    with store_of_another_user(CONTENTS) as path:
        yield path


def test_ledger_made_by_root_belongs_to_the_owner_of_the_store(owned):
    done = run_filestored("rm", owned, NAMES[0])
    assert (0, "") == (done.returncode, done.stderr)
    owner = os.stat(owned).st_uid
    made = [os.stat(f"{owned}/{name}") for name in ("usage", "usage.lock")]
    assert [(owner, 0o600)] * 2 == [(each.st_uid, stat.S_IMODE(each.st_mode)) for each in made]


@pytest.mark.parametrize("words", [["ls"], ["rm", MISSING], ["verify"]])
def test_another_user_is_refused_with_one_line(owned, words):
    name, *hashes = words
    target = owned if os.geteuid() == 0 else "/etc"
    done = run_as_another_user(name, target, *hashes)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(f"filestored: the store {target} cannot be used: ")


# --- beside daemons -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(share_daemon, tmp_path_factory):
    """A daemon with two workers and buckets that take three files each."""
    path = write_access(access_path(str(tmp_path_factory.mktemp("access"))), QUOTA)
    return share_daemon("--workers", "2", "--access", path)


def usage(url: str, bucket: str) -> tuple[int, int]:
    found = requests.get(f"{url}buckets/{bucket}/usage", timeout=TIMEOUT).json()
    return found["files"], found["bytes"]


@pytest.mark.parametrize("bucket", ["default", "small"])
def test_rm_beside_two_workers_keeps_usage_exact_and_cached_responses_end(served, bucket):
    base = f"/buckets/{bucket}"
    with ExitStack() as stack:
        connections = Clients(served, stack).connections
        for ask, content in zip(connections, CONTENTS, strict=False):
            assert 200 == ask("POST", f"{base}/", (), content).status
        for ask in connections:
            assert [200] * 3 == [ask("GET", f"{base}/files/{NAMES[0]}").status for _ in range(3)]
            assert 507 == ask("POST", f"{base}/", (), b"too many").status
        done = run_filestored("rm", served.store, NAMES[0], MISSING, NAMES[1], "--bucket", bucket)
        assert (1, f"filestored: {MISSING} is not stored\n") == (done.returncode, done.stderr)
        assert [404] * len(connections) == [
            ask("GET", f"{base}/files/{NAMES[0]}").status for ask in connections
        ]
        assert (1, 5) == usage(served.url, bucket)
        statuses = [connections[n]("POST", f"{base}/", (), b"%d" % n).status for n in range(3)]
        assert [200, 200, 507] == statuses
    assert (3, 7) == usage(served.url, bucket)


def test_rm_before_the_first_upload_to_a_quota_leaves_exact_usage(served):
    make_store(f"{served.store}/buckets/fresh", CONTENTS)
    assert 0 == run_filestored("rm", served.store, *NAMES[:2], "--bucket", "fresh").returncode
    for number in range(4):
        answer = requests.post(f"{served.url}buckets/fresh/", data=b"%d" % number, timeout=TIMEOUT)
        assert (200 if number < 2 else 507) == answer.status_code
    assert (3, 7) == usage(served.url, "fresh")


@NEEDS
def test_rm_on_an_object_store_keeps_usage_exact(start_daemon, prefix, tmp_path):
    path = write_access(access_path(str(tmp_path)), QUOTA)
    options = ("--workers", "1", "--store", prefix.url, "--access", path)
    running = start_daemon(*options, environment=prefix.server.environment)
    for content in CONTENTS:
        answer = requests.post(f"{running.url}buckets/small/", data=content, timeout=TIMEOUT)
        assert 200 == answer.status_code
    words = (prefix.url, NAMES[0], MISSING, "--bucket", "small")
    done = run_filestored("rm", *words, environment=prefix.server.environment)
    assert (1, f"filestored: {MISSING} is not stored\n") == (done.returncode, done.stderr)
    assert (2, 10) == usage(running.url, "small")
    statuses = [
        requests.post(f"{running.url}buckets/small/", data=b"%d" % n, timeout=TIMEOUT).status_code
        for n in range(2)
    ]
    assert [200, 507] == statuses
