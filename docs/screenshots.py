"""Make the pictures of the page for the README: ``python docs/screenshots.py http://127.0.0.1:9000/``.

In: the address of a fresh daemon. Out: ``page-light.png`` and ``page-dark.png`` beside this file, of the
same gallery. Its images are painted here, so they are nobody's. Needs Chromium, playwright and Pillow.
"""

import colorsys
import io
import math
import os
import shutil
import sys

from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright

WIDTH, HEIGHT = 1000, 960
"""Of the window, in pixels."""

SCENES = {"dunes": 0.09, "fjord": 0.55, "forest": 0.36, "heath": 0.85, "lake at dawn": 0.62, "orchard": 0.24}
"""The images of the gallery, each with its hue."""


def main(url: str) -> None:
    """Fill an account, and look at it twice."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for button, scheme in (("create", "light"), ("retrieve", "dark")):
            page = open_account(browser, url, button, scheme)
            if button == "create":
                page.set_input_files("#image-input", [scene(name, hue) for name, hue in SCENES.items()])
            save(settled(page), scheme)
        browser.close()


def open_account(browser: Browser, url: str, button: str, scheme: str) -> Page:
    """The page with an account open in it."""
    page = browser.new_page(color_scheme=scheme, locale="en-GB", viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(f"{url}#images")
    page.fill("#account-name", "marta")
    page.click(f"#account-form [value={button}]")
    page.locator("#account").wait_for()
    return page


def settled(page: Page) -> bytes:
    """What the page looks like when all images are there."""
    page.locator(".tile img[src]").nth(len(SCENES) - 1).wait_for()
    page.reload()
    page.locator(".tile img[src]").nth(len(SCENES) - 1).wait_for()
    page.evaluate(
        "() => Promise.all([...document.images].filter((each) => each.src).map((each) => each.decode()))"
    )
    return page.screenshot(animations="disabled")


def save(screenshot: bytes, scheme: str) -> None:
    """Write a small PNG."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"page-{scheme}.png")
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    image.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)


def scene(name: str, hue: float) -> dict[str, str | bytes]:
    """Hills under a sun, as a file for playwright."""
    image = Image.new("RGB", (640, 480), color(hue, 0.3, 0.94))
    draw = ImageDraw.Draw(image)
    draw.ellipse([400, 90, 490, 180], "#fff8e8")
    for layer, brightness in enumerate((0.52, 0.4, 0.28)):
        ridge = [
            (x, 270 + 58 * layer + 36 * math.sin(x / (92 - 18 * layer) + hue * 20 + layer))
            for x in range(0, image.width + 8, 8)
        ]
        draw.polygon(
            [(0, image.height), *ridge, (image.width, image.height)],
            color(hue + 0.05 * layer, 0.5, brightness),
        )
    return {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": encoded(image)}


def color(hue: float, saturation: float, brightness: float) -> tuple[int, int, int]:
    """A colour as Pillow takes it."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, brightness))
    return red, green, blue


def encoded(image: Image.Image) -> bytes:
    """The bytes of a JPEG."""
    target = io.BytesIO()
    image.save(target, "JPEG", quality=88)
    return target.getvalue()


if __name__ == "__main__":
    main(sys.argv[1])
