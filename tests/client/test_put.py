"""``filestored put`` against a real daemon."""

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from filestored.access.tokens import make_secret, sha256_of
from filestored.client.address import parse_server
from filestored.client.errors import TransferError
from filestored.client.progress import NoProgress
from filestored.client.server import Server
from filestored.client.upload import find_destination, upload
from tests.client.cutting_proxy import NO_FAULT, CuttingProxy, Fault
from tests.command_line import run_filestored
from tests.daemon_process import ROOT, TIMEOUT, read

MIB = 1 << 20


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored(daemon, digest: str) -> bytes | None:
    try:
        with open(os.path.join(daemon.store, digest[:2], digest), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def contents(sizes):
    return {f"file {size}": os.urandom(size) for size in sizes}


def write_files(files):
    for name, data in files.items():
        with open(name, "wb") as file:
            file.write(data)


def test_files_are_stored_and_printed_in_order(server, run):
    files = contents([3 * MIB + 1, 0, 1, 65_536, 65_537, MIB, MIB - 1, 2_000_000])
    write_files(files)
    expected = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
    assert (0, expected, "") == run("put", *files)
    assert list(files.values()) == [stored(server, sha256(data)) for data in files.values()]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_failed_files_are_named_and_others_are_stored(server, run, jobs):
    write_files({"a": b"a" + jobs.encode(), "b": b"b"})
    os.mkdir("folder")
    status, out, err = run("put", "a", "nothing", "folder", "b", "--jobs", jobs)
    assert (1, f"{sha256(b'a' + jobs.encode())}  a\n{sha256(b'b')}  b\n") == (status, out)
    assert "filestored: nothing: No such file or directory\nfilestored: folder: it is a directory\n" == err
    assert b"a" + jobs.encode() == stored(server, sha256(b"a" + jobs.encode()))


@pytest.mark.parametrize("size", [0, 3 * MIB + 5])
def test_pipe_is_stored_in_chunks(server, size):
    data = os.urandom(size)
    done = subprocess.run(
        [sys.executable, "-m", "filestored", "put", "-"],
        env={**os.environ, "PYTHONPATH": ROOT},
        input=data,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (0, f"{sha256(data)}  -\n".encode(), b"") == (done.returncode, done.stdout, done.stderr)
    assert data == stored(server, sha256(data))


def test_file_at_stdin_is_stored_from_its_position_on(environment, server, run):
    write_files({"a": b"first line\nrest"})
    with open("a", "rb", buffering=0) as file:
        file.seek(11)
        environment.setattr("sys.stdin", file)
        assert (0, f"{sha256(b'rest')}  -\n", "") == run("put", "-")


def test_named_pipe_is_stored(server, run):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: write_files({"pipe": b"through a pipe"}))
    writer.start()
    assert (0, f"{sha256(b'through a pipe')}  pipe\n", "") == run("put", "pipe")
    writer.join()


def test_stdin_twice_is_refused(server, run):
    assert (1, "", "filestored: stdin can be uploaded once; write - once\n") == run("put", "-", "-")


def test_name_with_line_end_or_backslash_is_escaped_as_by_sha256sum(server, run):
    names = ["two\nlines", "back\\slash", b"\xff".decode("utf-8", "surrogateescape")]
    write_files(dict.fromkeys(names, b"x"))
    expected = subprocess.run(["sha256sum", *names], capture_output=True, check=True).stdout
    done = run_filestored("put", *names, encoding="utf-8", errors="surrogateescape", text=None)
    assert (0, expected, "") == (done.returncode, done.stdout.encode(errors="surrogateescape"), done.stderr)


@pytest.mark.parametrize("name", ["md5", "blake2b", "blake3"])
def test_hash_is_that_of_the_store(environment, share_daemon, run, name):
    from filestored.digest import algorithm

    environment.setenv("FILESTORED_SERVER", share_daemon("--workers", "1", "--hash", name).url)
    files = contents([0, 5, 2 * MIB])
    write_files(files)
    hashes = [algorithm(name).digest(data).hex for data in files.values()]
    expected = "".join(f"{digest}  {file}\n" for digest, file in zip(hashes, files, strict=True))
    assert (0, expected, "") == run("put", *files)
    assert (0, "", "") == run("get", hashes[2], "-o", "copy")
    with open("copy", "rb") as file:
        assert files["file 2097152"] == file.read()


# --- refusals -----------------------------------------------------------------------------------------------

TOO_LARGE = "413 The file is larger than 1,048,576 bytes, which is the limit of this server."


def test_refusal_of_a_large_file_is_one_line_of_the_server(share_daemon, run):
    daemon = share_daemon("--workers", "1", "--max-size", "1MiB")
    write_files({"small": b"small"})
    with open("large", "wb") as file:
        file.truncate(200 * MIB)
    status, out, err = run("put", "large", "small", "--server", daemon.url)
    assert (1, f"{sha256(b'small')}  small\n", f"filestored: large: {TOO_LARGE}\n") == (status, out, err)


def test_refusal_in_the_midst_of_a_stream_is_one_line_of_the_server(share_daemon):
    daemon = share_daemon("--workers", "1", "--max-size", "1MiB")
    with open("/dev/zero", "rb") as endless:
        done = run_filestored("put", "-", "--server", daemon.url, stdin=endless)
    assert (1, "", f"filestored: -: {TOO_LARGE}\n") == (done.returncode, done.stdout, done.stderr)


SECRET, READER = make_secret(), make_secret()


@pytest.fixture(scope="module")
def guarded(share_daemon, tmp_path_factory):
    """A daemon with two tokens for the bucket ``builds``: one writes, one reads."""
    path = tmp_path_factory.mktemp("access") / "access.toml"
    tables = [
        f'[tokens.{name}]\nsha256 = "{sha256_of(secret).hex()}"\nbuckets = {{ builds = ["{right}"] }}\n'
        for name, secret, right in (("ci", SECRET, "write"), ("guest", READER, "read"))
    ]
    path.write_text("".join(tables) + '[buckets.builds]\nquota = "3MiB"\n')
    path.chmod(0o600)
    return share_daemon("--workers", "1", "--access", str(path))


def test_token_of_the_environment_writes_into_a_bucket(environment, guarded, run):
    environment.setenv("FILESTORED_TOKEN", SECRET)
    write_files({"a": b"in a bucket"})
    words = ("a", "--bucket", "builds", "--server", guarded.url)
    assert (0, f"{sha256(b'in a bucket')}  a\n", "") == run("put", *words)
    environment.setenv("FILESTORED_TOKEN", READER)
    place = ("--bucket", "builds", "--server", guarded.url)
    assert (0, "", "") == run("get", sha256(b"in a bucket"), "-o", "copy", *place)
    assert "in a bucket" == read("copy")


@pytest.mark.parametrize(
    ("secret", "words", "status"),
    [(None, (), "401"), (READER, (), "403"), (SECRET, ("--bucket", "other"), "404")],
    ids=["none", "reader", "other bucket"],
)
def test_missing_right_is_one_line_without_the_secret(environment, guarded, run, secret, words, status):
    if secret:
        environment.setenv("FILESTORED_TOKEN", secret)
    write_files({"a": b"a"})
    status_found, out, err = run("put", "a", *(words or ("--bucket", "builds")), "--server", guarded.url)
    assert (1, "", 1) == (status_found, out, err.count("\n"))
    assert err.startswith(f"filestored: {status} ")
    assert "fst_" not in err


def test_exceeded_quota_is_one_line_of_the_server(environment, guarded, run):
    environment.setenv("FILESTORED_TOKEN", SECRET)
    write_files({"large": bytes(20 * MIB)})
    status, out, err = run("put", "large", "--bucket", "builds", "--server", guarded.url)
    assert (1, "") == (status, out)
    assert "filestored: large: 507 The file does not fit into the quota" in err
    assert 1 == err.count("\n")


@pytest.mark.parametrize(
    "secret", ["fst_", "x", f"{SECRET}\n", SECRET[:-1]], ids=["prefix", "text", "newline", "cut"]
)
def test_damaged_secret_is_not_sent(environment, run, secret):
    environment.setenv("FILESTORED_TOKEN", secret)
    expected = "filestored: FILESTORED_TOKEN is not a whole secret; copy it again\n"
    assert (1, "", expected) == run("put", "a", "--server", "http://localhost:1")


# --- broken connections -------------------------------------------------------------------------------------


def test_broken_uploads_are_repeated(server, run):
    files = contents([100, 2 * MIB])
    write_files(files)
    faults = (Fault(request_bytes=50), NO_FAULT, Fault(request_bytes=MIB), Fault(response_bytes=10))
    with CuttingProxy(server.port, *faults) as proxy:
        expected = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
        assert (0, expected, "") == run("put", *files, "--server", proxy.url)


BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: %d\r\n"
    b"Content-Length: 5\r\n\r\nbusy\n"
)


def test_upload_is_repeated_after_503(server, run):
    write_files({"a": b"a"})
    with CuttingProxy(server.port, Fault(reply=BUSY % 0)) as proxy:
        assert (0, f"{sha256(b'a')}  a\n", "") == run("put", "a", "--server", proxy.url)


@pytest.mark.parametrize(("seconds", "requests"), [(60, 1), (0, 5)])
def test_503_is_reported_after_the_last_repetition_or_for_a_long_pause(server, run, seconds, requests):
    with CuttingProxy(server.port, *[Fault(reply=BUSY % seconds)] * 9) as proxy:
        assert (1, "", "filestored: 503 busy\n") == run("put", "a", "--server", proxy.url)
        assert requests == len(proxy.received)


def test_server_that_is_away_is_one_line(run):
    expected = "filestored: http://127.0.0.1:1: Connection refused\n"
    assert (1, "", expected) == run("put", "a", "b", "--server", "http://127.0.0.1:1")


def test_stream_is_not_repeated(server):
    with CuttingProxy(server.port, Fault(request_bytes=300_000)) as proxy, open("/dev/zero", "rb") as endless:
        done = run_filestored("put", "-", "--server", proxy.url, stdin=endless)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(f"filestored: -: {proxy.url}: ")


# --- changes of a file --------------------------------------------------------------------------------------


class Meddler(NoProgress):
    """Changes a file after its first block is sent."""

    def __init__(self, change):
        self._change = change

    def advance(self, size):
        change, self._change = self._change, lambda: None
        change()


def _overwrite():
    with open("a", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"y")


CHANGES = {
    "overwritten": _overwrite,
    "shortened": lambda: os.truncate("a", 2 * MIB),
    "longer": lambda: os.truncate("a", 5 * MIB),
}


@pytest.mark.parametrize("change", CHANGES)
def test_file_that_changes_while_it_is_sent_is_noticed(server, change):
    write_files({"a": bytes(4 * MIB)})
    os.utime("a", (1, 1))
    with Server(parse_server(server.url)) as here, pytest.raises(TransferError) as raised:
        upload(find_destination(here, ""), "a", Meddler(CHANGES[change]))
    assert "it changed while it was sent" == str(raised.value)


ALGORITHM = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 41\r\n\r\n"
    b"a sha256 digest has 64 hexadecimal digits"
)
LIE = b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + b"0" * 64


def test_other_hash_of_the_server_is_an_error(server, run):
    write_files({"a": b"a", "large": bytes(2 * MIB)})
    with CuttingProxy(server.port, Fault(reply=ALGORITHM), Fault(reply=LIE), Fault(reply=LIE)) as proxy:
        status, out, err = run("put", "a", "large", "--jobs", "1", "--server", proxy.url)
    expected = [
        f"filestored: a: the server has stored other bytes: {'0' * 64}, and not {sha256(b'a')}",
        "filestored: large: the server has responded before it got all bytes",
    ]
    assert (1, "", expected) == (status, out, err.splitlines())


def test_server_that_does_not_respond_is_one_line(environment, server, run):
    environment.setattr("filestored.client.connection.STALL_SECONDS", 0.05)
    write_files({"a": b"a"})
    with CuttingProxy(server.port, *[Fault(silent=True)] * 9) as proxy:
        expected = f"filestored: {proxy.url}: timed out\n"
        assert (1, "", expected) == run("put", "a", "--server", proxy.url)
        assert 5 == len(proxy.received)


def test_reader_that_ends_early_is_no_traceback(server):
    write_files({str(number): b"%d" % number for number in range(50)})
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        done = run_filestored(
            "put", *map(str, range(50)), stdout=out, stderr=subprocess.PIPE, capture_output=False
        )
    assert (1, "filestored: [Errno 32] Broken pipe\n") == (done.returncode, done.stderr)
