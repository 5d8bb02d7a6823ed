"""What is explored: records, callers, what may go wrong, and what must hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from store import RecordOperation
from tests.interleavings.actors import Ask, Caller, Op, Told
from tests.simulation.records import Bins

Held = Mapping[bytes, Bins | None]


class Landed(NamedTuple):
    """A step that changed its record. asking: what each caller waits for."""

    op: Op
    key: bytes
    before: Bins | None
    after: Bins | None


@dataclass(frozen=True)
class Model:
    """records: what there is at first, by key; None where one may come to be, and none of others can. names: of keys,
    for people. callers: by name. faults: how many may come. late: whether what is in flight may land after its worker's
    death. in_doubt, doubles: whether a step may go unanswered, owed work be given out twice. is_atomic: whether a batch
    is one step. locks: keys of records that expire once whoever wrote them is dead and has nothing in flight any more.
    bars: keys of transactions whose creation may be barred. prunings: what the pruning of one of them does, step by
    step; it may begin where it is conflicting and not locked, and end anywhere. What bars it goes, and its pruning
    begins, only once nobody is at work any more who was when that was written, or it was created.

    start, landed, told: what is remembered, at first, after a step and after an answer. always: what does not hold in a
    state, None where all is well. at_rest: the same where nobody has anything left to do; after `again`, what is asked
    once more then, where somebody does."""

    name: str
    records: dict[bytes, Bins | None]
    callers: dict[str, Caller]
    names: dict[bytes, str] = field(default_factory=dict)
    faults: int = 0
    late: bool = True
    in_doubt: bool = False
    doubles: bool = False
    is_atomic: bool = False
    utxo_batch_size: int = 1
    locks: frozenset[bytes] = frozenset()
    bars: frozenset[bytes] = frozenset()
    prunings: Mapping[bytes, tuple[RecordOperation, ...]] = field(default_factory=dict)
    start: Any = None
    landed: Callable[[Any, Landed, list[list[Told]]], Any] | None = None
    told: Callable[[Any, int, Told], Any] | None = None
    always: Callable[[Held, Any], str | None] | None = None
    again: Callable[[Held, dict[str, list[Told]]], list[Ask]] | None = None
    at_rest: Callable[[Held, Any, dict[str, list[Told]]], str | None] | None = None
