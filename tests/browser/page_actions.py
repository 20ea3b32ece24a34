"""Actions on the page that several tests share: choosing and dropping files, pictures, slow connections."""

import hashlib
import io
import re
import urllib.error
import urllib.request
from typing import Any
from weakref import WeakKeyDictionary

from PIL import Image
from playwright.sync_api import CDPSession, Locator, Page, expect

DROP = """([target, files]) => {
    const carried = new DataTransfer();
    for (const [name, text] of files) carried.items.add(new File([text], name));
    for (const kind of ["dragover", "drop"])
        target.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""

_sessions: WeakKeyDictionary[Page, CDPSession] = WeakKeyDictionary()
"""Connections to pages by the protocol of DevTools; a limit holds until the same connection ends it."""


def named(name: str, content: bytes) -> dict[str, Any]:
    """Return a file for playwright."""
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def picture(name: str, color: str, size: tuple[int, int] = (1200, 900), kind: str = "PNG") -> dict[str, Any]:
    """Return an image in one colour, as a file for playwright."""
    target = io.BytesIO()
    Image.new("RGB", size, color).save(target, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": target.getvalue()}


def choose(page: Page, *files: dict[str, Any]) -> None:
    """Choose files in the tab of files."""
    page.set_input_files("#file-input", list(files))


def choose_images(page: Page, *images: dict[str, Any]) -> None:
    """Choose images in the tab of images."""
    page.set_input_files("#image-input", list(images))


def drop(page: Page, *files: tuple[str, str]) -> None:
    """Drop files, each a name and a text, on the page."""
    page.evaluate(DROP, [page.query_selector("main"), [list(file) for file in files]])


def drop_path(page: Page, path: str) -> None:
    """Drop a file or folder of the disk, as a file manager does."""
    box = page.locator("h1").bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [path], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"], "y": box["y"], "data": data})


def row(page: Page, name: str) -> Locator:
    """Return the row of a file in the list."""
    return page.locator("#file-list > li").filter(has=page.get_by_text(name, exact=True))


def button_names(place: Locator) -> list[str]:
    """Return the texts of the buttons and links that are shown in a row."""
    return [each.inner_text() for each in place.locator(".actions > *:visible").all()]


def tile(page: Page, name: str) -> Locator:
    """Return an image in the gallery."""
    return page.locator("#gallery > li", has_text=name)


def sign_in(page: Page, button: str = "Create", name: str = "marta") -> None:
    """Create or open an account."""
    page.fill("#account-name", name)
    page.get_by_role("button", name=button, exact=True).first.click()
    expect(page.locator("#account")).to_be_visible()


def loaded_size(page: Page, name: str) -> list[int]:
    """Return width and height of the thumbnail of an image, once it is loaded."""
    image = tile(page, name).locator("img")
    expect(image).to_have_js_property("complete", True)
    expect(image).to_have_attribute("src", re.compile("^blob:"))
    return image.evaluate(
        "async (image) => (await image.decode(), [image.naturalWidth, image.naturalHeight])"
    )


def sha256(content: bytes) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(content).hexdigest()


def status(url: str, method: str = "GET") -> int:
    """Return the status of a request outside the browser."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def slow_down(page: Page, bytes_per_second: int) -> None:
    """Limit the rate of uploads; -1 ends the limit."""
    if page not in _sessions:
        _sessions[page] = page.context.new_cdp_session(page)
        _sessions[page].send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    _sessions[page].send("Network.emulateNetworkConditions", limits)
