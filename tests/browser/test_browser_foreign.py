"""Web pages of strangers in a real browser: they change nothing, and a rebound name reads nothing."""

import http.server
import threading

import pytest
import requests
from playwright.sync_api import sync_playwright

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, write_access
from tests.browser.conftest import ARGUMENTS
from tests.daemon_process import TIMEOUT
from tests.tools import find_tool

pytestmark = pytest.mark.needs("chromium")

TRIES = """async (target) => {
    const image = (url) => new Promise((done) => {
        const element = new Image();
        element.onload = element.onerror = () => done();
        element.src = url;
    });
    const quiet = (url, options) => fetch(url, { mode: "no-cors", ...options }).catch(() => undefined);
    await image(target + "imageapi/generate-token/byimage/");
    await quiet(target + "imageapi/generate-token/byfetch/");
    await quiet(target, { method: "POST", body: "stored by a foreign page" });
    const form = new FormData();
    form.append("file", new Blob(["stored by a foreign form"]), "x");
    await quiet(target, { method: "POST", body: form });
}"""
ASK_AS_PAGE = """async ([target, hash, headers]) => {
    const ask = (path, options) =>
        fetch(target + path, { headers, ...options }).then(({ status }) => status, () => "refused");
    return [
        await ask(`files/${hash}`),
        await ask("files/?limit=1"),
        await ask("usage"),
        await ask("", { method: "POST", body: "stored by a page of another origin" }),
        await ask(`files/${hash}`, { method: "DELETE" }),
    ];
}"""
SEND_SIMPLY = """async ([target, hash]) => {
    const send = (path, options) => fetch(target + path, { mode: "no-cors", ...options });
    return [
        (await send(`files/${hash}`)).type,
        (await send("", { method: "POST", body: "stored without a preflight" })).type,
    ];
}"""
REBOUND = """async (hash) => {
    const ask = async (path, options) => (await fetch(path, options)).status;
    return [
        await ask("/files/" + hash),
        await ask("/files/" + hash, { headers: { "X-Forwarded-For": "203.0.113.7" } }),
        await ask("/", { method: "POST", body: "stored under a rebound name" }),
        await ask("/files/" + hash, { method: "DELETE" }),
        await ask("/imageapi/generate-token/rebound/"),
    ];
}"""


@pytest.fixture
def foreign():
    """The port of a server of another site."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title>")

    def log_message(self, *_):
        """Write nothing."""


def in_browser(work):
    """Run `work` with a page of a browser for which *.example is this machine, in a thread of its own."""
    outcome = []

    def run():
        with sync_playwright() as playwright:
            rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
            browser = playwright.chromium.launch(
                executable_path=find_tool("chromium"), args=[*ARGUMENTS, rules]
            )
            outcome.append(work(browser.new_page()))
            browser.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


@pytest.fixture
def address(start_daemon):
    """The URL of a daemon that knows no name but localhost."""
    return start_daemon("--workers", "1", hosts=()).url.replace("127.0.0.1", "localhost")


def test_a_foreign_page_stores_nothing_and_makes_no_account(address, foreign, tmp_path):
    def work(page):
        page.goto(f"http://evil.example:{foreign}/")
        page.evaluate(TRIES, address)
        return True

    assert in_browser(work)
    assert [] == list(tmp_path.glob("store/*/" + "?" * 64))
    assert [] == list(tmp_path.glob("images/accounts/*"))


def test_a_rebound_name_reads_and_changes_nothing(address, tmp_path):
    stored = requests.post(address, data=b"hello", timeout=TIMEOUT).text
    rebound = address.replace("localhost", "evil.example")

    def work(page):
        status = page.goto(f"{rebound}static/style.css").status
        return [status, *page.evaluate(REBOUND, stored)]

    assert [421] * 6 == in_browser(work)
    assert b"hello" == requests.get(f"{address}files/{stored}", timeout=TIMEOUT).content


def test_links_and_images_from_elsewhere_go_on(address, foreign):
    def work(page):
        page.goto(f"http://evil.example:{foreign}/")
        shown = page.evaluate(
            "(url) => new Promise((done) => { const image = new Image();"
            " image.onload = () => done(true); image.onerror = () => done(false); image.src = url; })",
            f"{address}static/icon.svg",
        )
        page.evaluate("(url) => { location = url; }", address)
        page.wait_for_url(f"{address}**")
        return shown, page.title()

    assert (True, "filestored") == in_browser(work)


# --- with an access file -------------------------------------------------------------------------

ANNA = Token("anna", {"builds": RIGHTS})
HEADERS = {"Authorization": f"Bearer {ANNA.secret}"}


@pytest.fixture
def guarded(start_daemon, tmp_path, foreign):
    """The URL of a daemon with a bucket for pages of friend.example, and one for the public but no page."""
    friend = Bucket("builds", options=[f'cors = ["http://friend.example:{foreign}"]'])
    path = write_access(str(tmp_path / "rules.toml"), access_text(ANNA, friend, Bucket("open", RIGHTS)))
    daemon = start_daemon("--workers", "1", "--access", path, hosts=())
    return daemon.url.replace("127.0.0.1", "localhost")


def stored_in(address, bucket):
    """Store a file in a bucket; return the address of the bucket, and the hash."""
    target = f"{address}buckets/{bucket}/"
    return target, requests.post(target, data=b"hello", headers=HEADERS, timeout=TIMEOUT).text


def listed(target):
    """Return the number of files in a bucket."""
    answer = requests.get(f"{target}files/", headers=HEADERS, timeout=TIMEOUT)
    return len(answer.json()["files"])


def test_only_pages_of_the_origin_that_cors_names_use_a_bucket_with_a_token(guarded, foreign):
    builds, stored = stored_in(guarded, "builds")
    other, public = stored_in(guarded, "open")

    def work(page):
        page.goto(f"http://evil.example:{foreign}/")
        evil = page.evaluate(ASK_AS_PAGE, [builds, stored, HEADERS])
        evil += page.evaluate(ASK_AS_PAGE, [other, public, {}])
        simple = page.evaluate(SEND_SIMPLY, [other, public])
        link = page.evaluate(
            "(url) => fetch(url).then(({ status }) => status, () => 'refused')",
            f"{builds}files/{stored}?{ANNA.sign(f'/buckets/builds/files/{stored}')}",
        )
        left = listed(builds), listed(other)
        page.goto(f"http://friend.example:{foreign}/")
        friend = page.evaluate(ASK_AS_PAGE, [builds, stored, HEADERS])
        return evil, simple, link, left, friend, page.evaluate(ASK_AS_PAGE, [other, public, {}])

    evil, simple, link, left, friend, friend_elsewhere = in_browser(work)
    assert ["refused"] * 10 == evil
    assert (["opaque"] * 2, "refused") == (simple, link)
    assert (1, 1) == left
    assert [200] * 5 == friend
    assert ["refused"] * 5 == friend_elsewhere
    assert (1, 1) == (listed(builds), listed(other))


def test_a_rebound_name_gets_nothing_with_a_token_either(guarded):
    _, stored = stored_in(guarded, "builds")
    rebound = f"{guarded.replace('localhost', 'evil.example')}buckets/builds/"
    signed = f"files/{stored}?{ANNA.sign(f'/buckets/builds/files/{stored}')}"

    def work(page):
        status = page.goto(f"{rebound}{signed}").status
        buckets = page.evaluate("() => fetch('/buckets/').then(({ status }) => status)")
        return [status, buckets, *page.evaluate(ASK_AS_PAGE, [rebound, stored, HEADERS])]

    assert [421] * 7 == in_browser(work)
    assert 1 == listed(f"{guarded}buckets/builds/")
