"""Error responses: methods, statuses, text and problem JSON; the table of statuses."""

import errno
import json

import pytest

from filestored import errors
from filestored.digest import algorithm
from filestored.errors import FilestoredError
from filestored.metrics.refusals import Refusal
from filestored.storage.admission import UploadSlots
from filestored.storage.memory import MemoryBackend
from filestored.web.errors import STATUSES, HTTPError, http_error_for

NAME = "0" * 64
ALLOWED = {"/": "DELETE, GET, HEAD, POST", f"/files/{NAME}": "DELETE, GET, HEAD, PUT", "/health": "GET, HEAD"}


@pytest.mark.parametrize(
    ("target", "method"),
    [
        *[
            ("/", method)
            for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "BREW", "get", "render")
        ],
        *[(f"/files/{NAME}", method) for method in ("POST", "PATCH", "OPTIONS", "LINK", "BREW", "Put")],
        *[("/health", method) for method in ("POST", "DELETE")],
    ],
)
def test_other_methods_are_405_with_allow(wire, target, method):
    answer = wire.ask(method, target)
    assert (answer.status, answer.fields["allow"]) == (405, ALLOWED[target])


def test_405_is_sent_before_the_body_arrives(wire):
    wire.send(b"BREW / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert wire.received().startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
@pytest.mark.parametrize("target", ["/nowhere", "//", "//x", f"//?file_hash={NAME}", "/health/", "/health/x"])
def test_unknown_path_is_404(wire, method, target):
    answer = wire.ask(method, target)
    hint = b" Upload a file with POST / or PUT /files/HASH." if method == "POST" else b""
    assert (answer.status, answer.body) == (404, b"There is nothing at this address." + hint + b"\n")


def test_upload_to_a_name_is_404_that_names_the_addresses_of_uploads(wire):
    answer = wire.ask("PUT", "/report.pdf", b"abc")
    assert 404 == answer.status
    assert b"POST /" in answer.body
    assert b"PUT /files/HASH" in answer.body


# --- the form of an error ----------------------------------------------------------------------


def test_error_is_one_line_of_text(wire):
    answer = wire.ask("GET", f"/files/{NAME}")
    assert answer.body == b"No file with this hash is stored.\n"
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    assert answer.fields["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "accept", ["application/json", "application/problem+json", "text/*;q=0.1, application/*"]
)
def test_error_is_problem_json_if_json_is_preferred(wire, accept):
    answer = wire.ask("GET", f"/files/{NAME}", Accept=accept)
    assert answer.fields["content-type"] == "application/problem+json"
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "No file with this hash is stored.",
    }


def test_error_response_to_head_has_no_body(wire):
    answer = wire.ask("HEAD", f"/files/{NAME}")
    assert (answer.status, answer.body) == (404, b"")
    assert int(answer.fields["content-length"]) > 0


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET", "/MARK", {}),
        ("GET", "/files/MARK", {}),
        ("GET", "/?file_hash=MARK", {}),
        ("GET", f"/files/{NAME}?name=MARK", {}),
        ("MARK", "/", {}),
        ("POST", "/", {"Content_Encoding": "MARK"}),
        ("POST", "/", {"Content_Digest": "MARK"}),
        ("POST", "/", {"Content_Type": "multipart/form-data; boundary=MARK"}),
        ("POST", "/", {"Content_Range": "MARK"}),
        ("PUT", f"/files/{NAME}", {"If_Match": "MARK"}),
    ],
)
def test_no_error_echoes_request_data(wire, accept, method, target, fields):
    body = b"MARK" if method in ("POST", "PUT") else None
    answer = wire.ask(method, target, body, Accept=accept, **fields)
    assert answer.status >= 400
    assert "MARK" not in f"{answer.fields}{answer.body}"


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.NotFound(), 404, ()),
        (errors.TooLarge(), 413, ()),
        (errors.Overloaded(), 503, ((b"Retry-After", b"1"),)),
        (errors.WritesSuspended("x"), 503, ((b"Retry-After", b"60"),)),
        (errors.StorageFull(), 507, ()),
        (HTTPError(405, "No.", (b"Allow", b"GET")), 405, ((b"Allow", b"GET"),)),
    ],
)
def test_http_error_for_an_error(error, status, headers):
    found = http_error_for(error)
    assert (status, headers) == (found.status, found.headers)
    assert str(error) == str(found)


@pytest.mark.parametrize("error", [None, OSError(5, "x"), ValueError("x"), errors.BodyLost()])
def test_http_error_for_a_fault_of_the_server_is_none(error):
    assert http_error_for(error) is None


def leaves(kind):
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in leaves(each)] if below else [kind]


def test_every_error_a_client_can_cause_has_a_status():
    started_by_operators = {errors.UnknownAlgorithm, errors.UnusableStore, errors.AccessFileError}
    client_disconnected = {errors.BodyLost}
    started_by_operators |= {errors.VerificationRunning, errors.VerificationStopped}
    ours = {kind for kind in leaves(FilestoredError) if kind.__module__ == "filestored.errors"}
    ours.add(errors.EngineError)  # an OSError: what it refuses may have been done
    with_status = {kind for kind in ours if set(kind.__mro__) & set(STATUSES)}
    assert ours - started_by_operators - client_disconnected == with_status


class Broken(MemoryBackend):
    """A backend with methods that raise: ``Broken(flush_names=OSError(...))``."""

    def __init__(self, **faults):
        super().__init__(algorithm("sha256"))
        for name, fault in faults.items():
            setattr(self, name, self._fail(fault))

    @staticmethod
    def _fail(fault):
        def failing(*_):
            raise fault

        return failing


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_unexpected_error_is_500_and_only_the_log_has_the_cause(make_wire, logged, method):
    fault = OSError(errno.ENOTDIR, "secret/path")
    wire = make_wire(Broken(open=fault, delete=fault))
    answer = wire.ask(method, f"/files/{NAME}", Accept="application/json")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert logged() == [fault]
    assert wire.ask("GET", "/health").status == 200


def test_connection_stays_usable_after_a_500(make_wire, logged):
    bug = ZeroDivisionError("secret")
    wire = make_wire(Broken(begin=bug))
    assert wire.ask("POST", "/", b"hello").status == 500
    assert logged() == [bug]
    assert wire.ask("GET", f"/files/{NAME}").status == 404


def test_full_disk_is_507_and_reading_and_deleting_still_work(make_wire):
    wire = make_wire(MemoryBackend(algorithm("sha256"), capacity=8))
    target = wire.ask("POST", "/", b"hello").fields["location"]
    assert wire.ask("POST", "/", b"world").status == 507
    assert wire.ask("GET", target).body == b"hello"
    assert wire.ask("DELETE", target).status == 200
    assert wire.ask("POST", "/", b"world").status == 200


def test_disk_that_fills_up_during_an_upload_is_507(make_wire):
    wire = make_wire(MemoryBackend(algorithm("sha256"), capacity=8))
    body = b"9\r\n123456789\r\n0\r\n\r\n"
    assert wire.ask("POST", "/", body, Transfer_Encoding="chunked").status == 507
    assert wire.store.uploads_in_flight == 0


def test_io_error_suspends_writes_and_health_reports_it(make_wire, logged):
    wire = make_wire(Broken(begin=OSError(errno.EIO, "secret")))
    assert json.loads(wire.ask("GET", "/health").body) == {"status": "ok"}
    assert wire.ask("POST", "/", b"hello").status == 500
    refused = wire.ask("POST", "/", b"hello")
    assert (refused.status, refused.fields["retry-after"]) == (503, "60")
    health = wire.ask("GET", "/health")
    detail = "Writing is suspended; the log has the reason."
    assert (health.status, json.loads(health.body)) == (503, {"status": "degraded", "detail": detail})
    assert b"secret" not in health.body
    assert wire.ask("HEAD", "/health").status == 503
    assert wire.ask("GET", f"/files/{NAME}").status == 404


def test_upload_over_the_limit_is_503_with_retry_after(make_wire):
    wire = make_wire(slots=UploadSlots(1))
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20002\r\n\r\n" + b"x" * 20_000)
    busy = wire.channel, wire.transport
    wire.connect()
    answer = wire.ask("POST", "/", b"hello")
    assert (answer.status, answer.fields["retry-after"]) == (503, "1")
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\nExpect: 100-continue\r\n\r\n")
    (answer,) = wire.answers("POST")
    assert (answer.status, answer.fields["retry-after"]) == (503, "1")
    wire.channel, wire.transport = busy
    wire.send(b"lo")
    (answer,) = wire.answers("POST")
    assert answer.status == 200


REFUSALS = {
    errors.QuotaExceeded: Refusal.QUOTA,
    errors.StorageFull: None,
    errors.WritesSuspended: Refusal.SUSPENDED,
    errors.StoreMissing: Refusal.SUSPENDED,
    errors.EngineUnavailable: Refusal.SUSPENDED,
    errors.Overloaded: None,
    errors.UnknownToken: Refusal.TOKEN,
    errors.NotAnImage: Refusal.NO_IMAGE,
    errors.TooManyPixels: Refusal.IMAGE_TOO_LARGE,
    errors.TooLarge: None,
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_reason_of_a_refusal_is_known_where_the_status_does_not_tell_it(kind):
    assert REFUSALS[kind] is http_error_for(kind()).refusal
