"""Accessibility of the page, checked by axe-core: both languages, two widths, light and dark, each state."""

import pytest
from playwright.sync_api import expect

from tests.browser.axe_checks import PAIRED_LOOKS, RULES, Checks
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


@pytest.mark.parametrize("look", PAIRED_LOOKS)
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


@pytest.mark.parametrize("look", PAIRED_LOOKS)
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
