"""Accessibility of the page, checked by axe-core: both languages, two widths, light and dark, each state."""

from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import (
    choose,
    choose_images,
    drop,
    named,
    picture,
    row,
    sign_in,
    slow_down,
    tile,
)

pytestmark = pytest.mark.needs("chromium")

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = """async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations, passes } = await axe.run(document, { runOnly: tags });
    const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
    return [found, passes.map(({ id }) => id)];
}"""
WIDTHS = "() => [document.documentElement.scrollWidth, innerWidth]"
RULES = {"color-contrast", "target-size", "region", "label", "button-name"}
"""Rules that must have been checked somewhere on the page."""

LOOKS = [
    pytest.param({"locale": locale, "color_scheme": scheme, "viewport": {"width": width, "height": 900}})
    for locale in ("en-GB", "ru-RU")
    for width in (390, 1280)
    for scheme in ("light", "dark")
]


class Checks:
    """Checks of one page in several states."""

    def __init__(self, page):
        self.page = page
        self.faults = []
        self.rules = set()
        page.evaluate(f"{AXE};0")

    def check(self, state):
        """Note what axe finds, and a page that is wider than its window."""
        found, passed = self.page.evaluate(RUN)
        self.faults += [f"{state}: {fault}" for fault in found]
        self.rules |= set(passed)
        needed, there = self.page.evaluate(WIDTHS)
        if needed > there:
            self.faults.append(f"{state}: {needed} pixels wide")


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_about_files(open_page, daemon, look):
    page = open_page(daemon.url, **look)
    checks = Checks(page)
    checks.check("empty")
    choose(page, named("one.txt", b"same"), named("two.txt", b"same"))
    expect(page.locator("#file-list .hash:visible")).to_have_count(2)
    checks.check("stored")
    slow_down(page, 200_000)
    choose(page, *[named(f"a-long-name-{number}" * 5, bytes([number]) * 500_000) for number in range(5)])
    expect(page.locator("#file-list .sending .state").first).to_contain_text("·")
    checks.check("sending")
    page.locator("#all-cancel").click()
    expect(page.locator("#file-list .cancelled")).to_have_count(5)
    checks.check("cancelled")
    row(page, "two.txt").locator(".delete").click()
    checks.check("question")
    page.locator("dialog .danger").click()
    expect(page.locator("#file-list .deleted")).to_have_count(2)
    checks.check("deleted")
    assert [] == checks.faults
    assert checks.rules >= RULES


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_about_images(open_page, daemon, look):
    page = open_page(f"{daemon.url}#images", **look)
    checks = Checks(page)
    page.locator("#token-details summary").click()
    drop(page, ("a.txt", "no image"), ("b.txt", "no image"))
    expect(page.locator("#images-waiting")).to_be_visible()
    checks.check("waiting for an account")
    sign_in(page, {"en-GB": "Create", "ru-RU": "Создать"}[look["locale"]])
    choose_images(page, picture("red.png", "red"))
    expect(tile(page, "red.png").locator("img[src]")).to_be_visible()
    choose_images(page, picture("red.png", "blue"))
    expect(page.locator("#image-uploads .failed")).to_have_count(3)
    checks.check("refused")
    page.locator("[data-do=rename]:visible").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    checks.check("renaming")
    page.keyboard.press("Escape")
    tile(page, "red.png").locator(".open").click()
    expect(page.locator("#viewer")).to_be_visible()
    checks.check("viewer")
    assert [] == checks.faults
    assert checks.rules >= RULES
