"""What can be wrong with the daemon as a whole."""

from collections.abc import Callable, Iterator
from typing import Final

from utxod.interval import Interval
from utxod.plurals import many
from utxod.spans import span

from .findings import (
    DESCRIPTORS_LEFT,
    DESCRIPTORS_SHARE,
    HELD_BACK_SHARE,
    OWED_SHARE,
    STANDSTILL_SECONDS,
    Finding,
    are_many,
)
from .remedies import LOOK_FOR_WORKERS, is_embedded, scale
from .shortage import is_short_of_workers


def _standstill(interval: Interval) -> Iterator[Finding]:
    late = interval.histogram("sweep_lateness_seconds")
    count = late.beyond(STANDSTILL_SECONDS)
    if count:
        longest = interval.after["longest_standstill_seconds"]
        yield Finding(
            "UtxodStandstill",
            "",
            f"{many(count, 'sweep')} of {late.count} came more than {span(STANDSTILL_SECONDS)} late, the latest since "
            f"the start {span(longest)}",
            "the daemon was stopped, or gets no processor: the machine is short of processors, or swaps",
            "look for what takes the processors and the memory (top, vmstat 1), and move it, or limit it",
        )


def _descriptors(interval: Interval) -> Iterator[Finding]:
    after = interval.after
    opened, limit = after["descriptors"]["open"], after["descriptors"]["limit"]
    left = limit - opened
    if left < DESCRIPTORS_LEFT or opened > DESCRIPTORS_SHARE * limit:
        submitters = after["submitters"]
        yield Finding(
            "UtxodDescriptorsShort",
            "",
            f"{left:,} of {limit:,} descriptors left; {many(submitters, 'submitter')}, with one each",
            "more clients than this limit has room for"
            if submitters >= opened / 2
            else "the limit is low for the daemon and its workers",
            "raise the hard limit (LimitNOFILE= of the unit, ulimit -Hn) and restart; one client for each process, "
            "shared by its threads, needs fewer (who they are: ss -xp, or ss -tp)",
        )


def _log(interval: Interval) -> Iterator[Finding]:
    lost = {who: interval.number("log_lines_dropped", who) for who in ("daemon", "workers")}
    if any(lost.values()):
        total = sum(interval.after["log_lines_dropped"].values())
        yield Finding(
            "UtxodLogDropped",
            "",
            f"{many(sum(lost.values()), 'line')} of the log dropped in {span(interval.seconds)} (the daemon's "
            f"{lost['daemon']:,}, the workers' {lost['workers']:,}), {total:,} since the start",
            "who reads the daemon's standard error stands still or is too slow, or its disk is full",
            f"see who reads it (ls -l /proc/{interval.after['pid']}/fd/2) and have it read on; what there is so much "
            "of is in the lines that came through; utxod log-level warning makes them fewer",
        )


def _owed(interval: Interval) -> Iterator[Finding]:
    owed, limit = interval.after["owed"], interval.after["settings"]["broker.owed_items"]
    grown = interval.number("owed")
    if owed >= OWED_SHARE * limit and (grown >= 0 or owed >= HELD_BACK_SHARE * limit):
        held = " and are now" if owed >= limit else ""
        remedy = scale("children", interval.after["pools"]["children"]["workers_wanted"] + 1)
        if is_short_of_workers(interval, "children"):
            remedy = LOOK_FOR_WORKERS
        elif is_embedded(interval.after):
            remedy += "; they take turns with those that write: callers should ask for less at a time, too"
        yield Finding(
            "UtxodOwedGrowing",
            "",
            f"{owed:,} of {limit:,} follow-ups are owed, {grown:+,} in {span(interval.seconds)}",
            f"the children pool is slower than the writes that follow-ups come of; from {limit:,} on writes are held "
            f"back{held}",
            remedy,
        )


def _undeliverable(interval: Interval) -> Iterator[Finding]:
    lost, answered = interval.number("figures", "undeliverable_items"), interval.count("answers", "items")
    if are_many(lost, answered):
        yield Finding(
            "UtxodUndeliverable",
            "",
            f"answers for {lost:,} of {answered:,} items could not be handed over in {span(interval.seconds)}",
            "submitters end while they are asking, or do not read their answers",
            "look at the programs that ask: are they killed, or stopped? A client that reads nothing loses its answers",
        )


def _in_doubt(interval: Interval) -> Iterator[Finding]:
    pieces, requests = interval.number("figures", "in_doubt"), interval.number("figures", "lost_requests")
    what = [many(count, noun) for count, noun in ((pieces, "follow-up"), (requests, "request")) if count]
    if what:
        yield Finding(
            "UtxodInDoubt",
            "",
            f"{' and '.join(what)} came to be in doubt in {span(interval.seconds)}",
            "their worker was lost, or the store failed, while they were under way",
            f"look at {interval.after['state']}/in-doubt.jsonl and ask again for what it names; no coin is lost by it",
        )


OF_THE_DAEMON: Final[tuple[Callable[[Interval], Iterator[Finding]], ...]] = (
    _standstill,
    _descriptors,
    _log,
    _owed,
    _undeliverable,
    _in_doubt,
)
