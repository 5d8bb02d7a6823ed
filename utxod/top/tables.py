"""The body of a frame: pools, what they do and how long it takes, what was answered, and the workers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from utxod.diagnosis.findings import QUEUE_OLD_SECONDS
from utxod.interval import Histogram, Interval, Report
from utxod.spans import span

from .history import History
from .marks import bar, chart, short
from .styles import BAD, GOOD, HEADER, QUIET, WARN, line, of_pool, table

# Of a queue, from which on submitters may be refused: one alone may fill half of it.
_FULL_SHARE: Final = 0.5
_BAR: Final = 10
_NARROW_BAR: Final = 4
_NUMBERS: Final = 10
# Columns of a worker in the list.
_WORKER: Final = 40
# Columns of a span of time.
_QUANTILE: Final = 6
_STATES: Final = {"busy": "bold", "ready": QUIET, "starting": WARN, "leaving": WARN}


def pools(report: Report, is_narrow: bool) -> Table:
    """How many work, what waits, and since when."""
    made = table(("pools", "busy", "queue", "oldest", "in flight", "longest", "breaker"))
    made.columns[2].justify = "left"
    width = _NARROW_BAR if is_narrow else _BAR
    for name, pool in report["pools"].items():
        there, wanted = pool["workers"], pool["workers_wanted"]
        share = max(pool["queued"] / pool["queue_items"], pool["queued_bytes"] / pool["queue_bytes"])
        full = bar(share, width)
        queue = Text.assemble(
            (full, BAD if share >= _FULL_SHARE else of_pool(name)), ("·" * (width - len(full)), QUIET)
        )
        queue.append(f" {short(pool['queued'])}", "default")
        if not is_narrow:
            queue.append(f" of {short(pool['queue_items'])}", QUIET)
        trips = f"{pool['breaker_trips']}x " if pool["breaker_trips"] else ""
        made.add_row(
            Text(name, of_pool(name)),
            _busy(there - pool["idle"], there, wanted),
            queue,
            _age(pool["oldest_seconds"]),
            f"{pool['in_flight']:,}",
            _age(pool["longest_seconds"]),
            Text(trips + pool["breaker"], BAD if pool["breaker"] == "open" else WARN if trips else GOOD),
        )
    return made


def _busy(busy: int, there: int, wanted: int) -> Text:
    return Text(f"{busy} of {there}") if there == wanted else Text(f"{busy} of {there}/{wanted}", BAD)


def works(history: History, operations: Sequence[str], is_narrow: bool) -> Table:
    """Of each pool: how much is done, how long that takes, at p50 and at p99, how large batches are, and why so. Then
    the same of these operations, in the same columns. is_narrow: there is room for the times at p99 alone."""
    window, quantiles = history.window, (0.99,) if is_narrow else (0.5, 0.99)
    parts = [title for name in ("queue", "worker", "store") for title in (name, "p99")[: len(quantiles)]]
    made = table((f"last {span(window.seconds)}", "items/s", *parts, "batch", *([] if is_narrow else ["why"])))
    for quantile in made.columns[2 : 2 + len(parts)]:
        quantile.min_width = _QUANTILE
    if not is_narrow:
        made.columns[-1].justify = "left"
    for name in history.latest["pools"]:
        made.add_row(Text(name, of_pool(name)), *_work(window, quantiles, pool=name)[: len(made.columns) - 1])
    if operations:
        made.add_row("operations", *(column.header for column in made.columns[1:]), style=HEADER)
    pool_of = {row["operation"]: row["pool"] for row in history.latest["figures"]["dispatches"]}
    for name in operations:
        made.add_row(
            Text(name, of_pool(pool_of[name])), *_work(window, quantiles, operation=name)[: len(made.columns) - 1]
        )
    return made


def operations(history: History) -> list[str]:
    """Those that were worked on, the most frequent first."""
    return list(history.window.counts("dispatches", "count", by="operation"))


def _work(interval: Interval, quantiles: Sequence[float], **labels: str) -> list[str | Text]:
    batch, reasons = (
        interval.histogram("batch_items", **labels),
        interval.counts("dispatches", "count", "reason", **labels),
    )
    cells: list[str | Text] = [short(interval.rate(batch.sum))]
    for name in ("queue_seconds", "execution_seconds", "store_seconds"):
        cells += _times(interval.histogram(name, **labels), quantiles)
    total = sum(reasons.values())
    why = " ".join(f"{reason} {count / total:.0%}" for reason, count in reasons.items())
    return [*cells, short(batch.mean) if batch.count else Text("-", QUIET), Text(why, QUIET)]


def _times(histogram: Histogram, quantiles: Sequence[float]) -> list[str | Text]:
    """The last one is what counts."""
    if not histogram.count:
        return [Text("-", QUIET) for _ in quantiles]
    *others, last = [span(histogram.quantile(quantile)) for quantile in quantiles]
    return [*(Text(each, QUIET) for each in others), last]


def _age(seconds: float) -> Text:
    return Text(span(seconds), BAD if seconds >= QUEUE_OLD_SECONDS else "") if seconds else Text("-", QUIET)


def answered(history: History, width: int, rows: int) -> list[Text]:
    """Items that were answered, a second: a chart against the greatest rate that it shows, and the rate now."""
    room = max(1, width - _NUMBERS - 1)
    shown = list(history.rates)[-room:] or [0.0]
    lines = []
    for place, columns in enumerate(chart(shown, room, rows)):
        is_last = place == rows - 1
        number = f"{short(shown[-1])}/s" if is_last else f"{short(max(shown))}/s" if not place else ""
        text = Text(number.rjust(_NUMBERS), "bold" if is_last else QUIET)
        lines.append(line(text.append(" ").append(columns, "cyan")))
    return lines


def codes(history: History) -> list[Text]:
    """What was answered, and what was not let in."""
    lines = []
    for title, name in (("answered", "answers"), ("refused", "refusals")):
        text = Text(f" {title:9}", QUIET)
        found = history.window.counts(name, "items", by="code")
        for code, count in found.items():
            style = BAD if name == "refusals" else GOOD if code == "OK" else WARN
            text.append(f"{code} ", style).append(f"{short(history.window.rate(count))}/s   ", "bold")
        lines.append(line(text if found else text.append("nothing", QUIET)))
    return lines


def workers(report: Report, width: int) -> list[Text]:
    """By pool and process id, as many beside each other as there is room for."""
    columns = max(1, width // _WORKER)
    pools = list(report["pools"])
    listed = sorted(report["processes"], key=lambda process: (pools.index(process["pool"]), process["pid"]))
    cells = [_worker(process) for process in listed]
    for cell in cells:
        cell.truncate(_WORKER, overflow="ellipsis", pad=True)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return [line(Text.assemble(*row)) for row in rows] or [line(Text(" no worker", BAD))]


def _worker(process: Mapping[str, Any]) -> Text:
    state = process["state"]
    return Text.assemble(
        (f" {process['pool']:8}", of_pool(process["pool"])),
        (f"{process['pid']:>7} ", ""),
        (f"{state:8}", _STATES.get(state, "")),
        (f"{span(process['since_seconds']):>7}{decimal(process['memory_bytes']):>8}", QUIET),
    )


def ever(report: Report) -> Text:
    """What should not be: counted since the start."""
    figures = report["figures"]
    ends: dict[str, int] = {}
    for row in figures["worker_exits"]:
        ends[row["cause"]] = ends.get(row["cause"], 0) + row["count"]
    counts = {
        "in doubt": figures["in_doubt"] + figures["lost_requests"],
        "late": figures["late_results"],
        "double": figures["double_results"],
        "undeliverable": figures["undeliverable_items"],
        "unreadable": figures["unreadable_messages"],
        **{f"workers {cause.replace('_', ' ')}": count for cause, count in ends.items()},
    }
    text = Text(" ever     ", QUIET)
    for name, count in counts.items():
        text.append(f"{short(count)} {name}   ", WARN if count else QUIET)
    return line(text)


def cut(lines: Sequence[Text], room: int) -> list[Text]:
    """As many lines as there is room for, at least one; the last of several says how many are left out."""
    if len(lines) <= max(1, room):
        return list(lines)
    if room <= 1:
        return [lines[0]]
    return [*lines[: room - 1], line(Text(f" … and {len(lines) - room + 1} lines more", QUIET))]
