"""Requests of foreign web pages, of rebound names, and through proxies: 403 and 421."""

import itertools

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from filestored.web.imageapi.tokens import RegistrationPolicy
from filestored.web.origins import OriginPolicy
from tests.images.catalog_samples import PNG
from tests.web.forms import FORM, form
from tests.web.imageapi.image_wire import LOOPBACK, ImageWire, part

UNIX = UNIXAddress("/run/filestored.sock")
PUBLIC = IPv4Address("TCP", "203.0.113.7", 9000)


def ask(wire, method, target, host="localhost", body=None, version="1.1", **fields):
    """Send a request on a new connection; underscores in field names are hyphens."""
    wire.connect()
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    lines += [f"Content-Length: {len(body)}"] if body is not None else []
    wire.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
    return wire.answers(method)[0]


# --- a Host of a rebound name ------------------------------------------------------------------------

OWN_HOSTS = [
    "localhost",
    "LocalHost:9000",
    "localhost.",
    "files.localhost:80",
    "127.0.0.1",
    "127.0.0.1:9000",
    "[::1]:9000",
    "10.0.0.1",
    "files.example.org",
    "Files.Example.Org.:9000",
    "",
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:9000",
    "localhost.evil.example",
    "xlocalhost",
    "127.0.0.1.evil.example",
    "www.files.example.org",
    "example.org",
    "0x7f.1",
    "2130706433",
]
HERE = [LOOPBACK, IPv4Address("TCP", "127.9.9.9", 1), IPv6Address("TCP", "::1", 1)]
TARGETS = ["/", "/health", "/files/x", "/imageapi/token/x/get-image-list/", "/nowhere", "/static/app.js"]


@pytest.mark.parametrize("here", HERE)
@pytest.mark.parametrize("host", OWN_HOSTS)
def test_known_host_is_served_on_loopback(here, host):
    assert 200 == ask(ImageWire(here=here, hosts=["files.example.org"]), "GET", "/health", host).status


@pytest.mark.parametrize("here", HERE)
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_host_is_421_on_loopback(here, host):
    wire = ImageWire(here=here, hosts=["files.example.org"])
    for method, target in itertools.product(["GET", "HEAD", "POST", "DELETE", "BREW"], TARGETS):
        fields = {"X_Forwarded_For": "203.0.113.7"}
        assert 421 == ask(wire, method, target, host, **fields).status, (method, target)


@pytest.mark.parametrize("here", [PUBLIC, UNIX, IPv6Address("TCP", "2001:db8::1", 1)])
def test_any_host_is_served_on_other_addresses(here):
    assert 200 == ask(ImageWire(here=here, hosts=[]), "GET", "/health", "evil.example").status


def test_upload_with_foreign_host_stores_nothing():
    wire = ImageWire(hosts=[])
    assert 421 == ask(wire, "POST", "/", "evil.example", b"hello").status
    assert [] == wire.files.digests(None, 1)


def test_image_api_sends_421_as_json_string():
    answer = ask(ImageWire(hosts=[]), "GET", "/imageapi/token/x/get-image-list/", "evil.example")
    assert ("application/json", b'"') == (answer.fields["content-type"], answer.body[:1])
    assert "no-referrer" == answer.fields["referrer-policy"]


# --- a page of another site ---------------------------------------------------------------------------

FOREIGN_PAGES = [
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "Cross-Site "},
    {"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://evil.example#localhost"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "http://localhost:99999999"},
    {"Origin": "chrome-extension://localhostx"},
    {"Origin": "http://evil@localhost"},
    {"Sec_Fetch_Site": ""},
    {"Sec_Fetch_Site": "cross-site;x"},
    {"Sec_Fetch_Site": "cross-site, none"},
    {"Sec_Fetch_Site": "none", "Origin": "http://evil.example"},
]
OWN_PAGES = [
    {},
    {"Sec_Fetch_Site": "same-origin"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Sec_Fetch_Site": "same-origin", "Origin": "https://files.example.net"},
    {"Origin": "http://localhost"},
    {"Origin": "http://LOCALHOST:80"},
    {"Origin": "https://localhost"},
    {"Origin": "https://files.example.org"},
    {"Origin": "http://files.example.org:8080"},
]
TOKENS = ("generate-token/anna/", "retrieve-token/anna/")


@pytest.fixture
def wire():
    return ImageWire(hosts=["files.example.org"])


def changes(wire):
    """Requests that change something, each with the type of its body and the status of success."""
    token = wire.register("owner")
    identity = wire.add(token, PNG)
    stored = ask(wire, "POST", "/", body=b"hello").body.decode()
    api = f"/imageapi/token/{token}"
    return [
        ("POST", "/", b"other", "text/plain", 200),
        ("PUT", f"/files/{'0' * 64}", b"other", "text/plain", 422),
        ("DELETE", f"/files/{stored}", None, "", 200),
        ("DELETE", f"/?file_hash={stored}", None, "", 404),
        ("POST", f"{api}/upload-image/", form(part(PNG, "other.png")), FORM, 201),
        ("PATCH", f"{api}/update-image/{identity}/", form(part(PNG, "third.png")), FORM, 200),
        ("DELETE", f"{api}/delete-image/{identity}/", None, "", 200),
        ("POST", f"{api}/regenerate-token/", b"", "", 200),
    ]


@pytest.mark.parametrize("page", FOREIGN_PAGES)
def test_foreign_page_changes_nothing(wire, page):
    for method, target, body, kind, _ in changes(wire):
        fields = {"Content_Type": kind, **page}
        assert 403 == ask(wire, method, target, body=body, **fields).status, (method, target)


@pytest.mark.parametrize("page", FOREIGN_PAGES)
@pytest.mark.parametrize("registration", RegistrationPolicy)
def test_foreign_page_gets_no_token_and_creates_no_account(page, registration):
    wire = ImageWire(registration=registration)
    for method, path in itertools.product(["GET", "HEAD"], TOKENS):
        assert ask(wire, method, f"/imageapi/{path}", **page).status in (403, 405)
    assert [] == wire.records.names("accounts")


@pytest.mark.parametrize("page", OWN_PAGES)
def test_page_of_this_server_is_served(wire, page):
    for method, target, body, kind, status in changes(wire):
        fields = {"Content_Type": kind, **page}
        assert status == ask(wire, method, target, body=body, **fields).status, (method, target)
    assert 201 == ask(wire, "GET", "/imageapi/generate-token/anna/", **page).status


@pytest.mark.parametrize("page", FOREIGN_PAGES)
def test_foreign_pages_may_read(wire, page):
    token = wire.register("owner")
    identity = wire.add(token, PNG)
    stored = ask(wire, "POST", "/", body=b"hello").body.decode()
    api = f"/imageapi/token/{token}"
    targets = ["/health", f"/files/{stored}", f"/?hash={stored}", "/static/app.js", "/openapi.json"]
    targets += [f"{api}/get-image/{identity}/", f"{api}/get-image-list/"]
    for method, target in itertools.product(["GET", "HEAD"], targets):
        assert 200 == ask(wire, method, target, **page).status, target
    assert 200 == ask(wire, "GET", "/", Accept="text/html", **page).status


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://files.example.net", "files.example.net", True),
        ("https://files.example.net", "files.example.net", True),
        ("http://files.example.net:8080", "files.example.net:8080", True),
        ("http://files.example.net", "files.example.net:8080", False),
        ("http://[::1]:9000", "[::1]:9000", True),
        ("http://[::1]:9000", "[::1]:9001", False),
        ("http://files.example.net", "files.example.net:" + "9" * 5000, False),
    ],
)
def test_origin_with_the_authority_of_the_request_is_own(origin, host, own):
    status = ask(ImageWire(here=PUBLIC), "POST", "/", host, b"hello", Origin=origin).status
    assert (200 if own else 403) == status


def test_all_of_several_origin_headers_must_be_own(wire):
    for name, values in (
        ("Origin", ("http://evil.example", "http://localhost")),
        ("Sec-Fetch-Site", ("cross-site", "none")),
    ):
        fields = "".join(f"{name}: {value}\r\n" for value in values)
        wire.send(f"POST / HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 1\r\n\r\nx".encode())
        (answer,) = wire.answers("POST")
        assert 403 == answer.status
        wire.connect()


# --- a proxy in front ---------------------------------------------------------------------------------

PROXIED = [
    "Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
    "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Anything", "X-Forwarded",
    "CF-Connecting-IP", "CF-Ray", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP",
    "Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "X-Original-For", "X-Original-URI",
    "X-Originating-IP", "Proxy-Connection", "Proxy-Authorization", "X-Envoy-External-Address",
    "X-ProxyUser-Ip", "X-Amzn-Trace-Id", "CDN-Loop", "X-ARR-SSL", "X-Azure-ClientIP", "X-Scheme",
    "X-Remote-Addr",
]  # fmt: skip


@pytest.mark.parametrize("field", PROXIED)
@pytest.mark.parametrize("here", [LOOPBACK, UNIX])
def test_request_with_proxy_header_gets_no_token(here, field):
    wire = ImageWire(here=here)
    for path in TOKENS:
        assert 403 == ask(wire, "GET", f"/imageapi/{path}", **{field: "x"}).status
        assert 403 == ask(wire, "GET", f"/imageapi/{path}", **{field.lower(): ""}).status


@pytest.mark.parametrize("here", [LOOPBACK, UNIX])
@pytest.mark.parametrize("fields", [{}, {"Connection": "keep-alive"}])
def test_http_1_0_request_gets_no_token(here, fields):
    wire = ImageWire(here=here)
    for path in TOKENS:
        assert 403 == ask(wire, "GET", f"/imageapi/{path}", "127.0.0.1:9000", version="1.0", **fields).status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("x", 201),
        ("%2Frun%2Fx", 201),
        ("files.example.org", 403),
        ("203.0.113.7", 403),
        ("[2001:db8::1]", 403),
    ],
)
def test_domain_name_on_a_unix_socket_gets_no_token(host, status):
    assert status == ask(ImageWire(here=UNIX), "GET", "/imageapi/generate-token/anna/", host).status


@pytest.mark.parametrize("here", [LOOPBACK, UNIX, PUBLIC])
def test_disabled_registration_gives_no_tokens(here):
    wire = ImageWire(here=here, registration=RegistrationPolicy.OFF)
    for path in TOKENS:
        assert 403 == ask(wire, "GET", f"/imageapi/{path}").status


def test_host_decisions_are_cached_within_bounds(wire):
    policy = OriginPolicy([])
    for number in range(1000):
        policy._is_admitted(b"%d.example" % number)
    assert policy._is_admitted.cache_info().currsize < 1000
