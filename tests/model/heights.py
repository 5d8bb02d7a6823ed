"""From which height the delete-at-height of a transaction counts: that of the block, spend or mark by which it was
done, or of one that came after it; of a conflicting one that of the first mark; and no lock or unlocking brings it
forward."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from tests.model import records as kinds
from tests.model.asks import Ask, shown
from tests.model.coinset import Coinset
from tests.model.records import PER_RECORD, RETENTION
from tests.support.dispatching import Outcome

# Which field of an item is the height that the rule is given.
_FIELD: Final[Mapping[str, int]] = {
    "spend": 5,
    "unspend": 5,
    "abandon": 2,
    "set_mined": 2,
    "mark_longest_chain": 2,
    "set_conflicting": 2,
    "increment": 2,
    "create": 1,
    "accept": 1,
}
# What changes nothing may ask no master.
_SURE: Final = ("spend", "set_mined", "mark_longest_chain", "set_conflicting", "accept")


class Heights:
    """may: by transaction, the heights of all that was asked of it since it was last seen with nothing to count. least:
    the highest of those that count for sure. once: what a conflicting one counts from."""

    def __init__(self, model: Coinset) -> None:
        self.model = model
        self._may: dict[bytes, set[int]] = defaultdict(set)
        self._least: dict[bytes, int] = {}
        self._once: dict[bytes, int] = {}
        self._counted: set[bytes] = set()

    def look(self, asks: Sequence[Ask], outcomes: Sequence[Sequence[Outcome]], unquiet: Collection[bytes]) -> None:
        """After a step. unquiet: where something is still to be done, or in doubt."""
        by_txid: dict[bytes, list[tuple[Ask, Sequence[Outcome]]]] = defaultdict(list)
        for ask, own in zip(asks, outcomes, strict=True):
            # Parents are only told of a conflict, and no rule asks them how they are.
            for txid in ask.touches[:1] if ask.operation == "set_conflicting" else ask.touches:
                by_txid[txid].append((ask, own))
        for txid, mine in by_txid.items():
            if not self.model.is_there(txid):
                self.forget(txid)
                continue
            for ask, _ in mine:
                self._may[txid] |= self._heights_of(ask, txid)
            self._note(txid, mine, is_quiet=txid not in unquiet)

    def _note(self, txid: bytes, mine: Sequence[tuple[Ask, Sequence[Outcome]]], *, is_quiet: bool) -> None:
        model = self.model
        if not model.counts(txid):
            self._least.pop(txid, None)
            self._counted.discard(txid)
            if is_quiet and not model.get(kinds.LOCKED, txid):
                self._may[txid].clear()
        elif is_quiet and len(mine) == 1 and not model.get(kinds.CONFLICTING, txid):
            ((ask, own),) = mine
            if _is_sure(ask, own, txid) and (txid not in self._counted or _is_of_master(ask, txid)):
                field = _FIELD[ask.operation]
                own_items = [item for item in ask.items if len(ask.items) == 1 or item[0] == txid]
                self._least[txid] = max(self._least.get(txid, 0), min(item[field] for item in own_items))
        if model.counts(txid) and is_quiet:
            self._counted.add(txid)
        if not model.get(kinds.CONFLICTING, txid):
            self._once.pop(txid, None)
        elif model.get(kinds.LOCKED, txid) and txid in self._once:
            self._least[txid] = self._once.pop(txid)

    def _heights_of(self, ask: Ask, txid: bytes) -> set[int]:
        """Unlocking is given none: it goes by the transaction's own."""
        item = ask.items[0]
        if ask.operation == "set_locked":
            own = {block[1] for block in self.model.get(kinds.BLOCKS, txid) or ()}
            return own | {self.model.get(kinds.UNMINED, txid)} - {None}
        blocks: Sequence[Any] = item[2] if ask.operation in ("create", "accept") else ()
        heights = {item[_FIELD[ask.operation]] for item in ask.items if ask.operation in _FIELD}
        return heights | {block[1] for block in blocks}

    def wrong(self, txid: bytes, found: int) -> str:
        """What is wrong with the delete-at-height of one of which nothing is left to be done."""
        height = found - RETENTION
        if height not in self._may[txid]:
            return f"{shown(txid)}: delete-at-height counts from {height}, not from any of {sorted(self._may[txid])}"
        least = self._least.get(txid, 0)
        if height < least:
            return f"{shown(txid)}: delete-at-height counts from {height}, not from {least}"
        if self.model.get(kinds.CONFLICTING, txid):
            once = self._once.setdefault(txid, height)
            if once != height:
                return f"{shown(txid)}: delete-at-height counts from {height}, and before from {once}"
        return ""

    def forget(self, txid: bytes) -> None:
        for known in (self._may, self._least, self._once):
            known.pop(txid, None)
        self._counted.discard(txid)


def _is_sure(ask: Ask, outcomes: Sequence[Outcome], txid: bytes) -> bool:
    """Whether it was done, and the rule asked. Of what was there nothing is spent again, by a conflicting one
    nothing."""
    if ask.operation not in _SURE or any(outcome.error is not None for outcome in outcomes):
        return False
    if ask.operation != "accept":
        return True
    result = outcomes[0].result
    return txid != ask.makes and result["created"] and not result["conflicting"]


def _is_of_master(ask: Ask, txid: bytes) -> bool:
    """Not of child records, which tell their master only what is news."""
    coins = [coin for coin, _ in ask.holds if coin[0] == txid]
    return not coins or any(vout < PER_RECORD for _, vout in coins)
