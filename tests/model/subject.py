"""What is held against the model: a real store, whose workers' operations run in this process, and which a worker can
die at, at any call."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from protocol import codes, wire
from protocol.codes import UNKNOWN
from protocol.wire import Error
from protocol.worker_wire import FollowUp
from store import Read, RecordOperation, Remove, Result, Status, Store, StoreError, open_store
from store.faulty import FaultyStore
from store.interface import is_read_only
from store.layout import child_key
from tests.model.records import GENESIS_HEIGHT, PER_RECORD
from tests.support.dispatching import Dispatched, Outcome, dispatch
from tests.support.wrapped import Wrapped

# Kinds of a fault: the worker is killed at a call of the store, before it, in the middle or after it; the store fails
# the whole call, and nothing was done, or some of it may have been; it gives no answer for some of its records, or
# refuses some.
KILL: Final = "killed"
REFUSE: Final = "refused"
DOUBT: Final = "in doubt"
LOSE: Final = "some unanswered"
FAIL: Final = "some refused"
LATE: Final = "late"  # what the answer waits for is done some time after it
KINDS: Final = (KILL, REFUSE, DOUBT, LOSE, FAIL, LATE)

EMBEDDED: Final = "lmdb"
RECORDS: Final = "records"  # the embedded store, taken for one whose batches are no whole
_SECONDS: Final = 10.0
_BUDGET: Final = 600.0  # that a busy machine uses up the time of a dispatch is no move of the model


class Fault(NamedTuple):
    """call: at which call of the store in a step. applied: which of the call's records are done all the same, a bit
    each. hit: of which no answer comes, or a refusal; a bit each."""

    kind: str
    call: int
    applied: int
    hit: int


class Killed(BaseException):
    """The worker is no more."""


class Shaken(Wrapped):
    """A store with at most one fault at a time. had_fault: whether it came."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._fault: Fault | None = None
        self._calls = 0
        self.had_fault = False

    def plan(self, fault: Fault | None) -> None:
        self._fault, self._calls, self.had_fault = fault, 0, False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        fault, self._calls = self._fault, self._calls + 1
        if fault is None or fault.kind == LATE or fault.call != self._calls - 1:
            return self._inner.batch_operate(record_operations, budget)
        self.had_fault = True
        if fault.kind in (LOSE, FAIL) and not self._inner.is_atomic:
            return self._hit(record_operations, fault, budget)
        if fault.kind != REFUSE:
            self._apply(record_operations, fault.applied, budget)
        if fault.kind == KILL:
            raise Killed
        raise StoreError("injected", in_doubt=fault.kind != REFUSE and not is_read_only(record_operations))

    def _apply(self, record_operations: Sequence[RecordOperation], applied: int, budget: float) -> None:
        if self._inner.is_atomic:
            if applied & 1:
                self._inner.batch_operate(record_operations, budget)
            return
        for place, operation in enumerate(record_operations):
            if applied >> place & 1:
                self._inner.batch_operate([operation], budget)

    def _hit(self, record_operations: Sequence[RecordOperation], fault: Fault, budget: float) -> list[Result]:
        results: list[Result] = []
        for place, operation in enumerate(record_operations):
            is_hit, is_read = fault.hit >> place & 1, isinstance(operation, Read)
            if not is_hit or (fault.kind == LOSE and fault.applied >> place & 1 and not is_read):
                results += self._inner.batch_operate([operation], budget)
            if is_hit and fault.kind == LOSE:
                results[place:] = [Result(Status.TIMEOUT, None, not is_read, "injected", operation.key)]
            elif is_hit:
                results.append(Result(Status.OVERLOADED, None, False, "injected", operation.key))
        return results


class Subject:
    """A set, and one worker on it at a time. pending: owed follow-ups that were not done yet."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shaken = Shaken(store)
        self.is_atomic = store.is_atomic
        self.pending: list[FollowUp] = []

    def ask(
        self, operation: str, requests: Sequence[Sequence[Any]], flags: Sequence[int], fault: Fault | None
    ) -> list[Outcome]:
        """The outcomes of all items, as the broker gives them once what an answer waits for is done."""
        self.shaken.plan(fault)
        sizes = [len(request) for request in requests]
        try:
            done = dispatch(self.shaken, operation, *requests, flags=flags, budget=_BUDGET)
        except Killed:
            return [Outcome(None, Error(codes.WORKER_CRASHED, UNKNOWN, "killed"))] * sum(sizes)
        outcomes = list(done.outcomes)
        for follow_up in done.follow_ups:
            if follow_up.request_index is None:
                self.pending.append(follow_up)
                continue
            place = sum(sizes[: follow_up.request_index]) + follow_up.item_index
            error = self._late(follow_up) if fault and fault.kind == LATE else self.follow(follow_up)
            if error is not None and outcomes[place].error is None:
                outcomes[place] = Outcome(None, error._replace(executed=UNKNOWN))
        return outcomes

    def _late(self, follow_up: FollowUp) -> Error:
        self.shaken.had_fault = True
        self.pending.append(follow_up)
        return Error(codes.DEADLINE_EXCEEDED, UNKNOWN, "late")

    def follow(self, *follow_ups: FollowUp) -> Error | None:
        """Does follow-ups of one operation, in one dispatch; what went wrong with the first that failed."""
        bodies = [wire.unpack_body(follow_up.body, 1) for follow_up in follow_ups]
        try:
            done: Dispatched = dispatch(self.shaken, follow_ups[0].operation, *bodies, budget=_BUDGET)
        except Killed:
            return Error(codes.WORKER_CRASHED, UNKNOWN, "killed")
        assert done.follow_ups == []
        return next((outcome.error for outcome in done.outcomes if outcome.error), None)

    def records(self, txid: bytes, count: int) -> list[dict[str, Any] | None]:
        """The records of a transaction that may have so many, and its creation lock; None where there is none."""
        keys = [txid, *(child_key(txid, index) for index in range(1, count)), txid + b"\xff" * 4]
        results = self.store.batch_operate([Read(key) for key in keys], _SECONDS)
        assert all(result.status in (Status.OK, Status.NOT_FOUND) for result in results), results
        return [result.value if result.status is Status.OK else None for result in results]

    def call(self, operations: Sequence[RecordOperation]) -> list[Result]:
        """Past the workers: what another program, or time, does to the set."""
        return self.store.batch_operate(operations, _SECONDS) if operations else []

    def remove(self, keys: Sequence[bytes]) -> None:
        results = self.call([Remove(key) for key in keys])
        assert all(result.status is Status.OK for result in results), results


@contextmanager
def opened(store: str) -> Iterator[Subject]:
    """A set for any number of runs. store: EMBEDDED, RECORDS, or the URL of an Aerospike set."""
    with tempfile.TemporaryDirectory(prefix="utxod-model-") as directory:
        is_embedded = store in (EMBEDDED, RECORDS)
        address = f"lmdb://{directory}/set?sync=false" if is_embedded else f"{store}&blobs={directory}"
        opened_store = open_store(f"{address}&utxo_batch_size={PER_RECORD}&genesis_height={GENESIS_HEIGHT}")
        try:
            yield Subject(FaultyStore(opened_store, [], atomic=False) if store == RECORDS else opened_store)
        finally:
            opened_store.close()
