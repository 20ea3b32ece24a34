"""Checks of accessibility by axe-core: rules, looks of the page, and notes of what is found in its states."""

import os
from importlib.resources import files

import pytest

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = """async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations, passes } = await axe.run(document, { runOnly: tags });
    const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
    return [found, passes.map(({ id }) => id)];
}"""
WIDTHS = "() => [document.documentElement.scrollWidth, innerWidth]"
RULES = {"color-contrast", "target-size", "region", "label", "button-name"}
"""Rules that must have been checked somewhere on the page."""

LOOKS = [
    pytest.param({"locale": locale, "color_scheme": scheme, "viewport": {"width": width, "height": 900}})
    for locale in ("en-GB", "ru-RU")
    for width in (390, 1280)
    for scheme in ("light", "dark")
]

PAIRED_LOOKS = LOOKS if "FILESTORED_DEEP" in os.environ else [LOOKS[number] for number in (0, 3, 5, 6)]
"""Half of them, which have each pair of a language, a width and a scheme; all in a long proof."""


class Checks:
    """Checks of one page in several states."""

    def __init__(self, page):
        self.page = page
        self.faults = []
        self.rules = set()
        page.evaluate(f"{AXE};0")

    def check(self, state):
        """Note what axe finds, and a page that is wider than its window."""
        found, passed = self.page.evaluate(RUN)
        self.faults += [f"{state}: {fault}" for fault in found]
        self.rules |= set(passed)
        needed, there = self.page.evaluate(WIDTHS)
        if needed > there:
            self.faults.append(f"{state}: {needed} pixels wide")
