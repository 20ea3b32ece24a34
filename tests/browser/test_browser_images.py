"""Images on the page: an account, its token, its gallery."""

import json
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import choose_images, loaded_size, picture, sign_in, tile

pytestmark = pytest.mark.needs("chromium")

LARGEST_THUMBNAIL = 480
"""Pixels: what the page asks for."""

STORED = (
    "() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.documentElement.outerHTML]"
)


RED, GREEN, BLUE = (
    picture(f"{color}.png", color, size)
    for color, size in (("red", (1200, 900)), ("green", (900, 1200)), ("blue", (40, 30)))
)


@pytest.fixture
def log_in(open_page, daemon):
    """A function that opens the page and makes an account, or opens the one there is."""

    def log_in(button="Create", name="marta", **options):
        page = open_page(f"{daemon.url}#images", **options)
        sign_in(page, button, name)
        return page

    return log_in


def names(page):
    return page.locator("#gallery .name").all_text_contents()


def get_token(page):
    return json.loads(page.evaluate("() => sessionStorage.getItem('filestored.account')"))["token"]


def test_an_account_is_made_and_its_images_are_shown_as_thumbnails(log_in):
    page = log_in()
    expect(page.locator("#account-title")).to_have_text("marta")
    expect(page.locator("#gallery-empty")).to_be_visible()
    choose_images(page, RED, GREEN, BLUE)
    expect(page.locator("#gallery > li")).to_have_count(3)
    assert ["blue.png", "green.png", "red.png"] == names(page)
    expect(page.locator("#image-uploads > li")).to_have_count(0)
    assert [LARGEST_THUMBNAIL, 360] == loaded_size(page, "red.png")
    assert [40, 30] == loaded_size(page, "blue.png")


def test_an_image_is_shown_whole_where_there_is_no_thumbnail(log_in):
    page = log_in()
    page.route("**/*?width=*", lambda route: route.abort())
    choose_images(page, RED)
    expect(tile(page, "red.png")).to_be_visible()
    assert [1200, 900] == loaded_size(page, "red.png")


@pytest.mark.parametrize(
    ("button", "name", "said"),
    [
        ("Create", "marta", "An account of that name exists already."),
        ("Open", "nobody", "There is no account of that name."),
    ],
)
def test_a_name_that_does_not_do_is_told_in_words(log_in, open_page, daemon, button, name, said):
    log_in()
    page = open_page(f"{daemon.url}#images")
    page.fill("#account-name", name)
    page.get_by_role("button", name=button, exact=True).first.click()
    expect(page.locator("#account-state")).to_have_text(said)
    expect(page.locator("#account")).to_be_hidden()


def test_the_same_account_is_opened_from_elsewhere_by_name_and_by_token(log_in, open_page, daemon):
    first = log_in()
    choose_images(first, RED)
    expect(tile(first, "red.png")).to_be_visible()
    expect(tile(log_in("Open"), "red.png")).to_be_visible()
    page = open_page(f"{daemon.url}#images")
    page.get_by_text("I have a token").click()
    page.fill("#token-input", get_token(first))
    page.get_by_role("button", name="Open", exact=True).last.click()
    expect(tile(page, "red.png")).to_be_visible()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({**BLUE, "buffer": b"no image at all"}, "This image format is not supported."),
        ({**BLUE, "buffer": RED["buffer"][:200]}, "This image format is not supported."),
        ({**BLUE, "name": "red.png"}, "That name is taken already."),
    ],
)
def test_an_image_that_is_refused_is_told_in_words_and_the_others_stay(log_in, image, said):
    page = log_in()
    choose_images(page, RED)
    expect(tile(page, "red.png")).to_be_visible()
    choose_images(page, image)
    expect(page.locator("#image-uploads .state")).to_have_text(said)
    assert ["red.png"] == names(page)


def test_an_image_is_downloaded_with_equal_bytes_and_its_name(log_in):
    page = log_in()
    choose_images(page, {**RED, "name": "закат.png"})
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download: закат.png").click()
    assert "закат.png" == downloading.value.suggested_filename
    with open(downloading.value.path(), "rb") as file:
        assert RED["buffer"] == file.read()


def test_an_image_that_is_gone_is_told_in_words(log_in):
    page, elsewhere = log_in(), log_in("Open")
    choose_images(page, RED)
    loaded_size(page, "red.png")
    elsewhere.reload()
    elsewhere.get_by_role("button", name="Delete: red.png").click()
    elsewhere.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(elsewhere.locator("#gallery-empty")).to_be_visible()
    for action in ("Download: red.png", "Show red.png in full"):
        page.get_by_role("button", name=action).click()
        expect(page.locator("#account-state")).to_have_text("The server does not have this any more.")


def test_an_image_is_replaced_and_keeps_its_id(log_in):
    page = log_in()
    page.on("filechooser", lambda chooser: chooser.set_files([BLUE]))
    choose_images(page, RED)
    before = tile(page, "red.png").locator(".id").text_content()
    page.get_by_role("button", name="Replace: red.png").click()
    expect(tile(page, "blue.png")).to_be_visible()
    expect(tile(page, "blue.png").locator(".id")).to_have_text(before)
    expect(page.locator("#gallery img")).to_have_js_property("naturalWidth", 40)
    assert ["blue.png"] == names(page)


def test_an_image_is_deleted(log_in):
    page = log_in()
    choose_images(page, RED, BLUE)
    page.get_by_role("button", name="Delete: red.png").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#gallery > li")).to_have_count(1)
    page.reload()
    expect(tile(page, "blue.png")).to_be_visible()
    assert ["blue.png"] == names(page)


def test_an_image_is_looked_at_with_the_keyboard(log_in):
    page = log_in()
    choose_images(page, RED)
    shown = page.get_by_role("button", name="Show red.png in full")
    shown.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="red.png")).to_be_visible()
    expect(page.locator("#viewer-image")).to_have_js_property("naturalWidth", 1200)
    page.keyboard.press("Escape")
    expect(shown).to_be_focused()


def test_the_token_is_in_the_tab_only(log_in, open_page, daemon):
    page = log_in()
    choose_images(page, RED)
    loaded_size(page, "red.png")
    token = get_token(page)
    tab, browser, document = page.evaluate(STORED)
    assert (True, False, False, False) == tuple(token in each for each in (tab, browser, document, page.url))
    page.reload()
    expect(tile(page, "red.png")).to_be_visible()
    expect(open_page(f"{daemon.url}#images").locator("#account-form")).to_be_visible()


def test_the_token_is_shown_and_copied_when_asked_for(log_in):
    page = log_in(permissions=["clipboard-read", "clipboard-write"])
    token = get_token(page)
    expect(page.locator("#account-token")).not_to_have_text(token)
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#account-token")).to_have_text(token)
    page.get_by_role("button", name="Hide", exact=True).click()
    expect(page.locator("#account-token")).not_to_have_text(token)
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert token == page.evaluate("() => navigator.clipboard.readText()")


def test_a_new_token_ends_the_old_one_at_once(log_in):
    page, elsewhere = log_in(), log_in("Open")
    old = get_token(page)
    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog").get_by_role("button", name="New token").click()
    expect(page.locator("#account-state")).to_have_text("The account has a new token.")
    assert old != get_token(page)
    choose_images(page, BLUE)
    expect(tile(page, "blue.png")).to_be_visible()
    choose_images(elsewhere, RED)
    expect(elsewhere.locator("#account-state")).to_have_text("This token is not valid any more.")
    expect(elsewhere.locator("#account")).to_be_hidden()


def test_leaving_forgets_the_token_and_the_images(log_in):
    page = log_in()
    choose_images(page, RED)
    expect(tile(page, "red.png")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#account-name")).to_be_focused()
    expect(page.locator("#gallery > li")).to_have_count(0)
    assert None is page.evaluate("() => sessionStorage.getItem('filestored.account')")


def test_the_gallery_speaks_russian(log_in):
    page = log_in("Создать", locale="ru-RU")
    choose_images(page, RED)
    expect(page.get_by_role("button", name="Заменить: red.png")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Replace: red.png")).to_be_visible()
    expect(page.get_by_role("button", name="Show red.png in full")).to_be_visible()


def test_the_token_of_the_page_is_that_of_the_api(log_in, daemon):
    page = log_in()
    with urllib.request.urlopen(f"{daemon.url}imageapi/retrieve-token/marta/") as answer:
        assert {"marta": get_token(page)} == json.load(answer)


def test_a_list_that_comes_late_hides_nothing(log_in):
    page = log_in()
    held = []
    page.route("**/get-image-list/", lambda route: route.continue_() if held else held.append(route))
    choose_images(page, RED)
    expect(page.locator("#image-uploads > li")).to_have_count(0)
    choose_images(page, BLUE)
    expect(page.locator("#gallery > li")).to_have_count(2)
    with page.expect_response("**/get-image-list/"):
        held[0].fulfill(json={})
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")
    assert ["blue.png", "red.png"] == names(page)
