"""Uploads as multipart/form-data: complete, byte by byte, with trailing bytes; and every limit."""

from base64 import b64encode
from collections import deque
from hashlib import sha256
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.errors import HTTPError
from filestored.web.forms.multipart_parser import (
    MAX_FIELD_BYTES,
    MAX_FORM_OVERHEAD_BYTES,
    MAX_PART_HEAD_BYTES,
    MAX_PARTS,
    MultipartParser,
)
from filestored.web.forms.part_head import parse_part_head
from tests.web.forms import BOUNDARY, FORM, form, name_of, part, store_form

MARK = b"--" + BOUNDARY.encode()


FIELD_PART = part(b"value", 'form-data; name="field"')
SIMPLE = form(part(b"hello"))


def post(wire, body, kind=FORM, **fields):
    return wire.ask("POST", "/", body, Content_Type=kind, **fields)


# --- selection of the file ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        SIMPLE,
        form(FIELD_PART, part(b"hello")),
        form(part(b"hello"), FIELD_PART),
        form(part(b"", 'form-data; name="none"; filename=""'), part(b"hello")),
        form(part(b"hello", 'form-data; name="f"; filename="../../etc/passwd"')),
        form(part(b"hello", "form-data; name=\"f\"; filename*=UTF-8''%D0%B6.txt")),
        form(part(b"hello", 'form-data; name="f"; filename=x')),
        form(part(b"hello", 'form-data; name="f"; filename="x"', "Content-Type: text/plain")),
        form(part(b"hello"), end=b"--"),
        form(part(b"hello"), end=b"--\r\n epilogue, to be ignored"),
        b"\r\n" + SIMPLE,
        form(part(b"hello"), b"Content-Disposition: form-data\r\n\r\nno name"),
        form(part(b"hello", 'form-data; name="f"; filename="x"', " folded: line")),
        form(part(b"hello", 'form-data; name="f"; filename="x"', "Content-Length: 5")),
    ],
)
def test_part_with_a_filename_is_stored(wire, body):
    answer = post(wire, body)
    assert (answer.status, answer.body) == (200, name_of(b"hello"))
    assert wire.store.statistics.uploads == 1
    assert wire.ask("GET", f"/files/{answer.body.decode()}").body == b"hello"


def test_quoted_boundary_is_accepted(wire):
    kind = 'multipart/form-data; boundary="a b:c"'
    assert post(wire, form(part(b"hello"), boundary="a b:c"), kind).status == 200


def test_form_can_be_put_under_the_hash_of_its_file(wire):
    target = f"/files/{name_of(b'hello').decode()}"
    assert wire.ask("PUT", target, SIMPLE, Content_Type=FORM).status == 201
    assert wire.ask("PUT", target, form(part(b"other")), Content_Type=FORM).status == 422


def test_empty_part_with_a_filename_is_a_file(wire):
    assert post(wire, form(part(b""))).body == name_of(b"")


@pytest.mark.parametrize("data", [b"\r\n", b"\r", b"--", b"\r\n--", MARK[1:], b"\r\n--\r\n" * 9])
def test_content_similar_to_a_boundary_is_kept(wire, data):
    assert post(wire, form(part(data))).body == name_of(data)


# --- incomplete forms -----------------------------------------------------------------------

MALFORMED = [
    b"",
    b"hello",
    form(),
    form(FIELD_PART),
    form(part(b"x", 'form-data; name="file"; filename=""')),
    SIMPLE[:-4],
    SIMPLE[:-5],
    form(part(b"hello"), end=b""),
    form(part(b"hello"), end=b"\r\n"),
    form(b"\r\nno disposition"),
    form(b"Content-Disposition form-data\r\n\r\nhello"),
    form(part(b"hello", 'form-data; name="f"; filename="x"', "Content-Length: 4")),
    SIMPLE.replace(b"\r\n", b"\n"),
    form(part(b"hello"), boundary="another"),
]


@pytest.mark.parametrize("body", MALFORMED)
def test_incomplete_form_is_400_and_stores_nothing(wire, body):
    assert post(wire, body).status == 400
    assert wire.store.uploads_in_flight == 0
    assert wire.store.statistics.uploads == 0


@pytest.mark.parametrize("position", range(0, len(SIMPLE) - 2, 7))
def test_form_truncated_anywhere_stores_nothing(wire, position):
    assert post(wire, SIMPLE[:position]).status == 400
    assert wire.store.statistics.uploads == 0


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "b" * 201,
        'multipart/form-data; boundary="ends with a space "',
        'multipart/form-data; boundary="a\\b"',
        "multipart/form-data; charset=utf-8",
    ],
)
def test_invalid_boundary_is_400(wire, kind):
    assert post(wire, SIMPLE, kind).status == 400


def test_boundary_of_200_characters_is_accepted(wire):
    longest = "b" * 200
    body = form(part(b"hello"), boundary=longest)
    assert post(wire, body, f"Multipart/Form-Data; Boundary={longest}").status == 200


# --- limits --------------------------------------------------------------------------------------


def a_field(size):
    return part(b"x" * size, 'form-data; name="f"')


@pytest.mark.parametrize(
    "body",
    [
        form(*[FIELD_PART] * MAX_PARTS, part(b"hello")),
        form(a_field(MAX_FIELD_BYTES + 1), part(b"hello")),
        form(part(b"hello"), a_field(MAX_FIELD_BYTES + 1)),
        form(part(b"hello", 'form-data; name="f"; filename="x"', *["A: b"] * 16)),
        form(part(b"hello", f'form-data; name="f"; filename="{"x" * MAX_PART_HEAD_BYTES}"')),
        form(
            part(
                b"hello", 'form-data; name="f"; filename="x"', *["A: " + "b" * (MAX_PART_HEAD_BYTES // 4)] * 4
            )
        ),
    ],
)
def test_form_over_a_limit_is_413_and_stores_nothing(wire, body):
    assert post(wire, body).status == 413
    assert wire.store.uploads_in_flight == 0
    assert wire.store.statistics.uploads == 0


@pytest.mark.parametrize(
    "body",
    [
        form(*[FIELD_PART] * (MAX_PARTS - 1), part(b"hello")),
        form(a_field(MAX_FIELD_BYTES), part(b"hello")),
        form(part(b"hello", 'form-data; name="f"; filename="x"', *["A: b"] * 15)),
        form(part(b"hello"), part(b"x" * MAX_FIELD_BYTES * 3)),
        form(*[part(b"%d" % number) for number in range(MAX_PARTS)]),
    ],
)
def test_form_at_the_limits_is_stored(wire, body):
    assert post(wire, body).status == 200


def test_size_limit_of_a_file_in_a_form(make_wire):
    wire = make_wire(max_size=5)
    assert post(wire, form(FIELD_PART, part(b"hello"))).status == 200
    assert post(wire, form(FIELD_PART, part(b"hello!"))).status == 413


def test_form_overhead_is_limited(make_wire):
    wire = make_wire(max_size=5)
    endless = form(part(b"hello"), end=b"--\r\n") + b"\r\n" * MAX_FORM_OVERHEAD_BYTES
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(endless), endless)
    assert post(wire, chunk, Transfer_Encoding="chunked").status == 413
    assert wire.store.statistics.uploads == 0


# --- digests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Content_Digest", "Repr_Digest"])
def test_content_digest_of_a_form_covers_the_encoded_form(wire, header):
    def digest(data):
        return f"sha-256=:{b64encode(sha256(data).digest()).decode()}:"

    assert post(wire, SIMPLE, **{header: digest(b"hello")}).status == 422
    assert wire.store.statistics.uploads == 0
    assert post(wire, SIMPLE, **{header: digest(SIMPLE)}).status == 200


# --- chunks ---------------------------------------------------------------------------


def feed(body, cuts):
    """Write a form in chunks; return the stored digests, or the status of the error."""
    edges = [0, *sorted(cuts), len(body)]
    return store_form([body[start:stop] for start, stop in pairwise(edges) if start < stop], BOUNDARY)


@pytest.mark.parametrize("body", [SIMPLE, form(FIELD_PART, part(b"hello"))])
def test_form_sent_byte_by_byte_is_stored(body):
    assert feed(body, range(len(body))) == [name_of(b"hello")]


@pytest.mark.parametrize("garbage", [b"\r\n", b"garbage", MARK, SIMPLE])
def test_bytes_after_the_closing_boundary_are_ignored(garbage):
    body = SIMPLE + garbage
    assert feed(body, ()) == feed(body, range(len(body))) == [name_of(b"hello")]


fragments = st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n" + MARK[:-1], b"x", b"\0\xff"])
contents = st.lists(fragments, max_size=8).map(b"".join)


@given(contents, contents, st.lists(st.integers(0, 400), max_size=12))
def test_random_content_survives_any_chunking(content, second, cuts):
    body = form(FIELD_PART, part(content), part(second))
    assert feed(body, [min(cut, len(body)) for cut in cuts]) == [name_of(content), name_of(second)]


RESEMBLING = MARK[:-1] + b"\r\n-\r\r\n" + MARK[:4]
CUT = [
    form(part(b"hello" + RESEMBLING + b"\r"), part(b"second")),
    form(part(b"hello"), part(b"second"), end=b"--\r\n epilogue"),
    form(part(b"hello\r\n" + MARK + b"x")),
    form(part(b"hello", 'form-data; name="f"; filename="x"', "Content-Length: 5"), FIELD_PART),
    form(part(b"hello", 'form-data; name="f"; filename="x"', "Content-Length: 4")),
    form(part(b"hello"), end=b"-"),
]


@pytest.mark.parametrize("length", [1, 2, len(MARK) + 2, 400])
@pytest.mark.parametrize("body", CUT)
def test_form_in_two_chunks_equals_the_form_in_one_chunk(body, length):
    whole = feed(body, ())
    for start in range(len(body)):
        assert feed(body, [start, min(start + length, len(body))]) == whole


pieces = st.sampled_from([b"\r", b"\n", b"-", b"\r\n", b"\r\n--", MARK, b"\r\n" + MARK, b"x", b"x" * 30])
ends = st.sampled_from([b"--\r\n", b"--", b"-", b"", b"\r\n"])
places = st.lists(st.integers(0, 400), max_size=12)


@given(
    st.lists(pieces, max_size=8).map(b"".join), st.sampled_from([(), ("Content-Length: 3",)]), ends, places
)
def test_random_form_in_any_chunks_equals_the_form_in_one_chunk(content, lines, end, cuts):
    body = form(part(content, 'form-data; name="f"; filename="x"', *lines), FIELD_PART, end=end)
    assert feed(body, [min(cut, len(body)) for cut in cuts]) == feed(body, ())


words = st.sampled_from([
    MARK, b"--", b"\r\n", b"\n", b": ", b"Content-Disposition", b'form-data; name="a"',
    b'; filename="x"', b"x", b"\xff", b"\0",
])  # fmt: skip


@given(st.lists(words, max_size=30).map(b"".join))
def test_random_bytes_are_a_form_or_an_http_error(body):
    outcome = feed(body, ())
    assert outcome in (400, 413) or isinstance(outcome, list)


@pytest.mark.parametrize("around", ["before", "after"])
def test_form_with_more_than_16_mib_beside_its_files_is_413(around):
    parser = MultipartParser(b"b", 1 << 30)
    opening, closing = b"--b\r\nContent-Disposition: form-data; filename=x\r\n\r\n", b"\r\n--b--\r\n"
    content = [b"c" * (1 << 20)] * 20
    junk = [b"j" * (1 << 20)] * 16
    pieces = [opening, *content, closing]
    pieces = [*junk, b"\r\n", *pieces] if around == "before" else [*pieces, *junk]
    with pytest.raises(HTTPError) as caught:
        deque(chain.from_iterable(map(parser.parse, pieces)), maxlen=0)
    assert 413 == caught.value.status


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("filename*=us-ascii''b.png", "b.png"),
        ("filename*=''%D0%BF.png", "п.png"),
        ("filename*0=a; filename*1=b.png", "ab.png"),
        ("filename*0*=us-ascii''c; filename*1=%41.png", "c%41.png"),
        ("filename*0*=us-ascii''c; filename*1*=%41.png", "cA.png"),
    ],
)
def test_extended_file_name_in_all_forms_that_libraries_write(parameters, name):
    assert name == parse_part_head(f"Content-Disposition: form-data; {parameters}".encode()).file_name()
