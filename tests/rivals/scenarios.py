"""The scenarios of a rivals run: a few parents, and spenders who want the same outputs of them.

Whoever knows the run's seed knows every scenario by its number. Some outputs are in trouble at first, so that a
transaction that wants them is refused as a whole at one moment, or height, and not at the next. Records hold
`UTXO_BATCH_SIZE` outputs each, so that many parents have child records, and the spenders like to have all outputs of
one.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Final, NamedTuple

from protocol import CreateItem, MinedBlock, Spend, utxo_hash
from store.layout import COINBASE_MATURITY
from store.transaction import Transaction
from tests.chaos.claims import Coin
from utxod.generate import Generator

UTXO_BATCH_SIZE: Final = 4
SCENARIOS_A_BLOCK: Final = 20
_FIRST_HEIGHT: Final = 1_000
_COIN: Final = 1_000_000
_MAX_OUTPUTS: Final = 11

# What is wrong with a parent at first. FINE: nothing. IMMATURE: a coinbase that matures at the scenario's height. LATE:
# it is created while the spenders are asking. LOCKED: it is locked and unlocked. FROZEN: its first output was
# reassigned, and is spendable from the scenario's height on.
FINE: Final = "fine"
IMMATURE: Final = "immature"
LATE: Final = "late"
LOCKED: Final = "locked"
FROZEN: Final = "frozen"
_TROUBLES: Final = {FINE: 2, IMMATURE: 5, LATE: 3, LOCKED: 3, FROZEN: 1}


class Parent(NamedTuple):
    trouble: str
    transaction: Transaction
    creation: CreateItem

    @property
    def txid(self) -> bytes:
        return self.transaction.txid

    @property
    def is_deletable(self) -> bool:
        """In a block, and never locked: to be deleted once all of it is spent."""
        return bool(self.creation.mined) and self.trouble not in (LOCKED, FROZEN)

    @property
    def children(self) -> int:
        return (len(self.transaction.outputs) - 1) // UTXO_BATCH_SIZE

    def utxo_hash(self, vout: int) -> bytes:
        output = self.transaction.outputs[vout]
        return utxo_hash(self.txid, vout, output.locking_script, output.satoshis)


class Spender(NamedTuple):
    """A transaction that wants these outputs, each by its parent's number and its vout; its input number is the
    place in the list."""

    txid: bytes
    inputs: Sequence[Coin]


class Scenario(NamedTuple):
    """height: what is immature at first may be spent from here on."""

    number: int
    height: int
    parents: Sequence[Parent]
    spenders: Sequence[Spender]

    def spend(self, coin: Coin, spender: bytes, vin: int, height: int, flags: int = 0) -> Spend:
        parent, vout = self.parents[coin[0]], coin[1]
        return Spend(parent.txid, vout, parent.utxo_hash(vout), spender, vin, height, flags)

    def is_early(self, coin: Coin, height: int) -> bool:
        """Whether the output may not be spent yet at this height."""
        trouble = self.parents[coin[0]].trouble
        return height < self.height and (trouble == IMMATURE or (trouble == FROZEN and coin[1] == 0))


class Scenarios:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.scenario = lru_cache(256)(self._make)

    def stranger(self, number: int, serial: int) -> bytes:
        """The txid of one who has nothing to do with the scenario but a single spend."""
        return _txid(f"{self._seed}:{number}:stranger:{serial}")

    def _make(self, number: int) -> Scenario:
        random = Random(f"{self._seed}:{number}")
        generator = Generator(random.getrandbits(64))
        height = _FIRST_HEIGHT + number // SCENARIOS_A_BLOCK
        troubles = [FINE, *random.choices(list(_TROUBLES), list(_TROUBLES.values()), k=random.choice((1, 1, 2)))]
        parents = [_parent(random, generator, trouble, height) for trouble in troubles]
        main = _wanted(random, parents)
        wants = [main, *(_rival(random, parents, main) for _ in range(random.choice((0, 1, 1, 2))))]
        spenders = [Spender(_txid(f"{self._seed}:{number}:{spender}"), inputs) for spender, inputs in enumerate(wants)]
        return Scenario(number, height, parents, spenders)


def _txid(name: str) -> bytes:
    return sha256(name.encode()).digest()


def _parent(random: Random, generator: Generator, trouble: str, height: int) -> Parent:
    count = random.choice((1, 2, 3, 8, random.randint(1, _MAX_OUTPUTS)))
    born = height - COINBASE_MATURITY - (0 if trouble == IMMATURE else 1)
    if trouble == IMMATURE:
        transaction = generator.coinbase([_COIN] * count, born)
    else:
        transaction = generator.payment([(generator.coinbase([_COIN]), 0)], count)
    mined = [MinedBlock(born, born, 0)] if random.random() < 0.5 else []
    return Parent(trouble, transaction, CreateItem.whole(transaction.raw, block_height=born, mined=mined))


def _wanted(random: Random, parents: Sequence[Parent]) -> list[Coin]:
    """Of each parent one output at least; often all of a record, or the one that is in trouble."""
    wanted: list[Coin] = []
    for number, parent in enumerate(parents):
        vouts = range(len(parent.transaction.outputs))
        record = random.randint(0, parent.children)
        chosen = {random.choice(vouts)}
        if parent.trouble == FROZEN:
            chosen.add(0)
        if random.random() < 0.4:
            chosen |= {vout for vout in vouts if vout // UTXO_BATCH_SIZE == record}
        wanted += [(number, vout) for vout in sorted(chosen)]
    random.shuffle(wanted)
    return wanted


def _rival(random: Random, parents: Sequence[Parent], main: Sequence[Coin]) -> list[Coin]:
    """One who wants all that the other wants, or some of it, or only one, and something else beside."""
    shared = random.sample(main, random.choice((1, len(main), random.randint(1, len(main)))))
    others = [
        (number, vout)
        for number, parent in enumerate(parents)
        for vout in range(len(parent.transaction.outputs))
        if (number, vout) not in main
    ]
    wanted = shared + random.sample(others, min(len(others), random.choice((0, 1, 2))))
    random.shuffle(wanted)
    return wanted
