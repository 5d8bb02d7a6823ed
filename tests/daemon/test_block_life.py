"""The life of the coins of real blocks, through a real daemon: accepted, mined, taken out of their block, mined in
another; each time coin by coin as a plain reckoning of blocks and spends says. And the whole of it once more.

A part of each block; the whole of them: UTXOD_WHOLE_BLOCKS=1.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import pytest

from bench.load import batched
from protocol import Accepted, AcceptItem, Client, CreateItem, Outcome, SetMined, Utxo, codes, utxo_hash
from store import Read, Status
from store.layout import record_key
from store.transaction import Output, Transaction
from tests.support.blocks import REAL_BLOCKS, needs_real_blocks
from tests.support.daemon import Daemon, running_daemon
from utxod.blocks import in_dependency_order, read_block
from utxod.replay import made_up_output, plan

WHOLE = bool(os.environ.get("UTXOD_WHOLE_BLOCKS"))
PART = 80  # transactions of a block
MATURITY = 100
BATCH = 100
UTXO_BATCH_SIZE = 4
RECKONED = ("blockIDs", "blockHeights", "subtreeIdxs")

Outpoint = tuple[bytes, int]


class Block(NamedTuple):
    """ids: of the block it is mined in first, and then."""

    height: int
    transactions: Sequence[Transaction]
    ids: tuple[int, int]


@dataclass
class Reckoning:
    """What must be: the outputs that there are, by whom they are spent, from when on coinbases' may be."""

    outputs: dict[Outpoint, Output] = field(default_factory=dict)
    spent: dict[Outpoint, tuple[bytes, int]] = field(default_factory=dict)
    matures: dict[bytes, int] = field(default_factory=dict)

    def add(self, transaction: Transaction, height: int) -> None:
        for vout, output in enumerate(transaction.outputs):
            if not output.locking_script.startswith((b"\x6a", b"\x00\x6a")):
                self.outputs[(transaction.txid, vout)] = output
        if transaction.is_coinbase:
            self.matures[transaction.txid] = height + MATURITY
            return
        for vin, spent in enumerate(transaction.inputs):
            self.spent[(spent.previous_txid, spent.previous_vout)] = transaction.txid, vin

    def utxo(self, outpoint: Outpoint, height: int) -> Utxo:
        output, spender = self.outputs[outpoint], self.spent.get(outpoint)
        hashed = utxo_hash(*outpoint, output.locking_script, output.satoshis)
        known = output.satoshis, output.locking_script, hashed
        if spender is not None:
            return Utxo(*known, "SPENT", *spender)
        matures = self.matures.get(outpoint[0], 0)
        return Utxo(*known, "IMMATURE", spendable_from=matures) if matures > height else Utxo(*known, "UNSPENT")


class Chain:
    """The blocks, what is outside of them, and a daemon that hears of them."""

    def __init__(self, daemon: Daemon, client: Client) -> None:
        planned = plan(sorted(REAL_BLOCKS.glob("*.bin")), None, seed_missing=True)
        self.blocks = [
            Block(
                height, list(in_dependency_order(read_block(place)))[: None if WHOLE else PART], (number, number + 10)
            )
            for number, (place, height) in enumerate(planned.blocks, 1)
        ]
        self.reckoning = Reckoning()
        self.last = self.blocks[-1].height
        self.parents: dict[bytes, dict[int, tuple[int, bytes]]] = {}
        inside = {transaction.txid for transaction in self.all}
        for transaction in self.all:
            for spent in transaction.inputs * (not transaction.is_coinbase):
                txid, vout = spent.previous_txid, spent.previous_vout
                if txid not in inside:
                    self.parents.setdefault(txid, {})[vout] = made_up_output(txid, vout)
        self._daemon = daemon
        self._client = client
        self._random = Random(1)

    @property
    def all(self) -> list[Transaction]:
        return [transaction for block in self.blocks for transaction in block.transactions]

    def seed(self) -> set[str]:
        """The codes of the answers."""
        height = self.blocks[0].height - 1
        creations = [
            CreateItem.partial(txid, outputs, block_height=height, mined=[(99, height, 0)])
            for txid, outputs in self.parents.items()
        ]
        for txid, outputs in self.parents.items():
            self.reckoning.outputs |= {(txid, vout): Output(*output) for vout, output in outputs.items()}
        return {outcome.code for outcome in self._ask(self._client.create_many, creations)}

    def accept(self) -> list[Accepted]:
        """In batches, in which they stand in any order."""
        accepted: list[Accepted] = []
        for block in self.blocks:
            for some in batched(block.transactions, BATCH):
                shuffled = self._random.sample(some, len(some))
                items = [AcceptItem.of(transaction.raw, block_height=block.height) for transaction in shuffled]
                told = [outcome.result for outcome in self._ask(self._client.accept_many, items)]
                assert [each.metadata["txID"] for each in told] == [transaction.txid for transaction in shuffled]
                accepted += told
            for transaction in block.transactions:
                self.reckoning.add(transaction, block.height)
        return accepted

    def mine(self, which: int, unset: bool = False) -> None:
        """In their block, of these two ids; or no longer."""
        for block in self.blocks:
            place = block.ids[which], block.height
            items = [
                SetMined.of(
                    transaction.txid, (*place, index), block_height=self.last, on_longest_chain=not unset, unset=unset
                )
                for index, transaction in enumerate(block.transactions)
            ]
            for outcome in self._ask(self._client.set_mined_many, items):
                assert outcome.result == ([] if unset else [block.ids[which]])

    def check(self, which: int | None) -> None:
        """Coin by coin, and the blocks of each transaction. which: of the ids of its block; None: it is in none."""
        coins = sorted(self.reckoning.outputs)
        for some in batched(coins, 1000):
            outcomes = self._client.utxo_many(some, block_height=self.last)
            expected = [self.reckoning.utxo(outpoint, self.last) for outpoint in some]
            assert [outcome.result for outcome in outcomes] == expected
        for block in self.blocks:
            txids = [transaction.txid for transaction in block.transactions]
            for index, outcome in enumerate(self._client.get_many(txids, [*RECKONED, "unminedSince"])):
                found = outcome.result
                mined = [] if which is None else [(block.ids[which], block.height, index)]
                assert list(zip(*(found.get(name, []) for name in RECKONED), strict=True)) == mined
                assert ("unminedSince" in found) is (which is None)

    def records(self) -> dict[bytes, Any]:
        """All that the set has of them, but the number of the last lock or unlocking: mining unlocks, again too."""
        vouts = {transaction.txid: range(len(transaction.outputs)) for transaction in self.all} | self.parents
        keys = [
            record_key(txid, index)
            for txid, own in vouts.items()
            for index in sorted({0, *(vout // UTXO_BATCH_SIZE for vout in own)})
        ]
        found: dict[bytes, Any] = {}
        with self._daemon.store() as store:
            for some in batched(keys, 500):
                for key, result in zip(some, store.batch_operate([Read(key) for key in some], 30), strict=True):
                    assert result.status is Status.OK
                    found[key] = {name: value for name, value in result.value.items() if name != "lockSeq"}
        return found

    def _ask(self, method: Any, items: Sequence[Any]) -> Iterable[Outcome[Any]]:
        outcomes: list[Outcome[Any]] = []
        for some in batched(items, BATCH):
            outcomes += self._client.retry(method, some, within=120.0)
        assert {outcome.code for outcome in outcomes} <= {codes.OK, codes.TX_EXISTS}
        return outcomes


@pytest.fixture
def chain(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Chain]:
    directory = tmp_path_factory.mktemp("blocks")
    options = f"&utxo_batch_size={UTXO_BATCH_SIZE}"
    patient = {"broker.budget_seconds": 30, "broker.grace_seconds": 30}
    with running_daemon(directory, patient, store_kind, options) as daemon, daemon.client(timeout=60) as client:
        yield Chain(daemon, client)


@needs_real_blocks
@pytest.mark.timeout(600)
def test_the_coins_of_real_blocks_are_at_each_moment_of_their_life_what_a_plain_reckoning_says(chain: Chain) -> None:
    began = time.monotonic()
    assert chain.seed() == {codes.OK}
    assert {accepted.created for accepted in chain.accept()} == {True}
    took = time.monotonic() - began
    chain.check(None)
    chain.mine(0)
    chain.check(0)
    chain.mine(0, unset=True)
    chain.check(None)
    chain.mine(1)
    chain.check(1)

    before = chain.records()
    assert chain.seed() == {codes.TX_EXISTS}
    assert {accepted.created for accepted in chain.accept()} == {False}
    chain.mine(1)
    assert chain.records() == before
    chain.check(1)
    print(
        f"{len(chain.all)} transactions, {len(chain.reckoning.outputs)} coins, {len(chain.reckoning.spent)} spends; "
        f"{len(before)} records; accepted in {took:.1f} s, all in {time.monotonic() - began:.1f} s"
    )
