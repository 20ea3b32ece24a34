"""GET, HEAD and DELETE, by query and by path: headers, preconditions, names."""

from hashlib import sha256

import pytest

DATA = bytes(range(256)) * 4
NAME = sha256(DATA).hexdigest()
TAG = f'"{NAME}"'
ABSENT = sha256(b"absent").hexdigest()


@pytest.fixture
def wire(make_wire):
    wire = make_wire()
    wire.ask("POST", "/", DATA)
    return wire


TARGETS = [f"/?file_hash={NAME}", f"/?hash={NAME}", f"/files/{NAME}"]
"""The three spellings of the URL of a file."""

MALFORMED = [NAME[:-1], NAME + "0", "x" * 64, "%00" * 64, "%D0%B6", "..", NAME[:-1] + "%0A"]


# --- the file --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_get_returns_the_bytes_and_all_headers(wire, target):
    answer = wire.ask("GET", target)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.undated_fields == {
        "server": "filestored",
        "content-length": str(len(DATA)),
        "content-type": "application/octet-stream",
        "etag": TAG,
        "accept-ranges": "bytes",
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
    }


@pytest.mark.parametrize("target", TARGETS)
def test_head_returns_the_headers_of_get_without_body(wire, target):
    head, get = wire.ask("HEAD", target), wire.ask("GET", target)
    assert (head.status, head.undated_fields, head.body) == (get.status, get.undated_fields, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("target", [f"/?file_hash={ABSENT}", f"/?hash={ABSENT}", f"/files/{ABSENT}"])
def test_unknown_hash_is_404(wire, method, target):
    assert wire.ask(method, target).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?",
        "/?file_hash",
        "/?file_hash=",
        f"/?FILE_HASH={NAME}",
        f"/?{NAME}",
        f"/?file_hash={NAME}&file_hash={NAME}",
        f"/?hash={NAME}&hash={ABSENT}",
        f"/?file_hash={NAME}&hash={NAME}",
        *[f"/?file_hash={name}" for name in MALFORMED],
    ],
)
def test_missing_repeated_or_malformed_hash_in_query_is_400(wire, method, target):
    assert wire.ask(method, target).status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("name", [name for name in MALFORMED if name != ".."])
def test_malformed_hash_in_path_is_400(wire, method, name):
    assert wire.ask(method, f"/files/{name}").status == 400


@pytest.mark.parametrize(
    "target", ["/files", "/files/", f"/files/{NAME}/", f"/files//{NAME}", f"/{NAME}", "/x/"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_other_paths_are_404(wire, method, target):
    assert wire.ask(method, target).status == 404


# --- preconditions ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("condition", ["*", TAG, f"W/{TAG}", f'"x", {TAG}'])
def test_if_none_match_returns_304_without_body(wire, method, condition):
    answer = wire.ask(method, f"/files/{NAME}", If_None_Match=condition)
    assert (answer.status, answer.body) == (304, b"")
    assert answer.fields["etag"] == TAG
    assert answer.fields["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.fields.get("content-length", str(len(DATA))) == str(len(DATA))


def test_if_none_match_in_two_lines_is_one_list(wire):
    lines = f'If-None-Match: {TAG}\r\nIf-None-Match: "x"\r\n'
    wire.send(f"GET /files/{NAME} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
    (answer,) = wire.answers("GET")
    assert answer.status == 304


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"If_Match": TAG}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_Match": f"W/{TAG}"}, 412),
        ({"If_Match": '"x"', "If_None_Match": TAG}, 412),
        ({"If_Match": TAG, "If_None_Match": TAG}, 304),
        ({"If_None_Match": '"x"'}, 200),
        ({"If_Modified_Since": "Sun, 06 Nov 2094 08:49:37 GMT"}, 200),
        ({"If_Unmodified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 200),
        ({"If_None_Match": TAG, "Range": "bytes=0-0"}, 304),
        ({"If_Match": '"x"', "Range": "bytes=9999-"}, 412),
    ],
)
def test_preconditions_are_evaluated_in_the_order_of_rfc_9110(wire, conditions, expected):
    assert wire.ask("GET", f"/files/{NAME}", **conditions).status == expected


def test_unknown_hash_is_404_despite_preconditions(wire):
    assert wire.ask("GET", f"/files/{ABSENT}", If_None_Match="*").status == 404
    assert wire.ask("GET", f"/files/{ABSENT}", If_Match="*").status == 404


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("a%0D%0AX-Evil:%201", 'attachment; filename="aX-Evil: 1"'),
        ("%D0%B6", "attachment; filename=\"_\"; filename*=UTF-8''%D0%B6"),
        ("..%2F..%2Fpasswd", 'attachment; filename="passwd"'),
        ("", "attachment"),
    ],
)
@pytest.mark.parametrize("target", [f"/files/{NAME}?name=", f"/?file_hash={NAME}&name="])
def test_name_in_query_becomes_safe_file_name(wire, target, name, expected):
    answer = wire.ask("GET", target + name)
    assert (answer.status, answer.fields["content-disposition"]) == (200, expected)
    assert "x-evil" not in answer.fields


@pytest.mark.parametrize("query", ["name=a&name=b", "name=%FF"])
def test_repeated_or_non_utf8_name_is_400(wire, query):
    answer = wire.ask("GET", f"/files/{NAME}?{query}")
    assert answer.status == 400
    assert "etag" not in answer.fields


# --- DELETE --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_delete_is_200_and_then_404(wire, target):
    assert wire.ask("DELETE", target).status == 200
    assert wire.ask("DELETE", target).status == 404
    assert wire.ask("GET", target).status == 404


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"If_Match": TAG}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_None_Match": "*"}, 412),
        ({"If_None_Match": '"x"'}, 200),
    ],
)
def test_delete_evaluates_preconditions(wire, conditions, expected):
    assert wire.ask("DELETE", f"/files/{NAME}", **conditions).status == expected
    assert wire.ask("GET", f"/files/{NAME}").status == (404 if expected == 200 else 200)


def test_conditional_delete_of_unknown_hash_is_404(wire):
    assert wire.ask("DELETE", f"/files/{ABSENT}", If_Match='"x"').status == 404
