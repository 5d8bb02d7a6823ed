"""What tests of `abandon` share: who holds its inputs and never came to be, and what bars its creation."""

from typing import Any

from store import Mode, Status, Store, Write
from store.layout import ABANDONED
from store.transaction import Transaction
from tests.support.accepting import spender_of
from tests.support.dispatching import HEIGHT, Dispatched, Outcome, Run, create, matured
from tests.support.wrapped import calls
from utxod.generate import Generator

is_unspend = calls("unspend")


class Payment:
    """A transaction that spends three coins, one of them in a child record, and is not in the set."""

    def __init__(self, run: Run, store: Store, generate: Generator) -> None:
        self._run, self._store = run, store
        self.sources = [matured(run, generate, [1, 2, 3, 4]), matured(run, generate, [5])]
        self.coins = [(self.sources[0], 0), (self.sources[0], 3), (self.sources[1], 0)]
        self.transaction: Transaction = generate.payment(self.coins)
        self.spends = [[*generate.spend(coin, self.transaction, vin)] for vin, coin in enumerate(self.coins)]
        assert run("spend", self.spends).results == [True] * 3

    @property
    def txid(self) -> bytes:
        return self.transaction.txid

    @property
    def outpoints(self) -> list[list[Any]]:
        return [[source.txid, vout] for source, vout in self.coins]

    @property
    def item(self) -> list[Any]:
        return [self.txid, self.outpoints, HEIGHT]

    def abandon(self) -> Dispatched:
        return self._run("abandon", [self.item])

    def create(self, flags: int = 0) -> None:
        create(self._run, self.transaction, flags=flags)

    def holds(self) -> list[bool]:
        return [spender_of(self._store, coin) == self.txid for coin in self.coins]


def told(outcome: Outcome) -> tuple[str, str | None]:
    return outcome.code, outcome.executed


def mark_abandoned(store: Store, txid: bytes) -> None:
    """As an abandon does in a store that takes record by record: its creation is barred."""
    (result,) = store.batch_operate([Write(txid, {ABANDONED: True}, Mode.CREATE, ttl=600)], 30.0)
    assert result.status is Status.OK


def check_abandoned(outcome: Outcome) -> None:
    """So what would create it is answered meanwhile."""
    assert (outcome.code, outcome.executed) == ("ABANDONED", "no")
    assert outcome.error is not None
    assert outcome.error.retry_after == 1000
