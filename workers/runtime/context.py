"""What an operation has to work with: its batch, the store within the dispatch's one time budget, and the settings.

Results come back one per record, whatever the store did: one that is missing or is no result stands as such in its own
place, so that it can't shift the others onto the wrong items.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import RecordOperation, Result, Status, Store, StoreError
from store.layout import parse_spending_data

from .batch import Batch

MISSING: Final = Result(Status.ERROR, None, in_doubt=True, message="the store gave no result that can be read")


class Answer(NamedTuple):
    """What a rule returned. error: the refusal of the whole call. child_count: None where the rule gave none. errors:
    by idx, of a call for several. applied: the idx that this call changed, None where the rule gave none. lives: by
    idx, the life of its output, where that is not 0. mine: the idx that were refused though the asker has their output.
    held: others rely on what was to be released. state_seq: of a child record. lock_seq: of a master."""

    error: Error | None
    signal: str | None = None
    child_count: int | None = None
    errors: Mapping[int, Error] = {}
    applied: frozenset[int] | None = None
    lives: Mapping[int, int] = {}
    mine: Sequence[int] = ()
    held: bool = False
    state_seq: int | None = None
    lock_seq: int | None = None


class _Notes(NamedTuple):
    """height: of the newest block. seqs: by child, the newest stateSeq."""

    height: int
    seqs: dict[int, int]


class Malformed(Exception):
    """The store returned something that a rule, or a record, can't be."""


class Work:
    """retention: blocks after which a spent transaction may be deleted. deadline: seconds, monotonic: the dispatch's
    budget ends here. called: whether the store was called. returned: whether a call of it has come back."""

    def __init__(self, batch: Batch, store: Store, retention: int, deadline: float) -> None:
        self.batch = batch
        self.store = store
        self.retention = retention
        self.called = False
        self.returned = False
        self._answered = False  # the store has answered something
        self._deadline = deadline
        self._notes: dict[bytes, _Notes] = {}

    def note(self, txid: bytes, child: int, state_seq: int, height: int) -> None:
        """The master is to hear of the child's state, which changed, or was found changed already. height: of the block
        that the rule was called for."""
        notes = self._notes.setdefault(txid, _Notes(0, {}))
        seqs = notes.seqs
        seqs[child] = max(state_seq, seqs.get(child, 0))
        self._notes[txid] = _Notes(max(height, notes.height), seqs)

    def owe_notes(self) -> None:
        """What the masters are to hear becomes follow-up work, one piece for each."""
        for txid, (height, seqs) in self._notes.items():
            notes = [[child, seq] for child, seq in sorted(seqs.items())]
            self.batch.owe("note_child", txid, 1, [txid, notes, height])
        self._notes.clear()

    def operate(self, records: Sequence[RecordOperation]) -> list[Result]:
        """One result per record, in their order. Raises StoreError, also where the budget is used up."""
        if not records:
            return []
        self.check_time()
        budget = self._deadline - time.monotonic()
        self.called = True
        results = self.store.batch_operate(records, budget)
        self.returned = True
        self._answered = self._answered or not _is_timeout(results)
        self.batch.timed_out = not self._answered
        if type(results) is list and len(results) == len(records):
            return [
                # As _is_result, which is too dear to be called for each.
                result
                if type(result) is Result
                and type(result.status) is Status
                and (result.key is None or result.key == record.key)
                else MISSING
                for record, result in zip(records, results, strict=True)
            ]
        return _align(records, results if type(results) is list else [])

    def try_operate(self, records: Sequence[RecordOperation]) -> list[Result]:
        """As `operate`, for what comes after others' work is done: where the store fails the batch, each of its records
        fails, and nothing else of the dispatch."""
        try:
            return self.operate(records)
        except StoreError as error:
            return [Result(error.status, None, error.in_doubt, str(error), record.key) for record in records]

    def check_time(self) -> None:
        """Raises StoreError where the dispatch's time is used up: before work that the store's budget does not bind."""
        if time.monotonic() >= self._deadline:
            raise StoreError("the dispatch's time is used up", in_doubt=False)


def _is_timeout(results: Any) -> bool:
    return type(results) is list and all(_is_result(one) and one.status is Status.TIMEOUT for one in results)


def _is_result(result: Any) -> bool:
    return type(result) is Result and type(result.status) is Status


def _align(records: Sequence[RecordOperation], results: Sequence[Any]) -> list[Result]:
    """Results that are too few, or too many, by their keys. Where a key has not as many results as records, nobody can
    say which one is missing: all of that key are."""
    by_key: dict[bytes | None, list[Result]] = {}
    for result in results:
        if _is_result(result):
            by_key.setdefault(result.key, []).append(result)
    wanted: Counter[bytes | None] = Counter(record.key for record in records)
    queues = {key: iter(found) for key, found in by_key.items() if len(found) == wanted.get(key, 0)}
    return [next(queues[record.key]) if record.key in queues else MISSING for record in records]


_STATUS_CODES: Final = {
    Status.NOT_FOUND: (codes.TX_NOT_FOUND, "is not in the set"),
    Status.EXISTS: (codes.TX_EXISTS, "is in the set already"),
}
# Refused by the store before it did anything, for now: the code, and when it is worth asking again, in milliseconds.
_REFUSED: Final = {Status.OVERLOADED: (codes.OVERLOADED, 100), Status.UNAVAILABLE: (codes.UNAVAILABLE, 100)}


def failure(result: Result, what: str) -> Error:
    """The error of a record whose result is not OK. what: the record, in words."""
    if result.status in _STATUS_CODES:
        code, text = _STATUS_CODES[result.status]
        return Error(code, NO, f"{what}: {text}")
    if result is MISSING:
        return Error(codes.INTERNAL, UNKNOWN, f"{what}: {result.message}")
    if result.status in _REFUSED:
        code, retry_after = _REFUSED[result.status]
        return Error(code, NO, f"{what}: {result.message}", retry_after)
    return Error(codes.STORE_ERROR, UNKNOWN if result.in_doubt else NO, f"{what}: {result.message or result.status}")


def batch_failure(error: StoreError, executed: str) -> Error:
    """Of every item of a batch that the store failed as a whole. executed: NO or UNKNOWN."""
    code, retry_after = codes.STORE_ERROR, 0
    if executed == NO and error.status in _REFUSED:
        code, retry_after = _REFUSED[error.status]
    return Error(code, executed, str(error), retry_after)


def malformed(what: str, why: object) -> Error:
    return Error(codes.INTERNAL, UNKNOWN, f"{what}: the store's result can't be read: {why}")


def read_answer(result: Result, what: str) -> Answer:
    """What a rule answered. A call that failed is an answer whose `error` says so; so is one that can't be read."""
    if result.status is not Status.OK:
        return Answer(failure(result, what))
    try:
        return _parse_answer(result.value)
    except (Malformed, KeyError, TypeError, ValueError, AttributeError) as error:
        return Answer(malformed(what, error))


def _parse_answer(value: Any) -> Answer:
    status, signal, applied = value.get("status"), value.get("signal"), value.get("applied")
    if status not in ("OK", "ERROR"):
        raise Malformed(f"status {status!r}")
    if not isinstance(signal, str | None):
        raise Malformed("signal")
    lives, mine = value.get("lives") or {}, value.get("mine") or []
    if not isinstance(applied, list | None) or type(lives) is not dict or type(mine) is not list:
        raise Malformed("applied, lives or mine")
    errors = {idx: _parse_error(error) for idx, error in value["errors"].items()} if value.get("errors") else {}
    return Answer(
        _parse_error(value) if status == "ERROR" and not errors else None,
        signal,
        _number(value, "childCount"),
        errors,
        None if applied is None else frozenset(applied),
        lives,
        mine,
        value.get("held") is True,
        _number(value, "stateSeq"),
        _number(value, "lockSeq"),
    )


def _number(value: Any, name: str) -> int | None:
    number = value.get(name)
    if not isinstance(number, int | None):
        raise Malformed(name)
    return number


def _parse_error(value: Any) -> Error:
    code, message = value["errorCode"], value.get("message", "")
    if code not in codes.REJECTIONS or type(message) is not str:
        raise Malformed(f"errorCode {code!r}")
    details: dict[str, Any] = {}
    if value.get("spendingData"):
        spender = parse_spending_data(value["spendingData"])
        details = {"spending_txid": spender.txid, "spending_vin": spender.vin}
    return Error(code, NO, message, 0, details)
