"""What the answers of a game say of its outputs: who must hold each, who may, and for how long.

An acknowledged spend counts from its answer on, until somebody asks to have it back; one that was acknowledged while
that was under way counts for nothing, as nobody can say which came first.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from .chaos_history import YES, Answer, Call, Item, events
from .rivals_asking import places
from .rivals_games import Place

SPENDS: Final = ("transaction", "spend")
FOREVER: Final = float("inf")


@dataclass(slots=True)
class Claim:
    """Of one spender to one output. acknowledged, abandoned: the calls in which it was told so, in the order in which
    they were asked; an abandon counts unless it was answered `no`. word: the last answer to a spend since, with its
    call."""

    asked: float = FOREVER
    acknowledged: list[tuple[Answer, Call]] = field(default_factory=list)
    abandoned: list[Call] = field(default_factory=list)
    word: tuple[Answer, Call] | None = None
    calls: list[Call] = field(default_factory=list)

    def add(self, answer: Answer, call: Call) -> None:
        self.calls.append(call)
        if call.operation == "abandon":
            if answer.executed != "no":
                self.abandoned.append(call)
            if answer.executed == YES and self.word is not None and self.word[1].answered < call.asked:
                self.word = None
            return
        self.asked = min(self.asked, call.asked)
        if answer.executed == YES:
            self.acknowledged.append((answer, call))
        if self.word is None or call.answered >= self.word[1].answered:
            self.word = answer, call

    def holds(self) -> list[tuple[float, float, Call]]:
        """From when until when it was promised the output, by which call."""
        spans = []
        for _, call in self.acknowledged:
            until = self._given_back_after(call)
            if call.answered < until:
                spans.append((call.answered, until, call))
        return spans

    def _given_back_after(self, call: Call) -> float:
        return min((back.asked for back in self.abandoned if _end(back) > call.asked), default=FOREVER)

    @property
    def is_held(self) -> bool:
        return any(until == FOREVER for _, until, _ in self.holds())

    def applied_twice(self) -> Sequence[Call]:
        """Two calls that were both told that they applied it, and nobody gave it back between them."""
        applied = [call for answer, call in self.acknowledged if answer.value is True]
        for one, other in pairwise(applied):
            if self._given_back_after(one) == self._given_back_after(other):
                return one, other
        return ()

    def is_named(self, place: Place) -> bool:
        """Whether its last word lists the output as held."""
        return self.word is not None and place in places(self.word[0], "held")

    @property
    def last_was_acknowledged(self) -> bool:
        return self.word is not None and self.word[0].executed == YES


def _end(call: Call) -> float:
    return call.answered or FOREVER


Claims = dict[Place, dict[str, Claim]]


def spender_of(item: Item) -> str:
    """Its txid and input, in hexadecimal, as a record has them."""
    _, _, _, spender, vin, _ = item
    return str(spender) + int(vin).to_bytes(4, "little").hex()


def claims_of(calls: Iterable[Call]) -> Claims:
    """By output, by spender. calls: in the order in which they were asked."""
    claims: Claims = defaultdict(lambda: defaultdict(Claim))
    for item, answer, call in events(calls, (*SPENDS, "abandon")):
        claims[item[1], item[2]][spender_of(item)].add(answer, call)
    return claims


def held_twice(spenders: dict[str, Claim]) -> Sequence[Call]:
    """Two spenders who were promised the same output at the same time: the calls that say so."""
    spans = sorted(
        ((since, until, spender, call) for spender, claim in spenders.items() for since, until, call in claim.holds()),
        key=lambda span: span[:3],
    )
    latest: dict[str, tuple[float, Call]] = {}
    for since, until, spender, call in spans:
        for other, (other_until, other_call) in latest.items():
            if other != spender and since < other_until:
                return other_call, call
        if until > latest.get(spender, (0.0, call))[0]:
            latest[spender] = until, call
    return ()
