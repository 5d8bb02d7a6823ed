"""spend, and abandon: who spends an output.

Item [txid, vout, utxo hash, spending txid, vin, block height, flags].

spend: result true where it was applied now, false where it was this spender's before. The spends of a batch are grouped
by record, block height and flags: one call of the rule each, which takes every spend by itself and names it by its
place in the call. Those of a request that is marked as one transaction are all applied or none: one_transaction.py; in
a store whose batches are one whole they are a group of their own.

abandon: undoes what that spender holds; result true where it was undone now, false where that spender does not hold it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol import codes
from protocol.codes import NO
from protocol.operations import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from protocol.wire import ONE_TRANSACTION, Error
from store import Read, Result, RuleCall, Status, Value
from store.layout import FROZEN, TXID_BYTES, locate, pack_spending_data
from workers.runtime.batch import Request
from workers.runtime.checks import BadItem, check_fields, check_flags, check_height, check_txid, check_uint
from workers.runtime.context import Answer, Work, failure, malformed, read_answer

from .children import owe_what_follows
from .one_transaction import Tried, settle_transactions

_HASH_BYTES: Final = 32
_ASK_MASTER: Final = frozenset({codes.TX_NOT_FOUND, codes.CREATING})
_FLAGS: Final = SPEND_IGNORE_CONFLICTING | SPEND_IGNORE_LOCKED


class Spend(NamedTuple):
    """One item. record: the key of the record that the output lives in. offset: the output's place there. group: of the
    transaction that it is a part of, in a store that is atomic."""

    item: int
    txid: bytes
    vout: int
    record: bytes
    offset: int
    utxo_hash: bytes
    spending_data: bytes
    height: int
    flags: int
    group: int | None = None

    @property
    def target(self) -> tuple[int, bytes, bytes]:
        return self.offset, self.utxo_hash, self.spending_data

    def undoing(self, retention: int) -> RuleCall:
        """The call that takes the spend back, if it is this spender's."""
        return RuleCall(self.record, "unspend", (*self.target, self.height, retention))

    def releasing(self, retention: int, life: int) -> RuleCall:
        """The call that gives up one attempt's part in the spend, as it is in this life of the output."""
        return RuleCall(self.record, "release", (*self.target, self.height, retention, life))


def run(work: Work) -> None:
    batch = work.batch
    spends: dict[int, Spend] = {}
    errors: dict[int, Error] = {}
    for index in batch.open():
        try:
            spends[index] = parse(work, index)
        except BadItem as fault:
            errors[index] = fault.error
    transactions = [one for one in batch.requests if one.flags & ONE_TRANSACTION and one.error is None]
    for number, one in enumerate(transactions):
        _hold_back_unless_whole(one, spends, errors)
        if work.store.is_atomic:
            for item in range(one.start, one.end):
                if item in spends:
                    spends[item] = spends[item]._replace(group=number)
    tried = _try(work, list(spends.values()), errors)
    tell_missing_parts(work, spends, errors)
    errors |= settle_transactions(work, transactions, spends, errors, tried)
    for index in batch.open():
        if index in errors:
            batch.fail(index, errors[index])
        else:
            batch.complete(index, index in tried.applied)


def _hold_back_unless_whole(one: Request, spends: dict[int, Spend], errors: dict[int, Error]) -> None:
    """A transaction with an item that can't be tried is not begun."""
    items = range(one.start, one.end)
    if len({spends[item].spending_data[:TXID_BYTES] for item in items if item in spends}) > 1:
        errors[one.start] = BadItem("spending txid: not the same for all spends of one transaction").error
    if any(item in errors for item in items):
        for item in items:
            spends.pop(item, None)


def _try(work: Work, spends: Sequence[Spend], errors: dict[int, Error]) -> Tried:
    """One call per record; what was refused is added to `errors`."""
    groups: dict[tuple[bytes, int, int, int | None], list[Spend]] = {}
    for spend in spends:
        groups.setdefault((spend.record, spend.height, spend.flags, spend.group), []).append(spend)
    calls = [_call(group, work.retention) for group in groups.values()]
    tried = Tried(set(), {}, set())
    answers = [
        _read(group, result, errors, tried) for group, result in zip(groups.values(), work.operate(calls), strict=True)
    ]
    put_back = {spend.group for spend in spends if spend.group is not None and spend.item in errors}
    for group, answer in zip(groups.values(), answers, strict=True):
        first = group[0]
        if first.group not in put_back:
            was_done = any(one.item in tried.lives and one.item not in tried.applied for one in group)
            owe_what_follows(work, first.record, answer, first.height, was_done=was_done)
    return tried


def _call(group: Sequence[Spend], retention: int) -> RuleCall:
    """group: spends of one record, height, flags and transaction."""
    first, flags = group[0], group[0].flags
    rest = bool(flags & SPEND_IGNORE_CONFLICTING), bool(flags & SPEND_IGNORE_LOCKED), first.height, retention
    if len(group) == 1:  # as it mostly is: a server takes half as long to unpack it
        return RuleCall(first.record, "spend", (*first.target, *rest), first.group)
    spends: list[Value] = [
        {"idx": place, "offset": one.offset, "utxoHash": one.utxo_hash, "spendingData": one.spending_data}
        for place, one in enumerate(group)
    ]
    return RuleCall(first.record, "spendMulti", (spends, *rest), first.group)


def _read(group: Sequence[Spend], result: Result, errors: dict[int, Error], tried: Tried) -> Answer:
    answer = read_answer(result, "record")
    error = answer.error
    if error is None and answer.applied is None:
        error = malformed("record", "it does not say what was applied")
    if not _is_about(answer, len(group)):
        answer = Answer(malformed("record", "it is of other spends than were asked for"))
        error = answer.error
    tried.held.update(group[place].item for place in answer.mine)
    for place in answer.mine:
        spend = group[place]
        fault = error or answer.errors.get(place)
        if fault is not None:
            errors[spend.item] = fault._replace(details={**fault.details, "held": [[spend.txid, spend.vout]]})
    if error is not None:
        for spend in group:
            errors.setdefault(spend.item, error)
        return answer
    applied = answer.applied or frozenset()
    for place, spend in enumerate(group):
        if place in answer.errors:
            errors.setdefault(spend.item, answer.errors[place])
            continue
        tried.lives[spend.item] = answer.lives.get(place, 0)
        if place in applied:
            tried.applied.add(spend.item)
    return answer


def _is_about(answer: Answer, count: int) -> bool:
    """Whether a rule's answer speaks of the places of its call, and of no others."""
    places = (*answer.errors, *(answer.applied or ()), *answer.mine, *answer.lives)
    return all(type(place) is int and 0 <= place < count for place in places)


def tell_missing_parts(work: Work, spends: dict[int, Spend], errors: dict[int, Error]) -> None:
    """Where a child record was not found, its master says why: there is no such transaction, or no such output, or it
    is being created; or a part of it is missing, which is a fault. A child that is marked as being created may be what
    a creation of more outputs has left."""
    asked = [
        spend
        for item, spend in spends.items()
        if spend.record != spend.txid and item in errors and errors[item].code in _ASK_MASTER
    ]
    masters = list(dict.fromkeys(spend.txid for spend in asked))
    results = work.try_operate([Read(txid, ("totalUtxos", "creating")) for txid in masters])
    found = dict(zip(masters, results, strict=True))
    for spend in asked:
        errors[spend.item] = _missing_part(spend, errors[spend.item], found[spend.txid])


def _missing_part(spend: Spend, error: Error, master: Result) -> Error:
    if master.status is not Status.OK:
        return error if error.code == codes.CREATING else failure(master, "record")
    if type(master.value) is not dict or type(master.value.get("totalUtxos")) is not int:
        return malformed("record", "it does not tell how many outputs there are")
    if master.value.get("creating"):
        return Error(codes.CREATING, NO, "the transaction is still being created")
    if spend.vout >= master.value["totalUtxos"]:
        return Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {spend.vout}, or not here")
    if error.code == codes.CREATING:
        return error
    return Error(codes.STORE_ERROR, NO, f"the child record of output {spend.vout} is missing")


def run_abandon(work: Work) -> None:
    batch = work.batch
    spends: dict[int, Spend] = {}
    errors: dict[int, Error] = {}
    for index in batch.open():
        try:
            spends[index] = parse(work, index)
        except BadItem as fault:
            errors[index] = fault.error
    results = work.operate([spend.undoing(work.retention) for spend in spends.values()])
    undone: dict[int, bool] = {}
    for spend, result in zip(spends.values(), results, strict=True):
        answer = read_answer(result, "record")
        if answer.error is None and answer.applied is not None:
            owe_what_follows(work, spend.record, answer, spend.height, was_done=not answer.applied)
            undone[spend.item] = bool(answer.applied)
        elif answer.error is not None and answer.error.code == codes.SPENT:
            undone[spend.item] = False
        else:
            errors[spend.item] = answer.error or malformed("record", "it does not say what was undone")
    tell_missing_parts(work, spends, errors)
    for index in batch.open():
        if index in errors:
            batch.fail(index, errors[index])
        else:
            batch.complete(index, undone[index])


def parse(work: Work, index: int) -> Spend:
    """Raises BadItem. A value that the rules refuse in a parameter is INVALID_PARAMETER here already: in the store it
    would be the refusal of its whole record."""
    txid, vout, utxo_hash, spending_txid, vin, height, flags = check_fields(
        work.batch.items[index], "txid", "vout", "utxo hash", "spending txid", "vin", "block height", "flags"
    )
    check_txid(txid)
    if type(vout) is int and vout < 0:
        raise BadItem("vout: negative", codes.INVALID_PARAMETER)
    check_uint(vout, "vout")
    if type(utxo_hash) is not bytes or len(utxo_hash) != _HASH_BYTES:
        raise BadItem(f"utxo hash: not {_HASH_BYTES} bytes", codes.INVALID_PARAMETER)
    spending_data = pack_spending_data(check_txid(spending_txid, "spending txid"), check_uint(vin, "vin"))
    if spending_data == FROZEN:
        raise BadItem("spending txid and vin: the mark of a frozen output", codes.INVALID_PARAMETER)
    record, offset = locate(txid, vout, work.store.utxo_batch_size)
    return Spend(
        index,
        txid,
        vout,
        record,
        offset,
        utxo_hash,
        spending_data,
        check_height(height),
        check_flags(flags, _FLAGS),
    )
