"""Planted bugs, one at a time, each of a kind that the incident had or its follow-ups named: the simulator must find
every one of them, or its silence means nothing."""

from collections.abc import Callable
from itertools import count
from typing import Any, Final

from broker.circuit_breaker import CircuitBreaker
from broker.core import Core
from broker.entry import ANSWERED, DISPATCHED, NEVER, QUEUED, Entry, FanIn
from broker.events import Event, RequestReceived, WorkerDone
from broker.evictions import Evictions
from broker.fan_in import FollowUpFanIn, ReadFanIn
from broker.ledger import Ledger
from broker.pool import Pool, Worker
from broker.queue import ALL
from broker.reply_headers import ALL_WELL, Outcome, failed_as_a_whole
from protocol import wire
from protocol.codes import NO
from protocol.wire import Error


class SkipsACompletion(Ledger):
    """A batch that ends half way: who was not signalled yet waits for ever."""

    def answer(self, entry: Entry, *args: Any) -> None:
        self._counters["completions"] += 1
        if entry.state is not DISPATCHED or self._counters["completions"] % 40:
            super().answer(entry, *args)


class CompletesTwice(Ledger):
    """A request that expired in a worker's hands is answered again when the worker answers."""

    def give_up(self, entry: Entry, *args: Any) -> None:
        dispatched = entry.state is DISPATCHED
        super().give_up(entry, *args)
        if dispatched:
            entry.state = DISPATCHED


class ForgetsItsParts(Ledger):
    """An answer goes out before the child records that it depends on are done."""

    def await_parts(self, entry: Entry, fan_in: FanIn) -> None:
        if isinstance(fan_in, FollowUpFanIn):
            self.answer(entry, *fan_in.reply(), ALL_WELL)
        else:
            super().await_parts(entry, fan_in)


class KeepsAskingASilentStore(Core):
    """A store that gives no answer in time is given the next batch."""

    def _trip(self, pool: Pool, now: int) -> None:
        pass


class TakesAMissingPartForSuccess(Ledger):
    """A child record's error is taken for success."""

    def await_parts(self, entry: Entry, fan_in: FanIn) -> None:
        if isinstance(fan_in, FollowUpFanIn):
            resolve = fan_in.resolve
            fan_in.resolve = lambda part, error, body: resolve(part, None, body)  # type: ignore[method-assign]
        super().await_parts(entry, fan_in)


class SaysNoAfterDispatch(Ledger):
    """A request that expires in execution is answered as if nobody had touched it."""

    def fail(self, entry: Entry, code: str, message: str, retry_after: int = 0) -> None:
        if entry.state is DISPATCHED:
            header = wire.error_header(Error(code, NO, message), entry.item_count)
            self.answer(entry, header, wire.EMPTY_BODY, failed_as_a_whole(code, entry.item_count))
        else:
            super().fail(entry, code, message, retry_after)


class LeaksAnEntry(Core):
    """What expires in the queue is answered, and stays in the ledger."""

    def _expire_taken(self, entries: list[Entry]) -> None:
        super()._expire_taken(entries)
        for entry in entries:
            if entry.submitter is not None:
                self.ledger._deadlines.add(entry)


class LosesOwedWorkOnACrash(Ledger):
    """A counter that a dead worker held is neither counted nor reported."""

    def _report_in_doubt(self, entry: Entry, reason: str) -> None:
        if not reason.startswith("WORKER_CRASHED"):
            super()._report_in_doubt(entry, reason)


class RepeatsWrites(Core):
    """A write that lost its worker is dispatched again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pools["write"].kind = self.pools["write"].kind._replace(repeatable=True)


class RepeatsReadsTogether(Ledger):
    """Reads that lost their worker are dispatched again as they were, poisonous ones among them."""

    def retry(self, entry: Entry) -> None:
        entry.to(QUEUED)
        self._pools[entry.pool].queue.add(entry)


class HandsOutWhatHasExpired(Core):
    """What expired in the queue is executed all the same."""

    def dispatch(self, now: int) -> None:
        self._now = now
        super().dispatch(now)

    def _expire_taken(self, entries: list[Entry]) -> None:
        pool = self.pools[entries[0].pool]
        if len(pool.idle) > 1:
            self._hand_out(pool, entries, ALL, self._now)
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

    def handle(self, event: Event, now: int) -> None:
        if isinstance(event, RequestReceived):
            event = event._replace(header=event.header._replace(epoch=self.epoch))
        super().handle(event, now)


class _ShiftingFanIn(ReadFanIn):
    def reply(self) -> Any:
        held = [result for index, result in enumerate(self._results) if index not in self.errors]
        self._results = held + [b"\xc0"] * (len(self._results) - len(held))
        return super().reply()


class ShiftsResults(Ledger):
    """A read that failed is left out, and every later result lands on the wrong item."""

    def await_parts(self, entry: Entry, fan_in: FanIn) -> None:
        super().await_parts(entry, _ShiftingFanIn(list(fan_in.parts)) if isinstance(fan_in, ReadFanIn) else fan_in)


class _BoundlessPool(Pool):
    def has_room(self, *args: Any) -> bool:
        return True


class HasNoBounds(Core):
    """The backlog grows for as long as somebody asks."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for pool in self.pools.values():
            pool.__class__ = _BoundlessPool


class _StampedingBreaker(CircuitBreaker):
    def allow(self, *args: Any) -> bool:
        return True


class Stampedes(Core):
    """A store that does not answer gets more and more to do."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for pool in self.pools.values():
            pool.breaker.__class__ = _StampedingBreaker


class _EvictionsOfAll(Evictions):
    def begin(self, pool: Pool, code: str, message: str, retry_after: int = 0) -> None:
        super().begin(pool, code, message, retry_after)
        for entry in list(pool.queue):
            if entry.deadline == NEVER:
                self._give_up(entry, code, message, retry_after)


class EvictsOwedWork(Core):
    """Owed work is evicted with everything else when its pool does not answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._evictions.__class__ = _EvictionsOfAll


class SweepsTheFirstSlice(Core):
    """What is due beyond a slice waits for the next sweep."""

    def sweep(self, now: int) -> bool:
        super().sweep(now)
        return False


class CountsTheLateAsAnswered(Core):
    """What a worker answers too late is counted as an answer."""

    def _on_done(self, event: WorkerDone, now: int) -> None:
        worker = self.workers.get(event.worker)
        if worker is not None and worker.dispatch is not None and worker.dispatch.number == event.number:
            late = [entry for entry in worker.dispatch.entries if entry.state is ANSWERED]
            self.figures.works[worker.dispatch.operation].well_items += sum(entry.weight for entry in late)
        super()._on_done(event, now)


class CountsPartsAsWell(Ledger):
    """An answer is counted before its parts are in."""

    def answer(self, entry: Entry, header: Any, body: Any, outcome: Outcome) -> None:
        super().answer(entry, header, body, ALL_WELL if entry.fan_in else outcome)


class SweepsLate(Core):
    """What is due is answered two sweeps too late."""

    def sweep(self, now: int) -> bool:
        return super().sweep(now - 100_000)


def _in_ledger(bug: type[Ledger]) -> Callable[..., Core]:
    def make_core(*args: Any) -> Core:
        core = Core(*args)
        core.ledger.__class__ = bug
        return core

    make_core.__doc__ = bug.__doc__
    return make_core


_IN_LEDGER: Final[tuple[type[Ledger], ...]] = (
    SkipsACompletion,
    CompletesTwice,
    ForgetsItsParts,
    TakesAMissingPartForSuccess,
    SaysNoAfterDispatch,
    LosesOwedWorkOnACrash,
    RepeatsReadsTogether,
    ShiftsResults,
    CountsPartsAsWell,
)
_IN_CORE: Final[tuple[type[Core], ...]] = (
    KeepsAskingASilentStore,
    LeaksAnEntry,
    RepeatsWrites,
    HandsOutWhatHasExpired,
    ForgetsCredit,
    AcceptsAnotherEpoch,
    HasNoBounds,
    Stampedes,
    EvictsOwedWork,
    SweepsLate,
    CountsTheLateAsAnswered,
    SweepsTheFirstSlice,
)
MUTANTS: Final[dict[str, Callable[..., Core]]] = {
    **{bug.__name__: _in_ledger(bug) for bug in _IN_LEDGER},
    **{bug.__name__: bug for bug in _IN_CORE},
}
