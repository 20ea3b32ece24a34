"""CPU time of all code that reads text of clients: it grows linearly with the size."""

from contextlib import suppress
from types import SimpleNamespace

import pytest
from twisted.web.http import parse_qs

from filestored.digest import algorithm
from filestored.errors import FilestoredError
from filestored.http.body import RequestBody
from filestored.http.limits import Limits
from filestored.http.parser.headers import BadRequest, parse_headers
from filestored.http.parser.request_head import RequestHead, RequestHeadParser
from filestored.http.request import Request
from filestored.images.filenames import base_name, escape
from filestored.logs import access_log
from filestored.logs.log_line import sanitize
from filestored.web.errors import HTTPError
from filestored.web.forms.multipart_parser import MultipartParser
from filestored.web.forms.part_head import MAX_DISPOSITION_CHARACTERS, PartHead, parse_part_head
from filestored.web.headers.conditional import evaluate_preconditions
from filestored.web.headers.digests import parse_digests
from filestored.web.headers.disposition import content_disposition
from filestored.web.headers.negotiation import codings, wants_html, wants_json
from filestored.web.headers.parameters import parse_parameters
from filestored.web.headers.ranges import parse_range
from tests.cpu_growth import LARGE_BYTES, is_linear, repeated, seconds

BOUNDLESS = Limits(request_line=1 << 30, field_line=1 << 30, head=1 << 30)


def file_name(text):
    _, parameters = parse_parameters(f"form-data; name=a{text}")
    return PartHead(is_file=True, length=None, parameters=parameters).file_name()


def cookies(text):
    fields = parse_headers(f"Host: h\r\nCookie: {text}\r\n\r\n".encode("latin-1"), b"HTTP/1.1", BOUNDLESS)
    head = RequestHead(b"GET", b"/", b"/", b"", b"HTTP/1.1", fields, b"")
    return Request(head, RequestBody(False, 0, list, bytes), SimpleNamespace(transport=None)).received_cookies


READERS = {
    "file name of a part": file_name,
    "unclosed string of a part": lambda text: file_name(f'; x="{text}'),
    "header lines of a part": lambda text: parse_part_head(text.encode("latin-1")),
    "options of Content-Type": lambda text: parse_parameters(f"multipart/form-data; {text}"),
    "Accept, JSON": lambda text: wants_json(text.encode("latin-1")),
    "Accept, HTML": lambda text: wants_html(b"html" + text.encode("latin-1")),
    "Accept-Encoding": lambda text: codings(text.encode("latin-1")),
    "Content-Digest": lambda text: parse_digests(text.encode("latin-1")),
    "Content-Digest, value": lambda text: parse_digests(b"sha-256=" + text.encode("latin-1")),
    "If-Match": lambda text: evaluate_preconditions(b'"x"', text.encode("latin-1"), None, reading=True),
    "Range": lambda text: parse_range(b"bytes=" + text.encode("latin-1"), 100),
    "Cookie": cookies,
    "Host": lambda text: parse_headers(f"Host: {text}\r\n\r\n".encode("latin-1"), b"HTTP/1.1", BOUNDLESS),
    "Connection": lambda text: parse_headers(
        f"Host: h\r\nConnection: {text}\r\n\r\n".encode("latin-1"), b"HTTP/1.1", BOUNDLESS
    ),
    "request line": lambda text: RequestHeadParser(BOUNDLESS).feed(f"GET /{text}".encode("latin-1")),
    "request": lambda text: RequestHeadParser(BOUNDLESS).feed(
        f"GET /{text} HTTP/1.1\r\nHost: h\r\n\r\n".encode("latin-1")
    ),
    "query": lambda text: parse_qs(text.encode("latin-1"), True),
    "name in the query": lambda text: content_disposition(text.encode("latin-1")),
    "hash": algorithm("md5").parse,
    "name of an image": base_name,
    "file name of an image": escape,
    "access log": lambda text: access_log.shown(text.encode("latin-1")),
    "log": sanitize,
}

UNITS = [
    '"', '\\"', "\\", "a", " ", "; ", ";", ",", "=", "q=", "a=(", 'a="', '; a="', '; a="\\', "; filename*",
    '; x="\\"', "/", "//", "%", "%2f", "/token/", "/imageapi/", "/imageapi", "imageapi/", "%69",
    "authorization ", "Authorization: ", "?", "-", "0", ":",
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.slow
def test_cpu_time_grows_linearly_with_hostile_header_values(reader):
    def work(size):
        with suppress(FilestoredError, BadRequest, HTTPError, ValueError):
            READERS[reader](repeated(unit, size, ending))

    for unit in UNITS:
        for ending in ("", '"', "!"):
            assert is_linear(work), (unit, ending)


def test_cpu_time_of_single_bytes_of_a_part_head_is_bounded():
    def bytewise(opening):
        def work(size):
            parser = MultipartParser(b"b", 1 << 30)
            for byte in opening + b"x" * (size - 200):
                list(parser.parse(bytes([byte])))

        return work

    head = b"--b\r\nContent-Disposition: form-data; name=a\r\n"
    content = seconds(bytewise(head + b"\r\n"), LARGE_BYTES)
    assert seconds(bytewise(head + b"X: "), LARGE_BYTES) < 16 * content


@pytest.mark.parametrize("unit", [b"--b", b"\r\n--", b"-", b"\r", b"x"])
def test_cpu_time_of_single_bytes_before_the_first_boundary_is_linear(unit):
    def work(size):
        parser = MultipartParser(b"c" * 70, 1 << 30)
        for byte in unit * (size // len(unit)):
            list(parser.parse(bytes([byte])))

    assert is_linear(work)


def test_cpu_time_of_many_parts_in_one_piece_is_linear():
    part = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"x" * 500 + b"\r\n"

    def work(size):
        list(MultipartParser(b"b", 1 << 30).parse(part * (size // 10)))

    assert is_linear(work)


def post(disposition):
    form = f"--b\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n--b--".encode()
    parser = MultipartParser(b"b", 1 << 30)
    list(parser.parse(form))
    parser.finish()


def test_cpu_time_of_a_form_grows_linearly_with_an_unclosed_quoted_string():
    def work(size):
        with suppress(HTTPError):
            post('form-data; name=a; x="' + '\\"' * (size // 2 - 100))

    assert is_linear(work)


@pytest.mark.parametrize(("length", "status"), [(MAX_DISPOSITION_CHARACTERS, None), (1025, 413), (8000, 413)])
def test_part_with_content_disposition_over_1_kib_is_413(length, status):
    opening = "form-data; name=a; filename="
    disposition = opening + "x" * (length - len(opening))
    if status is None:
        post(disposition)
        return
    with pytest.raises(HTTPError) as refused:
        post(disposition)
    assert status == refused.value.status
