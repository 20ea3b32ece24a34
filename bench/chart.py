"""Bar chart as SVG: a group per workload, a bar per server, the longest of a group being the fastest. Pure.

Hand-written, so that nothing needs installing to draw a rectangle. Colours work on light and dark pages
because the chart brings its own background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

BAR = 16
"""Height of a bar, in pixels, as all lengths here."""
LABELS = 190
LENGTH = 430
VALUES = 200
WIDTH = LABELS + LENGTH + VALUES
OURS = "#0b7a75"
THEIRS = "#a9b4c2"


@dataclass(frozen=True, slots=True)
class Bar:
    """Bar of one server: its value, and the text behind the bar."""

    name: str
    value: float
    note: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Bars of one workload."""

    title: str
    bars: Sequence[Bar]


def draw(title: str, groups: Sequence[Group]) -> str:
    """Draw the chart, as a string of SVG."""
    pieces: list[str] = [text(16, 30, title, size=17, weight="bold")]
    y = 62
    for group in groups:
        pieces.append(text(16, y, group.title, weight="bold"))
        pieces.extend(_bars(group.bars, y + 8))
        y += 8 + len(group.bars) * (BAR + 4) + 32
    return frame(title, y, pieces)


def _bars(bars: Sequence[Bar], top: int) -> list[str]:
    longest = max(bar.value for bar in bars) or 1.0
    return [_bar(bar, bar.value / longest, top + at * (BAR + 4)) for at, bar in enumerate(bars)]


def _bar(bar: Bar, share: float, y: int) -> str:
    length = max(1.0, share * LENGTH)
    colour = OURS if bar.ours else THEIRS
    line = y + BAR - 4
    return (
        text(LABELS - 8, line, bar.name, anchor="end", weight="bold" if bar.ours else "normal")
        + f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
        + text(LABELS + length + 6, line, bar.note)
    )


def text(
    x: float, y: float, content: str, *, size: int = 12, anchor: str = "start", weight: str = "normal"
) -> str:
    """Return a line of text; `x` and `y` are those of its base line."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(content)}</text>"
    )


def frame(title: str, height: int, pieces: Sequence[str]) -> str:
    """Return the whole picture of so many pixels in height; `pieces` lie on a white background."""
    body = "\n".join(pieces)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" fill="#1d2733">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )
