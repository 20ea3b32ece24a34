"""A real browser: Debian's Chromium without a window, driven by playwright.

Playwright waits in greenlets of its own, which do not mix with those of pytest-twisted. So it lives in a
thread, and so does each test that asks for `open_page`: it is called there, from its first line to its last.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.daemon_process import Running
from tests.tools import find_tool

TIMEOUT_MILLISECONDS = 20_000
"""Time for an action, and for a state that is expected, on a busy machine."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP files.test 127.0.0.1",
]
"""Options of Chromium. The name is for pages without a secure context, which addresses of loopback have."""
_REFUSED = "Failed to load resource: "
"""Messages of Chromium for failed requests, which a test may expect."""

expect.set_options(timeout=TIMEOUT_MILLISECONDS)


class Chromium:
    """A browser in a thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "chromium")
        self.run(self._start)

    def run(self, work: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Do something in the thread, and wait for it."""
        return self._thread.submit(work, *args, **named).result()

    def new_context(self, **options: Any) -> BrowserContext:
        """A new profile. To be called in the thread."""
        return self._browser.new_context(**options)

    def stop(self) -> None:
        self.run(self._browser.close)
        self.run(self._playwright.stop)
        self._thread.shutdown()

    def _start(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser: Browser = self._playwright.chromium.launch(
            executable_path=find_tool("chromium"), args=ARGUMENTS
        )


class Visits:
    """The pages that one test opens, and what the browser complained of meanwhile."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def open(self, url: str, **options: Any) -> Page:
        """Open a page in a profile of its own, with `options` of playwright's `new_context`."""
        context = self._chromium.new_context(**{"locale": "en-GB", **options})
        self._contexts.append(context)
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        page = context.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_REFUSED):
            self.complaints.append(message.text)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    running = Chromium()
    yield running
    running.stop()


@pytest.fixture
def open_page(chromium: Chromium) -> Iterator[Callable[..., Page]]:
    """A function that opens a page: ``open_page(url, locale="ru-RU")``.

    Fails the test when a script failed, or the policy of the page was violated.
    """
    visits = Visits(chromium)
    yield visits.open
    chromium.run(visits.close)
    assert [] == visits.complaints


@pytest.fixture
def daemon(empty_daemon: Running) -> Running:
    """The daemon of the module, without files and accounts."""
    return empty_daemon


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call tests that drive the browser in its thread."""
    if "open_page" not in pyfuncitem.fixturenames:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    pyfuncitem.funcargs["chromium"].run(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names})
    return True
