"""Files on the page, by mouse: chosen, dropped, found, downloaded, deleted."""

import re
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import choose, drop, named, row, sha256, slow_down, status

pytestmark = pytest.mark.needs("chromium")

WATCH_PROGRESS = """() => {
    window.shares = [];
    new MutationObserver(() => {
        const bar = document.querySelector("progress");
        if (bar) window.shares.push(bar.value);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""

ASK_AGAIN_AT_ONCE = """() => {
    const ask = () => {
        document.querySelector("#file-list .delete").click();
        return document.querySelector("dialog[open]");
    };
    ask().close();
    ask().querySelector(".danger").click();
}"""
"""In one turn, so that the first dialog has not told yet that it is closed when the second opens."""


def test_a_chosen_file_is_uploaded_and_its_hash_shown(open_page, daemon):
    page = open_page(daemon.url)
    choose(page, named("poem.txt", b"roses"))
    expect(row(page, "poem.txt").locator(".hash")).to_have_text(sha256(b"roses"))
    expect(row(page, "poem.txt").locator(".state")).to_have_text("Stored")
    assert status(f"{daemon.url}files/{sha256(b'roses')}") == 200


def test_several_files_are_dropped_at_once_and_keep_their_order(open_page, daemon):
    page = open_page(daemon.url)
    drop(page, *[(f"{number}.txt", f"content {number}") for number in range(5)])
    expect(page.locator("#file-list .hash:visible")).to_have_count(5)
    assert [f"{number}.txt" for number in range(5)] == page.locator("#file-list .name").all_text_contents()
    expect(row(page, "3.txt").locator(".hash")).to_have_text(sha256(b"content 3"))


def test_an_empty_file_is_a_file(open_page, daemon):
    page = open_page(daemon.url)
    choose(page, named("empty.txt", b""))
    expect(row(page, "empty.txt").locator(".hash")).to_have_text(sha256(b""))


def test_the_progress_of_an_upload_is_shown(open_page, daemon):
    page = open_page(daemon.url)
    page.evaluate(WATCH_PROGRESS)
    slow_down(page, 1_000_000)
    choose(page, named("long.bin", bytes(1_500_000)))
    expect(row(page, "long.bin").locator(".state")).to_have_text(re.compile(r"of 1\.5 MB · \d+%"))
    expect(row(page, "long.bin").locator(".hash")).to_be_visible(timeout=30_000)
    shares = page.evaluate("() => window.shares")
    assert any(0 < share < 1 for share in shares)
    assert shares == sorted(shares)


def test_a_cancelled_upload_leaves_nothing_and_can_be_tried_again(open_page, daemon):
    page = open_page(daemon.url)
    slow_down(page, 200_000)
    content = bytes(800_000)
    choose(page, named("long.bin", content))
    row(page, "long.bin").get_by_role("button", name="Cancel").click()
    expect(row(page, "long.bin").locator(".state")).to_have_text("Cancelled")
    assert status(f"{daemon.url}files/{sha256(content)}") == 404
    slow_down(page, -1)
    row(page, "long.bin").get_by_role("button", name="Try again").click()
    expect(row(page, "long.bin").locator(".hash")).to_have_text(sha256(content))


def test_an_upload_that_failed_is_dismissed(open_page, daemon):
    page = open_page(daemon.url)
    page.route(daemon.url, lambda route: route.abort() if route.request.method == "POST" else None)
    choose(page, named("late.txt", b"late"), named("later.txt", b"later"))
    for name in ("late.txt", "later.txt"):
        page.get_by_role("button", name=f"Dismiss: {name}").click()
    expect(page.locator("#file-list > li")).to_have_count(0)
    expect(page.locator("#file-input")).to_be_focused()


def test_a_file_that_is_too_large_is_refused_in_words(open_page, start_daemon):
    page = open_page(start_daemon("--workers", "1", "--max-size", "1KiB").url)
    choose(page, named("large.bin", bytes(2048)), named("small.bin", bytes(1024)))
    expect(row(page, "large.bin").locator(".state")).to_have_text(
        "The file is larger than this server accepts."
    )
    expect(row(page, "small.bin").locator(".state")).to_have_text("Stored")


def test_a_server_that_is_gone_is_told_in_words(open_page, start_daemon):
    daemon = start_daemon("--workers", "1")
    page = open_page(daemon.url)
    daemon.end()
    choose(page, named("late.txt", b"late"))
    expect(row(page, "late.txt").locator(".state")).to_have_text("The server cannot be reached.")


def test_file_that_another_client_stored_is_said_to_be_there(open_page, daemon):
    page = open_page(daemon.url)
    urllib.request.urlopen(daemon.url, b"same").close()
    choose(page, named("two.txt", b"same"))
    expect(row(page, "two.txt").locator(".state")).to_contain_text("Was stored already")


def test_a_file_is_downloaded_under_its_name_with_equal_bytes(open_page, daemon):
    page = open_page(daemon.url)
    content = bytes(range(256)) * 999
    choose(page, named("наряд №1.bin", content))
    with page.expect_download() as downloading:
        row(page, "наряд №1.bin").get_by_role("link", name="Download").click()
    assert "наряд №1.bin" == downloading.value.suggested_filename
    with open(downloading.value.path(), "rb") as file:
        assert content == file.read()


def test_a_file_is_deleted_when_the_question_is_answered_with_yes(open_page, daemon):
    page = open_page(daemon.url)
    choose(page, named("gone.txt", b"gone"))
    for answer, found, said in (("Cancel", 200, "Stored"), ("Delete", 404, "Deleted from the server")):
        row(page, "gone.txt").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_contain_text("Delete gone.txt for everybody")
        page.get_by_role("dialog").get_by_role("button", name=answer).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(row(page, "gone.txt").locator(".state")).to_have_text(said)
        assert status(f"{daemon.url}files/{sha256(b'gone')}") == found


def test_a_question_asked_at_once_again_is_not_answered_by_the_one_before(open_page, daemon):
    page = open_page(daemon.url)
    choose(page, named("gone.txt", b"gone"))
    expect(row(page, "gone.txt").get_by_role("button", name="Delete")).to_be_visible()
    page.evaluate(ASK_AGAIN_AT_ONCE)
    expect(row(page, "gone.txt").locator(".state")).to_have_text("Deleted from the server")
    expect(page.locator("dialog:has(.danger)")).to_have_count(0)
    assert status(f"{daemon.url}files/{sha256(b'gone')}") == 404


def test_a_file_is_found_by_its_hash(open_page, daemon):
    page = open_page(daemon.url)
    urllib.request.urlopen(daemon.url, b"roses").close()
    for text, said in (
        ("nonsense", "That is not a hash of this server."),
        (sha256(b"never"), "No file with this hash is stored."),
        (sha256(b"roses").upper(), "Found: it is in the list above."),
    ):
        page.fill("#fetch-hash", text)
        page.get_by_role("button", name="Find").click()
        expect(page.locator("#fetch-state")).to_have_text(said)
    expect(page.locator("#file-list .hash")).to_have_text(sha256(b"roses"))
    expect(page.locator("#file-list .size")).to_have_text("5 bytes")


def test_a_name_that_is_markup_is_shown_as_text(open_page, daemon):
    page = open_page(daemon.url)
    name = "<img src=x onerror=alert(1)>&amp;.txt"
    drop(page, (name, "x"))
    expect(page.locator("#file-list .name")).to_have_text(name)
    expect(page.locator("#file-list img")).to_have_count(0)
