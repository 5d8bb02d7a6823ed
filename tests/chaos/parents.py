"""What there is to ask about in a chaos run: parents, which are transactions whose outputs its callers want.

Every process knows each of them by its number, so that rivals need not talk: the same seed and number give the same
parent. Records hold `UTXO_BATCH_SIZE` outputs each, so that many parents have child records; some are known by a few of
their outputs only, and some are coinbases, which are mature at the parent's height and not before.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

from protocol import CreateItem, Spend, utxo_hash
from store.layout import COINBASE_MATURITY, Creation, CreationOptions, Partial, create_records
from store.transaction import Output, parse_transaction
from utxod.generate import Generator

UTXO_BATCH_SIZE: Final = 4
_MAX_OUTPUTS: Final = 24
_COIN: Final = 1_000_000
LOCKABLE_EVERY: Final = 5
_HEIGHT: Final = 1_000


class Parent(NamedTuple):
    """A transaction, with what its creation is asked with.

    raw: None where the transaction is known by its `outputs` only. height: at which it is spent. born: the height
    that it is created at. lockable: only such a one is ever locked."""

    number: int
    txid: bytes
    raw: bytes | None
    outputs: Mapping[int, Output]
    height: int
    born: int
    mined: Sequence[tuple[int, int, int]]

    @property
    def is_coinbase(self) -> bool:
        return self.born < self.height

    @property
    def lockable(self) -> bool:
        return self.number % LOCKABLE_EVERY == 0

    @property
    def is_deletable(self) -> bool:
        """In a block, and never locked: to be deleted once all of it is spent."""
        return bool(self.mined) and not self.lockable

    @property
    def children(self) -> int:
        return max(self.outputs) // UTXO_BATCH_SIZE

    def create_item(self) -> CreateItem:
        if self.raw is not None:
            return CreateItem.whole(self.raw, block_height=self.born, mined=self.mined)
        outputs = {vout: (output.satoshis, output.locking_script) for vout, output in self.outputs.items()}
        return CreateItem.partial(self.txid, outputs, block_height=self.born, mined=self.mined)

    def creation(self) -> Creation:
        """The records that the store must hold, before anything of them is spent."""
        source = Partial(self.txid, self.outputs) if self.raw is None else parse_transaction(self.raw)
        return create_records(source, CreationOptions(self.born, 0, UTXO_BATCH_SIZE))

    def spend(self, vout: int, spender: bytes, vin: int, flags: int = 0, early: bool = False) -> Spend:
        """spender: a txid, wire order. early: one block before the parent's height."""
        output = self.outputs[vout]
        utxo = utxo_hash(self.txid, vout, output.locking_script, output.satoshis)
        return Spend(self.txid, vout, utxo, spender, vin, self.height - early, flags)


class Parents:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.parent = lru_cache(4096)(self._make)

    def _make(self, number: int) -> Parent:
        random = Random(f"{self._seed}:{number}")
        generator = Generator(random.getrandbits(64))
        count = random.randint(1, UTXO_BATCH_SIZE) if random.random() < 0.5 else random.randint(5, _MAX_OUTPUTS)
        height = born = _HEIGHT + number // 100
        if random.random() < 0.3:
            born = height - COINBASE_MATURITY
            transaction = generator.coinbase([_COIN] * count, born)
        else:
            transaction = generator.payment([(generator.coinbase([_COIN]), 0)], count)
        outputs = dict(enumerate(transaction.outputs))
        raw: bytes | None = transaction.raw
        if count > UTXO_BATCH_SIZE and born == height and random.random() < 0.2:
            raw = None
            outputs = {vout: outputs[vout] for vout in sorted(random.sample(range(count), random.randint(1, count)))}
        mined = ((number, born, 0),) if random.random() < 0.5 else ()
        return Parent(number, transaction.txid, raw, outputs, height, born, mined)
