"""Why a pool does less than it is asked for, and what helps: by where its time goes, and by what its store can do.

More workers are no help where none can be had, where the store is what is short, or where it is the daemon itself.
"""

import math
from typing import Final

from broker.daemon_settings import MOST_WORKERS
from protocol.codes import OVERLOADED, UNAVAILABLE
from utxod.interval import Interval
from utxod.plurals import many
from utxod.spans import span

from .findings import QUEUE_OLD_SECONDS, STORE_BOUND_SHARE
from .remedies import ASK_FOR_MANY, LOOK_FOR_WORKERS, is_embedded, look_at_the_store, scale

_WAIT_AND_ASK: Final = "submitters should wait as long as the answer says, and ask again (the clients' retry does so)"


def why_short(interval: Interval, pool: str) -> tuple[str, str]:
    """Cause and remedy, of a pool in which something waits."""
    now = interval.after["pools"][pool]
    if is_short_of_workers(interval, pool):
        return (
            f"it has {many(now['workers'], 'worker')} of {now['workers_wanted']}",
            f"wait for those that are starting; {LOOK_FOR_WORKERS}",
        )
    if all(report["pools"][pool]["idle"] for report in interval.reports):
        more = "" if is_embedded(interval.after) else "; run more daemons on the same set"
        return "workers are idle: the daemon itself is busy, on its one processor", f"{ASK_FOR_MANY}{more}"
    if not interval.histogram("execution_seconds", pool=pool).count:
        cause = f"nothing came back from its workers in {span(interval.seconds)}"
        return cause, look_at_the_store(interval.after)
    share = store_share(interval, pool)
    who = "its worker is" if now["workers"] == 1 else f"all {now['workers']} workers are"
    busy = f"{who} busy, {share:.0%} of the time in the store"
    if share < STORE_BOUND_SHARE or (is_embedded(interval.after) and pool == "read"):
        return f"{busy}: the workers are too few", f"{_more_workers(interval, pool)}, where processors are to spare"
    if is_embedded(interval.after):
        unsynced = (
            ""
            if "sync=false" in interval.after["store"]
            else ", or ?sync=false in the store's URL, where a crash of the machine may lose what was answered"
        )
        return (
            f"{busy}: more is asked than this store can write, one batch at a time",
            f"ask for less at a time, or get a faster disk{unsynced}; more workers add little",
        )
    return f"{busy}: the workers are too few", f"{_more_workers(interval, pool)}, where the cluster has room"


def why_refused(interval: Interval, pool: str, code: str) -> tuple[str, str]:
    """Cause and remedy, by the code of most that were refused."""
    now = interval.after["pools"][pool]
    if code == UNAVAILABLE:
        if not now["workers"]:
            return "it has no worker", LOOK_FOR_WORKERS
        if now["breaker"] == "open" or interval.number("pools", pool, "breaker_trips"):
            return "its store does not answer", look_at_the_store(interval.after)
        return "its last worker was away, or its store refused for a moment", "the log says which (grep -v INFO)"
    room, setting = _room(interval, pool)
    rate = done(interval, pool)
    if room < rate * QUEUE_OLD_SECONDS:
        cause = f"its queue is too small: it is full with what is done in {span(room / rate)}"
        return cause, f"raise {setting} ({interval.after['settings'][setting]:,} now) and utxod reload; {_WAIT_AND_ASK}"
    cause, remedy = why_short(interval, pool)
    return f"its queue is full, for one submitter at least; {cause}", f"{_WAIT_AND_ASK}; {remedy}"


def is_short_of_workers(interval: Interval, pool: str) -> bool:
    """At both ends."""
    return all(
        report["pools"][pool]["workers"] < report["pools"][pool]["workers_wanted"] for report in interval.reports
    )


def store_share(interval: Interval, pool: str) -> float:
    """Of the time that dispatches were in execution, that in the store."""
    execution, store = (interval.histogram(f"{what}_seconds", pool=pool) for what in ("execution", "store"))
    return store.sum / execution.sum if execution.sum else 0.0


def done(interval: Interval, pool: str) -> float:
    """Items a second."""
    return interval.rate(interval.histogram("batch_items", pool=pool).sum)


def refused(interval: Interval, pool: str) -> dict[str, int]:
    """Items by code, the most first: on arrival, or while they waited."""
    by_code = {code: interval.count("refusals", "items", pool=pool, code=code) for code in (OVERLOADED, UNAVAILABLE)}
    by_code[UNAVAILABLE] += interval.count("answers", "items", pool=pool, code=UNAVAILABLE)
    return {code: count for code, count in sorted(by_code.items(), key=lambda pair: -pair[1]) if count}


def _more_workers(interval: Interval, pool: str) -> str:
    """As many more as the load wants, within reason."""
    workers, rate = interval.after["pools"][pool]["workers"], done(interval, pool)
    grown = interval.number("pools", pool, "queued") + sum(refused(interval, pool).values())
    offered = rate + max(0.0, interval.rate(grown))
    wanted = math.ceil(workers * offered / rate) if rate else 0
    return scale(pool, min(max(wanted, workers + 1), 4 * workers, MOST_WORKERS))


def _room(interval: Interval, pool: str) -> tuple[float, str]:
    """Items for which the queue has room, of the size of those that wait, and the setting that bounds it."""
    now = interval.after["pools"][pool]
    by_bytes = now["queue_bytes"] * now["queued"] / now["queued_bytes"] if now["queued_bytes"] else math.inf
    return min((now["queue_items"], "broker.queue_items"), (by_bytes, "broker.queue_bytes"))
