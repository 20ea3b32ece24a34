"""Rows as a Markdown table that also reads well in a terminal, and numbers as people write them. Pure."""

from collections.abc import Sequence

from bench.statistics import Span


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(3, *(len(cell) for cell in column)) for column in columns]
    rule = [("-" * width if not at else "-" * (width - 1) + ":") for at, width in enumerate(widths)]
    return "\n".join(_line(cells, widths) for cells in (head, rule, *rows))


def number(value: float) -> str:
    """Three significant digits or all before the point, with commas: 12,345 and 1.23."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 or value == 0 else f"{value:.2g}"


def spread(span: Span) -> str:
    """A median with its extremes, if it has any."""
    if span.minimum == span.maximum:
        return number(span.median)
    return f"{number(span.median)} ({number(span.minimum)}-{number(span.maximum)})"


def times(span: Span) -> str:
    """A ratio with its extremes, if it has any, with two digits after the point."""
    if span.minimum == span.maximum:
        return f"{span.median:.2f}"
    return f"{span.median:.2f} ({span.minimum:.2f}-{span.maximum:.2f})"


def mib(size: float) -> str:
    """Bytes as MiB."""
    return f"{size / 2**20:,.1f} MiB"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
