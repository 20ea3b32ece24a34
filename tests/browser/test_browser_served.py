"""Page or API, and response headers, without a browser."""

import re
from urllib.parse import urljoin, urlsplit

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.digest import algorithm
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.web.headers.negotiation import wants_html
from filestored.web.site import make_site
from filestored.web.static import STATIC
from tests.http_clients.in_memory import InMemoryClient

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LYNX = "text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01"
HTTPIE = "application/json, */*;q=0.5"
ASSETS = [f"/static/{name}" for name in STATIC]


@pytest.fixture
def wire():
    sha256 = algorithm("sha256")
    return InMemoryClient(make_site(Store(MemoryBackend(sha256), sha256, maybeDeferred)))


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (CHROMIUM, True),
        (FIREFOX, True),
        (LYNX, True),
        ("TEXT/HTML", True),
        ("text/html;q=0.1", True),
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("text/plain", False),
        (HTTPIE, False),
        ("application/json, text/html;q=0.9", False),
        ("text/plain, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("text/htmlish", False),
    ],
)
def test_a_page_is_wanted_by_those_who_name_html(accept, wanted):
    assert wanted == wants_html(None if accept is None else accept.encode())


@pytest.mark.parametrize("accept", [CHROMIUM, FIREFOX, LYNX])
def test_a_browser_gets_the_page(wire, accept):
    answer = wire.ask("GET", "/", Accept=accept)
    assert (200, "text/html; charset=utf-8") == (answer.status, answer.fields["content-type"])
    assert answer.body.startswith(b"<!doctype html>")
    assert "Accept" == answer.fields["vary"]


@pytest.mark.parametrize("bucket", ["builds", "default"])
def test_page_of_a_bucket_links_to_the_same_files_as_that_of_the_root(wire, bucket):
    address = f"http://h/buckets/{bucket}/"
    links = [
        re.findall(r'(?:href|src)="([^"]+)"', wire.ask("GET", path, Accept=CHROMIUM).body.decode())
        for path in ("/", urlsplit(address).path)
    ]
    assert [urljoin("http://h/", link) for link in links[0]] == [urljoin(address, link) for link in links[1]]
    assert 4 == len(links[0])


@pytest.mark.parametrize("accept", ["*/*", HTTPIE])
def test_a_tool_gets_the_api(wire, accept):
    assert 400 == wire.ask("GET", "/", Accept=accept).status


@pytest.mark.parametrize("query", ["file_hash=", "hash=", "file_hash=" + "0" * 64])
def test_a_browser_that_names_a_file_gets_the_api(wire, query):
    answer = wire.ask("GET", f"/?{query}", Accept=CHROMIUM)
    assert answer.status in (400, 404)
    assert answer.fields["content-type"].startswith("text/plain")


def test_a_browser_gets_a_stored_file_rather_than_the_page(wire):
    name = wire.ask("POST", "/", b"roses", Accept=CHROMIUM).body.decode()
    assert b"roses" == wire.ask("GET", f"/?file_hash={name}", Accept=CHROMIUM).body
    assert b"roses" == wire.ask("GET", f"/?x&hash={name}", Accept=CHROMIUM).body


def test_the_page_lets_nothing_in_but_what_is_its_own(wire):
    answer = wire.ask("GET", "/", Accept=CHROMIUM)
    policy = answer.fields["content-security-policy"].split("; ")
    assert {"default-src 'self'", "img-src 'self' blob:", "form-action 'self'"} < set(policy)
    assert "unsafe" not in answer.fields["content-security-policy"]
    assert "nosniff" == answer.fields["x-content-type-options"]
    assert "no-referrer" == answer.fields["referrer-policy"]


def test_the_page_has_no_script_or_style_within_it_and_nothing_from_elsewhere(wire):
    page = wire.ask("GET", "/", Accept=CHROMIUM).body.decode()
    assert [] == re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert ['<script type="module" src="static/app.js"></script>'] == re.findall(r"<script.*", page)
    assert [] == re.findall(r"(?:src|href|action)=\"(?:[a-z]+:|//)", page)


@pytest.mark.parametrize("target", [*ASSETS, "/openapi.json"])
def test_assets_are_served_once_and_then_confirmed(wire, target):
    answer = wire.ask("GET", target)
    assert (200, "no-cache") == (answer.status, answer.fields["cache-control"])
    assert "nosniff" == answer.fields["x-content-type-options"]
    assert "no-referrer" == answer.fields["referrer-policy"]
    head = wire.ask("HEAD", target)
    assert (200, b"", str(len(answer.body))) == (head.status, head.body, head.fields["content-length"])
    again = wire.ask("GET", target, If_None_Match=answer.fields["etag"])
    assert (304, b"", answer.fields["etag"]) == (again.status, again.body, again.fields["etag"])
    assert 412 == wire.ask("GET", target, If_Match='"other"').status


def test_the_page_is_confirmed_too(wire):
    answer = wire.ask("GET", "/", Accept=CHROMIUM)
    again = wire.ask("GET", "/", Accept=CHROMIUM, If_None_Match=answer.fields["etag"])
    assert (304, "Accept") == (again.status, again.fields["vary"])


@pytest.mark.parametrize(
    "below", ["", "/", "/index.html", "/app.js/", "/app.js/x", "/files", "/files/", "/files/app.js"]
)
def test_there_is_nothing_else_below_static(wire, below):
    assert 404 == wire.ask("GET", f"/static{below}").status


@pytest.mark.parametrize("target", [*ASSETS, "/openapi.json"])
def test_assets_are_only_read(wire, target):
    answer = wire.ask("POST", target, b"x")
    assert (405, "GET, HEAD") == (answer.status, answer.fields["allow"])


def test_the_page_and_what_it_is_made_of_are_small(wire):
    targets = {"/": CHROMIUM, **dict.fromkeys(ASSETS, "*/*")}
    sizes = [len(wire.ask("GET", target, Accept=accept).body) for target, accept in targets.items()]
    assert sum(sizes) < 136 * 1024
