"""Holds what a batch of asks was answered, and what it left, against the model.

Without a fault both must be as the model says for the asks one after the other, in some order. Where a fault fell, or
where rivals meet in a store that is not atomic, each part of the state must be as it was, or as one of the asks would
leave it on its way, and each answer must be true of it: OK of all that it promises, `no` of nothing but what it names.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice, permutations
from typing import Any

from protocol import codes
from protocol.codes import NO, UNKNOWN
from tests.model import records as kinds
from tests.model.asks import Ask, Hold, is_right, shown
from tests.model.coinset import Coinset
from tests.model.records import Answers, Key, State
from tests.support.dispatching import Outcome

_ORDERS = 120
_ORDERS_WITH_FAULT = 24
_NO_TRACE = (kinds.LOCK, kinds.BARRED)  # are no part of any transaction

Seen = dict[Key, set[Any]]


def part_of(state: State, txids: Collection[bytes]) -> State:
    return {key: value for key, value in state.items() if key[1] in txids}


def difference(found: State, expected: State) -> str:
    return "; ".join(
        f"{key[0]} of {shown(key[1])}/{key[2]}: {shown(found.get(key))}, not {shown(expected.get(key))}"
        for key in sorted(found.keys() | expected.keys(), key=str)
        if found.get(key) != expected.get(key)
    )


class Verdict:
    """outcomes: of each ask, of each of its items. found: what is in the set now of all that the asks touch."""

    def __init__(
        self, model: Coinset, asks: Sequence[Ask], outcomes: Sequence[Sequence[Outcome]], found: State
    ) -> None:
        self.model = model
        self.asks = asks
        self.outcomes = outcomes
        self.found = found
        self.touched = dict.fromkeys(txid for ask in asks for txid in ask.touches)

    def check(self, had_fault: bool) -> None:
        """Raises AssertionError. Afterwards the model is as the set."""
        if had_fault or not self._is_sequential():
            if not had_fault and not self._are_rivals():
                raise AssertionError(self._complaint())
            self._check_parts()
            for place, ask in enumerate(self.asks):
                self._check_promise(ask, self.outcomes[place])
                others = {txid for other in self.asks if other is not ask for txid in other.touches}
                if others.isdisjoint(ask.touches):
                    self._check_alone(ask, self.outcomes[place])
        for key in part_of(self.model.state, self.touched):
            del self.model.state[key]
        self.model.state |= self.found

    def _orders(self) -> Iterator[tuple[int, ...]]:
        yield from islice(permutations(range(len(self.asks))), _ORDERS)

    def _is_sequential(self) -> bool:
        return any(not self._wrong_in(order) for order in self._orders())

    def _complaint(self) -> str:
        """In the order in which least is wrong."""
        wrong = sorted((self._wrong_in(order) for order in self._orders()), key=len)
        return "; ".join(wrong[0])

    def _wrong_in(self, order: Sequence[int]) -> list[str]:
        """What is wrong, were the asks executed in this order."""
        copy = self.model.copy()
        answers = {place: self.asks[place].judge(copy) for place in order}
        wrong = [
            f"{ask}: {shown(list(map(_told, self.outcomes[place])))}, not {_wanted(answers[place])}"
            for place, ask in enumerate(self.asks)
            if not self._are_right(ask, self.outcomes[place], answers[place])
        ]
        expected = part_of(copy.state, self.touched)
        return wrong if expected == self.found else [*wrong, difference(self.found, expected)]

    def _are_right(self, ask: Ask, outcomes: Sequence[Outcome], answers: Sequence[Answers]) -> bool:
        """Of equal creations in one batch all but one may be told to wait; and one of equal ones is told what another
        was refused for, where that is no matter of its own."""
        is_double = ask.makes is not None and [other.makes for other in self.asks].count(ask.makes) > 1
        return all(
            is_right(outcome, right)
            or (is_double and (outcome.code == codes.CREATING or self._is_of_twin(outcome, right)))
            for outcome, right in zip(outcomes, answers, strict=True)
        )

    def _is_of_twin(self, outcome: Outcome, right: Answers) -> bool:
        """It shows a wrong output, and was refused for what is so whatever is shown."""
        is_mismatch = any(expected.code == codes.UTXO_HASH_MISMATCH for expected in right)
        return is_mismatch and outcome.code in (codes.SPENT, codes.FROZEN, codes.INVALID_SPEND)

    def _are_rivals(self) -> bool:
        """Whether transactions of one batch may get in each other's way, as they may where nothing is one whole."""
        whole = [ask for ask in self.asks if ask.holds and (ask.makes or ask.flags)]
        return not self.model.is_atomic and len(whole) > 1

    # ---- what a fault may have left

    def _seen(self) -> list[Seen]:
        """By ask, what it may leave, whatever of the others came before it."""
        seen: list[Seen] = [{} for _ in self.asks]
        alone = [(place,) for place in range(len(self.asks))]
        orders = list(self._orders())
        for order in [*alone, *orders[:: 1 + len(orders) // _ORDERS_WITH_FAULT]]:
            copy = self.model.copy()
            for place in order:
                copy.seen = {}
                self.asks[place].judge(copy)
                for key, values in copy.seen.items():
                    seen[place].setdefault(key, set()).update(values)
        return seen

    def _check_parts(self) -> None:
        seen = self._seen()
        before = part_of(self.model.state, self.touched)
        for key in before.keys() | self.found.keys():
            value = self.found.get(key)
            if value == before.get(key):
                continue
            makers = [place for place, own in enumerate(seen) if value in own.get(key, ())]
            assert makers, f"nobody asked for it: {difference({key: value}, {key: before.get(key)})}"
            assert key[0] in _NO_TRACE or any(self._may_leave(place, key, value) for place in makers), (
                f"{self.asks[makers[0]]}: {shown(list(map(_told, self.outcomes[makers[0]])))}, and yet "
                f"{key[0]} of {shown(key[1])}/{key[2]} is {shown(value)}, no more {shown(before.get(key))}"
            )

    def _may_leave(self, place: int, key: Key, value: Any) -> bool:
        outcomes = self.outcomes[place]
        if any(outcome.executed != NO or outcome.code == codes.TX_EXISTS for outcome in outcomes):
            return True
        named = {coin for outcome in outcomes for coin in named_by(outcome)}
        return key[0] == kinds.HOLDER and bool(value) and (key[1], key[2]) in named

    def _check_promise(self, ask: Ask, outcomes: Sequence[Outcome]) -> None:
        """Who is told that it has its outputs has them; and where a batch is one whole, all or none."""
        has = [(self.found.get((kinds.HOLDER, *coin)) or b"-")[0] == spender for coin, spender in ask.holds]
        had = [(self.model.holder(coin) or b"-")[0] == spender for coin, spender in ask.holds]
        result = outcomes[0].result
        is_promised = all(outcome.error is None for outcome in outcomes) and (
            ask.operation != "accept" or (result["created"] and not result["conflicting"])
        )
        assert all(has) or not is_promised, f"{ask}: OK, and yet it does not hold all of {shown(ask.holds)}"
        if self.model.is_atomic and has != had:
            is_there = ask.makes is None or (kinds.RECORD, ask.makes, 0) in self.found
            assert all([*has, is_there]), f"{ask}: a part of it is done, it holds {has} of {shown(ask.holds)}"

    def _check_alone(self, ask: Ask, outcomes: Sequence[Outcome]) -> None:
        """One that has nothing to do with the others: what it was answered is right of what was before it, and what is
        promised is there."""
        copy = self.model.copy()
        answers = ask.judge(copy)
        for outcome, right in zip(outcomes, answers, strict=True):
            if outcome.error is None:
                assert is_right(outcome, right), f"{ask}: {shown(_told(outcome))}, not {_wanted([right])}"
            elif outcome.code in codes.REJECTIONS and outcome.executed == NO:
                assert outcome.code in {expected.code for expected in right}, (
                    f"{ask}: {_told(outcome)}, not {_wanted([right])}"
                )
        if all(outcome.error is None for outcome in outcomes):
            for key in copy.seen:
                assert key[0] in _NO_TRACE or self.found.get(key) == copy.state.get(key), (
                    f"{ask}: OK, and yet {difference({key: self.found.get(key)}, {key: copy.state.get(key)})}"
                )

    # ---- what was said of it

    def said(self) -> Iterator[Hold]:
        """The outputs that an answer says may be held, and by whom."""
        for ask, outcomes in zip(self.asks, self.outcomes, strict=True):
            named = {coin for outcome in outcomes for coin in named_by(outcome)}
            is_named = any("outpoints" in outcome.error.details for outcome in outcomes if outcome.error)
            is_open = any(outcome.executed == UNKNOWN for outcome in outcomes) and not is_named
            is_plain = ask.operation == "spend" and all(outcome.error is None for outcome in outcomes)
            yield from (hold for hold in ask.holds if is_open or is_plain or hold[0] in named)


def named_by(outcome: Outcome) -> list[tuple[bytes, int]]:
    """The outputs that an error names as those that may be held."""
    details = outcome.error.details if outcome.error else {}
    return [(txid, vout) for name in ("held", "unseen", "outpoints") for txid, vout in details.get(name, ())]


def _wanted(answers: Sequence[Answers]) -> str:
    return " and ".join(
        " or ".join(f"{expected.code} {shown(expected.value)} {shown(expected.details)}" for expected in right)
        for right in answers
    )


def _told(outcome: Outcome) -> list[Any]:
    if outcome.error is None:
        return [codes.OK, outcome.result]
    return [outcome.code, outcome.executed, outcome.error.message, outcome.error.details]
