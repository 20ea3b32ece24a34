"""Web pages of other sites: CORS of a bucket, preflights, refused changes, rebound names."""

import hashlib

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, bearer
from tests.http_clients.raw_socket import RawSocketClient

APP, SECOND_APP, EVIL = "https://app.example", "http://localhost:3000", "https://evil.example"
ADMIN = Token("admin", {"*": RIGHTS})
STRANGER = Token("stranger", {"plain": RIGHTS})
ACCESS = access_text(
    ADMIN,
    STRANGER,
    Bucket("app", ["read", "write"], [f'cors = ["{APP}", "{SECOND_APP}"]']),
    Bucket("closed", [], [f'cors = ["{APP}"]']),
    Bucket("plain", RIGHTS),
)
LINE = bearer(ADMIN.secret)
FILE = b"a file of pages"
HASH = hashlib.sha256(FILE).hexdigest()

CORS = ("access-control-allow-origin", "access-control-expose-headers", "access-control-allow-methods")
FOREIGN_ORIGINS = [
    *(
        EVIL,
        "null",
        "https://app.example.evil",
        "https://app.example:8443",
        "http://app.example",
        "https://app.example/",
    ),
    *(
        "https://xapp.example",
        "https://app.example@evil.example",
        "*",
        "",
        "https://app.example, https://evil.example",
    ),
]


@pytest.fixture(autouse=True)
def stored(ask):
    """Buckets that store the file."""
    for bucket in ("app", "closed", "plain"):
        assert ask("PUT", f"/buckets/{bucket}/files/{HASH}", (LINE,), FILE).status in (200, 201)


def cors_fields(answer) -> dict[str, str]:
    return {name: value for name, value in answer.fields.items() if name.startswith("access-control-")}


def without_date(answer):
    """Header lines and body of an answer, without the date and the request id."""
    return answer.undated[1:]


def origin(value: str) -> str:
    return f"Origin: {value}"


CROSS_SITE = "Sec-Fetch-Site: cross-site"


@pytest.mark.parametrize("app", [APP, SECOND_APP])
def test_named_origin_reads_and_changes_a_bucket(ask, app):
    lines = (origin(app), CROSS_SITE)
    for answer in (
        ask("GET", f"/buckets/app/files/{HASH}", lines),
        ask("GET", f"/buckets/app/files/{HASH}", lines),
        ask("HEAD", f"/buckets/app/?hash={HASH}", lines),
        ask("POST", "/buckets/app/", lines, FILE),
        ask("PUT", f"/buckets/app/files/{HASH}", lines, FILE),
        ask("DELETE", f"/buckets/app/files/{HASH}", (*lines, LINE)),
    ):
        assert 200 == answer.status
        assert app == answer.fields["access-control-allow-origin"]
        assert "Origin" in answer.fields["vary"]
        assert "X-Request-Id" in answer.fields["access-control-expose-headers"].split(", ")
        assert "access-control-allow-credentials" not in answer.fields


def test_list_varies_by_origin_and_by_form(ask):
    answer = ask("GET", "/buckets/app/files/", (origin(APP), CROSS_SITE, LINE))
    assert (200, APP) == (answer.status, answer.fields["access-control-allow-origin"])
    vary = ",".join(value.decode() for name, value in answer.lines if name.lower() == b"vary")
    assert {"Origin", "Accept"} == {each.strip() for each in vary.split(",")}


def test_named_origin_sees_refusals(ask):
    lines = (origin(APP), CROSS_SITE)
    for method, target, status in (
        ("GET", f"/buckets/app/files/{'0' * 64}", 404),
        ("GET", f"/buckets/closed/files/{HASH}", 401),
        ("DELETE", f"/buckets/app/files/{HASH}", 401),
    ):
        answer = ask(method, target, lines)
        assert (status, APP) == (answer.status, answer.fields.get("access-control-allow-origin"))


@pytest.mark.parametrize("bucket", ["app", "closed"])
@pytest.mark.parametrize("path", [f"files/{HASH}", "", "files/", "usage"])
def test_preflight_of_a_named_origin_is_204_without_credentials(ask, bucket, path):
    lines = (
        origin(APP),
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: authorization",
    )
    answer = ask("OPTIONS", f"/buckets/{bucket}/{path}", (*lines, CROSS_SITE))
    assert (204, APP, b"") == (answer.status, answer.fields["access-control-allow-origin"], answer.body)
    methods = {each.strip() for each in answer.fields["access-control-allow-methods"].split(",")}
    assert {"GET", "HEAD", "POST", "PUT", "DELETE"} & methods
    allowed = answer.fields["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "x-request-id"} < set(allowed)
    assert answer.fields["access-control-max-age"].isdecimal()
    assert "Origin" in answer.fields["vary"]


@pytest.mark.parametrize("foreign", FOREIGN_ORIGINS)
def test_other_origin_gets_no_cors_and_changes_nothing(ask, foreign):
    lines = (origin(foreign), CROSS_SITE)
    for call in (
        ("POST", "/buckets/app/"),
        ("PUT", f"/buckets/app/files/{HASH}"),
        ("DELETE", f"/buckets/app/files/{HASH}"),
    ):
        for credentials in ((), (LINE,)):
            answer = ask(*call, (*lines, *credentials), None if call[0] == "DELETE" else FILE)
            assert (403, {}) == (answer.status, cors_fields(answer))
    read = ask("GET", f"/buckets/app/files/{HASH}", lines)
    assert (200, {}, FILE) == (read.status, cors_fields(read), read.body)
    preflight = ask("OPTIONS", f"/buckets/app/files/{HASH}", (*lines, "Access-Control-Request-Method: PUT"))
    assert (405, {}) == (preflight.status, cors_fields(preflight))


@pytest.mark.parametrize("credentials", [(), (bearer(STRANGER.secret),)])
@pytest.mark.parametrize("lines", [(), (origin(EVIL),), (origin(EVIL), CROSS_SITE)])
@pytest.mark.parametrize("path", ["", "usage", "files/", f"files/{HASH}"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_refusal_by_a_bucket_with_cors_equals_that_by_an_unknown_bucket(
    ask, method, path, lines, credentials
):
    closed, unknown = (
        ask(method, f"/buckets/{bucket}/{path}", (*lines, *credentials)) for bucket in ("closed", "unknown")
    )
    assert closed.status in (401, 403, 404)
    assert unknown.status == closed.status
    assert without_date(unknown) == without_date(closed)


@pytest.mark.parametrize("lines", [(), (origin(EVIL), CROSS_SITE)])
def test_answer_to_any_origin_tells_caches_that_it_varies(ask, lines):
    for name, vary in (("app", "Origin"), ("plain", None)):
        answer = ask("GET", f"/buckets/{name}/files/{HASH}", lines)
        assert (200, vary) == (answer.status, answer.fields.get("vary"))


@pytest.mark.parametrize("bucket", ["plain", "default"])
def test_bucket_without_cors_serves_no_other_site(ask, bucket):
    lines = (origin(APP), CROSS_SITE, LINE)
    for answer, status in (
        (ask("GET", f"/buckets/{bucket}/files/{'0' * 64}", lines), 404),
        (ask("POST", f"/buckets/{bucket}/", lines, FILE), 403),
        (ask("OPTIONS", f"/buckets/{bucket}/", (*lines, "Access-Control-Request-Method: PUT")), 405),
    ):
        assert (status, {}) == (answer.status, cors_fields(answer))


def test_origin_of_one_bucket_is_foreign_to_the_others(ask):
    answer = ask("POST", "/buckets/closed/", (origin(SECOND_APP), CROSS_SITE, LINE), FILE)
    assert (403, {}) == (answer.status, cors_fields(answer))


def test_options_without_a_requested_method_is_405(ask):
    for lines in ((), (origin(APP),), (origin(EVIL),), ("Access-Control-Request-Method: PUT",)):
        assert 405 == ask("OPTIONS", f"/buckets/app/files/{HASH}", lines).status


def test_cached_answer_to_one_origin_is_not_sent_to_another(ask):
    target = f"/buckets/app/files/{HASH}"
    for _ in range(3):
        for app, allowed in ((APP, APP), (EVIL, None), (SECOND_APP, SECOND_APP), (None, None)):
            answer = ask("GET", target, (origin(app),) if app else ())
            assert allowed == answer.fields.get("access-control-allow-origin")


def test_page_of_this_server_needs_no_cors(ask):
    for lines in ((origin("http://x"),), ("Sec-Fetch-Site: same-origin",), ()):
        assert 200 == ask("POST", "/buckets/plain/", lines, FILE).status


@pytest.mark.parametrize("lines", [(), (LINE,), ("Authorization: Bearer x",)])
@pytest.mark.parametrize(
    "target", ["/", f"/files/{HASH}", f"/buckets/plain/files/{HASH}", "/buckets/unknown/usage"]
)
def test_rebound_name_is_421_with_any_credentials(served, lines, target):
    for method in ("GET", "DELETE", "OPTIONS"):
        with RawSocketClient(served.port) as peer:
            peer.send(
                "\r\n".join([f"{method} {target} HTTP/1.1", "Host: evil.example", *lines, "", ""]).encode()
            )
            assert 421 == peer.read_response(method).status
