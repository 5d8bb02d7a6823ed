"""The core's own structures, looked through as a whole: now and then in a run, and at its end."""

from collections import Counter

from broker.core import Core
from broker.entry import ANSWERED, AWAITING_PARTS, DISPATCHED, QUEUED, Entry
from broker.pool import Pool
from protocol.wire import pack_report
from tests.simulation.invariants import InvariantChecker
from tests.simulation.tasks import Violation


def audit(core: Core, checker: InvariantChecker) -> None:
    """Every entry is in one place, and everything that is counted adds up."""
    places: dict[Entry, str] = {}
    for pool in core.pools.values():
        _audit_queue(pool, places)
    for worker in core.workers.values():
        credit = worker.dispatch is None and not worker.retiring and not worker.terminating
        if (worker in worker.pool.idle) != credit or worker.pool.workers.get(worker.identity) is not worker:
            raise Violation(f"worker {worker.identity!r}: its credit, or its pool, is not what it should be")
        for entry in worker.dispatch.entries if worker.dispatch else ():
            _place(places, entry, "in hand")
            if entry.state not in (DISPATCHED, ANSWERED):
                raise Violation(f"{entry.operation} in hand is in state {entry.state}")
    waiting = 0
    for entry in core.ledger:
        waiting += 1
        if entry.state is ANSWERED:
            raise Violation(f"an answered {entry.operation} is still in the ledger")
        if entry.state is AWAITING_PARTS:
            _audit_fan_in(entry, places)
        elif entry not in places:
            raise Violation(f"{entry.operation} is in the ledger, and neither queued nor in hand")
    if waiting != len(core.ledger):
        raise Violation(f"the ledger counts {len(core.ledger)}, {waiting} are there")
    checker.tally.check(core, Counter(dispatch.operation for dispatch in checker.dispatches.values()))
    pools = {identity: worker.pool.name for identity, worker in core.workers.items()}
    if pools != checker.pools:
        raise Violation(f"workers: {pools}, where there are {checker.pools}")


def audit_end(core: Core, checker: InvariantChecker, now: int) -> None:
    """Every fault has cleared, every worker is gone and every deadline has passed: nothing is left."""
    while core.sweep(now + 3_600_000_000):
        pass
    left = {
        "pending": len(core.ledger),
        "entries": list(core.ledger),
        "buckets": core.ledger._deadlines._buckets,
        "order": core.ledger._deadlines._order,
        "workers": core.workers,
        "owed": core.ledger.owed,
        "actions": core.actions,
        "tasks": checker.open or checker.owing or checker.dispatches,
    }
    for name, pool in core.pools.items():
        queue = pool.queue
        left |= {
            f"{name} queue": list(queue) or queue.weight or queue.bytes or queue._fifos,
            f"{name} held": queue._waiting,
            f"{name} workers": pool.workers or pool.idle,
        }
    checker.tally.check(core, Counter())
    pack_report(core.report(checker.now))
    left = {name: what for name, what in left.items() if what}
    if left:
        raise Violation(f"left behind: {left}")


def _place(places: dict[Entry, str], entry: Entry, place: str) -> None:
    if entry in places:
        raise Violation(f"{entry.operation} is in two places: {places[entry]} and {place}")
    places[entry] = place


def _audit_queue(pool: Pool, places: dict[Entry, str]) -> None:
    queue = pool.queue
    weight = size = 0
    held: Counter[object] = Counter()
    for operation, fifos in queue._fifos.items():
        for submitter, fifo in fifos.items():
            for entry in fifo:
                if entry.operation != operation or entry.submitter != submitter or entry.pool != pool.name:
                    raise Violation(f"{entry.operation} waits in the wrong place")
                weight += entry.weight
                size += entry.size
                held[submitter] += entry.weight
            if not fifo:
                raise Violation("a submitter who waits with nothing")
        if not fifos:
            raise Violation("an operation that nobody waits for")
    if (weight, size, held) != (queue.weight, queue.bytes, queue._waiting):
        counted = queue.weight, queue.bytes, queue._waiting
        raise Violation(f"pool {pool.name} counts {counted}, where {(weight, size, held)} wait")
    for entry in queue:
        _place(places, entry, f"queued for {pool.name}")
        if entry.state is not QUEUED:
            raise Violation(f"{entry.operation} waits, in state {entry.state}")


def _audit_fan_in(entry: Entry, places: dict[Entry, str]) -> None:
    if entry in places or entry.fan_in is None or not entry.fan_in.parts:
        raise Violation(f"{entry.operation} waits for its parts, and is {places.get(entry)}, or there are none")
    for part in entry.fan_in.parts:
        if part not in places or part.parent is not entry or part.state is ANSWERED:
            raise Violation(f"a part of {entry.operation} is nowhere, and its answer waits for it")
