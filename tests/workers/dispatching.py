"""The dispatch of a worker, in this process: real operations on a real embedded store."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from protocol import wire
from protocol.dispatch import FollowUp, Part
from protocol.wire import Error
from store import Store
from workers.batch import Batch
from workers.execution import Executor, Operation
from workers.operations import OPERATIONS

RETENTION = 288
HEIGHT = 200
FAR = 1 << 62


class Outcome(NamedTuple):
    result: Any
    error: Error | None

    @property
    def code(self) -> str:
        return self.error.code if self.error else "OK"

    @property
    def executed(self) -> str | None:
        return self.error.executed if self.error else None


class Dispatched(NamedTuple):
    outcomes: list[Outcome]
    follow_ups: list[FollowUp]
    batch: Batch

    @property
    def codes(self) -> list[str]:
        return [outcome.code for outcome in self.outcomes]

    @property
    def results(self) -> list[Any]:
        assert all(outcome.error is None for outcome in self.outcomes), self.outcomes
        return [outcome.result for outcome in self.outcomes]


def read_reply(header: bytes, body: bytes) -> list[Outcome]:
    reply = wire.unpack_reply_header(header)
    if reply.error is not None:
        return [Outcome(None, reply.error)]
    results = wire.unpack_body(body, reply.count)
    return [Outcome(result, reply.errors.get(index)) for index, result in enumerate(results)]


def dispatch(
    store: Store,
    operation: str,
    *requests: Sequence[Any],
    flags: int = 0,
    batch_class: type[Batch] = Batch,
    operations: Mapping[str, Operation] = OPERATIONS,
    budget: float = 5.0,
) -> Dispatched:
    """One dispatch of one or more requests; the outcomes of all their items."""
    parts = [Part(FAR, len(items), flags) for items in requests]
    batch = batch_class(parts, [wire.pack_body(items) for items in requests], now=0)
    Executor(operations, store, budget=budget, retention=RETENTION).run(operation, batch)
    frames = batch.replies()
    outcomes: list[Outcome] = []
    for number in range(len(requests)):
        outcomes += read_reply(frames[2 * number], frames[2 * number + 1])
    return Dispatched(outcomes, batch.follow_ups, batch)
