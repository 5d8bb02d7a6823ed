"""What the answers of a chaos run say of the set: who must hold an output, who may, and who must not."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from .chaos_history import YES, Answer, Call, Item, events

HELD: Final = "held"
FREE: Final = "not held"
OPEN: Final = "open"


class Outpoint(NamedTuple):
    lot: int
    vout: int


@dataclass(slots=True)
class Claim:
    """What one spender was told of one output. state: HELD, FREE, or OPEN while an `unknown` has not been resolved.
    holds: the times (from, until) for which it was promised the output, by acknowledged answers alone."""

    state: str = FREE
    events: list[tuple[Answer, Call]] = field(default_factory=list)
    holds: list[tuple[float, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _late_spend: bool = False
    _late_abandon: bool = False

    def add(self, answer: Answer, call: Call) -> None:
        """The next thing that this spender asked of this output."""
        self.events.append((answer, call))
        if call.quiet:
            self._late_spend = self._late_abandon = False
        if call.operation == "abandon":
            self._abandoned(answer, call)
        else:
            self._spent(answer, call)

    def _spent(self, answer: Answer, call: Call) -> None:
        if answer.executed == YES:
            if answer.value is True and self.state == HELD and not self._late_abandon:
                self.problems.append("applied a second time")
            if answer.value is False and self.state == FREE and not self._late_spend:
                self.problems.append("said to be its own before, which it was not")
            if self.state != HELD and not self._late_abandon:
                self.holds.append((call.answered, float("inf")))
            self.state = OPEN if self._late_abandon else HELD
        elif answer.executed == "unknown":
            self._late_spend = True
            if self.state == FREE:
                self.state = OPEN
        elif call.quiet and call.operation == "spend":
            self.state = FREE if self.state == OPEN else self.state
        # A refusal changes nothing.

    def _abandoned(self, answer: Answer, call: Call) -> None:
        if answer.executed != "no" and self.holds and self.holds[-1][1] == float("inf"):
            self.holds[-1] = self.holds[-1][0], call.asked
        if answer.executed == YES:
            if answer.value is False and self.state == HELD and not self._late_abandon:
                self.problems.append("abandoned, and said not to be held, which it was")
            if answer.value is True and self.state == FREE and not self._late_spend:
                self.problems.append("abandoned, and said to be held, which it was not")
            self.state = OPEN if self._late_spend else FREE
        elif answer.executed == "unknown":
            self._late_abandon = True
            self.state = FREE if self.state == FREE else OPEN


Claims = dict[Outpoint, dict[bytes, Claim]]


def claims_of(calls: Iterable[Call]) -> Claims:
    """By outpoint, by spending data (txid and input number). calls: in the order in which they were asked."""
    claims: Claims = defaultdict(lambda: defaultdict(Claim))
    for item, answer, call in events(calls, ("spend", "transaction", "abandon")):
        claims[Outpoint(item[0], item[1])][spending_data(item)].add(answer, call)
    return claims


def spending_data(item: Item) -> bytes:
    _, _, spender, vin = item
    return bytes.fromhex(spender) + int(vin).to_bytes(4, "little")


def held_twice(spenders: dict[bytes, Claim]) -> Sequence[Claim]:
    """Two claims that were promised the same output at the same time."""
    spans = sorted(
        ((since, until, claim) for claim in spenders.values() for since, until in claim.holds),
        key=lambda span: span[:2],
    )
    for (_, until, one), (since, _, other) in pairwise(spans):
        if since < until and one is not other:
            return one, other
    return ()
