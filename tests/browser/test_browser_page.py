"""The page itself: its words and colours, for keys and for ears, and without scripts."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.needs("chromium")

LEAST_CONTRAST = 4.5
"""The ratio that WCAG 2.2 asks of text, success criterion 1.4.3."""

CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const channels = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (color) => channels(color).slice(0, 3)
        .map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    const ground = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return channels(color)[3] || !element.parentElement ? color : ground(element.parentElement);
    };
    return [...document.querySelectorAll("body *")]
        .filter((element) => element.checkVisibility() && [...element.childNodes]
            .some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
        .map((element) => {
            const pair = [getComputedStyle(element).color, ground(element)].map(luminance);
            return [element.textContent.trim(), (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)];
        });
}"""

TEXTS = "async () => (await import('/static/texts.js')).TEXTS"
KEYS = """() => ["text", "label", "placeholder"].flatMap((kind) => {
    const places = [document, ...[...document.querySelectorAll("template")].map((each) => each.content)];
    return places.flatMap((place) => [...place.querySelectorAll(`[data-${kind}]`)]).map((element) => {
        const shown = { text: element.textContent, label: element.getAttribute("aria-label") };
        return [element.dataset[kind], shown[kind] ?? element.placeholder];
    });
})"""

PHRASE = """async ([key, count]) =>
    (await import('/static/language.js')).phrase(key, { count: () => count })"""

GROUND = "() => getComputedStyle(document.body).backgroundColor"
DURATIONS = "() => [...document.querySelectorAll('*')].map((one) => getComputedStyle(one).transitionDuration)"
OUTLINE = "(element) => getComputedStyle(element).outlineStyle"
WIDTHS = "() => [document.documentElement.scrollWidth, innerWidth]"
UNNAMED = re.compile(r"- (button|link|textbox|tab|img|progressbar|list|dialog)( *\[|:|$)", re.MULTILINE)


def forms(text):
    """Return the plural forms of a text."""
    return [text] if isinstance(text, str) else text.values()


def choose(page, name="poem.txt", content=b"roses"):
    page.set_input_files("#file-input", [{"name": name, "mimeType": "text/plain", "buffer": content}])
    expect(page.locator("#file-list .hash").first).to_be_visible()


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def tab_to(page, locator):
    """Go there with the Tab key alone."""
    for _ in range(40):
        press(page, "Tab")
        if locator.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError("the Tab key does not lead there")


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "language", "words"),
    [
        ("en-GB", "en", "Drop files here, or choose them"),
        ("ru-RU", "ru", "Перетащите файлы сюда или выберите их"),
        ("fr-FR", "en", "Drop files here, or choose them"),
    ],
)
def test_the_page_speaks_the_language_of_the_browser(open_page, daemon, locale, language, words):
    page = open_page(daemon.url, locale=locale)
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", language)


def test_the_language_is_switched_at_once_everywhere_and_for_good(open_page, daemon):
    page = open_page(daemon.url)
    choose(page)
    page.get_by_role("button", name="Русский").click()
    for words in ("Файлы", "Сохранён", "Копировать хэш", "Есть хэш?", "Описание API"):
        expect(page.get_by_text(words, exact=True).first).to_be_visible()
    expect(page.locator("#file-list .size")).to_have_text("5 байт")
    expect(page.get_by_role("button", name="Удалить: poem.txt")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("tab", name="Files")).to_be_visible()


def test_no_word_of_the_other_language_is_left(open_page, daemon):
    page = open_page(daemon.url, locale="ru-RU")
    choose(page)
    page.evaluate("() => document.querySelector('.languages').remove()")
    seen = " ".join(page.locator("main, header, .tabs").all_inner_texts()).replace("poem.txt", "")
    assert ["filestored"] == re.findall(r"\b[A-Za-z]{3,}\b", seen)


def test_both_languages_say_the_same_things_with_the_same_gaps(open_page, daemon):
    texts = open_page(daemon.url).evaluate(TEXTS)
    assert list(texts["en"]) == list(texts["ru"])
    for key, text in texts["en"].items():
        gaps = {tuple(sorted(re.findall(r"\{\w+\}", form))) for form in forms(text)}
        assert gaps == {tuple(sorted(re.findall(r"\{\w+\}", form))) for form in forms(texts["ru"][key])}, key


def test_texts_with_a_number_have_all_plural_forms_of_their_language(open_page, daemon):
    texts = open_page(daemon.url).evaluate(TEXTS)
    plural = [key for key, text in texts["en"].items() if isinstance(text, dict)]
    assert len(plural) > 5
    for key in plural:
        assert ["one", "other"] == list(texts["en"][key]), key
        assert ["one", "few", "many", "other"] == list(texts["ru"][key]), key


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "Сохранён 1 файл"),
        (2, "Сохранены 2 файла"),
        (5, "Сохранено 5 файлов"),
        (11, "Сохранено 11 файлов"),
        (21, "Сохранён 21 файл"),
        (5000, "Сохранено 5\u00a0000 файлов"),
        (12345, "Сохранено 12\u00a0345 файлов"),
    ],
)
def test_russian_plural_follows_the_number(open_page, daemon, count, said):
    page = open_page(daemon.url, locale="ru-RU")
    assert said == page.evaluate(PHRASE, ["all_stored", count])


def test_what_stands_in_the_document_is_what_the_module_says(open_page, daemon):
    page = open_page(daemon.url)
    texts = page.evaluate(TEXTS)["en"]
    without = open_page(daemon.url, java_script_enabled=False)
    for key, shown in without.evaluate(KEYS):
        if key not in ("show", "hide"):
            assert texts[key] == " ".join((shown or "").split()) or not shown, key


# --- looks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["", "#images"])
def test_all_text_is_easy_to_read_in_light_and_dark(open_page, daemon, scheme, place):
    page = open_page(daemon.url + place, color_scheme=scheme)
    if not place:
        choose(page)
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 8
    assert [] == [pair for pair in contrasts if pair[1] < LEAST_CONTRAST]


def test_dark_is_dark_and_light_is_light(open_page, daemon):
    grounds = [open_page(daemon.url, color_scheme=scheme).evaluate(GROUND) for scheme in ("light", "dark")]
    light, dark = ([int(value) for value in re.findall(r"\d+", ground)] for ground in grounds)
    assert min(light) > 200
    assert max(dark) < 50


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_is_wider_than_the_window(open_page, daemon, locale, width):
    page = open_page(daemon.url, locale=locale, viewport={"width": width, "height": 800})
    choose(page, "a-name-that-is-much-longer-than-any-window-is-wide" * 5)
    for tab in page.get_by_role("tab").all():
        tab.click()
        needed, there = page.evaluate(WIDTHS)
        assert needed <= there


def test_nothing_moves_for_those_who_do_not_want_it(open_page, daemon):
    page = open_page(daemon.url, reduced_motion="reduce")
    durations = page.evaluate(DURATIONS)
    assert {"0s"} == set(durations)


# --- keys and ears -------------------------------------------------------------------------------


def test_a_file_is_uploaded_and_deleted_with_the_keyboard_alone(open_page, daemon):
    page = open_page(daemon.url)
    poem = {"name": "poem.txt", "mimeType": "text/plain", "buffer": b"roses"}
    page.on("filechooser", lambda chooser: chooser.set_files([poem]))
    tab_to(page, page.locator("#file-input"))
    press(page, "Enter")
    expect(page.locator("#file-list .hash")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Delete: poem.txt"))
    press(page, "Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "Escape")
    expect(page.get_by_role("button", name="Delete: poem.txt")).to_be_focused()
    press(page, "Enter", "Tab", "Enter")
    expect(page.locator("#file-list .state")).to_have_text("Deleted from the server")
    expect(page.get_by_role("button", name="Forget: poem.txt")).to_be_focused()
    press(page, "Enter")
    expect(page.locator("#file-list > li")).to_have_count(0)
    expect(page.locator("#file-input")).to_be_focused()


def test_arrows_move_between_the_tabs(open_page, daemon):
    page = open_page(daemon.url)
    tab_to(page, page.get_by_role("tab", name="Files"))
    moves = {"ArrowRight": "Images", "ArrowLeft": "Files", "End": "Images", "Home": "Files"}
    for key, name in moves.items():
        press(page, key)
        expect(page.get_by_role("tab", name=name)).to_be_focused()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        expect(page.get_by_role("tabpanel")).to_have_count(1)


def test_the_focus_is_seen(open_page, daemon):
    page = open_page(daemon.url)
    for place in ("#tab-files", "#fetch-hash", "#fetch-form button"):
        tab_to(page, page.locator(place))
        assert "solid" == page.locator(place).evaluate(OUTLINE)
    page.reload()
    tab_to(page, page.locator("#file-input"))
    assert "solid" == page.locator("#file-form").evaluate(OUTLINE)


def test_everything_that_can_be_pressed_or_filled_has_a_name(open_page, daemon):
    page = open_page(daemon.url)
    choose(page)
    for tab in page.get_by_role("tab").all():
        tab.click()
        snapshot = page.locator("body").aria_snapshot()
        assert "tabpanel" in snapshot
        assert None is UNNAMED.search(snapshot), snapshot


def test_what_happens_is_announced(open_page, daemon):
    page = open_page(daemon.url)
    choose(page)
    expect(page.locator("#announcement")).to_have_text("poem.txt is stored.")
    expect(page.locator("#announcement")).to_have_attribute("aria-live", "polite")


# --- without scripts -----------------------------------------------------------------------------


def test_without_scripts_a_file_is_uploaded_by_a_plain_form(open_page, daemon):
    page = open_page(daemon.url, java_script_enabled=False)
    expect(page.get_by_role("tab")).to_have_count(0)
    page.set_input_files("#file-input", [{"name": "x.txt", "mimeType": "text/plain", "buffer": b"roses"}])
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("body")).to_have_text(
        "0515aa086a21d9b65d30b41aeb325de3783a40bd9f93ecb3110ef4845aa4848f"
    )


def test_without_scripts_a_file_is_fetched_by_its_hash(open_page, daemon):
    page = open_page(daemon.url, java_script_enabled=False)
    page.set_input_files("#file-input", [{"name": "x.txt", "mimeType": "text/plain", "buffer": b"roses"}])
    page.get_by_role("button", name="Upload").click()
    name = page.locator("body").inner_text().strip()
    page.goto(daemon.url)
    page.fill("#fetch-hash", name)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Find").click()
    with open(downloading.value.path(), "rb") as file:
        assert b"roses" == file.read()
