"""What callers ask next: by chance, but mostly what makes sense."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.model import asks as ask_of
from tests.model import records as kinds
from tests.model.asks import Ask
from tests.model.coinset import Coinset
from tests.model.records import ON_CHAIN, PER_RECORD
from tests.model.transactions import Outpoint, Tx
from tests.model.world import Block, World

_LATEST = 12
_NO_HASH = bytes(range(32))

Batch = list[Ask]


class Choices:
    """chance: decides; the same gives the same."""

    def __init__(self, world: World, chance: Random) -> None:
        self.world = world
        self.chance = chance

    @property
    def model(self) -> Coinset:
        return self.world.model

    def once_in(self, times: int) -> bool:
        return self.chance.randrange(times) == 0

    def several(self, most: int = 4) -> range:
        """Mostly few."""
        return range(min(self.chance.randint(1, most), self.chance.randint(1, most)))

    # ---- transactions and outputs

    def tx(self) -> Tx:
        """Mostly one of the last."""
        known = list(self.model.known.values())
        return self.chance.choice(known if self.once_in(3) else known[-_LATEST:])

    def settled(self) -> Tx:
        """Mostly one that is in the set."""
        there = self.world.settled()
        tx = self.tx()
        if not there or (self.once_in(16) and not self.model.get(kinds.CREATING, tx.txid)):
            return tx
        return self.model.known[self.chance.choice(there if self.once_in(2) else there[-_LATEST:])]

    def coin(self) -> Outpoint:
        """Mostly one that can be spent."""
        if self.once_in(12):
            return self.chance.choice(self.world.outpoints())
        coins = self.world.free_coins()
        if not self.once_in(6):
            coins = [coin for coin in coins if self.world.is_spendable(coin)] or coins
        if self.once_in(3):  # the last of its transaction
            free = [txid for txid, _ in coins]
            coins = [coin for coin in coins if free.count(coin[0]) == 1] or coins
        return self.chance.choice((coins or self.world.outpoints())[-3 * _LATEST :])

    def odd_coin(self) -> Outpoint:
        """One that can't be spent just yet, or only since now, if there is one: reassigned, or being created."""
        state = self.model.state
        coins = [key[1:] for key in state if key[0] == kinds.SPENDABLE and not self.model.holder(key[1:])]
        begun = [txid for kind, txid, _ in state if kind == kinds.CREATING]
        coins += [(txid, vout) for txid in begun for vout in range(len(self.model.known[txid].outputs))]
        return self.chance.choice(coins) if coins else self.coin()

    def held(self) -> Outpoint:
        """Mostly one that somebody holds."""
        coins = [(txid, vout) for kind, txid, vout in self.model.state if kind == kinds.HOLDER]
        return self.coin() if not coins or self.once_in(8) else self.chance.choice(coins[-3 * _LATEST :])

    def height(self) -> int:
        """At which something is judged."""
        return self.world.height + self.chance.choice([0, 1, 1, 1, 1, 1, 1, 2])

    def height_for(self, coin: Outpoint) -> int:
        """For the spend of it: often about the first that may."""
        txid, vout = coin
        least = self.model.get(kinds.SPENDABLE, txid, vout) or self.model.get(kinds.MATURES, txid, vout // PER_RECORD)
        return least + self.chance.randint(-1, 1) if least and self.once_in(3) else self.height()

    def utxo_hash(self, coin: Outpoint) -> bytes:
        return _NO_HASH if self.once_in(32) else self.model.utxo_hash(*coin)

    def payment(self, batch: Sequence[Tx] = ()) -> Tx:
        """A new transaction. batch: those beside it, whose outputs it may spend, or whose rival it may be."""
        inputs = [self.odd_coin() if self.once_in(5) else self.coin() for _ in self.several(3)]
        if batch and self.once_in(3):
            parent = self.chance.choice(batch)
            inputs[0] = parent.txid, self.chance.randrange(len(parent.outputs))
        elif self.once_in(6):
            rival = self.chance.choice(batch) if batch else self.tx()
            inputs[: len(rival.spends)] = rival.spends
            self.chance.shuffle(inputs)
        return self.world.make(list(dict.fromkeys(inputs)), self.shape())

    def shape(self) -> int:
        return self.chance.randrange(36) if self.once_in(3) else self.chance.choice([0, 0, 1, 2, 3, 4, 5])

    # ---- batches

    def accepts(self) -> Batch:
        made: list[Tx] = []
        for _ in self.several():
            made.append(self.tx() if self.once_in(6) else self.payment(made))
        if self.once_in(4):
            made.append(made[0])
        self.chance.shuffle(made)
        return [self.accept(tx, is_twin=made.count(tx) > 1) for tx in made]

    def accept(self, tx: Tx, *, is_twin: bool = False) -> Ask:
        """is_twin: one that may be refused what the other one gets."""
        flags = self.chance.choice([1, 2, 3, 8, 16, 24]) if self.once_in(6) else 0
        mined = [(200 + self.chance.randrange(4), self.world.height, 7)] if self.once_in(10) else []
        height = self.world.height if tx.is_coinbase else self.height()
        wrong = self.chance.randrange(len(tx.inputs)) if self.once_in(3 if is_twin else 32) else None
        return self.world.accept(tx, self.once_in(2), height, mined, flags, wrong)

    def creates(self) -> Batch:
        """As a caller does that spends before, or after, or never."""
        tx = self.tx() if self.once_in(4) else self.payment()
        height = self.world.height if tx.is_coinbase else self.height()
        return [ask_of.create(tx, height, [], self.chance.randrange(4) if self.once_in(3) else 0)]

    def _spend(self, coin: Outpoint, spender: bytes, vin: int, flags: int = 0) -> list[Any]:
        return [*coin, self.utxo_hash(coin), spender, vin, self.height_for(coin), flags]

    def _new_spend(self) -> list[Any]:
        tx = self.tx()
        vin = self.chance.randrange(len(tx.inputs))
        coin = tx.spends[vin] if tx.spends and not self.once_in(3) else self.odd_coin()
        return self._spend(coin, tx.txid, vin)[:-1]

    def _old_spend(self) -> list[Any]:
        """One that is done already, mostly; perhaps now with another hash."""
        coins = [(txid, vout) for kind, txid, vout in self.model.state if kind == kinds.HOLDER]
        barred = [coin for coin in coins if not self.world.is_spendable(coin)]
        coin = self.chance.choice(barred) if barred and self.once_in(2) else self.held()
        holder = self.model.holder(coin)
        item = self._spend(coin, *(holder if isinstance(holder, tuple) else (self.tx().txid, 0)))[:-1]
        return [*coin, _NO_HASH, *item[3:]] if self.once_in(6) else item

    def _pruned_spend(self) -> list[Any]:
        """Of a record whose spenders were pruned, if there is one, by one of them or by another."""
        marked = [(key, pruned) for key, pruned in self.model.state.items() if key[0] == kinds.PRUNED]
        if not marked:
            return self._old_spend()
        (_, txid, record), pruned = self.chance.choice(marked)
        coins = [coin for coin in self.model.coins(txid) if coin[1] // PER_RECORD == record]
        first = next(known for known in self.model.known if known in pruned)
        spender = self.tx().txid if self.once_in(2) else first
        return self._spend(self.chance.choice(coins), spender, 0)[:-1]

    def spends(self) -> Batch:
        batch = []
        for _ in self.several():
            flags = self.chance.randrange(4) if self.once_in(4) else 0
            item = self.chance.choice([self._old_spend, self._old_spend, self._pruned_spend, self._new_spend])()
            batch.append(ask_of.spend([*item, flags]))
        return batch

    def whole_spends(self) -> Batch:
        batch = []
        for _ in self.several(3):
            tx = self.tx() if self.once_in(3) else self.payment()
            if tx.spends:
                items = [self._spend(coin, tx.txid, vin) for vin, coin in enumerate(tx.spends)]
                if self.once_in(4):
                    self.chance.choice(items)[2] = _NO_HASH
                batch.append(ask_of.spend_transaction(items))
        if batch and self.once_in(3):
            again = self.model.known[batch[0].items[0][3]]
            items = [self._spend(coin, again.txid, vin) for vin, coin in enumerate(again.spends)]
            if self.once_in(2):
                self.chance.choice(items)[2] = _NO_HASH
            batch.insert(self.chance.randrange(2), ask_of.spend_transaction(items))
        return batch

    def unspends(self) -> Batch:
        batch = []
        for _ in self.several(3):
            coin = self.held()
            holder = self.model.holder(coin)
            own = holder if isinstance(holder, tuple) and not self.once_in(8) else (self.tx().txid, 0)
            batch.append(ask_of.unspend(self._spend(coin, *own)))
        return batch

    def abandons(self) -> Batch:
        batch = []
        for _ in self.several(2):
            ghosts = [held[0] for held in self.world.holders() if not self.model.is_there(held[0])]
            spender = self.model.known[self.chance.choice(ghosts)] if ghosts and not self.once_in(4) else self.tx()
            outpoints = list(spender.spends) + ([self.held()] if not spender.spends or self.once_in(3) else [])
            batch.append(ask_of.abandon(spender.txid, list(dict.fromkeys(outpoints)), self.height()))
        return batch

    def _one_in_blocks(self) -> bytes:
        """Or one that is locked in one, or is being created."""
        state = self.model.state
        mined = [txid for kind, txid, _ in state if kind == kinds.BLOCKS]
        locked = [txid for txid in mined if self.model.get(kinds.LOCKED, txid)]
        begun = [txid for kind, txid, number in state if kind == kinds.CREATING and number == 0]
        chosen = begun or locked or mined if self.once_in(2) else mined[-4:]
        return self.chance.choice(chosen) if chosen else self.settled().txid

    def sets_mined(self) -> Batch:
        batch = []
        for _ in self.several():
            txid = self._one_in_blocks() if self.once_in(2) else self.settled().txid
            listed = self.model.get(kinds.BLOCKS, txid) or ()
            block_id = self.chance.choice(listed)[0] if listed and self.once_in(2) else self.chance.randrange(300, 304)
            height, flags = self.world.height - self.chance.randrange(2), self.chance.choice([0, 1, 1, 2, 2, 3])
            batch.append(self.set_mined(txid, Block(block_id, height, ()), flags))
        return batch

    def set_mined(self, txid: bytes, block: Block, flags: int = ON_CHAIN) -> Ask:
        return ask_of.plain("set_mined", txid, block.id, block.height, 3, self.world.height, flags)

    def marks_of_chain(self) -> Batch:
        return [
            ask_of.plain("mark_longest_chain", self.settled().txid, self.once_in(2), self.height())
            for _ in self.several()
        ]

    def alerts(self) -> Batch:
        state = self.model.state
        frozen = [key[1:] for key, held in state.items() if key[0] == kinds.HOLDER and held == kinds.FROZEN]
        kind = self.chance.choice(["freeze", "unfreeze", "reassign", "reassign"]) if frozen else "freeze"
        batch = []
        for _ in self.several():
            coin = self.chance.choice(frozen) if kind != "freeze" and not self.once_in(8) else self.coin()
            if self.once_in(6) and self.model.is_there(self.held()[0]):
                coin = self.held()
            item: list[Any] = [*coin, self.utxo_hash(coin)]
            if kind == "reassign":
                script = b"\x76re" + self.chance.randbytes(2)
                item += [1000, script, self.world.height, self.chance.randrange(4)]
            batch.append(ask_of.plain(kind, *item))
        return batch

    def marks(self) -> Batch:
        kind = self.chance.choice(["set_locked", "set_locked", "set_conflicting", "preserve_until", "increment"])
        value = self.once_in(2)
        batch = []
        for _ in self.several(1 if kind == "set_conflicting" else 3):
            done = self.world.done()
            tx = self.chance.choice(done) if done and self.once_in(2) else self.settled()
            match kind:
                case "set_conflicting":
                    batch.append(ask_of.set_conflicting(tx, tx.txid, value, self.height()))
                case "set_locked":
                    batch.append(ask_of.plain(kind, tx.txid, self.once_in(2)))
                case "preserve_until" if self.once_in(2):
                    batch.append(ask_of.plain(kind, tx.txid, self.height() + 5))
                case "increment" if self.model.records(tx.txid) > 1:
                    batch.append(ask_of.plain(kind, tx.txid, self.chance.randrange(2), self.height()))
        return batch

    def looks(self) -> Batch:
        kind = self.chance.choice(["utxo", "utxo", "get", "raw", "outpoint"])
        ask: Callable[[Outpoint], Ask] = {
            "utxo": lambda coin: ask_of.plain("utxo", *coin, self.chance.choice([None, self.height_for(coin)])),
            "get": lambda coin: ask_of.get(coin[0]),
            "raw": lambda coin: ask_of.raw_of(coin[0]),
            "outpoint": lambda coin: ask_of.plain("outpoint", *coin),
        }[kind]
        chosen = (self.held, self.held, self.coin, self.odd_coin)
        coins = [self.chance.choice(chosen)() for _ in self.several()]
        return [ask(coin) for coin in coins if kind == "utxo" or not self.model.get(kinds.CREATING, coin[0])]
