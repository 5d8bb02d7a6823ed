"""The dispatch of a worker, in this process: real operations on a real embedded store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from protocol import wire
from protocol.hashing import utxo_hash
from protocol.wire import Error
from protocol.worker_wire import Assignment, FollowUp
from store import Read, RuleCall, Status, Store
from store.layout import locate, record_key
from store.transaction import Transaction
from utxod.generate import Generator
from workers.runtime.batch import Batch
from workers.runtime.executor import Executor, Operation
from workers.runtime.operations import OPERATION_BY_NAME

Run = Callable[..., "Dispatched"]

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


def record_of(store: Store, key: bytes) -> Any:
    """Its bins, None where there is no such record."""
    (result,) = store.batch_operate([Read(key)], 30.0)
    return result.value if result.status is Status.OK else None


def bins_of(store: Store, key: bytes) -> dict[str, Any]:
    bins: dict[str, Any] | None = record_of(store, key)
    assert bins is not None
    return bins


def records_of(store: Store, transaction: Transaction) -> list[dict[str, Any]]:
    """The bins of all its records, the master's first."""
    count = -(-len(transaction.outputs) // store.utxo_batch_size)
    return [bins_of(store, record_key(transaction.txid, record)) for record in range(count)]


def hash_of(transaction: Transaction, vout: int) -> bytes:
    """The utxo hash of an output."""
    satoshis, script = transaction.outputs[vout]
    return utxo_hash(transaction.txid, vout, script, satoshis)


def output_of(transaction: Transaction, vout: int) -> list[Any]:
    """Its txid, vout and utxo hash: what an item begins with that names an output."""
    return [transaction.txid, vout, hash_of(transaction, vout)]


def call_rule(store: Store, transaction: Transaction, vout: int, rule: str, *rest: Any) -> None:
    """A rule that is called for an output, and goes well."""
    record, offset = locate(transaction.txid, vout, store.utxo_batch_size)
    (result,) = store.batch_operate([RuleCall(record, rule, (offset, hash_of(transaction, vout), *rest))], 30.0)
    assert result.value["status"] == "OK", result.value


def create(run: Run, *transactions: Transaction, height: int = 1, flags: int = 0) -> None:
    assert run("create", [[transaction.raw, height, [], flags, None] for transaction in transactions]).results


def matured(run: Run, generate: Generator, values: list[int]) -> Transaction:
    """A coinbase whose outputs may be spent."""
    coinbase = generate.coinbase(values)
    create(run, coinbase, height=1)
    return coinbase


def execute_follow_ups(run: Run, dispatched: "Dispatched") -> list[Any]:
    """The results of what follows from a dispatch."""
    return [
        result
        for follow_up in dispatched.follow_ups
        for result in run(follow_up.operation, wire.unpack_body(follow_up.body, 1)).results
    ]


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
    flags: int | Sequence[int] = 0,
    batch_class: type[Batch] = Batch,
    operations: Mapping[str, Operation] = OPERATION_BY_NAME,
    budget: float = 30.0,
    grace: float = 0.0,
    spoil: Mapping[int, Callable[[bytes], bytes]] = {},
) -> Dispatched:
    """One dispatch of one or more requests; the outcomes of all their items. flags: of all, or of each. spoil: by
    request, what is done to its body."""
    of_each = [flags] * len(requests) if isinstance(flags, int) else flags
    assignments = [Assignment(FAR, len(items), own) for items, own in zip(requests, of_each, strict=True)]
    bodies = [wire.pack_body(items) for items in requests]
    bodies = [spoil[number](body) if number in spoil else body for number, body in enumerate(bodies)]
    executor = Executor(operations, store, budget=budget, grace=grace, retention=RETENTION)
    batch = batch_class(assignments, bodies, 0, executor.shape_of(operation))
    executor.run(operation, batch)
    frames = batch.replies()
    outcomes: list[Outcome] = []
    for number in range(len(requests)):
        outcomes += read_reply(frames[2 * number], frames[2 * number + 1])
    return Dispatched(outcomes, batch.follow_ups, batch)
