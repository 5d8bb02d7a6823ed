"""The ledger of a node, by what it was answered alone: the outputs of its active chain and mempool, minus what these
spend, are the unspent ones of the set, as `utxo` sees it. It knows no record, and no rule."""

from collections.abc import Collection, Sequence
from typing import Any

from protocol import codes
from protocol.codes import NO
from tests.model.asks import Ask, shown
from tests.model.records import IS_CONFLICTING
from tests.model.subject import Subject
from tests.model.transactions import Outpoint, Tx
from tests.support.dispatching import Outcome

_ANY_HEIGHT = (1 << 32) - 1  # at which whatever waits for a height can be spent
_FLAGS = 3  # the field of a creation's item
_FREE = ("UNSPENT", "LOCKED")  # a lock is for a time, and spends nothing


class Ledger:
    """transactions: of the active chain and mempool. conflicting: of neither, though they are in the set. single: of
    outputs of which more was decided than that a transaction spends them, whether they are free: by single spends, by
    what was taken back or given up, by the alert system."""

    def __init__(self, subject: Subject, known: dict[bytes, Tx]) -> None:
        self.subject = subject
        self.known = known
        self.transactions: set[bytes] = set()
        self.conflicting: set[bytes] = set()
        self._single: dict[Outpoint, bool] = {}
        self._in_doubt: set[bytes] = set()
        self._gone: set[bytes] = set()

    def look(
        self,
        asks: Sequence[Ask],
        outcomes: Sequence[Sequence[Outcome]],
        unquiet: Collection[bytes],
        *,
        had_fault: bool,
    ) -> str:
        """After a step: what is wrong. unquiet: where something is still to be done, or in doubt."""
        touched = dict.fromkeys(txid for ask in asks for txid in ask.touches)
        for ask, own in zip(asks, outcomes, strict=True):
            if had_fault:
                self._in_doubt.update(ask.touches)
            else:
                for item, outcome in zip(ask.items, own, strict=True):
                    self._enter(ask, item, outcome)
        return self.wrong([txid for txid in touched if txid not in unquiet])

    def _enter(self, ask: Ask, item: Sequence[Any], outcome: Outcome) -> None:
        if ask.makes is not None:
            self._enter_transaction(ask, item, outcome)
        elif outcome.error is not None:
            self._in_doubt.update(ask.touches if outcome.executed != NO else ())
        elif ask.operation in ("spend", "freeze"):
            self._single[item[0], item[1]] = False
        elif ask.operation in ("unspend", "unfreeze", "reassign"):
            self._single[item[0], item[1]] = True
        elif ask.operation == "abandon":
            self._single |= {
                (txid, vout): True for (txid, vout), was in zip(item[1], outcome.result, strict=True) if was
            }
        elif ask.operation == "set_conflicting":
            self.conflicting = self.conflicting - {item[0]} | ({item[0]} if item[1] else set())
            self._in_doubt.update(() if item[0] in self.transactions else ask.touches)

    def _enter_transaction(self, ask: Ask, item: Sequence[Any], outcome: Outcome) -> None:
        """One that was there, and of which the ledger knows nothing, was left by another attempt."""
        assert ask.makes is not None
        is_known = ask.makes in self.transactions
        if outcome.error is not None:
            if outcome.executed != NO or (outcome.code == codes.TX_EXISTS and not is_known):
                self._in_doubt.update(ask.touches)
            return
        if ask.operation == "accept" and not outcome.result["created"]:
            self._in_doubt.update(() if is_known else ask.touches)
            return
        if ask.makes in self._gone:  # a creation that is repeated after its pruning makes new coins
            self._in_doubt.add(ask.makes)
        self.transactions.add(ask.makes)
        spends, is_conflicting = self.known[ask.makes].spends, item[_FLAGS] & IS_CONFLICTING
        if is_conflicting:
            self.conflicting.add(ask.makes)
        if ask.operation == "accept" and not is_conflicting:
            for coin in spends:
                self._single.pop(coin, None)
            return
        held = self._spent(but=ask.makes)
        self._single |= {coin: coin not in held for coin in spends if coin not in self._single}

    def _spent(self, but: bytes = b"") -> set[Outpoint]:
        return {coin for txid in self.transactions if txid != but for coin in self.known[txid].spends}

    def wrong(self, txids: Sequence[bytes]) -> str:
        """What is wrong with the outputs of these, of which nothing is left to be done."""
        self._learn([txid for txid in txids if txid in self._in_doubt])
        spent = self._spent()
        for txid, seen in self._see([txid for txid in txids if txid not in self._in_doubt]).items():
            if (txid in self.transactions) != (seen is not None):
                return f"ledger: {shown(txid)} is {'not in' if seen is None else 'in'} the set"
            for coin, state in (seen or {}).items():
                is_free = self._single.get(coin, coin not in spent)
                expected = "CONFLICTING" if txid in self.conflicting and is_free else is_free
                found = state if state == "CONFLICTING" else state in _FREE
                if found != expected:
                    return f"ledger: {shown(coin)} is {state}, expected {'free' if is_free else 'not free'}"
        return ""

    def _learn(self, txids: Sequence[bytes]) -> None:
        """What nobody was told is asked for. What is half created stays in doubt, and what it spends."""
        for txid, seen in self._see(txids).items():
            self.forget(txid)
            if seen is None:
                continue
            if "CREATING" in seen.values():
                self._in_doubt |= {txid, *(parent for parent, _ in self.known[txid].spends)}
                continue
            self.transactions.add(txid)
            if self._is_conflicting(txid):
                self.conflicting.add(txid)
            self._single |= {coin: state in (*_FREE, "CONFLICTING") for coin, state in seen.items()}

    def _is_conflicting(self, txid: bytes) -> bool:
        (outcome,) = self.subject.ask("get", [[[txid, ["conflicting"]]]], [0], None)
        return bool(outcome.result.get("conflicting"))

    def _see(self, txids: Sequence[bytes]) -> dict[bytes, dict[Outpoint, str] | None]:
        """The states of outputs, where they are UTXOs; None where there is no such transaction."""
        coins = [(txid, vout) for txid in txids if txid in self.known for vout in range(len(self.known[txid].outputs))]
        if not coins:
            return {}
        items = [[*coin, _ANY_HEIGHT] for coin in coins]
        outcomes = self.subject.ask("utxo", [items], [0], None)
        seen: dict[bytes, dict[Outpoint, str] | None] = {}
        for coin, outcome in zip(coins, outcomes, strict=True):
            own = seen.setdefault(coin[0], None if outcome.code == codes.TX_NOT_FOUND else {})
            if own is not None and outcome.error is None:
                own[coin] = outcome.result["state"]
        return seen

    def forget(self, txid: bytes) -> None:
        """It was pruned, or is to be learnt anew. What it has spent stays so."""
        if txid in self.transactions:
            self._single |= {coin: False for coin in self.known[txid].spends if coin not in self._single}
        self.transactions.discard(txid)
        self._gone.add(txid)
        self.conflicting.discard(txid)
        self._in_doubt.discard(txid)
        self._single = {coin: is_free for coin, is_free in self._single.items() if coin[0] != txid}
