"""Input of sloppy and of old clients that RFC 9110 and RFC 9112 have servers accept."""

import hashlib
import re
import subprocess

import pytest

from tests.http_clients.raw_socket import RawSocketClient, ask, head

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def exchange(port: int, data: bytes, method: str = "GET"):
    with RawSocketClient(port) as peer:
        peer.send(data)
        return peer.read_response(method)


@pytest.mark.parametrize("name", [b"Content-Length: 5 ", b"Content-Length: \t5\t", b"Content-Length:5 \t "])
def test_blanks_around_a_content_length_are_ignored(port, name):
    answer = exchange(port, b"POST / HTTP/1.1\r\nHost: x \r\n" + name + b"\r\n\r\nabcde")
    assert (200, hashlib.sha256(b"abcde").hexdigest()) == (answer.status, answer.body.decode())


@pytest.mark.parametrize("value", [b"chunked ", b"chunked\t", b"\tchunked \t"])
def test_blanks_around_a_transfer_encoding_are_ignored(port, value):
    data = CHUNKED.replace(b"chunked", value) + b"5\r\nabcde\r\n0\r\n\r\n"
    assert hashlib.sha256(b"abcde").hexdigest() == exchange(port, data).body.decode()


@pytest.mark.parametrize("line", [b"5; a", b"5 ;a=b", b'5 ; a = "b c"', b"5 "])
def test_blanks_in_a_chunk_extension_are_ignored(port, line):
    answer = exchange(port, CHUNKED + line + b"\r\nabcde\r\n0\r\n\r\n")
    assert (200, hashlib.sha256(b"abcde").hexdigest()) == (answer.status, answer.body.decode())


def test_empty_lines_before_and_between_requests_are_skipped(port):
    request = head("GET", "/health")
    with RawSocketClient(port) as peer:
        peer.send(b"\r\n" + request + b"\r\n" + request)
        assert (200, 200) == (peer.read_response().status, peer.read_response().status)
        peer.send(b"\r\n")
        peer.send(b"\r\n" + request)
        assert 200 == peer.read_response().status


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
def test_later_version_of_http_1_is_served_as_1_1(port, version):
    with RawSocketClient(port) as peer:
        for _ in range(2):
            peer.send(head("GET", "/health").replace(b"HTTP/1.1", b"HTTP/" + version))
            assert 200 == peer.read_response().status


def test_target_in_absolute_form_is_served(port, stored):
    digest, content = stored
    for target in (f"http://localhost:{port}/files/{digest}", f"HTTP://localhost/?file_hash={digest}"):
        answer = ask(port, "GET", target)
        assert (200, content) == (answer.status, answer.body)


def test_curl_that_uses_the_server_as_its_proxy_is_served(port):
    server = f"http://127.0.0.1:{port}"
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-x", server]
    for url, status in ((f"{server}/health", "200"), ("http://elsewhere.example/health", "421")):
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
        assert status == done.stdout


def test_host_of_an_absolute_target_counts_instead_of_host(port):
    assert 421 == exchange(port, b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n").status
    assert 200 == exchange(port, b"GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\n\r\n").status


def test_token_of_an_absolute_target_is_not_logged(port, server):
    ask(port, "GET", "http://localhost/imageapi/token/SECRET_123/get-image-list/")
    assert "SECRET_123" not in server.log


@pytest.mark.parametrize("line", ["OPTIONS *", "OPTIONS /", "CONNECT localhost:80", "BREW /"])
def test_methods_that_are_not_served_are_405_with_allow(port, line):
    answer = exchange(port, f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (405, "DELETE, GET, HEAD, POST") == (answer.status, answer.fields["allow"])


def test_hash_in_upper_case_names_the_same_file(port, stored):
    digest, content = stored
    upper = digest.upper()
    assert upper != digest
    for target in (f"/files/{upper}", f"/?file_hash={upper}", f"/?hash={upper}"):
        answer = ask(port, "GET", target)
        assert (200, content, f'"{digest}"') == (answer.status, answer.body, answer.fields["etag"])
    answer = ask(port, "PUT", f"/files/{upper}", body=content)
    assert (200, f"/files/{digest}") == (answer.status, answer.fields["location"])
    assert 422 == ask(port, "PUT", f"/files/{upper}", body=b"another").status
    assert 200 == ask(port, "DELETE", f"/files/{upper}").status
    assert 404 == ask(port, "GET", f"/files/{digest}").status


def test_semicolon_does_not_separate_the_fields_of_a_query(port, stored):
    digest, content = stored
    assert 400 == ask(port, "GET", f"/?file_hash={digest};a=b").status
    answer = ask(port, "GET", f"/?file_hash={digest}&name=a;b.txt")
    assert (200, content) == (answer.status, answer.body)
    assert re.search(r'filename="?a;b\.txt', answer.fields["content-disposition"])


def test_upload_of_curl_to_a_directory_is_told_where_uploads_go(port, tmp_path):
    (tmp_path / "report.pdf").write_bytes(b"content")
    done = subprocess.run(
        ["curl", "-s", "-T", tmp_path / "report.pdf", f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "POST /" in done.stdout
    assert "PUT /files/HASH" in done.stdout
