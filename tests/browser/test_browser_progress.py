"""Progress of uploads: speed and time left, one line for all, folders, pauses, lost connections."""

import os
import re

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import (
    button_names,
    choose,
    drop,
    drop_path,
    named,
    picture,
    row,
    sha256,
    sign_in,
    slow_down,
    status,
)

pytestmark = pytest.mark.needs("chromium")

MAX_ROWS_OF_WAITING_FILES = 50
MANY = 2000

SPEEDS = """async (samples) => {
    const { Speed } = await import('/static/speed.js');
    const speed = new Speed();
    for (const [now, bytes] of samples) speed.add(now, bytes);
    return [speed.value, speed.seconds_for(1000)];
}"""
DURATIONS = """async (seconds) => {
    const { format_duration } = await import('/static/language.js');
    return seconds.map(format_duration);
}"""
WATCH_SENDING = """() => {
    window.sending = 0;
    new MutationObserver(() => {
        window.sending = Math.max(window.sending, document.querySelectorAll("#file-list .sending").length);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


@pytest.fixture
def album(tmp_path):
    """A folder with 257 files: more than browsers hand out at once, and folders in it."""
    folder = tmp_path / "album"
    for number in range(250):
        write(folder / f"{number:03}.txt", str(number))
    for place in ("2024", "2024/march", "2025"):
        write(folder / place / "note.txt", place)
    for name in ("a.png", "b.PNG", "c.heic", ".hidden"):
        write(folder / "2025" / name, name)
    (folder / "empty").mkdir()
    return str(folder)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def total(page):
    return page.locator("#all-state")


# --- speed and time left -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], [None, None]),
        ([[0, 0]], [None, None]),
        ([[0, 0], [400, 100]], [None, None]),
        ([[0, 0], [1000, 100]], [100, 10]),
        ([[0, 0], [1000, 100], [2000, 400]], [200, 5]),
        ([[0, 0], [1000, 9000], [6000, 9000], [7000, 9000]], [0, None]),
        ([[0, 500], [1000, 0]], [0, None]),
    ],
)
def test_speed_is_that_of_the_last_seconds(open_page, daemon, samples, expected):
    assert expected == open_page(daemon.url).evaluate(SPEEDS, samples)


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en-GB", ["1 sec", "59 sec", "1 min", "59 min", "1 hr 0 min", "27 hr 47 min"]),
        ("ru-RU", ["1 с", "59 с", "1 мин", "59 мин", "1 ч 0 мин", "27 ч 47 мин"]),
    ],
)
def test_time_is_shown_in_seconds_minutes_or_hours(open_page, daemon, locale, expected):
    shown = open_page(daemon.url, locale=locale).evaluate(DURATIONS, [0.2, 59.4, 60, 3540, 3600, 100_000])
    assert expected == [text.replace("\u00a0", " ") for text in shown]


def test_each_file_shows_its_speed_and_the_time_left(open_page, daemon):
    page = open_page(daemon.url)
    slow_down(page, 200_000)
    choose(page, named("long.bin", bytes(1_000_000)))
    expect(row(page, "long.bin").locator(".state")).to_have_text(
        re.compile(r"^[\d.]+ \w+ of 1 MB · \d+% · [\d.]+ kB/s · \d+ sec left$")
    )
    page.get_by_role("button", name="Русский").click()
    expect(row(page, "long.bin").locator(".state")).to_have_text(
        re.compile(r"^[\d,]+\s\S+ из 1\sМБ · \d+\s% · [\d,]+\sкБ/[cс] · осталось \d+\sс$")
    )
    expect(page.locator("#all-uploads")).to_be_hidden()


def test_one_line_shows_the_progress_of_all_files(open_page, daemon):
    page = open_page(daemon.url)
    slow_down(page, 300_000)
    choose(page, *[named(f"{number}.bin", bytes([number]) * 400_000) for number in range(3)])
    expect(total(page)).to_have_text(re.compile(r"^\d of 3 files · \d+% · [\d.]+ (kB|MB)/s · \d+ sec left$"))
    expect(page.locator("#all-progress")).to_be_visible()
    slow_down(page, -1)
    expect(total(page)).to_have_text("3 files are stored")
    expect(page.locator("#all-progress")).to_be_hidden()


def test_progress_is_not_announced_but_begin_and_end_are(open_page, daemon):
    page = open_page(daemon.url)
    page.evaluate("""() => {
        window.said = [];
        const place = document.querySelector("#announcement");
        new MutationObserver(() => window.said.push(place.textContent)).observe(place, { childList: true });
    }""")
    drop(page, *[(f"{number}.txt", f"{number}") for number in range(30)])
    expect(total(page)).to_have_text("30 files are stored")
    assert ["Uploading 30 files", "30 files are stored"] == page.evaluate("() => window.said")
    expect(page.locator("#all-uploads [aria-live], #all-uploads [role=status]")).to_have_count(0)


# --- many files --------------------------------------------------------------------------------------


def test_thousands_of_files_have_few_rows_and_are_cancelled_at_once(open_page, daemon):
    page = open_page(daemon.url)
    page.route(daemon.url, lambda route: None if route.request.method == "POST" else route.fallback())
    drop(page, *[(f"{number}.txt", f"{number}") for number in range(MANY)])
    expect(total(page)).to_contain_text("0 of 2,000 files")
    expect(page.locator("#file-list > li")).to_have_count(MAX_ROWS_OF_WAITING_FILES)
    page.get_by_role("button", name="Cancel all").click()
    expect(total(page)).to_have_text("2,000 files are not stored")
    expect(page.locator("#file-list > li")).to_have_count(MAX_ROWS_OF_WAITING_FILES)
    page.get_by_role("button", name="Dismiss all").click()
    expect(page.locator("#file-list > li")).to_have_count(0)
    assert not os.path.exists(os.path.join(daemon.store, sha256(b"0")[:2], sha256(b"0")))


def test_cancelled_files_are_all_tried_again(open_page, daemon):
    page = open_page(daemon.url)
    slow_down(page, 50_000)
    choose(page, *[named(f"{number}.bin", bytes([number]) * 100_000) for number in range(5)])
    row(page, "4.bin").get_by_role("button", name="Cancel").click()
    expect(row(page, "4.bin").locator(".state")).to_have_text("Cancelled")
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator("#file-list .cancelled")).to_have_count(5)
    slow_down(page, -1)
    page.get_by_role("button", name="Try all again").click()
    expect(total(page)).to_have_text("5 files are stored")
    expect(page.locator("#file-list .hash:visible")).to_have_count(5)


def test_three_files_are_sent_at_once(open_page, daemon):
    page = open_page(daemon.url)
    page.evaluate(WATCH_SENDING)
    drop(page, *[(f"{number}.txt", f"{number}") for number in range(20)])
    expect(total(page)).to_have_text("20 files are stored")
    assert 3 == page.evaluate("() => window.sending")


# --- folders -----------------------------------------------------------------------------------------


def test_all_files_of_a_chosen_folder_are_uploaded(open_page, daemon, album):
    page = open_page(daemon.url)
    expect(page.get_by_role("button", name="Choose a folder")).to_be_visible()
    page.set_input_files("#folder-input", album)
    expect(total(page)).to_have_text("257 files are stored", timeout=60_000)
    expect(row(page, "album/2024/march/note.txt").locator(".hash")).to_have_text(sha256(b"2024/march"))


def test_all_files_of_a_dropped_folder_are_uploaded(open_page, daemon, album):
    page = open_page(daemon.url)
    drop_path(page, album)
    expect(total(page)).to_have_text("257 files are stored", timeout=60_000)
    note = row(page, "album/2024/march/note.txt")
    expect(note.locator(".hash")).to_have_text(sha256(b"2024/march"))
    expect(note.locator(".download")).to_have_attribute("download", "note.txt")
    assert 200 == status(f"{daemon.url}files/{sha256(b'249')}")


def test_empty_folder_is_said_to_be_empty(open_page, daemon, album):
    page = open_page(daemon.url)
    drop_path(page, os.path.join(album, "empty"))
    expect(page.locator("#chosen-state")).to_have_text("There is no file in it.")
    drop(page, ("poem.txt", "roses"))
    expect(page.locator("#chosen-state")).to_be_empty()


def test_only_images_of_a_dropped_folder_become_images(open_page, daemon, album):
    page = open_page(f"{daemon.url}#images")
    sign_in(page)
    drop_path(page, os.path.join(album, "2025"))
    expect(page.locator("#chosen-state")).to_have_text(
        "2 files of the folder are not images and were left out."
    )
    expect(page.locator("#image-uploads .name")).to_have_text(["a.png", "b.PNG", "c.heic"])
    expect(page.locator("#image-uploads .failed")).to_have_count(3)


def test_images_of_a_chosen_folder_are_uploaded_under_their_names(open_page, daemon, tmp_path):
    for name in ("red", "blue"):
        path = tmp_path / "images to upload" / name / f"{name}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(name, name, (40, 30))["buffer"])
    page = open_page(f"{daemon.url}#images")
    sign_in(page)
    page.set_input_files("#image-folder-input", str(tmp_path / "images to upload"))
    expect(page.locator("#gallery .name")).to_have_text(["blue.png", "red.png"])


# --- busy servers and lost connections -----------------------------------------------------------------


def test_busy_server_is_tried_again_after_the_time_that_it_asks_for(open_page, daemon):
    page = open_page(daemon.url)
    busy = [{"Retry-After": "60"}, {"Retry-After": "1"}]
    page.clock.install()

    def answer(route):
        if route.request.method == "POST" and busy:
            route.fulfill(status=503, headers=busy.pop())
        else:
            route.fallback()

    page.route(daemon.url, answer)
    choose(page, named("poem.txt", b"roses"))
    state = row(page, "poem.txt").locator(".state")
    expect(state).to_have_text("The server is busy. Next try in 1 second.")
    assert ["Cancel"] == button_names(row(page, "poem.txt"))
    page.clock.run_for(1000)
    expect(state).to_have_text(re.compile(r"The server is busy\. Next try in (60|59) seconds\."))
    page.clock.run_for(30_000)
    expect(state).to_have_text(re.compile(r"The server is busy\. Next try in (30|29) seconds\."))
    page.clock.run_for(31_000)
    expect(row(page, "poem.txt").locator(".hash")).to_have_text(sha256(b"roses"))


def test_pause_of_a_busy_server_can_be_cancelled(open_page, daemon):
    page = open_page(daemon.url)
    busy = {"status": 503, "headers": {"Retry-After": "600"}}
    page.route(daemon.url, lambda route: route.fulfill(**busy))
    choose(page, named("poem.txt", b"roses"))
    row(page, "poem.txt").get_by_role("button", name="Cancel").click()
    expect(row(page, "poem.txt").locator(".state")).to_have_text("Cancelled")
    page.unroute_all()
    row(page, "poem.txt").get_by_role("button", name="Try again").click()
    expect(row(page, "poem.txt").locator(".state")).to_have_text("Stored")


def test_lost_connection_keeps_the_other_files_waiting(open_page, daemon):
    page = open_page(daemon.url)
    page.context.set_offline(True)
    drop(page, *[(f"{number}.txt", f"content {number}") for number in range(6)])
    expect(total(page)).to_have_text("No connection to the server. 3 files are waiting.")
    expect(row(page, "0.txt").locator(".state")).to_have_text("The server cannot be reached.")
    assert ["Try again", "Dismiss"] == button_names(row(page, "0.txt"))
    page.context.set_offline(False)
    row(page, "0.txt").get_by_role("button", name="Try again").click()
    expect(page.locator("#file-list .hash:visible")).to_have_count(4)
    page.get_by_role("button", name="Try all again").click()
    expect(page.locator("#file-list .hash:visible")).to_have_count(6)


def test_files_go_on_by_themselves_when_the_connection_is_back(open_page, daemon):
    page = open_page(daemon.url)
    page.context.set_offline(True)
    drop(page, *[(f"{number}.txt", f"content {number}") for number in range(5)])
    expect(total(page)).to_have_text("No connection to the server. 2 files are waiting.")
    page.context.set_offline(False)
    expect(page.locator("#file-list .hash:visible")).to_have_count(2, timeout=20_000)
