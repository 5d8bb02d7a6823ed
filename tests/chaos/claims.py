"""What the answers of a run say of its outputs: who must hold each, who may, and for how long.

An acknowledged spend counts from its answer on, until somebody asks to have it back; one that was acknowledged while
that was under way counts for nothing, as nobody can say which came first. A spender's attempts may overlap: what one of
them was refused says nothing about what another holds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple

from protocol.codes import REJECTIONS, SPENT, UNKNOWN
from tests.chaos.history import YES, Answer, Invocation, Item, events

SPENDS: Final = ("transaction", "spend")
FOREVER: Final = float("inf")

HELD: Final = "held"
FREE: Final = "not held"
OPEN: Final = "open"

Coin = tuple[int, int]  # an output: the number of its parent, and its vout


class Completion(NamedTuple):
    """What an invocation was answered about one output."""

    answer: Answer
    invocation: Invocation


def named(answer: Answer) -> set[Coin]:
    """What the answer says that its spender may still hold."""
    return {(parent, vout) for parent, vout in answer.held}


@dataclass(slots=True)
class Claim:
    """What one spender was told of one output. completions: in the order in which they were asked."""

    coin: Coin
    completions: list[Completion] = field(default_factory=list)

    @property
    def invocations(self) -> list[Invocation]:
        return [invocation for _, invocation in self.completions]

    @property
    def asked(self) -> float:
        """When it was first asked for."""
        return min((invocation.asked for _, invocation in self._spends()), default=FOREVER)

    def _spends(self) -> Iterator[Completion]:
        return (completion for completion in self.completions if completion.invocation.operation != "unspend")

    def _unspends(self) -> Iterator[Completion]:
        """Those that may have been executed."""
        return (
            completion
            for completion in self.completions
            if completion.invocation.operation == "unspend" and completion.answer.executed != "no"
        )

    def _found_free(self) -> Iterator[Invocation]:
        """The unspends after which it did not hold the output, whether they did that or not."""
        return (
            invocation
            for answer, invocation in self.completions
            if invocation.operation == "unspend" and (answer.executed == YES or answer.code == SPENT)
        )

    def _acknowledged(self) -> list[Completion]:
        return [completion for completion in self._spends() if completion.answer.executed == YES]

    def _landed(self, completion: Completion) -> float:
        """When the last of it must have been executed. An `unknown` may land late, but not once it is quiet."""
        answer, invocation = completion
        if answer.executed == YES:
            return invocation.answered
        return min(
            (later.asked for later in self.invocations if later.quiet and later.asked > invocation.asked),
            default=FOREVER,
        )

    def holds(self) -> list[tuple[float, float, Invocation]]:
        """From when until when it was promised the output, by which invocation."""
        spans = []
        for _, invocation in self._acknowledged():
            until = min(
                (back.invocation.asked for back in self._unspends() if self._landed(back) > invocation.asked),
                default=FOREVER,
            )
            if invocation.answered < until:
                spans.append((invocation.answered, until, invocation))
        return spans

    @property
    def is_held(self) -> bool:
        """Whether it was promised the output, and has not asked to give it back."""
        return any(until == FOREVER for _, until, _ in self.holds())

    def is_promised(self, since: float, until: float) -> bool:
        """Whether it was promised the output all that time."""
        return any(begin <= since and until <= end for begin, end, _ in self.holds())

    @property
    def last_spend(self) -> Completion | None:
        """The spend that was answered last, unless all was given back since."""
        last = max(self._spends(), key=lambda spend: spend.invocation.answered or FOREVER, default=None)
        if last is not None and any(back.asked > last.invocation.answered for back in self._found_free()):
            return None
        return last

    @property
    def is_named(self) -> bool:
        """Whether its last spend was told that it may hold the output."""
        return self.last_spend is not None and self.coin in named(self.last_spend.answer)

    @property
    def state(self) -> str:
        """HELD, FREE, or OPEN while asking again would tell."""
        quiet = [last for last in self.completions if last.invocation.quiet and _is_about_the_coin(last.answer)]
        if quiet:
            answer, invocation = quiet[-1]
            if answer.executed == UNKNOWN:
                return OPEN
            if invocation.operation == "unspend":
                return FREE
            return HELD if answer.executed == YES or self.coin in named(answer) or self.is_held else FREE
        if self.is_held:
            return HELD
        is_open = any(answer.executed == UNKNOWN for answer, _ in self._spends()) or self.is_named
        may_be_back = any(answer.executed == UNKNOWN for answer, _ in self._unspends())
        return OPEN if is_open or (may_be_back and self._acknowledged()) else FREE

    # ---- answers that can't be right beside each other

    def problems(self) -> list[str]:
        found = ["applied a second time"] if self._is_applied_twice() else []
        for answer, invocation in self.completions:
            is_back = invocation.operation == "unspend"
            if is_back and answer.code == SPENT and self._must_be_held_before(invocation):
                found.append("taken back, and said to be another's, which it was not")
            if answer.executed != YES:
                continue
            if not is_back:
                if answer.value is False and not self._may_be_held_before(invocation):
                    found.append("said to be its own before, which it was not")
            elif answer.value is True and not self._may_be_held_before(invocation):
                found.append("taken back, and said to be held, which it was not")
            elif answer.value is False and self._must_be_held_before(invocation):
                found.append("taken back, and said to be unspent, which it was not")
        return found

    def _is_applied_twice(self) -> bool:
        """Two attempts were told that they applied it, and nobody can have given it back between them."""
        applied = [invocation for answer, invocation in self._acknowledged() if answer.value is True]
        return any(
            not any(
                back.invocation.asked < later.answered and self._landed(back) > earlier.asked
                for back in self._unspends()
            )
            for earlier, later in combinations(applied, 2)
        )

    def _may_be_held_before(self, invocation: Invocation) -> bool:
        for spend in self._spends():
            answer, other = spend
            if other is invocation or other.asked >= invocation.answered:
                continue
            overlaps = (
                self._landed(spend) > invocation.asked if answer.executed != "no" else other.answered > invocation.asked
            )
            if overlaps or (answer.executed == "no" and self.coin in named(answer)):
                return True
            if answer.executed != "no" and not self._was_given_back(self._landed(spend), invocation.asked):
                return True
        return False

    def _must_be_held_before(self, invocation: Invocation) -> bool:
        return any(
            other.answered < invocation.asked
            and not any(
                back.invocation is not invocation
                and back.invocation.asked < invocation.answered
                and self._landed(back) > other.asked
                for back in self._unspends()
            )
            for _, other in self._acknowledged()
        )

    def _was_given_back(self, since: float, until: float) -> bool:
        return any(since <= back.asked and back.answered <= until for back in self._found_free())


def _is_about_the_coin(answer: Answer) -> bool:
    """It says something about the output: it is no fault that kept it from being asked."""
    return answer.executed != "no" or answer.code in REJECTIONS


Claims = dict[Coin, dict[bytes, Claim]]


def spending_data(spender: str, vin: int) -> bytes:
    """As a record has them. spender: a txid in hexadecimal, wire order."""
    return bytes.fromhex(spender) + int(vin).to_bytes(4, "little")


def claims_of(invocations: Iterable[Invocation], first: int = 0) -> Claims:
    """By output, by spending data. invocations: in the order in which they were asked. first: where in an item the
    output stands, its spender and its input following."""
    claims: Claims = {}
    for item, answer, invocation in events(invocations, (*SPENDS, "unspend")):
        coin, data = coin_of(item, first), spending_data(item[first + 2], item[first + 3])
        claim = claims.setdefault(coin, {}).setdefault(data, Claim(coin))
        claim.completions.append(Completion(answer, invocation))
    return claims


def coin_of(item: Item, first: int) -> Coin:
    return item[first], item[first + 1]


def held_twice(spenders: dict[bytes, Claim]) -> Sequence[Invocation]:
    """Two spenders who were promised the same output at the same time: the invocations that say so."""
    spans = sorted(
        (
            (since, until, data, invocation)
            for data, claim in spenders.items()
            for since, until, invocation in claim.holds()
        ),
        key=lambda span: span[:3],
    )
    latest: dict[bytes, tuple[float, Invocation]] = {}
    for since, until, data, invocation in spans:
        for other, (other_until, other_invocation) in latest.items():
            if other != data and since < other_until:
                return other_invocation, invocation
        if until > latest.get(data, (0.0, invocation))[0]:
            latest[data] = until, invocation
    return ()


def evidence_of(*claims: Claim | None) -> list[Invocation]:
    """The invocations that these claims come from, in the order in which they were asked."""
    invocations = {
        id(invocation): invocation for claim in claims if claim is not None for invocation in claim.invocations
    }
    return sorted(invocations.values(), key=lambda invocation: invocation.asked)
