"""Coins in a set, to ask about one at a time."""

import itertools
from collections.abc import Sequence
from typing import Final, Self

from protocol import AsyncClient, CreateItem
from store.transaction import Transaction
from utxod.generate import Generator

from ..load import MANY, ask_many, batched, expect_ok
from ..throughput import FIELDS

# More than can be spent in that time.
COINS_A_SECOND: Final = 30_000
_AT_LEAST: Final = 500


class Coins:
    """Questions for a closed loop: `get` as often as one likes, `spend` until all are spent."""

    def __init__(self, client: AsyncClient, generator: Generator, coins: Sequence[Transaction]) -> None:
        self._client = client
        self._generator = generator
        self._known = itertools.cycle([coin.txid for coin in coins])
        self._unspent = iter(coins)

    @classmethod
    async def created(cls, client: AsyncClient, generator: Generator, seconds: float) -> Self:
        """seconds: for which they are to last."""
        coins = [generator.coinbase([1000]) for _ in range(max(_AT_LEAST, int(seconds * COINS_A_SECOND)))]
        items = [CreateItem.whole(coin.raw, block_height=1) for coin in coins]
        _, outcomes = await ask_many(client.create_many, batched(items, MANY))
        expect_ok(outcomes)
        return cls(client, generator, coins)

    async def get(self) -> bool:
        return bool(await self._client.get(next(self._known), FIELDS) == {"totalUtxos": 1})

    async def spend(self) -> bool:
        """Raises StopAsyncIteration where all are spent."""
        for coin in self._unspent:
            return await self._client.spend(self._generator.spend((coin, 0)))
        raise StopAsyncIteration
