"""The list of uploaded files: kept in the browser, shared by its tabs, with links and equal contents."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import button_names, choose, drop, named, row, sha256, sign_in, status

pytestmark = pytest.mark.needs("chromium")

KEY = "filestored.files"
READ = f"() => JSON.parse(localStorage.getItem('{KEY}'))"
WRITE = f"(text) => localStorage.setItem('{KEY}', text)"
FILL = """() => {
    for (let size = 2 ** 20; size >= 1; size /= 2) {
        try {
            for (let part = 0; ; part++) localStorage.setItem(`full ${size} ${part}`, "x".repeat(size));
        } catch { /* no room for that much */ }
    }
}"""
FORBID = """for (const area of ["localStorage", "sessionStorage"]) Object.defineProperty(window, area, {
    get() { throw new DOMException("The storage is disabled.", "SecurityError"); },
});"""
REFUSE_COPYING = """() => {
    Object.defineProperty(navigator, "clipboard", { value: undefined });
    document.execCommand = () => false;
}"""


def entry(number, **changes):
    stored = {"batch": number, "index": 0, "hash": f"{number:064x}", "name": f"{number}.txt", "size": 1}
    return {**stored, "date": 1_700_000_000_000 + number, **changes}


@pytest.fixture
def visit(open_page, daemon):
    """A function that opens the page, which may use the clipboard."""
    return lambda: open_page(daemon.url, permissions=["clipboard-read", "clipboard-write"])


def other_tab(page):
    other = page.context.new_page()
    other.goto(page.url)
    return other


# --- the browser keeps the list ------------------------------------------------------------------


def test_list_stays_after_the_tab_was_closed(visit):
    page = visit()
    choose(page, named("poem.txt", b"roses"))
    expect(row(page, "poem.txt").locator(".hash")).to_be_visible()
    other = page.context.new_page()
    page.close()
    other.goto(page.url)
    expect(row(other, "poem.txt").locator(".hash")).to_have_text(sha256(b"roses"))
    expect(row(other, "poem.txt").locator("time")).to_be_visible()


def test_each_file_has_the_date_of_its_upload_in_the_language_of_the_page(visit):
    page = visit()
    page.evaluate(WRITE, json.dumps([entry(1, date=1_700_000_000_000)]))
    page.reload()
    expect(row(page, "1.txt").locator("time")).to_contain_text("Nov 14, 2023")
    page.get_by_role("button", name="Русский").click()
    expect(row(page, "1.txt").locator("time")).to_contain_text("14 нояб. 2023")


def test_list_is_the_same_in_all_tabs(visit):
    page = visit()
    other = other_tab(page)
    choose(page, named("one.txt", b"1"), named("two.txt", b"2"))
    expect(other.locator("#file-list .hash:visible")).to_have_count(2)
    other.get_by_role("button", name="Forget: one.txt").click()
    expect(page.locator("#file-list > li")).to_have_count(1)
    choose(other, named("three.txt", b"3"))
    expect(row(page, "three.txt").locator(".hash")).to_be_visible()
    expect(page.locator("#file-list > li")).to_have_count(2)


def test_forgotten_file_leaves_the_list_but_not_the_server(visit, daemon):
    page = visit()
    choose(page, named("one.txt", b"1"), named("two.txt", b"2"))
    page.get_by_role("button", name="Forget: one.txt").click()
    expect(page.locator("#file-list .name")).to_have_text(["two.txt"])
    page.reload()
    expect(page.locator("#file-list .name")).to_have_text(["two.txt"])
    assert 200 == status(f"{daemon.url}files/{sha256(b'1')}")


def test_all_files_are_forgotten_after_a_question(visit):
    page = visit()
    choose(page, named("one.txt", b"1"), named("two.txt", b"2"))
    expect(page.locator("#file-list .hash:visible")).to_have_count(2)
    for answer, left in (("Cancel", 2), ("Forget all", 0)):
        page.get_by_role("button", name="Forget all").click()
        dialog = page.get_by_role("dialog", name="Remove all 2 files from this list?")
        dialog.get_by_role("button", name=answer).click()
        expect(page.locator("#file-list > li")).to_have_count(left)
    assert [] == page.evaluate(READ)
    expect(page.locator("#list-line")).to_be_hidden()


def test_list_holds_the_500_latest_files(visit):
    page = visit()
    page.evaluate(WRITE, json.dumps([entry(number) for number in range(600)]))
    page.reload()
    expect(page.locator("#file-list > li")).to_have_count(500)
    choose(page, named("new.txt", b"new"))
    expect(row(page, "new.txt").locator(".hash")).to_be_visible()
    expect(page.locator("#file-list > li")).to_have_count(500)
    page.reload()
    expect(page.locator("#file-list .name").first).to_have_text("new.txt")
    expect(row(page, "100.txt")).to_have_count(0)
    expect(row(page, "101.txt")).to_have_count(1)


@pytest.mark.parametrize(
    "text",
    ["{", "7", "null", '"text"', "{}", "[null, 7, []]"]
    + [
        json.dumps([changed])
        for changed in (
            entry(1, hash=5),
            entry(1, hash="../x"),
            entry(1, name=None),
            entry(1, size="1"),
            entry(1, size=-1),
            entry(1, date=1e300),
        )
    ],
)
def test_text_that_is_no_list_is_ignored(visit, text):
    page = visit()
    page.evaluate(WRITE, text)
    page.reload()
    expect(page.locator("#file-list > li")).to_have_count(0)
    choose(page, named("poem.txt", b"roses"))
    expect(row(page, "poem.txt").locator(".state")).to_have_text("Stored")


def test_full_storage_is_said_and_uploads_go_on(visit):
    page = visit()
    page.evaluate(FILL)
    choose(page, named("one.txt", b"1"), named("two.txt", b"2"))
    expect(page.locator("#list-hint")).to_contain_text("This browser does not keep the list.")
    expect(page.locator("#file-list .hash:visible")).to_have_count(2)
    page.get_by_role("button", name="Forget: one.txt").click()
    expect(page.locator("#file-list > li")).to_have_count(1)


def test_disabled_storage_is_said_and_everything_else_works(visit):
    page = visit()
    page.context.add_init_script(FORBID)
    page.reload()
    page.get_by_role("button", name="Русский").click()
    page.get_by_role("button", name="English").click()
    choose(page, named("one.txt", b"1"))
    expect(row(page, "one.txt").locator(".state")).to_have_text("Stored")
    expect(page.locator("#list-hint")).to_contain_text("This browser does not keep the list.")
    page.get_by_role("tab", name="Images").click()
    sign_in(page)
    expect(page.locator("#account-state")).to_contain_text("This browser keeps no data.")


# --- links ---------------------------------------------------------------------------------------


def test_link_and_hash_are_copied(visit, daemon):
    page = visit()
    choose(page, named("наряд №1.txt", b"roses"))
    expected = {
        "Copy hash": sha256(b"roses"),
        "Copy link": f"{daemon.url}files/{sha256(b'roses')}?name="
        "%D0%BD%D0%B0%D1%80%D1%8F%D0%B4%20%E2%84%961.txt",
    }
    for action, text in expected.items():
        page.get_by_role("button", name=action).click()
        expect(page.get_by_text("Copied", exact=True).last).to_be_visible()
        assert text == page.evaluate("() => navigator.clipboard.readText()")
    assert 200 == status(expected["Copy link"])


def test_link_is_copied_on_plain_http(open_page, start_daemon):
    daemon = start_daemon("--workers", "1", hosts=("files.test",))
    page = open_page(daemon.url.replace("127.0.0.1", "files.test"))
    assert False is page.evaluate("() => isSecureContext")
    choose(page, named("poem.txt", b"roses"))
    page.get_by_role("button", name="Copy link").click()
    page.locator("#fetch-hash").press("Control+V")
    expect(page.locator("#fetch-hash")).to_have_value(f"{page.url}files/{sha256(b'roses')}?name=poem.txt")


def test_text_is_shown_for_copying_when_the_browser_refuses(visit, daemon):
    page = visit()
    choose(page, named("poem.txt", b"roses"))
    page.evaluate(REFUSE_COPYING)
    button = page.get_by_role("button", name="Copy link")
    button.click()
    shown = page.get_by_role("dialog").get_by_label("Copy the text yourself")
    expect(shown).to_have_value(f"{daemon.url}files/{sha256(b'roses')}?name=poem.txt")
    expect(shown).to_be_focused()
    assert shown.input_value() == page.evaluate("() => getSelection().toString()")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


# --- equal contents ------------------------------------------------------------------------------


def test_files_with_equal_bytes_have_a_row_each(visit):
    page = visit()
    choose(page, named("one.txt", b"same"))
    expect(row(page, "one.txt").locator(".state")).to_have_text("Stored")
    choose(page, named("two.txt", b"same"))
    expect(row(page, "two.txt").locator(".state")).to_have_text("Same content as one.txt")
    expect(row(page, "two.txt").locator(".hash")).to_have_text(sha256(b"same"))
    page.get_by_role("button", name="Forget: one.txt").click()
    expect(row(page, "two.txt").locator(".state")).to_have_text("Stored")


def test_equal_files_of_one_drop_refer_to_the_first(visit):
    page = visit()
    drop(page, *[(f"{number}.txt", "same") for number in range(4)])
    expect(page.locator("#file-list .hash:visible")).to_have_count(4)
    expect(page.locator("#file-list .state")).to_have_text(["Stored", *["Same content as 0.txt"] * 3])
    page.reload()
    expect(page.locator("#file-list .state")).to_have_text(["Stored", *["Same content as 0.txt"] * 3])


def test_deleted_file_is_marked_in_all_of_its_rows_until_it_is_stored_again(visit, daemon):
    page = visit()
    choose(page, named("one.txt", b"same"), named("two.txt", b"same"))
    page.get_by_role("button", name="Delete: two.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for _ in range(2):
        expect(page.locator("#file-list .state")).to_have_text(["Deleted from the server"] * 2)
        assert ["Forget"] == button_names(row(page, "one.txt"))
        page.reload()
    assert 404 == status(f"{daemon.url}files/{sha256(b'same')}")
    choose(page, named("three.txt", b"same"))
    expect(row(page, "one.txt").locator(".state")).to_have_text("Stored")
    expect(row(page, "two.txt").locator(".state")).to_have_text("Same content as one.txt")
