"""Line charts as SVG, two in a row, each with its own scale and its own unit. Pure.

In: series of points, as a Prometheus has recorded them. Out: a picture in the style of `bench.chart`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.chart import WIDTH, frame, text

MARGIN = 16
"""Space beside each chart, in pixels, as all lengths here."""
PLOT_WIDTH = WIDTH // 2 - 2 * MARGIN - 44
PLOT_HEIGHT = 110
TOP = 56
HEAD = 60
"""Height of the title and of two rows of the legend of a chart."""
CHART_HEIGHT = HEAD + PLOT_HEIGHT + 36
SCALE_LABELS = 44
"""Width of the labels of the scale."""
GRID = "#d9dfe6"
COLOURS = ("#0b7a75", "#d1495b", "#3d5a98", "#c77f00", "#7b4b94", "#5a6b7b", "#2e8b57", "#a0522d")
"""Colours of lines, dark enough on white."""
GLYPH = 6.0
"""Mean width of a character of the legend."""
LEGEND_ROW = 15

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))

Point = tuple[float, float]
"""Time in seconds, and value."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its name."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one scale, whose values have this unit, such as ``s`` or ``B/s``."""

    title: str
    unit: str
    lines: Sequence[Line]


def draw(title: str, charts: Sequence[Chart], seconds: float) -> str:
    """Draw the charts over this duration, as a string of SVG."""
    pieces = [text(MARGIN, 30, title, size=17, weight="bold")]
    for number, chart in enumerate(charts):
        x = MARGIN + number % 2 * (WIDTH // 2)
        pieces += _chart(chart, x, TOP + number // 2 * CHART_HEIGHT, seconds)
    rows = -(-len(charts) // 2)
    return frame(title, TOP + rows * CHART_HEIGHT, pieces)


def format_value(value: float, unit: str) -> str:
    """Return a value with a prefix for powers of a thousand: ``2.5 ms``, ``30 MB/s``, ``4/s``."""
    if not value:
        return "0"
    factor, prefix = next((each for each in PREFIXES if abs(value) >= each[0]), PREFIXES[-1])
    if unit == "s" and factor > 1:
        factor, prefix = 1.0, ""
    return f"{value / factor:.4g} {prefix}{unit}".rstrip().replace(" /", "/")


def round_up(value: float) -> float:
    """Return the next end of a scale: 1, 2, 2.5, 5 or 10 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if value <= step * power * (1 + 1e-9))


def _chart(chart: Chart, x: float, y: float, seconds: float) -> Iterator[str]:
    left, top = x + SCALE_LABELS, y + HEAD
    yield text(x, y + 12, chart.title, weight="bold")
    yield from _legend([line.name for line in chart.lines], x, y + 30)
    end = round_up(max((value for line in chart.lines for _, value in line.points), default=0.0))
    for part in (0.0, 0.5, 1.0):
        height = top + PLOT_HEIGHT * (1 - part)
        yield (
            f'<line x1="{left:.1f}" x2="{left + PLOT_WIDTH:.1f}" y1="{height:.1f}" y2="{height:.1f}" '
            f'stroke="{GRID}"/>'
        )
        yield text(left - 6, height + 4, format_value(end * part, chart.unit), size=10, anchor="end")
    yield from _time_labels(left, top + PLOT_HEIGHT + 16, seconds)
    for number, line in reversed([*enumerate(chart.lines)]):  # the first one lies above the others
        places = [
            f"{left + at / seconds * PLOT_WIDTH:.1f},{top + PLOT_HEIGHT * (1 - value / end):.1f}"
            for at, value in line.points
        ]
        colour = COLOURS[number % len(COLOURS)]
        yield (
            f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.5" '
            'stroke-linejoin="round"/>'
        )


def _legend(names: Sequence[str], x: float, y: float) -> Iterator[str]:
    at = x
    for number, name in enumerate(names):
        width = 13 + len(name) * GLYPH + 8
        if at + width > x + SCALE_LABELS + PLOT_WIDTH:
            at, y = x, y + LEGEND_ROW
        colour = COLOURS[number % len(COLOURS)]
        yield f'<rect x="{at:.1f}" y="{y - 8:.1f}" width="9" height="9" rx="2" fill="{colour}"/>'
        yield text(at + 13, y, name, size=10)
        at += width


def _time_labels(left: float, y: float, seconds: float) -> Iterator[str]:
    minutes = int(seconds // 60)
    for minute in range(minutes + 1):
        x = left + minute * 60 / seconds * PLOT_WIDTH
        label = f"{minute} min" if minute == minutes else str(minute)
        yield text(x, y, label, size=10, anchor="middle")
