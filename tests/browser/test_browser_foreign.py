"""Web pages of strangers in a real browser: they change nothing, and a rebound name reads nothing."""

import http.server
import threading

import pytest
import requests
from playwright.sync_api import sync_playwright

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
    """Run `work` with a page of a browser for which evil.example is this machine, in a thread of its own."""
    outcome = []

    def run():
        with sync_playwright() as playwright:
            rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
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
