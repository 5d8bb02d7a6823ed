"""The balance: transactions are read back from the store, and each output is compared with what it should be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from protocol import AsyncClient, Outcome, codes, utxo_hash
from store.layout import SPENT_UTXO_BYTES, UTXO_BYTES
from store.transaction import Transaction

_AT_ONCE: Final = 500


@dataclass(slots=True)
class Balance:
    """In satoshis: mined by coinbases; unspent in the store. lost: what should be there and is not, or not so.
    spent_twice: outputs that two of the transactions spend, or that the store holds for another spender."""

    mined: int = 0
    unspent: int = 0
    outputs: int = 0
    spent: int = 0
    lost: list[str] = field(default_factory=list)
    spent_twice: list[str] = field(default_factory=list)
    too_much: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.mined == self.unspent and not (self.lost or self.spent_twice or self.too_much)


async def read_balance(client: AsyncClient, present: Sequence[Transaction], absent: Sequence[Transaction]) -> Balance:
    """present: those that must be in the set, with the ones whose coins they spend. absent: those that must not be.
    No fees: what is mined is either spent among them, or unspent."""
    balance = Balance()
    spenders = _spenders(present, balance)
    for group in _grouped(present):
        outcomes = await client.get_many([transaction.txid for transaction in group], ["utxos"])
        for transaction, outcome in zip(group, outcomes, strict=True):
            _compare(transaction, outcome, spenders, balance)
    for group in _grouped(absent):
        outcomes = await client.get_many([transaction.txid for transaction in group], ["txID"])
        for transaction, outcome in zip(group, outcomes, strict=True):
            if outcome.code != codes.TX_NOT_FOUND:
                balance.too_much.append(f"{_shown(transaction)}: was refused, and reads {outcome.code}")
    return balance


def _spenders(present: Sequence[Transaction], balance: Balance) -> Mapping[tuple[bytes, int], bytes]:
    """Outpoint -> spending data of its one spender."""
    spenders: dict[tuple[bytes, int], bytes] = {}
    for transaction in present:
        if transaction.is_coinbase:
            balance.mined += sum(output.satoshis for output in transaction.outputs)
            continue
        for vin, spent in enumerate(transaction.inputs):
            outpoint = spent.previous_txid, spent.previous_vout
            if outpoint in spenders:
                balance.spent_twice.append(f"{outpoint[0][::-1].hex()}:{outpoint[1]}: spent by two that are in the set")
            spenders[outpoint] = transaction.txid + vin.to_bytes(4, "little")
    return spenders


def _compare(
    transaction: Transaction,
    outcome: Outcome[dict[str, Any]],
    spenders: Mapping[tuple[bytes, int], bytes],
    balance: Balance,
) -> None:
    if not outcome.ok:
        balance.lost.append(f"{_shown(transaction)}: reads {outcome.code}")
        return
    utxos: Sequence[bytes] = outcome.result.get("utxos", ())
    if len(utxos) != len(transaction.outputs):
        balance.lost.append(f"{_shown(transaction)}: {len(utxos)} outputs of {len(transaction.outputs)}")
        return
    for vout, (output, stored) in enumerate(zip(transaction.outputs, utxos, strict=True)):
        expected = spenders.get((transaction.txid, vout), b"")
        balance.outputs += 1
        balance.spent += len(stored) == SPENT_UTXO_BYTES
        balance.unspent += output.satoshis if len(stored) == UTXO_BYTES else 0
        if stored[:UTXO_BYTES] != utxo_hash(transaction.txid, vout, output.locking_script, output.satoshis):
            balance.lost.append(f"{_shown(transaction)}:{vout}: another output stands there")
        elif stored[UTXO_BYTES:] != expected:
            faults = balance.spent_twice if len(stored) == SPENT_UTXO_BYTES else balance.lost
            faults.append(
                f"{_shown(transaction)}:{vout}: spent by {stored[32:64][::-1].hex() or 'nobody'} in the store"
            )


def _grouped(transactions: Sequence[Transaction]) -> Iterable[Sequence[Transaction]]:
    return (transactions[start : start + _AT_ONCE] for start in range(0, len(transactions), _AT_ONCE))


def _shown(transaction: Transaction) -> str:
    return transaction.txid[::-1].hex()
