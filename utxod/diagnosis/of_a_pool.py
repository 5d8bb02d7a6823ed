"""What can be wrong with one pool."""

from collections.abc import Callable, Iterator
from typing import Final

from broker.queue import ALL
from protocol.codes import DEADLINE_EXCEEDED, INTERNAL, OVERLOADED, STORE_ERROR
from utxod.interval import Interval, Report
from utxod.plurals import many
from utxod.spans import span

from .findings import (
    DISPATCH_LONG_SECONDS,
    DYING_EXITS,
    DYING_SECONDS,
    QUEUE_OLD_SECONDS,
    SMALL_BATCH,
    SMALL_QUEUE,
    STORE_BOUND_SHARE,
    STORE_SLOW_SECONDS,
    WORKED_OFF_SECONDS,
    Finding,
    are_many,
)
from .remedies import ASK_FOR_MANY, LOOK_FOR_WORKERS, is_embedded, look_at_the_store, scale
from .shortage import done, is_short_of_workers, refused, store_share, why_refused, why_short

# A worker's ends that are wanted.
_RETIRED: Final = "retired"
# Of items that were let in: with the last one it is the store that has no room, a full queue refuses on arrival.
_FAILED: Final = (STORE_ERROR, INTERNAL, OVERLOADED)


def _breaker(interval: Interval, pool: str) -> Iterator[Finding]:
    trips, is_open = interval.number("pools", pool, "breaker_trips"), interval.after["pools"][pool]["breaker"] == "open"
    if is_open or trips:
        settings = interval.after["settings"]
        budget, probe = settings["broker.budget_seconds"], settings["broker.probe_seconds"]
        state = (
            f"is open; a probe goes to the store every {span(probe)}"
            if is_open
            else f"opened {many(trips, 'time')} in {span(interval.seconds)}, and is closed just now"
        )
        yield Finding(
            "UtxodBreakerOpen",
            pool,
            f"the breaker of the {pool} pool {state}",
            f"the store does not answer within {span(budget)}",
            look_at_the_store(interval.after),
        )


def _store(interval: Interval, pool: str) -> Iterator[Finding]:
    spent = interval.histogram("store_seconds", pool=pool)
    longest = interval.after["pools"][pool]["longest_seconds"]
    budget = interval.after["settings"]["broker.budget_seconds"]
    is_waited_for = all(report["pools"][pool]["queued"] for report in interval.reports)
    # One alone, that nobody waits behind, was but a slow batch.
    if spent.mean >= STORE_SLOW_SECONDS and (spent.count > 1 or longest >= STORE_SLOW_SECONDS or is_waited_for):
        seen = (
            f"a dispatch of the {pool} pool is in the store for {span(spent.mean)}, {span(spent.quantile(0.99))} at p99"
        )
    elif not spent.count and longest >= DISPATCH_LONG_SECONDS:
        seen = f"no dispatch of the {pool} pool came back in {span(interval.seconds)}; one is out for {span(longest)}"
    else:
        return
    cause, remedy = "the store is slow", look_at_the_store(interval.after)
    if is_embedded(interval.after) and pool != "read" and interval.after["pools"][pool]["workers"] > 1:
        cause += ", or its writers wait for each other: it writes one batch at a time"
        remedy += f" Fewer writers wait less: {scale(pool, 1)}"
    yield Finding(
        "UtxodStoreSlow",
        pool,
        f"{seen}; from {span(budget)} on the breaker opens",
        cause,
        remedy,
    )


_WHY_THEY_END: Final = {
    "crashed": (
        "killed from outside, by the kernel for want of memory, or by an error of their own",
        'the log says by which signal ("is gone: it was ended by"); SIGKILL, and not by you: journalctl -k | grep -i '
        "memory, then fewer workers, a smaller broker.batch_limit, or more memory",
    ),
    "wedged": (
        "the store did not answer within budget and grace: they were ended",
        "the stacks in the log show where they stood; is the store up, its disk free and fast?",
    ),
    "stopped": ("they were stopped, by SIGSTOP or a debugger, and ended", "look for who stops them"),
    "nonsense": (
        "they answered what can't be read",
        "a defect, or files of two versions: restart the daemon of one whole installation, and keep the log",
    ),
    "not_ready": (
        "they do not become ready in 30 s",
        "can the store be reached (utxod doctor), and has the machine processors to spare?",
    ),
    "start_failed": (
        "they can't open the store, or can't be started: the host lacks processes, descriptors or memory, or the "
        "interpreter is away",
        'the log says which: "can\'t be opened", and utxod doctor tells more; or "can\'t be started": raise that limit '
        "(TasksMax=, LimitNOFILE=, MemoryMax=)",
    ),
}


def _workers(interval: Interval, pool: str) -> Iterator[Finding]:
    ends = _unwanted(interval.counts("worker_exits", "count", by="cause", pool=pool))
    since_start = _unwanted(Interval.since_start(interval.after).counts("worker_exits", "count", by="cause", pool=pool))
    is_looping = _has_workers_to_come(interval, pool) or bool(ends and is_short_of_workers(interval, pool))
    are_enough = sum(since_start.values()) >= DYING_EXITS
    lifetimes = max(1.0, interval.after["uptime_seconds"] / DYING_SECONDS)
    is_usual = sum(since_start.values()) >= DYING_EXITS * lifetimes or sum(ends.values()) >= DYING_EXITS
    if not are_enough or not (is_looping or (ends and is_usual)):
        return
    shown = ", ".join(f"{count:,} {cause.replace('_', ' ')}" for cause, count in (ends or since_start).items())
    when = f"in {span(interval.seconds)}" if ends else "since the start"
    now = interval.after["pools"][pool]
    cause, remedy = _WHY_THEY_END.get(next(iter(ends or since_start)), ("see the log", "see the log"))
    if is_looping:
        cause += "; one after the other, so that each start waits longer (a crash loop)"
    yield Finding(
        "UtxodWorkersDying",
        pool,
        f"workers of the {pool} pool ended {when}: {shown}; it has "
        f"{many(now['workers'], 'worker')} of {now['workers_wanted']}",
        cause,
        remedy,
    )


def _failing(interval: Interval, pool: str) -> Iterator[Finding]:
    answers = interval.counts("answers", "items", by="code", pool=pool)
    failed = {code: count for code, count in answers.items() if code in _FAILED}
    total, answered = sum(failed.values()), sum(answers.values())
    if not are_many(total, answered):
        return
    shown = ", ".join(f"{count:,} {code}" for code, count in failed.items())
    cause, remedy = _why_failed(next(iter(failed)), interval.after, pool)
    yield Finding(
        "UtxodStoreFailing",
        pool,
        f"{total:,} of {answered:,} items of the {pool} pool failed in {span(interval.seconds)}: {shown}",
        cause,
        remedy,
    )


def _why_failed(code: str, report: Report, pool: str) -> tuple[str, str]:
    """Cause and remedy, by the code of most."""
    if code == INTERNAL:
        return (
            "a defect, or the store returns what can't be read",
            'keep the log: "raised" has a traceback; is it a new version, or did another program write to the set?',
        )
    cause = "the store has no room, and refuses at once" if code == OVERLOADED else "the store answers, and fails"
    if is_embedded(report) and pool == "read":
        return (
            cause,
            'the log says why ("the store failed"): does the disk fail (dmesg), are rights gone? Where it says nothing '
            "records are damaged (utxod show TXID); utxod doctor tries the store",
        )
    if is_embedded(report):
        return (
            cause,
            'the log says why ("the store failed"): a set that was moved, removed or replaced is to be brought back, '
            "or, where what is there is the right one, needs a restart; a full set needs a larger map_size, in the "
            "setting store, and a restart; a full disk (df) needs room; utxod doctor tries the store",
        )
    return (
        cause,
        "the log says with which result code: does the namespace stop writes, for want of disk or memory (asadm -e "
        "info)? utxod doctor examines it",
    )


def _not_ready(interval: Interval, pool: str) -> Iterator[Finding]:
    now = interval.after["pools"][pool]
    if now["workers"] or interval.after["draining"] or (interval.before and interval.before["pools"][pool]["workers"]):
        return
    starts = interval.after["figures"]["worker_starts"]
    is_first = sum(row["count"] for row in starts if row["pool"] == pool) <= now["workers_wanted"]
    yield Finding(
        "UtxodNotReady",
        pool,
        f"the {pool} pool has no worker, of {now['workers_wanted']}; up for {span(interval.after['uptime_seconds'])}",
        "its workers have not become ready yet, which takes up to 30 s on a busy machine"
        if is_first
        else "its workers end before they become ready",
        LOOK_FOR_WORKERS,
    )


def _batches(interval: Interval, pool: str) -> Iterator[Finding]:
    batch = interval.histogram("batch_items", pool=pool)
    queued, limit = interval.after["pools"][pool]["queued"], interval.after["settings"]["broker.batch_limit"]
    is_small = 0 < batch.mean < SMALL_BATCH and queued > SMALL_QUEUE
    if not (is_small and _waits(interval, pool)):
        return
    reasons = interval.counts("dispatches", "count", by="reason", pool=pool)
    operations = interval.counts("dispatches", "count", by="operation", pool=pool)
    if len(operations) == 1 and next(iter(reasons), "") == ALL:
        return  # what waits now came meanwhile
    more_help = not is_embedded(interval.after) or pool == "read"
    cause, remedy = _why_small(next(iter(reasons), ""), limit, len(operations), more_help)
    shown = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    yield Finding(
        "UtxodBatchesSmall",
        pool,
        f"dispatches of the {pool} pool have {batch.mean:.1f} items, while {queued:,} wait (why they were handed out: "
        f"{shown})",
        cause,
        remedy,
    )


def _why_small(reason: str, limit: int, operations: int, more_help: bool) -> tuple[str, str]:
    """Cause and remedy, by the reason of most dispatches. more_help: more workers would."""
    if reason == "full" and limit < SMALL_BATCH:
        return (
            f"broker.batch_limit is {limit:g}: a batch is full with that",
            "raise broker.batch_limit (1000 by default)",
        )
    if reason == "probe":
        return "the breaker is open: a probe is one request", "mend the store: the breaker closes by itself"
    if reason == "again":
        return "reads that had lost their worker are asked again one by one", "see why workers end (the log)"
    if operations > 1:
        return (
            f"{operations} operations take turns, a batch holds items of one, and there are few of each",
            f"{ASK_FOR_MANY}{', or add workers' if more_help else ''}",
        )
    return (
        "each request takes a dispatch of its own, or nearly so",
        f"{ASK_FOR_MANY}; let broker.batch_limit be several times a request",
    )


def _queue(interval: Interval, pool: str) -> Iterator[Finding]:
    if not _waits(interval, pool):
        return
    now = interval.after["pools"][pool]
    grown = interval.number("pools", pool, "queued")
    if now["queued"] <= -interval.rate(grown) * WORKED_OFF_SECONDS:
        return
    yield Finding(
        "UtxodQueueGrowing",
        pool,
        f"the queue of the {pool} pool holds {now['queued']:,} of {now['queue_items']:,} items, {grown:+,} in "
        f"{span(interval.seconds)}, the oldest for {span(now['oldest_seconds'])}; {done(interval, pool):,.0f} done "
        "a second",
        *why_short(interval, pool),
    )


def _refusing(interval: Interval, pool: str) -> Iterator[Finding]:
    by_code = refused(interval, pool)
    total = sum(by_code.values())
    asked = sum(interval.count(table, "items", pool=pool) for table in ("answers", "refusals"))
    if are_many(total, asked):
        shown = ", ".join(f"{count:,} {code}" for code, count in by_code.items())
        yield Finding(
            "UtxodRefusing",
            pool,
            f"{total:,} of {asked:,} items were refused by the {pool} pool in {span(interval.seconds)}: {shown}",
            *why_refused(interval, pool, next(iter(by_code))),
        )


def _deadlines(interval: Interval, pool: str) -> Iterator[Finding]:
    answered = interval.count("answers", "items", pool=pool)
    missed = interval.count("answers", "items", pool=pool, code=DEADLINE_EXCEEDED)
    if are_many(missed, answered):
        waited, taken = (
            interval.histogram(f"{what}_seconds", pool=pool).quantile(0.99) for what in ("queue", "execution")
        )
        p99 = f"at p99 it takes {span(waited)} in the queue, {span(taken)} in execution"
        yield Finding(
            "UtxodDeadlinesMissed",
            pool,
            f"{missed:,} of {answered:,} items of the {pool} pool were not done by their deadline; "
            + (p99 if taken else "none was handed out and done"),
            *_why_missed(interval, pool, waited > taken),
        )


def _why_missed(interval: Interval, pool: str, is_in_queue: bool) -> tuple[str, str]:
    """Cause and remedy. is_in_queue: whether most of the time goes there."""
    patience = "give calls more time"
    if is_in_queue or not interval.histogram("execution_seconds", pool=pool).count:
        cause, remedy = why_short(interval, pool)
        return f"their time is over while they wait; {cause}", f"{patience}; or {remedy}"
    if store_share(interval, pool) >= STORE_BOUND_SHARE:
        return "the store takes longer than callers wait", f"{patience}, or {look_at_the_store(interval.after)}"
    return (
        "workers take longer than callers wait",
        f"{patience}; has the machine processors to spare (top)? A smaller broker.batch_limit has each wait for fewer",
    )


def _waits(interval: Interval, pool: str) -> bool:
    """Whether something waited for long at both ends, of more than a moment."""
    return interval.seconds > 0 and all(
        report["pools"][pool]["oldest_seconds"] >= QUEUE_OLD_SECONDS for report in interval.reports
    )


def _has_workers_to_come(interval: Interval, pool: str) -> bool:
    """At both ends some are missing that nobody is starting: the next start waits after failures."""
    for report in interval.reports:
        starting = sum(process["pool"] == pool and process["state"] == "starting" for process in report["processes"])
        now = report["pools"][pool]
        if now["workers_wanted"] - now["workers"] <= starting:
            return False
    return True


def _unwanted(ends: dict[str, int]) -> dict[str, int]:
    return {cause: count for cause, count in ends.items() if cause != _RETIRED}


OF_A_POOL: Final[tuple[Callable[[Interval, str], Iterator[Finding]], ...]] = (
    _breaker,
    _store,
    _workers,
    _failing,
    _not_ready,
    _batches,
    _queue,
    _refusing,
    _deadlines,
)
