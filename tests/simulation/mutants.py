"""Planted bugs, one at a time, each of a kind that the incident had or its follow-ups named: the simulator must find
every one of them, or its silence means nothing."""

from collections.abc import Callable
from itertools import count
from typing import Any, Final

from broker.core import Core
from broker.events import RequestReceived
from broker.fan_in import FollowUpJoin, Join, ReadJoin
from broker.ledger import DISPATCHED, NEVER, QUEUED, Entry
from broker.pool import Pool, Worker
from broker.refusals import Refusals
from protocol.codes import NO
from protocol.wire import Error


class SkipsACompletion(Core):
    """A batch that ends half way: who was not signalled yet waits for ever."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._completions = count(1)

    def _settle(self, entry: Entry, header: Any, body: Any) -> None:
        if entry.state != DISPATCHED or next(self._completions) % 40:
            super()._settle(entry, header, body)


class CompletesTwice(Core):
    """A request that expired in a worker's hands is answered again when the worker answers."""

    def _give_up(self, entry: Entry, *args: Any) -> None:
        dispatched = entry.state == DISPATCHED
        super()._give_up(entry, *args)
        if dispatched:
            entry.state = DISPATCHED


class ForgetsAJoin(Core):
    """An answer goes out before the child records that it depends on are done."""

    def _await(self, entry: Entry, join: Join, parts: Any) -> None:
        if isinstance(join, FollowUpJoin):
            self._settle(entry, *join.answer())
        else:
            super()._await(entry, join, parts)


class KeepsAskingASilentStore(Core):
    """A store that gives no answer in time is given the next batch."""

    def _open_breaker(self, pool: Pool, now: int) -> None:
        pass


class TakesAMissingPartForSuccess(Core):
    """A child record's error is taken for success."""

    def _await(self, entry: Entry, join: Join, parts: Any) -> None:
        if isinstance(join, FollowUpJoin):
            settle = join.settle
            join.settle = lambda part, error, body: settle(part, None, body)  # type: ignore[method-assign]
        super()._await(entry, join, parts)


class SaysNoAfterDispatch(Core):
    """A request that expires in execution is answered as if nobody had touched it."""

    def _fail(self, entry: Entry, error: Error) -> None:
        super()._fail(entry, error._replace(executed=NO) if entry.state == DISPATCHED else error)


class LeaksAnEntry(Core):
    """What expires in the queue is answered, and stays in the ledger."""

    def _expire_taken(self, entries: list[Entry]) -> None:
        super()._expire_taken(entries)
        for entry in entries:
            if entry.submitter is not None:
                self.ledger.add(entry)


class LosesOwedWorkOnACrash(Core):
    """A counter that a dead worker held is neither counted nor reported."""

    def _doubt(self, entry: Entry, reason: str) -> None:
        if not reason.startswith("WORKER_CRASHED"):
            super()._doubt(entry, reason)


class RepeatsWrites(Core):
    """A write that lost its worker is dispatched again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pools["write"].kind = self.pools["write"].kind._replace(repeatable=True)


class RepeatsReadsTogether(Core):
    """Reads that lost their worker are dispatched again as they were, poisonous ones among them."""

    def _read_again(self, entry: Entry) -> None:
        entry.retried = True
        entry.state = QUEUED
        self.pools[entry.pool].queue.add(entry)


class HandsOutWhatHasExpired(Core):
    """What expired in the queue is executed all the same."""

    def dispatch(self, now: int) -> None:
        self._now = now
        super().dispatch(now)

    def _expire_taken(self, entries: list[Entry]) -> None:
        pool = self.pools[entries[0].pool]
        if len(pool.idle) > 1:
            self._hand_out(pool, entries, self._now)
        else:
            super()._expire_taken(entries)


class ForgetsCredit(Core):
    """A worker whose items had all been answered meanwhile is not given work again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._releases = count(1)

    def _release(self, worker: Worker) -> None:
        super()._release(worker)
        if next(self._releases) % 40 == 0:
            worker.pool.idle.pop(worker, None)


class AcceptsAnotherEpoch(Core):
    """What lay in a buffer is executed by the next incarnation."""

    def _on_request(self, event: RequestReceived, now: int) -> None:
        own, self.epoch = self.epoch, event.header.epoch
        try:
            super()._on_request(event, now)
        finally:
            self.epoch = own


class _ShiftingJoin(ReadJoin):
    def answer(self) -> Any:
        held = [result for index, result in enumerate(self._results) if index not in self.errors]
        self._results = held + [b"\xc0"] * (len(self._results) - len(held))
        return super().answer()


class ShiftsResults(Core):
    """A read that failed is left out, and every later result lands on the wrong item."""

    def _await(self, entry: Entry, join: Join, parts: Any) -> None:
        super()._await(entry, _ShiftingJoin(entry.count) if isinstance(join, ReadJoin) else join, parts)


class _BoundlessPool(Pool):
    def has_room(self, *args: Any) -> bool:
        return True


class HasNoBounds(Core):
    """The backlog grows for as long as somebody asks."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for pool in self.pools.values():
            pool.__class__ = _BoundlessPool


class _StampedingPool(Pool):
    def _may_probe(self, now: int) -> bool:
        return True


class Stampedes(Core):
    """A store that does not answer gets more and more to do."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for pool in self.pools.values():
            pool.__class__ = _StampedingPool


class _RefusalsOfAll(Refusals):
    def begin(self, pool: Pool, code: str, message: str, retry_after: int = 0) -> None:
        super().begin(pool, code, message, retry_after)
        for entry in list(pool.queue):
            if entry.deadline == NEVER:
                self._give_up(entry, code, message, retry_after)


class RefusesOwedWork(Core):
    """Owed work is given up with everything else when its pool does not answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._refusals.__class__ = _RefusalsOfAll


class SweepsTheFirstSlice(Core):
    """What is due beyond a slice waits for the next sweep."""

    def sweep(self, now: int) -> bool:
        super().sweep(now)
        return False


class SweepsLate(Core):
    """What is due is answered two sweeps too late."""

    def sweep(self, now: int) -> bool:
        return super().sweep(now - 100_000)


MUTANTS: Final[dict[str, Callable[..., Core]]] = {
    mutant.__name__: mutant
    for mutant in (
        SkipsACompletion,
        CompletesTwice,
        ForgetsAJoin,
        TakesAMissingPartForSuccess,
        KeepsAskingASilentStore,
        SaysNoAfterDispatch,
        LeaksAnEntry,
        LosesOwedWorkOnACrash,
        RepeatsWrites,
        RepeatsReadsTogether,
        HandsOutWhatHasExpired,
        ForgetsCredit,
        AcceptsAnotherEpoch,
        ShiftsResults,
        HasNoBounds,
        Stampedes,
        RefusesOwedWork,
        SweepsLate,
        SweepsTheFirstSlice,
    )
}
