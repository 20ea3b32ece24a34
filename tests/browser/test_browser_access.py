"""The page and the access file: tokens, buckets, rights, usage, the list of stored files, signed links."""

import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import expect

from tests.access.wire.access_files import Bucket, Token, access_text, make_secret, write_access
from tests.browser.axe_checks import LOOKS, RULES, Checks
from tests.browser.page_actions import button_names, choose, drop, named, row, sha256, status
from tests.daemon_process import TIMEOUT

pytestmark = pytest.mark.needs("chromium")

QUOTA = 1_000_000
ANNA = Token("anna", {"builds": ["read", "write", "delete", "list"], "photos": ["read", "list"]})
EMIL = Token("emil", {"builds": ["read"]})
LATER = Token("later", ANNA.buckets)
BUILDS = Bucket("builds", options=[f'quota = "{QUOTA} B"', "max_files = 200"])
OPEN = Bucket("open", public=["read"])
KEPT = "() => [sessionStorage, localStorage].map((area) => JSON.stringify({ ...area }))"
SIGN = """async ([token, path, expires]) =>
    (await import('/static/files/signed_links.js')).sign(token, path, expires)"""
COPYING = ["clipboard-read", "clipboard-write"]


@pytest.fixture
def start_with_access(start_daemon, tmp_path):
    """A function that starts a daemon with an access file of these parts."""

    def start(*parts, **options):
        path = write_access(str(tmp_path / "rules.toml"), access_text(*parts))
        return start_daemon("--workers", "1", "--access", path, **options)

    return start


@pytest.fixture
def guarded(start_with_access):
    """A daemon with tokens and three buckets besides the default one."""
    return start_with_access(ANNA, EMIL, BUILDS, OPEN)


def type_token(page, token):
    """Type a token into the dialog."""
    page.get_by_role("dialog").locator("input").fill(token)
    page.keyboard.press("Enter")


def upload_all(daemon, contents, bucket="builds", token=ANNA):
    """Store files in one request."""
    files = [("file", (str(number), content)) for number, content in enumerate(contents)]
    headers = {"Authorization": f"Bearer {token.secret}"}
    url = f"{daemon.url}buckets/{bucket}/"
    assert 200 == requests.post(url, files=files, headers=headers, timeout=TIMEOUT).status_code


def hashes(page):
    """Return the hashes in the list of stored files."""
    return page.locator("#stored-list .hash").all_text_contents()


def copied(page):
    return page.evaluate("() => navigator.clipboard.readText()")


# --- tokens --------------------------------------------------------------------------------------


def test_token_is_asked_for_and_kept_in_this_tab_only(open_page, guarded):
    page = open_page(f"{guarded.url}buckets/builds/")
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    field, refusal = page.get_by_role("dialog").get_by_label("Token"), page.locator("#access-refusal")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    expect(page.locator("#file-form, #fetch-form, #stored, #usage").locator("visible=true")).to_have_count(0)
    type_token(page, make_secret("nobody"))
    expect(refusal).to_have_text(re.compile("^This token is not valid"))
    type_token(page, "no token at all, but words")
    expect(refusal).to_have_text(re.compile("^This token is not valid"))
    type_token(page, ANNA.secret)
    expect(page.locator("#file-form")).to_be_visible()
    choose(page, named("poem.txt", b"roses"))
    expect(row(page, "poem.txt").locator(".hash")).to_be_visible()
    page.reload()
    expect(page.locator("#stored-list > li")).to_have_count(1)
    in_session, in_local = page.evaluate(KEPT)
    assert [True, False] == [ANNA.secret in kept for kept in (in_session, in_local)]
    assert ANNA.secret not in page.content()
    assert [] == [url for url in seen if "fst_" in url]
    page.get_by_role("button", name="Forget token").click()
    expect(page.locator("#access-state")).to_have_text("A token is needed here.")
    expect(page.locator("#file-form, #stored, #usage").locator("visible=true")).to_have_count(0)
    assert ANNA.secret not in page.evaluate(KEPT)[0]
    page.get_by_role("button", name="Enter a token").click()
    type_token(page, EMIL.secret)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#fetch-form")).to_be_visible()


def test_page_asks_again_when_its_token_ends_and_then_goes_on(open_page, start_with_access):
    daemon = start_with_access(ANNA, BUILDS)
    page = open_page(f"{daemon.url}buckets/builds/")
    type_token(page, ANNA.secret)
    expect(page.locator("#file-form")).to_be_visible()
    passwords = watch_passwords(page)
    write_access(f"{daemon.directory}/rules.toml", access_text(LATER, BUILDS))
    usage, headers = f"{daemon.url}buckets/builds/usage", {"Authorization": f"Bearer {ANNA.secret}"}
    deadline = time.monotonic() + TIMEOUT
    while requests.get(usage, headers=headers, timeout=TIMEOUT).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    choose(page, named("poem.txt", b"roses"), named("song.txt", b"violets"))
    expect(page.locator("#access-refusal")).to_have_text(
        "This token is not valid any more. Enter another one."
    )
    type_token(page, LATER.secret)
    expect(page.locator("#file-list .hash:visible")).to_have_count(2)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [] == passwords


def watch_passwords(page):
    """Return a list that gets the requests for which the browser itself would ask for a password."""
    asked = []
    session = page.context.new_cdp_session(page)

    def refuse(event):
        asked.append(event["request"]["url"])
        answer = {"requestId": event["requestId"], "authChallengeResponse": {"response": "CancelAuth"}}
        session.send("Fetch.continueWithAuth", answer)

    session.on("Fetch.authRequired", refuse)
    session.on(
        "Fetch.requestPaused",
        lambda event: session.send("Fetch.continueRequest", {"requestId": event["requestId"]}),
    )
    session.send("Fetch.enable", {"handleAuthRequests": True})
    return asked


# --- rights --------------------------------------------------------------------------------------


def test_page_shows_only_what_the_rights_allow(open_page, guarded):
    upload_all(guarded, [b"roses"])
    page = open_page(f"{guarded.url}buckets/builds/", permissions=COPYING)
    type_token(page, EMIL.secret)
    expect(page.locator("#fetch-form")).to_be_visible()
    expect(page.locator("#file-form, #stored, #usage").locator("visible=true")).to_have_count(0)
    page.fill("#fetch-hash", sha256(b"roses"))
    page.keyboard.press("Enter")
    found = page.locator("#file-list > li")
    expect(found).to_have_count(1)
    assert ["Copy link", "Copy hash", "Download", "Forget"] == button_names(found)
    drop(page, ("poem.txt", "violets"))
    expect(page.locator("#chosen-state")).to_have_text("You may not upload files here.")
    page.select_option("#bucket-menu", "open")
    page.wait_for_url("**/buckets/open/")
    expect(page.locator("#file-list > li")).to_have_count(0)
    page.goto(f"{guarded.url}buckets/secret/")
    expect(page.locator("#access-state")).to_have_text("There is no such bucket here, or it is not for you.")
    page.goto(guarded.url)  # the default bucket is not for this token, so another one is shown
    page.wait_for_url("**/buckets/builds/")


def test_without_an_access_file_nothing_of_it_is_shown(open_page, daemon):
    page = open_page(daemon.url)
    with page.expect_response("**/buckets/"):
        page.reload()
    choose(page, named("poem.txt", b"roses"))
    expect(row(page, "poem.txt").locator(".hash")).to_be_visible()
    expect(page.locator("#access, #stored").locator("visible=true")).to_have_count(0)
    assert ["Copy link", "Copy hash", "Download", "Delete", "Forget"] == button_names(row(page, "poem.txt"))


# --- buckets and what is in them -----------------------------------------------------------------


def test_stored_files_are_listed_searched_linked_downloaded_and_deleted(open_page, guarded):
    contents = [f"file {number}".encode() for number in range(120)]
    expected = sorted(map(sha256, contents))
    upload_all(guarded, contents)
    page = open_page(f"{guarded.url}buckets/builds/", permissions=COPYING)
    type_token(page, ANNA.secret)
    entries = page.locator("#stored-list > li")
    expect(entries).to_have_count(50)
    more = page.get_by_role("button", name="Show more")
    more.click()
    expect(entries).to_have_count(100)
    more.click()
    expect(entries).to_have_count(120)
    expect(more).to_be_hidden()
    assert expected == hashes(page)
    for prefix in (expected[77][:1], expected[77][:5].upper(), expected[0], expected[-1], "0", "f"):
        page.fill("#stored-prefix", prefix)
        begins = [each for each in expected if each.startswith(prefix.lower())]
        expect(page.locator("#stored-list .hash")).to_have_text(begins)
    page.fill("#stored-prefix", "no hash")
    expect(page.locator("#stored-state")).to_have_text("No hash begins like this.")
    target = sha256(b"file 7")
    page.fill("#stored-prefix", target[:12])
    expect(entries).to_have_count(1)
    check_link(page, entries, guarded, target)
    with page.expect_download() as download:
        entries.get_by_role("button", name="Download").click()
    with open(download.value.path(), "rb") as file:
        assert b"file 7" == file.read()
    entries.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(entries).to_have_count(0)
    expect(page.locator("#usage-files .state")).to_have_text("119 of 200 files")


def check_link(page, entry, daemon, target):
    """Copy a signed link, and open it without a token; no altered path and no altered time is valid."""
    before = int(time.time()) - 1  # the clock of a browser may be some milliseconds behind
    entry.get_by_role("button", name="Copy link").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Valid for").select_option("7 days")
    dialog.get_by_role("button", name="Copy link").click()
    expect(page.locator("#announcement")).to_have_text("Copied")
    link = copied(page)
    query = parse_qs(urlsplit(link).query)
    assert 0 <= int(query["expires"][0]) - before - 7 * 86_400 <= TIMEOUT
    got = requests.get(link, timeout=TIMEOUT)
    assert (200, sha256(got.content)) == (got.status_code, target)
    assert [403, 403] == [
        status(link.replace(target, sha256(b"file 8"))),
        status(link.replace("expires=", "expires=9")),
    ]
    path = f"/buckets/builds/files/{target}"
    assert ANNA.sign(path, "1800000000") == page.evaluate(SIGN, [ANNA.secret, path, 1_800_000_000])


def test_usage_is_shown_as_a_bar_against_the_quota_and_buckets_are_switched(open_page, guarded):
    upload_all(guarded, [bytes(600_000), b"roses"])
    page = open_page(f"{guarded.url}buckets/builds/", locale="ru-RU")
    type_token(page, ANNA.secret)
    by_bytes, by_files = page.locator("#usage-bytes"), page.locator("#usage-files")
    expect(by_bytes.locator(".state")).to_have_text("600 кБ из 1 МБ")
    expect(by_files.locator(".state")).to_have_text("2 из 200 файлов")
    assert 600_005 / QUOTA == by_bytes.get_by_role("meter").evaluate("(meter) => meter.value")
    choose(page, named("long.bin", bytes(300_000)))
    expect(by_bytes.locator(".state")).to_have_text("900 кБ из 1 МБ")
    expect(by_bytes.locator("meter.full")).to_be_visible()
    choose(page, named("longer.bin", b"x" * 200_000))
    expect(row(page, "longer.bin").locator(".state")).to_have_text("Квота этого бакета исчерпана.")
    page.evaluate("() => document.querySelector('.languages').remove()")
    shown = " ".join(page.locator("main").all_inner_texts())
    assert {"builds", "photos", "open", "long", "longer", "bin"} == set(
        re.findall(r"\b[A-Za-z]{3,}\b", shown)
    )
    page.get_by_label("Бакет", exact=True).select_option("photos")
    page.wait_for_url("**/buckets/photos/")
    expect(by_files.locator(".state")).to_have_text("0 файлов")
    expect(page.get_by_role("meter")).to_have_count(0)
    expect(page.locator("#file-form")).to_be_hidden()
    expect(page.locator("#stored-state")).to_have_text("Пока ни одного файла.")


def test_without_a_secure_context_a_file_is_downloaded_but_no_link_is_signed(open_page, start_with_access):
    daemon = start_with_access(ANNA, BUILDS, hosts=("files.test",))
    upload_all(daemon, [b"roses"])
    page = open_page(f"{daemon.url.replace('127.0.0.1', 'files.test')}buckets/builds/")
    type_token(page, ANNA.secret)
    entry = page.locator("#stored-list > li")
    expect(entry).to_have_count(1)
    assert ["Copy hash", "Download", "Delete"] == button_names(entry)
    expect(page.locator("#access-state")).to_contain_text("need https or localhost")
    with page.expect_download() as download:
        entry.get_by_role("button", name="Download").click()
    with open(download.value.path(), "rb") as file:
        assert b"roses" == file.read()


@pytest.mark.parametrize("look", [LOOKS[1], LOOKS[6]])
def test_axe_finds_nothing_about_tokens_buckets_and_links(open_page, guarded, look):
    upload_all(guarded, [bytes(950_000), b"roses"])
    page = open_page(f"{guarded.url}buckets/builds/", **look)
    checks = Checks(page)
    type_token(page, EMIL.secret[:-1])
    expect(page.locator("#access-refusal")).not_to_be_empty()
    checks.check("refused token")
    type_token(page, ANNA.secret)
    expect(page.locator("#stored-list > li")).to_have_count(2)
    expect(page.locator("#usage-bytes meter.full")).to_be_visible()
    checks.check("stored files")
    page.locator("#stored-list [data-do=copy_link]").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    checks.check("link")
    page.keyboard.press("Escape")
    page.locator("#access-forget").click()
    checks.check("no token")
    assert [] == checks.faults
    assert checks.rules >= RULES
