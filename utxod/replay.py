"""Replays block files: every transaction fed as a node would feed it, in the order of dependencies, many at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from protocol.aio import AsyncClient
from store.transaction import Transaction, iter_block, read_varint

from .blockfiles import HEADER_BYTES, BlockFileError, BlockPlace, in_chain_order, scan
from .feed import Feeder, Tally

# BIP 144: in place of the number of inputs, which is never 0.
_WITNESS_MARKER: Final = b"\x00\x01"

Progress = Callable[[int], None]  # bytes of blocks that are done since the last call


@dataclass(slots=True)
class Summary:
    """What a replay did. seconds: without reading ahead for `--seed-missing`."""

    tally: Tally
    blocks: int
    seeded: int
    seconds: float

    def as_map(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "blocks": self.blocks,
            "transactions": {"fed": tally.fates.total(), **dict(sorted(tally.fates.items()))},
            "seeded": self.seeded,
            "submitted": tally.items,
            "ok": tally.ok.total(),
            "rejected": dict(sorted(tally.rejected.items())),
            "faults": dict(sorted(tally.faults.items())),
            "unanswered": tally.unanswered,
            "inputs": {"spent_now": tally.spent_now, "spent_before": tally.spent_before},
            "parents_not_in_the_set": len(tally.missing_parents),
            "operations": {
                name: {"submitted": count, "ok": tally.ok[name]} for name, count in sorted(tally.submitted.items())
            },
            "items_per_second": round(tally.items / self.seconds) if self.seconds else 0,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The blocks in the order of their chain, each with its height; the parents from outside, each with the outputs
    that are spent (empty unless it was asked for). size: bytes of all blocks."""

    blocks: list[tuple[BlockPlace, int]]
    outside: dict[bytes, set[int]]

    @property
    def size(self) -> int:
        return sum(place.size for place, _ in self.blocks)


def plan(files: Sequence[Path], default_height: int, seed_missing: bool) -> Plan:
    """Raises BlockFileError. seed_missing: reads all blocks once, and keeps every txid in memory."""
    blocks = in_chain_order(scan(files), default_height)
    return Plan(blocks, _parents_from_outside(blocks) if seed_missing else {})


async def replay(client: AsyncClient, planned: Plan, *, window: int, progress: Progress) -> Summary:
    """Feeds all blocks of the plan; window: transactions under way at once. Raises BlockFileError where a block turns
    out to be malformed."""
    started = time.perf_counter()
    async with Feeder(client, window=window, done=lambda transaction, _: progress(transaction.size)) as feeder:
        height = min((height for _, height in planned.blocks), default=0)
        for txid, vouts in planned.outside.items():
            await feeder.seed(txid, {vout: made_up_output(txid, vout) for vout in sorted(vouts)}, height)
        await feeder.settle()
        for place, height in planned.blocks:
            for transaction in in_dependency_order(read_block(place)):
                await feeder.feed(transaction, height, block_id=height)
    return Summary(feeder.tally, len(planned.blocks), len(planned.outside), time.perf_counter() - started)


def read_block(place: BlockPlace) -> list[Transaction]:
    """The block's transactions, in its order. Raises BlockFileError."""
    raw = place.read()
    try:
        return list(iter_block(raw))
    except ValueError as error:
        where = f"{place.file}: the block at byte {place.offset}"
        _, coinbase = read_varint(raw, HEADER_BYTES, where)
        if raw[coinbase + 4 : coinbase + 6] == _WITNESS_MARKER:
            raise BlockFileError(f"{where} carries witness data, which is not read here") from None
        raise BlockFileError(f"{where}: {error}") from None


def in_dependency_order(transactions: Sequence[Transaction]) -> Iterator[Transaction]:
    """Parents before children; a block may hold them in any order."""
    by_txid = {transaction.txid: transaction for transaction in transactions}
    parents = {
        transaction.txid: [spent.previous_txid for spent in transaction.inputs if spent.previous_txid in by_txid]
        for transaction in transactions
    }
    return (by_txid[txid] for txid in TopologicalSorter(parents).static_order())


def made_up_output(txid: bytes, vout: int) -> tuple[int, bytes]:
    """(satoshis, P2PKH locking script) for an output of which nothing is known: the same every time."""
    digest = sha256(txid + vout.to_bytes(4, "little")).digest()
    return 1 + int.from_bytes(digest[20:24], "little"), b"\x76\xa9\x14" + digest[:20] + b"\x88\xac"


def _parents_from_outside(blocks: Sequence[tuple[BlockPlace, int]]) -> dict[bytes, set[int]]:
    inside: set[bytes] = set()
    outside: dict[bytes, set[int]] = {}
    for place, _ in blocks:
        for transaction in read_block(place):
            inside.add(transaction.txid)
            if not transaction.is_coinbase:
                for spent in transaction.inputs:
                    outside.setdefault(spent.previous_txid, set()).add(spent.previous_vout)
    return {txid: vouts for txid, vouts in outside.items() if txid not in inside}
