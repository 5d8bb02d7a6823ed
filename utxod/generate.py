"""Generated transactions: shaped like a node's (coinbases, payments with P2PKH scripts), without valid signatures.

The same seed gives the same transactions. Nothing checks a signature here: who calls the daemon has done that.
"""

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from protocol import Spend, utxo_hash
from protocol.hashing import varint
from store.transaction import COINBASE_OUTPOINT, Output, Transaction, parse_transaction

from .merkle import double_sha256, merkle_root

COIN: Final = 100_000_000

Coin = tuple[Transaction, int]  # an output: its transaction, its number


class Generator:
    """Makes transactions whose inputs spend outputs that it made before. seed: the same gives the same transactions."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)  # noqa: S311 (no secrets here: the same seed, the same transactions)
        self._coinbases = 0

    def coinbase(self, satoshis: Sequence[int], height: int = 1) -> Transaction:
        """New coins: an output of each value."""
        self._coinbases += 1  # makes every coinbase differ from every other
        script = b"\x04" + height.to_bytes(4, "little") + b"\x08" + self._coinbases.to_bytes(8, "little")
        return _transaction([COINBASE_OUTPOINT], [script], self._outputs(satoshis))

    def payment(self, coins: Sequence[Coin], outputs: int = 2) -> Transaction:
        """Spends the coins and shares their value among `outputs` outputs, without a fee."""
        total = sum(source.outputs[vout].satoshis for source, vout in coins)
        share = total // outputs
        values = [share] * (outputs - 1) + [total - share * (outputs - 1)]
        unlocking = [self._random.randbytes(107) for _ in coins]  # a signature and a public key would be as long
        outpoints = [source.txid + struct.pack("<I", vout) for source, vout in coins]
        return _transaction(outpoints, unlocking, self._outputs(values))

    def spend(self, coin: Coin, spender: Transaction | None = None, vin: int = 0, height: int = 200) -> Spend:
        """The spend of a coin by a transaction (None: one that does not exist)."""
        source, vout = coin
        txid = self._random.randbytes(32) if spender is None else spender.txid
        satoshis, script = source.outputs[vout]
        return Spend(source.txid, vout, utxo_hash(source.txid, vout, script, satoshis), txid, vin, height)

    def economy(self, payments: int, coins: Sequence[Coin], rival_every: int = 0) -> Iterator[Transaction]:
        """Payments of two inputs and two outputs in chains that branch and meet, begun with `coins` (two at least).

        Where `rival_every` is given, every so many payments come two that spend the same coins, one after the other: at
        most one of them can be. Nothing spends the outputs of either.
        """
        unspent = deque(coins)
        made = 0
        while made < payments:
            unspent.rotate(self._random.randrange(8))
            spent = [unspent.popleft(), unspent.popleft()]
            rivals = rival_every and made % rival_every == rival_every - 1 and made + 2 <= payments and len(unspent) > 2
            for _ in range(2 if rivals else 1):
                payment = self.payment(spent)
                yield payment
                made += 1
            if not rivals:
                unspent.extend((payment, vout) for vout in range(2))

    def _outputs(self, values: Sequence[int]) -> list[bytes]:
        pay_to = (b"\x76\xa9\x14" + self._random.randbytes(20) + b"\x88\xac" for _ in values)
        return [Output(value, script).serialise() for value, script in zip(values, pay_to, strict=True)]


def block(transactions: Sequence[Transaction], previous: bytes = bytes(32)) -> bytes:
    """A raw block of these, with a proof of work as regtest asks for one (about two tries)."""
    root = merkle_root([transaction.txid for transaction in transactions])
    header = struct.pack("<i32s32sII", 1, previous, root, 1_300_000_000, 0x207FFFFF)
    nonce = 0
    while double_sha256(header + struct.pack("<I", nonce))[31] >= 0x7F:
        nonce += 1
    return header + struct.pack("<I", nonce) + varint(len(transactions)) + b"".join(tx.raw for tx in transactions)


def _transaction(outpoints: Sequence[bytes], scripts: Sequence[bytes], outputs: Sequence[bytes]) -> Transaction:
    inputs = [
        outpoint + varint(len(script)) + script + b"\xff\xff\xff\xff"
        for outpoint, script in zip(outpoints, scripts, strict=True)
    ]
    version, locktime = struct.pack("<I", 1), struct.pack("<I", 0)
    return parse_transaction(
        b"".join([version, varint(len(inputs)), *inputs, varint(len(outputs)), *outputs, locktime])
    )
