"""Items of `accept`, and what a set must look like after any of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from protocol.hashing import varint
from store import Read, Status, Store
from store.layout import locate
from store.transaction import EXTENDED_MARKER, Input, Transaction, parse_transaction
from tests.support.dispatching import HEIGHT, Outcome, Run
from utxod.generate import Coin, Generator


def extended(transaction: Transaction, coins: Sequence[Coin]) -> Transaction:
    """The same in the extended format. coins: that it spends, input by input."""
    inputs = [
        Input(spent.raw, spent.previous_txid, spent.previous_vout, *source.outputs[vout]).serialise()
        for spent, (source, vout) in zip(transaction.inputs, coins, strict=True)
    ]
    standard = transaction.raw
    outputs = standard[4 + 1 + sum(map(len, transaction.standard_inputs)) :]
    return parse_transaction(b"".join((standard[:4], EXTENDED_MARKER, varint(len(inputs)), *inputs, outputs)))


def payment(generate: Generator, *coins: Coin, outputs: int = 2, is_extended: bool = True) -> Transaction:
    standard = generate.payment(coins, outputs)
    return extended(standard, coins) if is_extended else standard


def item(
    transaction: Transaction, *, height: int = HEIGHT, mined: Sequence[Sequence[int]] = (), flags: int = 0
) -> list[Any]:
    return [transaction.raw, height, [list(block) for block in mined], flags]


def accept(run: Run, *transactions: Transaction, **asked: Any) -> list[Any]:
    """Their results, where all of them are accepted. asked: as of `item`."""
    return run("accept", [item(transaction, **asked) for transaction in transactions]).results


def has_record(store: Store, txid: bytes) -> bool:
    """Also where its creation is not finished."""
    (result,) = store.batch_operate([Read(txid, ("txID",))], 30.0)
    return result.status is Status.OK and "txID" in result.value


def is_there(store: Store, txid: bytes) -> bool:
    (result,) = store.batch_operate([Read(txid, ("creating", "txID"))], 30.0)
    return result.status is Status.OK and "txID" in result.value and not result.value.get("creating")


def spender_of(store: Store, coin: Coin) -> bytes | None:
    """The txid of who has an output."""
    source, vout = coin
    record, offset = locate(source.txid, vout, store.utxo_batch_size)
    (result,) = store.batch_operate([Read(record, ("utxos",))], 30.0)
    assert result.status is Status.OK
    utxo: bytes = result.value["utxos"][offset]
    return utxo[32:64] or None


def spent_by(transaction: Transaction, known: Iterable[Transaction]) -> list[Coin]:
    """The outputs that it spends."""
    by_txid = {each.txid: each for each in known}
    return [(by_txid[each.previous_txid], each.previous_vout) for each in transaction.inputs]


def details(outcome: Outcome) -> Any:
    assert outcome.error is not None
    return outcome.error.details


def outpoints_of(transaction: Transaction) -> list[Any]:
    return [list(outpoint) for outpoint in transaction.outpoints]
