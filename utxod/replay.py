"""Replays block files: the active chain of what is in them, each transaction fed as a node would feed it, in the order
of dependencies, many at a time.

All blocks are read twice: once to check them, to choose the chain among those that are good and to learn which limits
the daemon must have; once to feed them. One block is in memory at a time, and what of it is under way.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from protocol import AsyncClient
from store.transaction import Transaction

from .block_files import BlockFileError, BlockPlace, Found, scan
from .blocks import BadBlockError, in_dependency_order, read_block
from .chain import NO_HASH, active_chain
from .feeder import Fate, Feeder, Tally
from .needs import body_bytes, setting
from .plurals import many

Progress = Callable[[int], None]  # bytes that are done since the last call
Bar = Callable[[int], AbstractContextManager[Progress]]  # for so many bytes in all

# Blocks and pieces of files that are not fed: so many are named.
_NAMED: Final = 20
# The genesis coinbase of the main chain and of most test networks, wire order. It was never in any node's set.
_GENESIS_COINBASE: Final = bytes.fromhex("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")[::-1]


def _no_bar(size: int) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done: None)


@dataclass(frozen=True, slots=True)
class Plan:
    """blocks: to be fed, with their heights, parents first. size: bytes of their transactions. needed: bytes that a
    daemon must take in a request, for the largest. stale: how many blocks are on other branches. left_out: in words,
    the blocks and bytes that will not be fed and are not stale. outside: the parents that no block holds, each with the
    outputs that are spent (empty unless it was asked for)."""

    blocks: list[tuple[BlockPlace, int]]
    size: int = 0
    needed: int = 0
    stale: int = 0
    left_out: list[str] = field(default_factory=list)
    outside: dict[bytes, set[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Summary:
    """What a replay did. fed: blocks that were. seconds: without reading ahead. stopped: why it ended before all was
    fed, in words; empty where it did not."""

    planned: Plan
    tally: Tally
    fed: int = 0
    seconds: float = 0.0
    stopped: str = ""

    @property
    def all_went_in(self) -> bool:
        return not (self.stopped or self.planned.left_out or self.tally.not_in)

    def not_in(self) -> list[str]:
        """In words, what did not go in: the first few blocks, and transactions of each kind."""
        places = {height: place for place, height in self.planned.blocks}
        lines = [
            f"{places[missing.height]}: transaction {missing.txid[::-1].hex()}: "
            f"{missing.fate.replace('_', ' ')}: {missing.why}"
            for missing in self.tally.not_in
        ]
        unnamed = sum(self.tally.kinds.values()) - len(lines)
        if unnamed:
            lines.append(f"and {unnamed:,} more transactions")
        if self.tally.fates[Fate.ORPHAN]:
            lines.append("orphans: feed the blocks before these first, or make their parents up (--seed-missing)")
        if self.tally.body_bytes:
            lines.append(
                f"too large: a daemon takes all of them with utxod serve --set {setting(self.tally.body_bytes)}"
            )
        return [*first_few(self.planned.left_out), *lines, *filter(None, [self.stopped])]

    def as_map(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "blocks": self.fed,
            "stale_blocks": self.planned.stale,
            "transactions": {"fed": tally.fates.total(), **dict(sorted(tally.fates.items()))},
            "seeded": tally.seeded,
            "submitted": tally.items,
            "ok": tally.ok.total(),
            "rejected": dict(sorted(tally.rejected.items())),
            "faults": dict(sorted(tally.faults.items())),
            "unanswered": tally.unanswered,
            "inputs": {"spent_now": tally.inputs[Fate.CREATED], "spent_before": tally.inputs[Fate.EXISTED]},
            "parents_not_in_the_set": len(tally.missing_parents),
            "operations": {
                name: {"submitted": count, "ok": tally.ok[name]} for name, count in sorted(tally.submitted.items())
            },
            "items_per_second": round(tally.items / self.seconds) if self.seconds else 0,
            "seconds": round(self.seconds, 3),
            "not_in": self.not_in(),
        }


def plan(files: Sequence[Path], first_height: int | None, seed_missing: bool, bar: Bar = _no_bar) -> Plan:
    """first_height: of the first block, where its coinbase does not state it; None where the blocks upon it tell it, or
    nobody does. seed_missing: also looks for the parents that are not there, and keeps every txid in memory for it.

    Raises BlockFileError where there is nothing to feed, a file can't be read, or a block carries witness data.
    """
    found = scan(dict.fromkeys(files))
    with bar(sum(place.size for place in found.places)) as progress:
        checker = _Checker(found, progress)
        chain = active_chain(checker.first_copies(), first_height, checker.good_copy)
    size = needed = 0
    for place, _ in chain.blocks:
        size += checker.read[place.hash].size
        needed = max(needed, checker.read[place.hash].needed)
    left_out = found.skipped + checker.bad + chain.contradicting + chain.unconnected
    if chain.on_bad:
        left_out.append(f"not fed, because they stand on a block that is refused: {many(chain.on_bad, 'block')}")
    if not chain.blocks:
        raise BlockFileError("\n  ".join(["there is no block to feed", *first_few(left_out)]))
    outside = _parents_from_outside(chain.blocks) if seed_missing else {}
    return Plan(chain.blocks, size, needed, chain.stale, left_out, outside)


def first_few(lines: Sequence[str]) -> list[str]:
    """And how many more there are."""
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], f"and {more:,} more blocks, or pieces of files"] if more > 0 else list(lines)


@dataclass(frozen=True, slots=True)
class _Read:
    size: int
    needed: int


class _Checker:
    """Reads blocks and finds out which are good. Of a block that is there several times, one good copy is enough.

    bad: in words, what was read and is not good. read: of each good block by hash, what was learned."""

    def __init__(self, found: Found, progress: Progress) -> None:
        self._copies: dict[bytes, list[BlockPlace]] = {}
        for place in found.places:
            self._copies.setdefault(place.hash, []).append(place)
        self._progress = progress
        self.bad: list[str] = []
        self.read: dict[bytes, _Read] = {}

    def first_copies(self) -> dict[bytes, BlockPlace]:
        """By hash, in the order in which they were found."""
        return {hash_: copies[0] for hash_, copies in self._copies.items()}

    def good_copy(self, block: BlockPlace) -> BlockPlace | None:
        """Its header vouches for all of it, its coinbase's height too. None where there is no such copy."""
        copies = self._copies[block.hash]
        while copies and block.hash not in self.read:
            self._progress(copies[0].size)
            try:
                transactions = read_block(copies[0])
            except BadBlockError as error:
                self.bad.append(str(error))
                del copies[0]
            else:
                size = sum(transaction.size for transaction in transactions)
                self.read[block.hash] = _Read(size, max(map(body_bytes, transactions)))
        return copies[0] if copies else None


async def replay(client: AsyncClient, planned: Plan, *, window: int, progress: Progress) -> Summary:
    """Feeds all blocks of the plan. window: transactions under way at once. progress: called with the sizes of those
    that are done.

    Ends early, when what is under way is done, and says so: where it is cancelled, where the daemon does not answer any
    more, and where a block is not what it was when the plan was made.
    """
    started = time.perf_counter()
    feeder = Feeder(client, window=window, done=lambda transaction, _: progress(transaction.size))
    summary = Summary(planned, feeder.tally)
    async with feeder:
        try:
            await _feed(feeder, summary)
            await feeder.settle()
        except asyncio.CancelledError:  # what is under way is finished: no spend stays without its transaction
            summary.stopped = "interrupted: what follows was not fed"
        except BlockFileError as error:
            summary.stopped = f"{error}; from there on nothing was fed"
    summary.seconds = time.perf_counter() - started
    return summary


async def _feed(feeder: Feeder, summary: Summary) -> None:
    planned = summary.planned
    first = min((height for _, height in planned.blocks), default=0)
    for txid, vouts in planned.outside.items():
        if feeder.is_deserted:
            break  # said of the first block
        await feeder.seed(txid, {vout: made_up_output(txid, vout) for vout in sorted(vouts)}, first)
    await feeder.settle()
    for place, height in planned.blocks:
        for transaction in in_dependency_order(_read_again(place)):
            if feeder.is_deserted:
                summary.stopped = f"the daemon does not answer any more: from {place} on nothing was fed"
                return
            if not (transaction.is_coinbase and _is_genesis(transaction, place, height)):
                await feeder.feed(transaction, height, block_id=height)
        summary.fed += 1


def _read_again(place: BlockPlace) -> list[Transaction]:
    try:
        return read_block(place)
    except BadBlockError as error:
        raise BlockFileError(f"{error}; it has changed since it was checked") from None


def _is_genesis(coinbase: Transaction, place: BlockPlace, height: int) -> bool:
    """Whether nobody can ever spend its outputs: so it is on every network."""
    return coinbase.txid == _GENESIS_COINBASE or (height == 0 and place.previous == NO_HASH)


def made_up_output(txid: bytes, vout: int) -> tuple[int, bytes]:
    """(satoshis, P2PKH locking script) for an output of which nothing is known: the same every time."""
    digest = sha256(txid + vout.to_bytes(4, "little")).digest()
    return 1 + int.from_bytes(digest[20:24], "little"), b"\x76\xa9\x14" + digest[:20] + b"\x88\xac"


def _parents_from_outside(blocks: Sequence[tuple[BlockPlace, int]]) -> dict[bytes, set[int]]:
    inside: set[bytes] = set()
    outside: dict[bytes, set[int]] = {}
    for place, _ in blocks:
        for transaction in _read_again(place):
            inside.add(transaction.txid)
            if not transaction.is_coinbase:
                for spent in transaction.inputs:
                    outside.setdefault(spent.previous_txid, set()).add(spent.previous_vout)
    return {txid: vouts for txid, vouts in outside.items() if txid not in inside}
