"""Results as a report: Markdown for people and for ``docs/benchmarks.md``, bars for the chart. Pure.

Each section stands by itself: a heading, a table, and where a server failed, a line that says so. A
goal is called met or missed by the median of the rounds' ratios.
"""

from collections.abc import Sequence

from bench.chart import Bar, Group
from bench.engine_memory import EngineMemory
from bench.idle import Footprint
from bench.large_store import LargeStore
from bench.parallel_uploads import ParallelUploads
from bench.rounds import Result
from bench.statistics import Series, costs, cpu_ratios, rates, ratios
from bench.tables import mib, number, spread, table, times

OURS = "filestored"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Lines of the document between which a run writes."""

ACCESS_BEGIN, ACCESS_END = "<!-- access: begin -->", "<!-- access: end -->"
METRICS_BEGIN, METRICS_END = "<!-- metrics: begin -->", "<!-- metrics: end -->"
"""The same for runs with an access file."""

ENGINE_BEGIN, ENGINE_END = "<!-- engine: begin -->", "<!-- engine: end -->"
"""The same for runs on an engine."""

MAX_GROWTH_BYTES = 64 * 2**20
"""Goal for the memory that many large uploads may add to a worker."""


def comparison(result: Result) -> str:
    """One workload: rates, ratios, and CPU time per unit."""
    workload = result.workload
    unit = "request" if workload.unit == "requests" else workload.unit
    head = [
        "server",
        f"{workload.unit}/s",
        f"{workload.ours} / it",
        "goal",
        f"CPU µs/{unit}",
        "its CPU / ours",
    ]
    head += ["busy", "errors", "sync"]
    ours = result.samples.get(workload.ours)
    rows = [_row(result, name, series, ours) for name, series in result.samples.items()]
    failures = [f"\n{name} failed: {reason}" for name, reason in result.failures.items()]
    return "\n".join([f"### {workload.title}\n", table(head, rows), *failures])


def option_costs(result: Result, max_ratio: float | None) -> str:
    """One row of the measurement of an option: CPU time per request, beside that of one server.

    `max_ratio` is the goal of all others.
    """
    workload = result.workload
    ours = result.samples[workload.ours]
    rows = []
    for name, series in result.samples.items():
        ratio = goal = ""
        if name != workload.ours:
            span = cpu_ratios(ours, series)
            ratio = times(span)
            goal = f"≤ {max_ratio:g} {_verdict(span.median <= max_ratio)}" if max_ratio else ""
        errors = sum(sample.errors for sample in series)
        rows.append([name, spread(costs(series)), ratio, goal, f"{errors:,}"])
    head = ["server", "CPU µs/request", f"its CPU / that of {workload.ours}", "goal", "errors"]
    return f"### {workload.title}\n\n{table(head, rows)}"


def footprints(found: Sequence[Footprint]) -> str:
    """Start time, idle memory, and memory of idle connections."""
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
    notes += [_memory_goals(one) for one in found if one.name.startswith(OURS)]
    return "\n".join(["### Start time, idle memory, idle connections\n", table(head, rows), *notes])


def peaks(found: dict[str, int]) -> str:
    """Peak memory of each server over all workloads."""
    rows = [[name, mib(size)] for name, size in found.items()]
    return f"### Peak memory over all workloads above\n\n{table(['server', 'memory'], rows)}"


def large_store(found: LargeStore) -> str:
    """Start time and rates of a store with very many files."""
    lines = (
        f"filestored answers {found.full:.2f} s after its start (goal: at most 1 s, "
        f"{_verdict(found.full <= 1)}); with 1,000 files, {found.few:.2f} s."
    )
    return "\n\n".join([f"### {found.files:,} stored files\n\n{lines}", *map(comparison, found.results)])


def parallel_uploads(found: ParallelUploads) -> str:
    """Rate and memory of many large uploads at once."""
    verdict = _verdict(found.peak - found.before <= MAX_GROWTH_BYTES)
    return (
        f"### {found.uploads} uploads of 256 MiB at once\n\n"
        f"filestored took them in {found.seconds:.1f} s, {found.rate:,.0f} MiB/s, {found.refused} refused. "
        f"Its memory went from {mib(found.before)} to {mib(found.peak)}: "
        f"{mib(found.peak - found.before)} more (goal: at most 64 MiB, {verdict})."
    )


def engine_memory(found: EngineMemory) -> str:
    """Memory and spool space of many large uploads at once to filestored on an engine."""
    grown = [after - before for before, after in zip(found.before, found.peak, strict=True)]
    return (
        f"### {found.uploads} uploads of 256 MiB at once on the engine\n\n"
        f"filestored took them in {found.seconds:.1f} s, {found.rate:,.0f} MiB/s, {found.refused} refused. "
        f"The anonymous memory of its worker went from {mib(found.before[0])} to {mib(found.peak[0])}: "
        f"{mib(grown[0])} more (goal: at most 64 MiB, {_verdict(grown[0] <= MAX_GROWTH_BYTES)}). "
        f"Mapped pages of files, which the kernel drops when it needs memory: {mib(grown[1])} more. "
        f"Spool files took {mib(found.spooled)} of the disk at most and {mib(found.kept)} afterwards "
        f"(goal: 0, {_verdict(not found.kept)})."
    )


def group(result: Result) -> Group:
    """Bars of a workload, in the order of its servers."""
    return Group(
        f"{result.workload.title} ({result.workload.unit}/s)",
        [
            Bar(name, rates(series).median, number(rates(series).median), ours=name == result.workload.ours)
            for name, series in result.samples.items()
        ],
    )


def replace_figures(document: str, figures: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """Replace the figures between the marks of a document; raises `ValueError` when it has no marks."""
    before, begin, rest = document.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"no {marks[0]} and {marks[1]} in the document")
    return f"{before}{begin}\n\n{figures.strip()}\n\n{end}{after}"


def _row(result: Result, name: str, series: Series, ours: Series | None) -> list[str]:
    ratio, goal, cpu = "", "", ""
    if ours and name != result.workload.ours and (span := ratios(ours, series)):
        ratio, cpu = times(span), f"{cpu_ratios(ours, series).median:.2f}"
        wanted = result.workload.goals.get(name)
        goal = f"≥ {wanted:g} {_verdict(span.median >= wanted)}" if wanted else ""
    busy = sum(sample.busy for sample in series) / len(series)
    sync_seconds = sum(sample.sync_seconds for sample in series) / len(series)
    errors = sum(sample.errors for sample in series)
    return [
        *(name, spread(rates(series)), ratio, goal, number(costs(series).median), cpu),
        *(f"{busy:.0%}", f"{errors:,}", f"{sync_seconds:.2f} s" if sync_seconds else ""),
    ]


def _memory_goals(one: Footprint) -> str:
    """Return whether memory is within its goals; the last process started is a worker."""
    worker, each = one.idle[-1], one.each
    return (
        f"\n{one.name}: {mib(worker)} an idle worker (goal: at most 45 MiB, "
        f"{_verdict(worker <= 45 * 2**20)}), {each / 1024:.1f} KiB an idle connection "
        f"(goal: at most 12 KiB, {_verdict(each <= 12 * 1024)})."
    )


def _verdict(met: bool) -> str:
    return "met" if met else "missed"
