"""The metrics: one table of every family, and the families of a report as prometheus_client has them.

Whatever else names a metric (docs, alert rules, dashboards) goes by FAMILIES.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from protocol.codes import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    OVERLOADED,
    SHUTTING_DOWN,
    STORE_ERROR,
    UNAVAILABLE,
    WORKER_CRASHED,
)
from workers.management.process import Cause

from .asking import Report
from .shown import without_options

# Of labels' values to a number; of a histogram to its counts (one more than bounds, not cumulative) and its sum.
Samples = Iterable[tuple[Sequence[str], float]]
Spreads = Iterable[tuple[Sequence[str], tuple[Sequence[int], float]]]

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
PREFIX: Final = "utxod_"
EXIT_CAUSES: Final = get_args(Cause)
# What may become of an item that was let in, beside what the rules say.
FAULTS_OF_ADMITTED: Final = (
    DEADLINE_EXCEEDED,
    INTERNAL,
    OVERLOADED,
    SHUTTING_DOWN,
    STORE_ERROR,
    UNAVAILABLE,
    WORKER_CRASHED,
)
_UNITS: Final = ("seconds", "bytes")


class Family(NamedTuple):
    """name: whole, as it is asked for (of a histogram without _bucket, _sum and _count). kind: counter, gauge,
    histogram. labels: in their order. help: what it means, and in which unit. read: its samples in a report."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    read: Callable[[Report], Any]

    @property
    def unit(self) -> str:
        """As the name says it; empty where it counts things."""
        words = self.name.removesuffix("_total").split("_")
        return words[-1] if words[-1] in _UNITS else ""


class ReportCollector(Collector):
    """Makes families of what `ask` gives: a report, or None where the daemon does not answer."""

    def __init__(self, ask: Callable[[], Report | None]) -> None:
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        """Every family of the report. Where there is none: utxod_up 0 and nothing else, since what was true before may
        not be now."""
        report = self._ask()
        yield from families_of(report)


def families_of(report: Report | None) -> Iterator[Metric]:
    """What a report lacks, that of a daemon whose program is older than this one's, has no family."""
    yield GaugeMetricFamily(UP.name, UP.help, value=0 if report is None else 1)
    if report is None:
        return
    for family in FAMILIES:
        if family is not UP:
            try:
                yield _metric(family, report)
            except KeyError:
                continue


def _metric(family: Family, report: Report) -> Metric:
    if family.kind == HISTOGRAM:
        return _histogram(family, report)
    made = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    metric = made(family.name, family.help, labels=family.labels, unit=family.unit)
    for labels, value in family.read(report):
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, report: Report) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels, unit=family.unit)
    bounds = report["figures"]["bounds"]["seconds" if family.unit == "seconds" else "items"]
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    for labels, (counts, total) in family.read(report):
        below, buckets = 0, []
        for name, count in zip(names, counts, strict=True):
            below += count
            buckets.append((name, float(below)))
        metric.add_metric(labels, buckets, total)
    return metric


# ---- where in a report


def _value(*path: str) -> Callable[[Report], Samples]:
    """A single number of the report itself."""

    def read(report: Report) -> Samples:
        value: Any = report
        for name in path:
            value = value[name]
        return [((), float(value))]

    return read


def _pools(name: str) -> Callable[[Report], Samples]:
    """A number of each pool."""
    return lambda report: [((pool,), float(values[name])) for pool, values in report["pools"].items()]


def _rows(name: str, labels: tuple[str, ...], value: str) -> Callable[[Report], Samples]:
    """A number of each row of one of the figures' lists."""
    return lambda report: [([row[label] for label in labels], float(row[value])) for row in report["figures"][name]]


def _spreads(name: str) -> Callable[[Report], Spreads]:
    """The histogram of each row of one of the figures' lists."""
    return lambda report: [
        ((row["pool"], row["operation"]), (row["counts"], row["sum"])) for row in report["figures"][name]
    ]


def _sweep_lateness(report: Report) -> Spreads:
    spread = report["figures"]["sweep_lateness_seconds"]
    return [((), (spread["counts"], spread["sum"]))]


def _info(report: Report) -> Samples:
    return [((report["version"], without_options(report["store"])), 1.0)]


def _open_breakers(report: Report) -> Samples:
    return [((pool,), float(values["breaker"] == "open")) for pool, values in report["pools"].items()]


def _read_again(report: Report) -> Samples:
    return [((), float(report["counters"].get("read_again", 0)))]


def _with_zeros(
    name: str, labels: tuple[str, ...], value: str, zeros: Callable[[Report], Iterable[tuple[str, ...]]]
) -> Callable[[Report], Samples]:
    """As _rows, and 0 of what never happened: to a first one that came from nothing, no rate could be given."""
    rows = _rows(name, labels, value)

    def read(report: Report) -> Samples:
        counts = dict.fromkeys(zeros(report), 0.0) | {tuple(found): count for found, count in rows(report)}
        return list(counts.items())

    return read


def _exits(report: Report) -> Iterator[tuple[str, ...]]:
    return ((pool, cause) for pool in report["pools"] for cause in EXIT_CAUSES)


def _refusals(report: Report) -> Iterator[tuple[str, ...]]:
    return ((pool, code) for pool in report["pools"] for code in (OVERLOADED, UNAVAILABLE))


def _faults(report: Report) -> Iterator[tuple[str, ...]]:
    """Of each operation that anything was asked of."""
    asked = {(row["pool"], row["operation"]) for row in report["figures"]["answers"]}
    return ((*operation, code) for operation in sorted(asked) for code in FAULTS_OF_ADMITTED)


def _memory(report: Report) -> Samples:
    of_pools = dict.fromkeys(report["pools"], 0)
    for process in report["processes"]:
        of_pools[process["pool"]] += process["memory_bytes"]
    return [((pool,), float(size)) for pool, size in of_pools.items()]


def _dropped_lines(report: Report) -> Samples:
    return [((process,), float(lines)) for process, lines in report["log_lines_dropped"].items()]


# ---- the table

_POOL: Final = ("pool",)
_OPERATION: Final = ("pool", "operation")
_CODE: Final = ("pool", "operation", "code")
_REFUSED: Final = ("pool", "code")
_REASON: Final = ("pool", "operation", "reason")
_CAUSE: Final = ("pool", "cause")


def _counter(name: str, labels: tuple[str, ...], help: str, read: Callable[[Report], Samples]) -> Family:
    return Family(f"{PREFIX}{name}_total", COUNTER, labels, help, read)


def _gauge(name: str, labels: tuple[str, ...], help: str, read: Callable[[Report], Samples]) -> Family:
    return Family(f"{PREFIX}{name}", GAUGE, labels, help, read)


def _spread(name: str, labels: tuple[str, ...], help: str, read: Callable[[Report], Spreads] | None = None) -> Family:
    return Family(f"{PREFIX}{name}", HISTOGRAM, labels, help, read or _spreads(name))


def _figure(name: str, help: str) -> Family:
    return _counter(name, (), help, _value("figures", name))


UP: Final = _gauge(
    "up", (), "1 where the daemon answered this scrape in time, else 0 (and no other family).", lambda _: [((), 1.0)]
)

FAMILIES: Final = (
    UP,
    _gauge("info", ("version", "store"), "Always 1; the labels are the daemon's version and its store.", _info),
    _gauge("start_time_seconds", (), "When the daemon started, in seconds of Unix time.", _value("started_at")),
    _gauge("draining", (), "1 while the daemon shuts down and takes no new requests, else 0.", _value("draining")),
    # what was asked and answered
    _counter(
        "items",
        _CODE,
        "Items answered, by the code of each one's answer; refused ones are not among them.",
        _with_zeros("answers", _CODE, "items", _faults),
    ),
    _counter(
        "requests",
        _CODE,
        "Requests answered; one that was executed item by item counts as OK, whatever its items came to.",
        _with_zeros("answers", _CODE, "requests", _faults),
    ),
    _counter(
        "refused_items",
        _REFUSED,
        "Items of requests that were never let in; the pool is empty where the request named none.",
        _with_zeros("refusals", _REFUSED, "items", _refusals),
    ),
    _counter(
        "refused_requests",
        _REFUSED,
        "Requests that were never let in; the pool is empty where the request named none.",
        _with_zeros("refusals", _REFUSED, "requests", _refusals),
    ),
    _counter("read_again_items", (), "Items of reads handed out once more, since their worker was lost.", _read_again),
    # where the time goes
    _spread("queue_seconds", _OPERATION, "Seconds from the arrival of a request, or a part of one, to its worker."),
    _spread("execution_seconds", _OPERATION, "Seconds from handing out a dispatch until its results are there."),
    _spread("store_seconds", _OPERATION, "Seconds of a dispatch that its worker spent in calls of the store."),
    _spread("batch_items", _OPERATION, "Items in a dispatch."),
    _counter(
        "dispatches",
        _REASON,
        "Dispatches, by what bounded them: full (the batch limit), all (all that waited), again (reads once more),"
        " probe (the breaker is open).",
        _rows("dispatches", _REASON, "count"),
    ),
    # what waits, and who works
    _gauge("pending", (), "Requests and pieces of work that follow from them, not done with yet.", _value("pending")),
    _gauge("owed_items", (), "Items of follow-up work that nobody waits for, not done yet.", _value("owed")),
    _gauge(
        "owed_limit_items",
        (),
        "Items of follow-up work from which on no more writes are handed out.",
        _value("settings", "broker.owed_items"),
    ),
    _gauge("workers", _POOL, "Workers that are ready or busy.", _pools("workers")),
    _gauge("workers_wanted", _POOL, "Workers that the pool is to have.", _pools("workers_wanted")),
    _gauge("workers_idle", _POOL, "Workers that wait for a dispatch.", _pools("idle")),
    _gauge("queued_items", _POOL, "Items that wait for a worker.", _pools("queued")),
    _gauge("queued_bytes", _POOL, "Bytes of the requests that wait for a worker.", _pools("queued_bytes")),
    _gauge("queue_limit_items", _POOL, "Items that may wait; what is beyond is refused.", _pools("queue_items")),
    _gauge("queue_limit_bytes", _POOL, "Bytes that may wait; what is beyond is refused.", _pools("queue_bytes")),
    _gauge("in_flight_items", _POOL, "Items that workers hold.", _pools("in_flight")),
    _gauge(
        "oldest_item_seconds",
        _POOL,
        "Age of the oldest request that waits, in seconds; 0: none waits.",
        _pools("oldest_seconds"),
    ),
    _gauge(
        "longest_dispatch_seconds",
        _POOL,
        "For how long the dispatch that is longest under way has been, in seconds; 0: none.",
        _pools("longest_seconds"),
    ),
    _gauge(
        "breaker_open",
        _POOL,
        "1 while the pool's circuit breaker is open, since its store gave no answer, else 0.",
        _open_breakers,
    ),
    _counter("breaker_trips", _POOL, "How often the pool's circuit breaker has opened.", _pools("breaker_trips")),
    _counter("worker_starts", _POOL, "Workers started.", _rows("worker_starts", _POOL, "count")),
    _counter(
        "worker_exits",
        _CAUSE,
        f"Workers ended, by cause: {', '.join(EXIT_CAUSES)}.",
        _with_zeros("worker_exits", _CAUSE, "count", _exits),
    ),
    _gauge("worker_memory_bytes", _POOL, "Resident memory of the pool's workers together, in bytes.", _memory),
    # what should not be
    _figure("late_results", "Items whose result came after they had been answered; dropped."),
    _figure("double_results", "Items that a worker completed a second time; ignored."),
    _figure(
        "undeliverable_items", "Items whose answer could not be delivered: the submitter is gone or reads nothing."
    ),
    _figure("in_doubt", "Pieces of follow-up work of which nobody knows whether they were done (in-doubt.jsonl)."),
    _figure("lost_requests", "Requests lost with their worker, of which more may have followed (in-doubt.jsonl)."),
    _figure("unreadable_messages", "Messages that are no request at all, and got no answer."),
    # the daemon itself
    _figure("sweeps", "Sweeps: how often deadlines were looked at."),
    _spread("sweep_lateness_seconds", (), "Seconds by which a sweep came late.", _sweep_lateness),
    _gauge(
        "longest_standstill_seconds",
        (),
        "The longest time that the daemon's loop ever stood still, in seconds.",
        _value("longest_standstill_seconds"),
    ),
    _gauge("submitters", (), "Connections of submitters, the figures' process among them.", _value("submitters")),
    _gauge("open_descriptors", (), "File descriptors that the daemon has open.", _value("descriptors", "open")),
    _gauge("descriptors_limit", (), "File descriptors that the daemon may have open.", _value("descriptors", "limit")),
    _counter(
        "log_lines_dropped",
        ("process",),
        "Lines of log dropped, since nobody read them fast enough; process: daemon or workers.",
        _dropped_lines,
    ),
    _counter(
        "receipts_dropped",
        (),
        "Messages of receipts dropped, since the recorder did not take them; utxod explain will not know of them.",
        _value("figures", "receipts", "dropped"),
    ),
)
