"""The transactions of a run of accepts: knots, each of a few coins and of transactions that want the same ones.

Whoever knows the run's seed knows every knot by its number. A knot has a main transaction, rivals of it, and sometimes
a child that spends what the main one creates, with a rival of its own.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from random import Random
from typing import Final, NamedTuple

from protocol import CreateItem
from store.transaction import Transaction
from utxod.generate import Generator

UTXO_BATCH_SIZE: Final = 2  # nearly everything has child records
HEIGHT: Final = 1_000
_COIN: Final = 1_000_000
_COINS: Final = 4  # of a knot
_AT_ONCE: Final = 5  # knots whose transactions are asked among each other
_CHILD: Final = 0.5  # how often there is one


class Knot(NamedTuple):
    """funding: has the coins. transactions: parents before their children. asks: which of them is asked, how often."""

    number: int
    funding: Transaction
    transactions: Sequence[Transaction]
    asks: Sequence[int]

    @property
    def creation(self) -> CreateItem:
        """Of the funding, whose own parents are not in the set."""
        return CreateItem.whole(self.funding.raw, block_height=HEIGHT - 1)

    def place(self, txid: bytes) -> int | None:
        """Among the transactions."""
        return next((place for place, each in enumerate(self.transactions) if each.txid == txid), None)


class Ask(NamedTuple):
    """place: of a transaction among those of its knot."""

    knot: int
    place: int


class Knots:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.knot = lru_cache(10_000)(self._make)

    def asks(self, most: int) -> Iterator[Ask]:
        """So many, of one knot after the other and of some among each other."""
        random, asked = Random(f"{self._seed}:asks"), 0
        for first in count(0, _AT_ONCE):
            knots = [self.knot(number) for number in range(first, first + _AT_ONCE)]
            some = [Ask(knot.number, place) for knot in knots for place in knot.asks]
            random.shuffle(some)
            yield from some[: most - asked]
            asked += len(some)
            if asked >= most:
                return

    def _make(self, number: int) -> Knot:
        random = Random(f"{self._seed}:{number}")
        generator = Generator(random.getrandbits(64))
        funding = generator.payment([(generator.coinbase([_COIN]), 0)], _COINS)
        main = generator.payment([(funding, 0), (funding, 1)], random.randint(1, 5))
        wanted = random.choices(([1], [0, 2], [1, 0], [3, 1, 0]), k=random.choice((1, 1, 2)))
        transactions = [main, *(generator.payment([(funding, vout) for vout in vouts], 3) for vouts in wanted)]
        asks = [0] * random.choice((1, 2, 3)) + list(range(1, len(transactions))) * random.choice((1, 2))
        if random.random() < _CHILD:
            asks += [len(transactions)] * random.choice((1, 2)) + [len(transactions) + 1]
            transactions += [generator.payment([(main, 0)], 2), generator.payment([(funding, 3), (main, 0)], 1)]
        return Knot(number, funding, transactions, asks)
