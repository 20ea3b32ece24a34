"""Refused uploads: actions that can succeed, reasons in words, files that wait for an account."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import (
    button_names,
    choose,
    choose_images,
    drop,
    loaded_size,
    named,
    picture,
    row,
    sha256,
    sign_in,
    tile,
)

pytestmark = pytest.mark.needs("chromium")

RED = picture("red.png", "red")
BLUE = picture("blue.png", "blue", (40, 30))


@pytest.fixture
def log_in(open_page, daemon):
    """A function that opens the page and creates an account."""

    def log_in(button="Create", **options):
        page = open_page(f"{daemon.url}#images", **options)
        sign_in(page, button)
        return page

    return log_in


def refuse(page, status, path="", body="", **headers):
    """Answer uploads to this path in place of the server."""
    page.route(
        lambda url: url.endswith(f"/{path}"),
        lambda route: (
            route.fulfill(status=status, headers=headers, body=body)
            if route.request.method in ("POST", "PATCH")
            else route.fallback()
        ),
    )


def upload_row(page):
    return page.locator("#image-uploads > li")


# --- "Try again" -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 409, 413, 415, 422, 501])
def test_refusal_that_stays_offers_no_second_try(open_page, daemon, status):
    page = open_page(daemon.url)
    refuse(page, status)
    choose(page, named("poem.txt", b"roses"))
    expect(page.locator("#file-list .failed")).to_be_visible()
    assert ["Dismiss"] == button_names(row(page, "poem.txt"))


def test_page_of_a_proxy_with_status_200_is_no_success_and_the_queue_goes_on(open_page, daemon):
    page = open_page(daemon.url)
    refuse(page, 200, body="<title>Sign in</title>")
    choose(page, *[named(f"{number}.txt", bytes([number])) for number in range(7)])
    expect(page.locator("#file-list .failed")).to_have_count(7)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_refusal_that_passes_offers_a_second_try(open_page, daemon, status):
    page = open_page(daemon.url)
    refuse(page, status)
    choose(page, named("poem.txt", b"roses"))
    expect(page.locator("#file-list .failed")).to_be_visible()
    assert ["Try again", "Dismiss"] == button_names(row(page, "poem.txt"))
    page.unroute_all()
    row(page, "poem.txt").get_by_role("button", name="Try again").click()
    expect(row(page, "poem.txt").locator(".hash")).to_have_text(sha256(b"roses"))


@pytest.mark.parametrize(
    ("status", "english", "russian"),
    [
        (413, "The file is larger than this server accepts.", "Файл больше, чем принимает этот сервер."),
        (507, "The server's disk is full.", "На диске сервера нет места."),
        (500, "Internal error of the server.", "Внутренняя ошибка сервера."),
        (502, "A proxy got no answer from the server.", "Прокси не получил ответа от сервера."),
        (418, "The server answered 418.", "Сервер ответил: 418."),
    ],
)
def test_reason_of_a_refusal_is_said_in_the_language_of_the_page(open_page, daemon, status, english, russian):
    page = open_page(daemon.url)
    refuse(page, status)
    choose(page, named("poem.txt", b"roses"))
    expect(row(page, "poem.txt").locator(".state")).to_have_text(english)
    page.get_by_role("button", name="Русский").click()
    expect(row(page, "poem.txt").locator(".state")).to_have_text(russian)


# --- images --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "english", "russian"),
    [
        (
            406,
            "Not an image",
            "This image format is not supported.",
            "Такой формат изображения не поддерживается.",
        ),
        (
            406,
            "HEIC needs the extra filestored[heic]",
            "This server does not support HEIC. Convert the image to JPEG.",
            "Этот сервер не поддерживает HEIC. Преобразуйте изображение в JPEG.",
        ),
        (
            413,
            "Too many pixels",
            "The image has more bytes or pixels than this server accepts.",
            "В изображении больше байтов или пикселей, чем принимает этот сервер.",
        ),
    ],
)
def test_image_that_cannot_be_stored_is_only_dismissed(log_in, status, reason, english, russian):
    page = log_in()
    refuse(page, status, "upload-image/", json.dumps(reason))
    choose_images(page, RED)
    expect(upload_row(page).locator(".state")).to_have_text(english)
    assert ["Dismiss"] == button_names(upload_row(page))
    page.get_by_role("button", name="Русский").click()
    expect(upload_row(page).locator(".state")).to_have_text(russian)
    page.get_by_role("button", name="Убрать: red.png").click()
    expect(upload_row(page)).to_have_count(0)


@pytest.fixture
def taken(log_in):
    """A function that opens an account with red.png, and uploads another image of that name."""

    def upload():
        page = log_in()
        choose_images(page, RED)
        expect(tile(page, "red.png")).to_be_visible()
        choose_images(page, {**BLUE, "name": "red.png"})
        expect(upload_row(page).locator(".state")).to_have_text("That name is taken already.")
        assert ["Rename", "Replace that one", "Dismiss"] == button_names(upload_row(page))
        return page

    return upload


def test_image_whose_name_is_taken_is_uploaded_under_another_name(taken):
    page = taken()
    page.get_by_role("button", name="Rename: red.png").click()
    name = page.get_by_role("dialog").get_by_role("textbox")
    expect(name).to_have_value("red (2).png")
    name.press_sequentially("blue")
    name.press("Enter")
    expect(page.locator("#gallery .name")).to_have_text(["blue.png", "red.png"])
    expect(upload_row(page)).to_have_count(0)
    assert [40, 30] == loaded_size(page, "blue.png")


def test_renaming_can_be_cancelled_and_a_taken_name_is_refused_again(taken):
    page = taken()
    page.get_by_role("button", name="Rename: red.png").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Rename: red.png")).to_be_focused()
    page.get_by_role("button", name="Rename: red.png").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("red.png")
    page.get_by_role("dialog").get_by_role("button", name="Upload").click()
    expect(upload_row(page)).to_have_count(1)
    expect(upload_row(page).locator(".state")).to_have_text("That name is taken already.")


def test_image_whose_name_is_taken_replaces_the_stored_one_after_a_question(taken):
    page = taken()
    before = tile(page, "red.png").locator(".id").text_content()
    for answer in ("Cancel", "Replace"):
        page.get_by_role("button", name="Replace that one: red.png").click()
        dialog = page.get_by_role(
            "dialog", name="Replace red.png? The image that is stored now will be lost."
        )
        dialog.get_by_role("button", name=answer).click()
    expect(upload_row(page)).to_have_count(0)
    expect(tile(page, "red.png").locator("img")).to_have_js_property("naturalWidth", 40)
    expect(tile(page, "red.png").locator(".id")).to_have_text(before)


def test_replacement_whose_name_another_image_has_is_renamed(log_in):
    page = log_in()
    choose_images(page, RED, BLUE)
    expect(page.locator("#gallery > li")).to_have_count(2)
    page.on("filechooser", lambda chooser: chooser.set_files([{**BLUE, "name": "red.png"}]))
    page.get_by_role("button", name="Replace: blue.png").click()
    expect(upload_row(page).locator(".state")).to_have_text("That name is taken already.")
    assert ["Rename", "Dismiss"] == button_names(upload_row(page))
    page.get_by_role("button", name="Rename: red.png").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#gallery .name")).to_have_text(["red (2).png", "red.png"])


# --- files that wait for an account ----------------------------------------------------------------------


@pytest.mark.parametrize("button", ["Create", "Open"])
def test_images_that_are_dropped_without_an_account_wait_for_it(log_in, open_page, daemon, button):
    if button == "Open":
        log_in()
    page = open_page(f"{daemon.url}#images")
    drop(page, ("red.txt", "no image"), ("blue.txt", "no image"))
    expect(page.locator("#images-waiting-state")).to_have_text(
        "2 files are waiting. Open or create an account to upload them."
    )
    expect(page.locator("#account-name")).to_be_focused()
    sign_in(page, button)
    expect(page.locator("#images-waiting")).to_be_hidden()
    expect(page.locator("#image-uploads .name")).to_have_text(["red.txt", "blue.txt"])
    expect(page.locator("#image-uploads .failed")).to_have_count(2)


def test_images_that_wait_are_given_up_by_a_button(open_page, daemon):
    page = open_page(f"{daemon.url}#images", locale="ru-RU")
    drop(page, ("red.txt", "no image"))
    expect(page.locator("#images-waiting-state")).to_contain_text("1 файл ждёт загрузки.")
    drop(page, *[(f"{number}.txt", "no image") for number in range(4)])
    expect(page.locator("#images-waiting-state")).to_contain_text("5 файлов ждут загрузки.")
    page.locator("#images-waiting-cancel").click()
    expect(page.locator("#images-waiting")).to_be_hidden()
    sign_in(page, "Создать")
    expect(upload_row(page)).to_have_count(0)


def test_images_wait_when_their_token_is_no_longer_valid(log_in):
    page, elsewhere = log_in(), log_in("Open")
    elsewhere.get_by_role("button", name="New token").click()
    elsewhere.get_by_role("dialog").get_by_role("button", name="New token").click()
    expect(elsewhere.locator("#account-state")).to_have_text("The account has a new token.")
    choose_images(page, RED, BLUE)
    expect(page.locator("#account-state")).to_have_text("This token is not valid any more.")
    expect(page.locator("#images-waiting-state")).to_contain_text("2 files are waiting.")
    sign_in(page, "Open")
    expect(page.locator("#gallery .name")).to_have_text(["blue.png", "red.png"])


# --- staying signed in -----------------------------------------------------------------------------------


def test_account_stays_open_on_this_device_only_when_asked(open_page, daemon):
    page = open_page(f"{daemon.url}#images")
    sign_in(page)
    assert None is page.evaluate("() => localStorage.getItem('filestored.account')")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Keep me signed in on this device").check()
    sign_in(page, "Open")
    other = page.context.new_page()
    page.close()
    other.goto(f"{daemon.url}#images")
    expect(other.locator("#account-title")).to_have_text("marta")


def test_signing_out_in_one_tab_signs_out_in_all(open_page, daemon):
    page = open_page(f"{daemon.url}#images")
    page.get_by_label("Keep me signed in on this device").check()
    sign_in(page)
    other = page.context.new_page()
    other.goto(f"{daemon.url}#images")
    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog").get_by_role("button", name="New token").click()
    expect(page.locator("#account-state")).to_have_text("The account has a new token.")
    choose_images(other, BLUE)
    expect(tile(other, "blue.png")).to_be_visible()
    other.get_by_role("button", name="Sign out").click()
    expect(page.locator("#account-form")).to_be_visible()
    assert None is page.evaluate("() => localStorage.getItem('filestored.account')")


@pytest.mark.parametrize("text", ["{", "7", '{"token": 5}', '{"token": "../../files"}', "[]"])
def test_text_that_is_no_account_is_ignored(open_page, daemon, text):
    page = open_page(f"{daemon.url}#images")
    page.evaluate("(text) => localStorage.setItem('filestored.account', text)", text)
    page.reload()
    expect(page.locator("#account-form")).to_be_visible()
