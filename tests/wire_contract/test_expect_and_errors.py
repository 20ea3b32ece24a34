"""Errors instead of 100 Continue, error bodies, and keep-alive."""

import json
import socket

import pytest
import requests

from tests.http_clients.raw_socket import JSON, RAW, RawSocketClient, ask, head
from tests.wire_contract.conftest import MAX_SIZE

UNSTORED = "0" * 64
KIB = 1024


# --- expectations ----------------------------------------------------------------------------


def test_accepted_upload_gets_100_continue(port, fresh):
    content = fresh()
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", [RAW, f"Content-Length: {len(content)}", "Expect: 100-continue"]))
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == peer.interim()
        peer.send(content)
        assert 200 == peer.read_response("POST").status


@pytest.mark.parametrize(
    ("method", "target", "fields", "expected"),
    [
        ("POST", "/", [f"Content-Length: {MAX_SIZE + 1}"], 413),
        ("POST", "/", ["Content-Length: 5", "Content-Encoding: gzip"], 415),
        ("POST", "/nowhere", ["Content-Length: 5"], 404),
        ("PUT", "/", ["Content-Length: 5"], 405),
        ("BREW", "/", ["Content-Length: 5"], 405),
        ("PUT", "/files/short", ["Content-Length: 5"], 400),
        ("PUT", f"/files/{UNSTORED}", ["Content-Length: 5", 'If-Match: "a"'], 412),
        ("POST", "/", ["Content-Length: 5", "Repr-Digest: sha-256=x"], 400),
        ("POST", "/", ["Content-Length: 5", "Content-Type: multipart/form-data"], 400),
        ("POST", "/", [], 400),
    ],
)
def test_error_is_sent_instead_of_100_continue(port, method, target, fields, expected):
    with RawSocketClient(port) as peer:
        peer.send(head(method, target, [*fields, "Expect: 100-continue"]))
        answer = peer.read_response(method)
        assert (expected, []) == (answer.status, answer.interim)


def test_put_with_if_none_match_is_412_instead_of_100_continue(port, stored):
    digest, content = stored
    with RawSocketClient(port) as peer:
        fields = [f"Content-Length: {len(content)}", "If-None-Match: *", "Expect: 100-continue"]
        peer.send(head("PUT", f"/files/{digest}", fields))
        answer = peer.read_response("PUT")
        assert (412, []) == (answer.status, answer.interim)


def test_http_1_0_request_gets_no_100_continue(port, fresh):
    content = fresh()
    with RawSocketClient(port) as peer:
        peer.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(content))
        peer.send(content)
        answer = peer.read_response("POST")
        assert (200, []) == (answer.status, answer.interim)


def test_unknown_expectation_is_ignored(port, fresh):
    assert ask(port, "POST", "/", RAW, "Expect: a-miracle", body=fresh()).status in {200, 417}


# --- what an answer says ---------------------------------------------------------------------

ERRORS = pytest.mark.parametrize(
    ("method", "target", "fields", "expected"),
    [
        ("GET", f"/files/{UNSTORED}", [], 404),
        ("GET", "/?file_hash=marked", [], 400),
        ("GET", "/marked/<script>alert(1)</script>", [], 404),
        ("BREW", "/", [], 405),
        ("POST", "/", ["Content-Length: 5", "Content-Encoding: marked"], 415),
        ("POST", "/", [f"Content-Length: {MAX_SIZE + 1}"], 413),
        ("GET", "/../marked", [], 400),
        ("GET", "/", ["X: \x01marked"], 400),
        ("GET", "/", [f"X: {'marked' * 2000}"], 431),
        ("GET", "/" + "marked" * 2000, [], 414),
    ],
)


@ERRORS
def test_error_is_one_line_of_text_without_request_data(port, server, method, target, fields, expected):
    answer = ask(port, method, target, *fields)
    text = answer.body.decode()
    assert expected == answer.status
    assert answer.fields["content-type"].startswith("text/plain")
    assert 1 == len(text.splitlines())
    assert not [word for word in ("marked", "script", server.directory, "Traceback") if word in text]


@ERRORS
def test_error_is_problem_json_if_json_is_accepted(port, method, target, fields, expected):
    answer = ask(port, method, target, JSON, *fields)
    if answer.fields["content-type"] != "application/problem+json":
        assert expected in {400, 414, 431}, "only a head that was never read has no preferences"
        return
    problem = json.loads(answer.body)
    assert (expected, expected) == (answer.status, problem["status"])
    assert "marked" not in answer.body.decode()
    assert {"type", "title", "status", "detail", "instance"} >= set(problem)


def test_early_error_is_readable_while_the_client_still_sends(server):
    """The client writes on; the answer and the end of the connection reach it all the same."""
    with RawSocketClient(server.port) as peer:
        peer.send(head("POST", "/", [RAW, f"Content-Length: {1 << 30}"]) + bytes(64 * KIB))
        answer = peer.read_response("POST")
        assert (413, "close") == (answer.status, answer.fields["connection"].lower())
        assert b"" == peer.remainder()


def test_client_that_sends_all_of_a_refused_body_first_reads_the_error(server):
    with RawSocketClient(server.port) as peer:
        peer.send(head("POST", "/", [RAW, f"Content-Length: {1 << 30}"]))
        peer.socket.sendall(bytes(64 << 20))
        assert 413 == peer.read_response("POST").status
        assert b"" == peer.remainder()


@pytest.mark.parametrize(
    ("version", "field", "kept"),
    [
        ("1.1", "X: y", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: CLOSE", False),
        ("1.0", "X: y", False),
        ("1.0", "Connection: keep-alive", True),
        ("1.0", "Connection: Keep-Alive", True),
    ],
)
def test_keep_alive_follows_the_http_version(port, stored, version, field, kept):
    digest, content = stored
    request = f"GET /files/{digest} HTTP/{version}\r\nHost: x\r\n{field}\r\n\r\n".encode()
    with RawSocketClient(port) as peer:
        peer.send(request)
        assert content == peer.read_response().body
        if kept:
            peer.send(request)
            assert content == peer.read_response().body
        else:
            assert b"" == peer.remainder()


def test_upgrade_header_is_ignored(port, stored):
    digest, content = stored
    fields = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ]
    answer = ask(port, "GET", f"/files/{digest}", *fields)
    assert (200, content) == (answer.status, answer.body)


def test_download_with_the_requests_library(server, stored):
    digest, content = stored
    with requests.get(f"{server.url}files/{digest}", timeout=10) as answer:
        assert content == answer.content


def test_log_has_no_traceback(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10):
        assert "Traceback" not in server.log
