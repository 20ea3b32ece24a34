"""``filestored get`` against a real daemon, also over connections that break."""

import fcntl
import hashlib
import os
import time

import pytest
import requests

from filestored.access.signed_links import sign
from filestored.access.tokens import make_secret, sha256_of
from filestored.client.connection import MAX_INTERIM_BYTES, RECEIVE_BYTES, ClientSocket
from filestored.client.output import PartFile
from tests.client.cutting_proxy import CuttingProxy, Fault
from tests.command_line import run_filestored
from tests.daemon_process import TIMEOUT

MIB = 1 << 20
SECRET = make_secret()


def put(daemon, data: bytes) -> str:
    digest = requests.post(daemon.url, data=data, timeout=TIMEOUT).text
    assert hashlib.sha256(data).hexdigest() == digest
    return digest


def content(name) -> bytes:
    with open(name, "rb") as file:
        return file.read()


@pytest.fixture
def large(server):
    """A file of the daemon: its hash and bytes."""
    data = os.urandom(3 * MIB + 17)
    return put(server, data), data


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB + 1])
def test_file_is_written_under_its_hash_and_nothing_is_printed(server, run, size):
    data = os.urandom(size)
    digest = put(server, data)
    assert (0, "", "") == run("get", digest.upper())
    assert [digest] == os.listdir()
    assert data == content(digest)
    assert 0o666 & ~_umask() == os.stat(digest).st_mode & 0o777


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_file_is_written_to_a_path_a_directory_or_stdout(server, run, large):
    digest, data = large
    os.mkdir("folder")
    for output, path in (("copy", "copy"), ("folder", f"folder/{digest}"), ("folder/x", "folder/x")):
        assert (0, "", "") == run("get", digest, "-o", output)
        assert data == content(path)
    with open("out", "wb") as out:
        done = run_filestored("get", digest, "-o", "-", stdout=out, capture_output=False, stderr=None)
    assert 0 == done.returncode
    assert data == content("out")


def test_existing_file_is_kept_until_the_new_one_is_complete(server, run, large):
    digest, data = large
    _write("copy", b"before")
    with CuttingProxy(server.port, *[Fault(response_bytes=MIB)] + [Fault(request_bytes=1)] * 9) as proxy:
        status, out, err = run("get", digest, "-o", "copy", "--server", proxy.url)
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert err.startswith(f"filestored: {digest}: {proxy.url}: ")
    assert b"before" == content("copy")
    part = content("copy.part")
    assert data[: len(part)] == part
    assert len(part) > MIB // 2
    assert (0, "", "") == run("get", digest, "-o", "copy")
    assert data == content("copy")


@pytest.mark.parametrize("output", ["copy", "-"])
def test_broken_download_is_continued_by_range_in_the_same_run(server, run, output):
    data = os.urandom(2 * MIB).hex().encode()
    digest = put(server, data)
    cuts = [Fault(response_bytes=MIB), Fault(response_bytes=10), Fault(response_bytes=MIB)]
    with CuttingProxy(server.port, *cuts) as proxy:
        status, out, err = run("get", digest, "-o", output, "--server", proxy.url)
        heads = proxy.heads
    assert (0, "") == (status, err)
    assert data == (out.encode() if output == "-" else content("copy"))
    assert 4 == len(heads)
    assert "Range: " not in heads[0]
    for head in heads[1:]:
        assert "\r\nRange: bytes=" in head
        assert f'\r\nIf-Range: "{digest}"' in head


def test_part_of_an_earlier_run_is_continued(server, run, large):
    digest, data = large
    _write("copy.part", data[:MIB])
    with CuttingProxy(server.port) as proxy:
        assert (0, "", "") == run("get", digest, "-o", "copy", "--server", proxy.url)
        (head,) = proxy.heads
    assert f"\r\nRange: bytes={MIB}-\r\n" in head
    assert data == content("copy")
    assert ["copy"] == os.listdir()


def test_complete_part_needs_no_request(run):
    _write("copy.part", b"complete")
    digest = hashlib.sha256(b"complete").hexdigest()
    assert (0, "", "") == run("get", digest, "-o", "copy", "--server", "http://127.0.0.1:1")
    assert (["copy"], b"complete") == (os.listdir(), content("copy"))


WRONG_PARTS = {
    "other bytes": (b"x" * MIB, "the bytes received do not have this hash (sha256 or blake3)"),
    "longer": (b"x" * 4 * MIB, "the file is shorter than the part"),
}


@pytest.mark.parametrize("case", WRONG_PARTS)
def test_wrong_part_is_removed_with_one_line(server, run, large, case):
    part, reason = WRONG_PARTS[case]
    _write("copy.part", part)
    expected = f"filestored: {large[0]}: {reason}; copy.part is removed\n"
    assert (1, "", expected) == run("get", large[0], "-o", "copy")
    assert [] == os.listdir()


def reply(data: bytes, *fields: bytes) -> Fault:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(data), *fields]
    return Fault(reply=b"\r\n".join([*lines, b"", data]))


def test_wrong_bytes_of_the_server_are_removed_with_one_line(server, run):
    digest = hashlib.sha256(b"right").hexdigest()
    with CuttingProxy(server.port, reply(b"wrong"), reply(b"wrong")) as proxy:
        status, out, err = run("get", digest, "--server", proxy.url)
        assert (1, "", [], 1) == (status, out, os.listdir(), err.count("\n"))
        assert "the bytes received do not have this hash" in err
        status, out, err = run("get", digest, "-o", "-", "--server", proxy.url)
    assert (1, "wrong") == (status, out)
    assert err.endswith("; do not use the output\n")


def test_server_without_ranges_sends_the_whole_file_again(server, run):
    data = os.urandom(MIB)
    digest = hashlib.sha256(data).hexdigest()
    _write("copy.part", data[:1000])
    with CuttingProxy(server.port, reply(data)) as proxy:
        assert (0, "", "") == run("get", digest, "-o", "copy", "--server", proxy.url)
    assert data == content("copy")


def test_chunked_response_of_a_proxy_is_read(server, run):
    data = os.urandom(300_000)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (data[:7], data[7:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with CuttingProxy(server.port, Fault(reply=head + chunks + b"0\r\n\r\n")) as proxy:
        status = run("get", hashlib.sha256(data).hexdigest(), "-o", "copy", "--server", proxy.url)
    assert (0, "", "") == status
    assert data == content("copy")


@pytest.mark.parametrize("fields", [b"", b"Connection: close\r\nContent-Length: %d\r\n" % (2 * MIB)])
def test_response_that_ends_with_the_connection_is_read(server, run, fields):
    data = os.urandom(2 * MIB)
    response = b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (fields, data)
    with CuttingProxy(server.port, Fault(reply=response)) as proxy:
        status = run("get", hashlib.sha256(data).hexdigest(), "-o", "copy", "--server", proxy.url)
        assert ((0, "", ""), 1) == (status, len(proxy.received))
    assert data == content("copy")


def test_missing_file_is_one_line_and_leaves_nothing(server, run):
    expected = f"filestored: {'0' * 64}: 404 No file with this hash is stored.\n"
    assert (1, "", expected) == run("get", "0" * 64)
    assert [] == os.listdir()


def test_part_that_another_process_writes_is_left_alone(server, run, large):
    _write("copy.part", b"of another process")
    with open("copy.part", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        status, out, err = run("get", large[0], "-o", "copy")
    assert (1, "", f"filestored: {large[0]}: another process writes copy.part\n") == (status, out, err)
    assert b"of another process" == content("copy.part")


NO_FILES = {
    "pipe": (os.mkfifo, "copy.part is not a regular file"),
    "link": (lambda name: os.symlink("x", name), "copy.part: Too many levels of symbolic links"),
}


@pytest.mark.parametrize("case", NO_FILES)
def test_part_that_is_no_file_is_refused(server, run, large, case):
    make, reason = NO_FILES[case]
    make("copy.part")
    status, out, err = run("get", large[0], "-o", "copy")
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert reason in err


def test_part_that_is_another_file_too_is_refused_and_kept(server, run, large):
    _write("mine", b"precious")
    os.link("mine", "copy.part")
    status, out, err = run("get", large[0], "-o", "copy")
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert "copy.part belongs to another user, or has another name; remove it" in err
    assert b"precious" == content("mine")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to another user")
def test_part_of_another_user_is_refused(server, run, large):
    _write("copy.part", large[1][:1000])
    os.chown("copy.part", 1, 1)
    status, out, err = run("get", large[0], "-o", "copy")
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert "copy.part belongs to another user" in err


# --- hostile servers ----------------------------------------------------------------------------------------


def test_interim_responses_are_skipped(server, run):
    digest = hashlib.sha256(b"right").hexdigest()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3
    with CuttingProxy(server.port, Fault(reply=early + reply(b"right").reply)) as proxy:
        assert (0, "", "") == run("get", digest, "-o", "copy", "--server", proxy.url)
    assert b"right" == content("copy")


def test_endless_interim_response_is_not_read_into_memory(server, run, monkeypatch):
    sizes = []
    poll = ClientSocket.poll
    monkeypatch.setattr(ClientSocket, "poll", lambda line: (poll(line), sizes.append(len(line._received)))[0])
    endless = Fault(reply=b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * (4 * MIB))
    with CuttingProxy(server.port, *[endless] * 9) as proxy:
        status, out, err = run("get", "0" * 64, "-o", "copy", "--server", proxy.url)
    assert (1, "", 1, []) == (status, out, err.count("\n"), os.listdir())
    assert MAX_INTERIM_BYTES < max(sizes) <= MAX_INTERIM_BYTES + RECEIVE_BYTES


def test_range_that_is_shorter_than_the_rest_is_continued(server, run):
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/5\r\n\r\n"
    parts = [Fault(reply=head % (2, 0, 1) + b"ri"), Fault(reply=head % (3, 2, 4) + b"ght")]
    digest = hashlib.sha256(b"right").hexdigest()
    with CuttingProxy(server.port, *parts) as proxy:
        assert (0, "", "") == run("get", digest, "-o", "copy", "--server", proxy.url)
    assert "Range: bytes=2-" in proxy.heads[1]
    assert b"right" == content("copy")


def test_chunk_of_negative_size_is_not_read_into_memory(server, run, monkeypatch):
    sizes = []
    write = PartFile.write
    monkeypatch.setattr(PartFile, "write", lambda part, data: (sizes.append(len(data)), write(part, data)))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"
    with CuttingProxy(server.port, *[Fault(reply=head + bytes(8 * MIB))] * 9) as proxy:
        status, out, err = run("get", "0" * 64, "-o", "copy", "--server", proxy.url)
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert max(sizes) <= MIB


# --- links and servers --------------------------------------------------------------------------------------


def test_url_and_signed_link_name_their_server(environment, share_daemon, tmp_path_factory, run):
    path = tmp_path_factory.mktemp("access") / "access.toml"
    rights = 'buckets = { builds = ["read", "write"] }'
    path.write_text(f'[tokens.ci]\nsha256 = "{sha256_of(SECRET).hex()}"\n{rights}\n')
    path.chmod(0o600)
    daemon = share_daemon("--workers", "1", "--access", str(path))
    headers = {"Authorization": f"Bearer {SECRET}"}
    digest = requests.post(
        f"{daemon.url}buckets/builds/", data=b"in a bucket", headers=headers, timeout=TIMEOUT
    ).text
    target = f"/buckets/builds/files/{digest}"
    link = f"{daemon.url[:-1]}{target}?{sign(SECRET, target.encode(), int(time.time()) + 60)}"
    assert (0, "", "") == run("get", link, "-o", "a")
    assert b"in a bucket" == content("a")
    environment.setenv("FILESTORED_TOKEN", SECRET)
    assert (0, "", "") == run("get", daemon.url[:-1] + target, "-o", "b", "--server", daemon.url)
    assert b"in a bucket" == content("b")
    status, out, err = run("get", link.replace("signature=", "signature=x"))
    assert (1, "") == (status, out)
    assert err.startswith(f"filestored: {digest}: 403 ")
    assert "signature" not in err


def test_token_is_sent_to_the_named_server_only(environment, server, run, large):
    environment.setenv("FILESTORED_TOKEN", SECRET)
    moved = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
    with CuttingProxy(server.port) as other:
        url = f"{other.url}/files/{large[0]}"
        with CuttingProxy(server.port, Fault(reply=moved % url.encode())) as proxy:
            status, out, err = run("get", large[0], "--server", proxy.url)
            assert (1, "") == (status, out)
            assert "302 redirects are not followed" in err
            assert f"\r\nAuthorization: Bearer {SECRET}" in proxy.heads[0]
            assert [] == other.heads
        for words in ((url,), (url, "--server", proxy.url), (f"{url}?signature=1", "--server", other.url)):
            assert SECRET not in run("get", *words)[2]
        assert 3 == len(other.heads)
        assert "Authorization" not in "".join(other.heads)


WRONG_WORDS = {
    "no hash": (["x"], "'x' is not a hash: 32 to 128 hexadecimal digits"),
    "no server": (["0" * 64], "no server is named; write --server URL, or set FILESTORED_SERVER"),
    "no algorithm": (["0" * 34, "--server", "http://h"], "no algorithm has hashes of 34 digits"),
    "URL of no file": (
        ["http://h/nothing"],
        "a URL has to be that of a file: https://files.example/files/HASH",
    ),
}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_wrong_words_are_one_line(run, case):
    words, reason = WRONG_WORDS[case]
    status, out, err = run("get", *words)
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert reason in err


def _write(name, data: bytes) -> None:
    with open(name, "wb") as file:
        file.write(data)
