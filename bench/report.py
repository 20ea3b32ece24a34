"""Results as a report: Markdown for people and for ``docs/benchmarks.md``, bars for the chart. Pure.

Each section stands by itself: a heading, a table, and where a server failed, a line that says so. A
goal is called met or missed by the median of the rounds' ratios.
"""

from collections.abc import Sequence

from bench.chart import Group, ProgressBar
from bench.idle import Footprint
from bench.large_store import LargeStore
from bench.parallel_uploads import ParallelUploads
from bench.rounds import Result
from bench.statistics import Series, costs, rates, ratios, thrift
from bench.tables import mib, number, spread, table, times

OURS = "filestored"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Lines of the document between which a run writes."""


def comparison(result: Result) -> str:
    """One work: rates, ratios, and what a unit costs."""
    work = result.work
    unit = "request" if work.unit == "requests" else work.unit
    head = ["server", f"{work.unit}/s", f"{work.ours} / it", "goal", f"CPU µs/{unit}", "its CPU / ours"]
    head += ["busy", "errors", "owed"]
    ours = result.samples.get(work.ours)
    rows = [_row(result, name, series, ours) for name, series in result.samples.items()]
    failures = [f"\n{name} failed: {reason}" for name, reason in result.failures.items()]
    return "\n".join([f"### {work.title}\n", table(head, rows), *failures])


def footprints(found: Sequence[Footprint]) -> str:
    """Start-up, idle memory, and a crowd that does nothing."""
    head = [
        "server",
        "first answer after",
        "idle memory",
        "connections",
        "memory of each",
        "CPU idle with them",
    ]
    rows = [
        [
            one.name,
            f"{one.started:.2f} s",
            " + ".join(mib(size) for size in one.idle),
            f"{one.connections:,}" + ("*" if one.failure else ""),
            f"{one.each / 1024:.1f} KiB",
            f"{one.share:.1%}",
        ]
        for one in found
    ]
    notes = [f"\n\\* {one.name}: {one.failure}" for one in found if one.failure]
    notes += [_modesty(one) for one in found if one.name.startswith(OURS)]
    return "\n".join(["### Starting, resting, and idle connections\n", table(head, rows), *notes])


def peaks(found: dict[str, int]) -> str:
    """The most memory that each server held while it did all of the above."""
    rows = [[name, mib(size)] for name, size in found.items()]
    return f"### Memory at its peak, over all of the above\n\n{table(['server', 'memory'], rows)}"


def large_store(found: LargeStore) -> str:
    """A store with very many files."""
    lines = (
        f"filestored answers {found.full:.2f} s after its start (goal: at most 1 s, "
        f"{_verdict(found.full <= 1)}); with 1,000 files, {found.few:.2f} s."
    )
    return "\n\n".join([f"### {found.files:,} stored files\n\n{lines}", *map(comparison, found.results)])


def parallel_uploads(found: ParallelUploads) -> str:
    """Many large uploads at once."""
    verdict = _verdict(found.peak - found.before <= 64 * 2**20)
    return (
        f"### {found.uploads} uploads of 256 MiB at once\n\n"
        f"filestored took them in {found.seconds:.1f} s, {found.rate:,.0f} MiB/s, {found.refused} refused. "
        f"Its memory went from {mib(found.before)} to {mib(found.peak)}: "
        f"{mib(found.peak - found.before)} more (goal: at most 64 MiB, {verdict})."
    )


def group(result: Result) -> Group:
    """A work's bars, in the order of its servers."""
    return Group(
        f"{result.work.title} ({result.work.unit}/s)",
        [
            ProgressBar(
                name, rates(series).middle, number(rates(series).middle), ours=name == result.work.ours
            )
            for name, series in result.samples.items()
        ],
    )


def replaced(document: str, figures: str) -> str:
    """The document with new figures between its marks; raises `ValueError` when it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END} in the document")
    return f"{before}{BEGIN}\n\n{figures.strip()}\n\n{END}{after}"


def _row(result: Result, name: str, series: Series, ours: Series | None) -> list[str]:
    ratio, goal, thrifty = "", "", ""
    if ours and name != result.work.ours and (span := ratios(ours, series)):
        ratio, thrifty = times(span), f"{thrift(ours, series):.2f}"
        wanted = result.work.goals.get(name)
        goal = f"≥ {wanted:g} {_verdict(span.middle >= wanted)}" if wanted else ""
    busy = sum(sample.busy for sample in series) / len(series)
    owed = sum(sample.owed for sample in series) / len(series)
    errors = sum(sample.errors for sample in series)
    return [
        *(name, spread(rates(series)), ratio, goal, number(costs(series).middle), thrifty),
        *(f"{busy:.0%}", f"{errors:,}", f"{owed:.2f} s" if owed else ""),
    ]


def _modesty(one: Footprint) -> str:
    """Return whether the memory is within the promise; the youngest process is a worker."""
    worker, each = one.idle[-1], one.each
    return (
        f"\n{one.name}: {mib(worker)} an idle worker (goal: at most 45 MiB, "
        f"{_verdict(worker <= 45 * 2**20)}), {each / 1024:.1f} KiB an idle connection "
        f"(goal: at most 12 KiB, {_verdict(each <= 12 * 1024)})."
    )


def _verdict(met: bool) -> str:
    return "met" if met else "missed"
