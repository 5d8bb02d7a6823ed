"""spend, and abandon: who spends an output.

Item [txid, vout, utxo hash, spending txid, vin, block height, flags].

spend: result true where it was applied now, false where it was this spender's before. The spends of a batch are grouped
by record, block height and flags: one call of the rule each, which takes every spend by itself and names it by its
place in the call. Those of a request that is marked as one transaction are all applied or none: one_transaction.py.

abandon: undoes what that spender holds; result true where it was undone now, false where that spender does not hold it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol import codes
from protocol.operations import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from protocol.wire import ONE_TRANSACTION, Error
from store import Call, Result, Value
from store.layout import FROZEN, locate, pack_spending_data

from ..batch import Request
from ..items import TXID_BYTES, BadItem, check_fields, check_flags, check_height, check_txid, check_uint
from ..work import Work, malformed, read_answer
from .children import owe_what_follows
from .one_transaction import settle_transactions

_HASH_BYTES: Final = 32
_FLAGS: Final = SPEND_IGNORE_CONFLICTING | SPEND_IGNORE_LOCKED


class Spend(NamedTuple):
    """One item. record: the key of the record that the output lives in. offset: the output's place there."""

    item: int
    txid: bytes
    vout: int
    record: bytes
    offset: int
    utxo_hash: bytes
    spending_data: bytes
    height: int
    flags: int

    def undoing(self, retention: int) -> Call:
        """The call that takes the spend back, if it is this spender's."""
        return Call(self.record, "unspend", (self.offset, self.utxo_hash, self.spending_data, self.height, retention))


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
    for one in transactions:
        _hold_back_unless_whole(one, spends, errors)
    applied = _apply(work, list(spends.values()), errors)
    errors |= settle_transactions(work, transactions, spends, errors, applied)
    for index in batch.open():
        if index in errors:
            batch.fail(index, errors[index])
        else:
            batch.complete(index, index in applied)


def _hold_back_unless_whole(one: Request, spends: dict[int, Spend], errors: dict[int, Error]) -> None:
    """A transaction with an item that can't be tried is not begun."""
    items = range(one.start, one.end)
    if len({spends[item].spending_data[:TXID_BYTES] for item in items if item in spends}) > 1:
        errors[one.start] = BadItem("spending txid: not the same for all spends of one transaction").error
    if any(item in errors for item in items):
        for item in items:
            spends.pop(item, None)


def _apply(work: Work, spends: Sequence[Spend], errors: dict[int, Error]) -> set[int]:
    """One call per record; returns the items that were applied by it, and adds what was refused to `errors`."""
    groups: dict[tuple[bytes, int, int], list[Spend]] = {}
    for spend in spends:
        groups.setdefault((spend.record, spend.height, spend.flags), []).append(spend)
    calls = [_call(record, group, height, flags, work.retention) for (record, height, flags), group in groups.items()]
    applied: set[int] = set()
    for group, result in zip(groups.values(), work.operate(calls), strict=True):
        _read(work, group, result, errors, applied)
    return applied


def _call(record: bytes, group: Sequence[Spend], height: int, flags: int, retention: int) -> Call:
    rest = bool(flags & SPEND_IGNORE_CONFLICTING), bool(flags & SPEND_IGNORE_LOCKED), height, retention
    if len(group) == 1:  # as it mostly is: a server takes half as long to unpack it
        (one,) = group
        return Call(record, "spend", (one.offset, one.utxo_hash, one.spending_data, *rest))
    spends: list[Value] = [
        {"idx": place, "offset": one.offset, "utxoHash": one.utxo_hash, "spendingData": one.spending_data}
        for place, one in enumerate(group)
    ]
    return Call(record, "spendMulti", (spends, *rest))


def _read(work: Work, group: Sequence[Spend], result: Result, errors: dict[int, Error], applied: set[int]) -> None:
    first = group[0]
    answer = read_answer(result, "record")
    error = answer.error
    if error is None and answer.applied is None:
        error = malformed("record", "it does not say what was applied")
    if error is not None:
        errors.update({spend.item: error for spend in group})
        return
    owe_what_follows(work, first.txid, answer, first.height)
    for place, spend in enumerate(group):
        if place in answer.errors:
            errors[spend.item] = answer.errors[place]
        elif place in (answer.applied or ()):
            applied.add(spend.item)


def run_abandon(work: Work) -> None:
    batch = work.batch
    spends: list[Spend] = []
    for index in batch.open():
        try:
            spends.append(parse(work, index))
        except BadItem as fault:
            batch.fail(index, fault.error)
    results = work.operate([spend.undoing(work.retention) for spend in spends])
    for spend, result in zip(spends, results, strict=True):
        answer = read_answer(result, "record")
        if answer.error is None and answer.applied is not None:
            owe_what_follows(work, spend.txid, answer, spend.height)
            batch.complete(spend.item, bool(answer.applied))
        elif answer.error is not None and answer.error.code == codes.SPENT:
            batch.complete(spend.item, False)
        else:
            batch.fail(spend.item, answer.error or malformed("record", "it does not say what was undone"))


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
