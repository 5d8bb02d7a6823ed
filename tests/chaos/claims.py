"""What the answers of a run say of its outputs: who must hold each, who may, and for how long.

An acknowledged spend counts from its answer on, until somebody asks to have it back; one that was acknowledged while
that was under way counts for nothing, as nobody can say which came first. A spender's attempts may overlap: what one of
them was refused says nothing about what another holds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from protocol.codes import REJECTIONS, UNKNOWN
from tests.chaos.history import YES, Answer, Invocation, Item, events

SPENDS: Final = ("transaction", "spend")
FOREVER: Final = float("inf")

HELD: Final = "held"
FREE: Final = "not held"
OPEN: Final = "open"

Place = tuple[int, int]  # an output: which transaction, which of its outputs
Word = tuple[Answer, Invocation]


def named(answer: Answer) -> set[Place]:
    """What the answer says that its spender may still hold."""
    return {(one, other) for one, other in answer.held}


@dataclass(slots=True)
class Claim:
    """What one spender was told of one output. words: in the order in which they were asked."""

    place: Place
    words: list[Word] = field(default_factory=list)

    @property
    def calls(self) -> list[Invocation]:
        return [call for _, call in self.words]

    @property
    def asked(self) -> float:
        """When it was first asked for."""
        return min((call.asked for _, call in self._spends()), default=FOREVER)

    def _spends(self) -> Iterator[Word]:
        return ((answer, call) for answer, call in self.words if call.operation != "abandon")

    def _abandons(self) -> Iterator[Word]:
        """Those that may have been executed."""
        return (word for word in self.words if word[1].operation == "abandon" and word[0].executed != "no")

    def _acknowledged(self) -> list[Word]:
        return [word for word in self._spends() if word[0].executed == YES]

    def _landed(self, word: Word) -> float:
        """When the last of it must have been executed. An `unknown` may land late, but not once it is quiet."""
        answer, call = word
        if answer.executed == YES:
            return call.answered
        return min((one.asked for _, one in self.words if one.quiet and one.asked > call.asked), default=FOREVER)

    def holds(self) -> list[tuple[float, float, Invocation]]:
        """From when until when it was promised the output, by which call."""
        spans = []
        for _, call in self._acknowledged():
            until = min(
                (back[1].asked for back in self._abandons() if self._landed(back) > call.asked), default=FOREVER
            )
            if call.answered < until:
                spans.append((call.answered, until, call))
        return spans

    @property
    def is_held(self) -> bool:
        """Whether it was promised the output, and has not asked to give it back."""
        return any(until == FOREVER for _, until, _ in self.holds())

    def is_promised(self, since: float, until: float) -> bool:
        """Whether it was promised the output all that time."""
        return any(begin <= since and until <= end for begin, end, _ in self.holds())

    @property
    def word(self) -> Word | None:
        """The last answer to a spend, unless all was given back since."""
        last = max(self._spends(), key=lambda word: word[1].answered or FOREVER, default=None)
        if last is not None and any(
            answer.executed == YES and call.asked > last[1].answered for answer, call in self._abandons()
        ):
            return None
        return last

    @property
    def is_named(self) -> bool:
        """Whether its last word says that it may hold the output."""
        return self.word is not None and self.place in named(self.word[0])

    @property
    def state(self) -> str:
        """HELD, FREE, or OPEN while asking again would tell."""
        quiet = [word for word in self.words if word[1].quiet and _is_word(word[0])]
        if quiet:
            answer, call = quiet[-1]
            if answer.executed == UNKNOWN:
                return OPEN
            if call.operation == "abandon":
                return FREE
            return HELD if answer.executed == YES or self.place in named(answer) or self.is_held else FREE
        if self.is_held:
            return HELD
        is_open = any(answer.executed == UNKNOWN for answer, _ in self._spends()) or self.is_named
        may_be_back = any(answer.executed == UNKNOWN for answer, _ in self._abandons())
        return OPEN if is_open or (may_be_back and self._acknowledged()) else FREE

    # ---- answers that can't be right beside each other

    def problems(self) -> list[str]:
        found = ["applied a second time"] if self._is_applied_twice() else []
        for word in self.words:
            answer, call = word
            if answer.executed != YES:
                continue
            if call.operation != "abandon":
                if answer.value is False and not self._may_be_held_before(call):
                    found.append("said to be its own before, which it was not")
            elif answer.value is True and not self._may_be_held_before(call):
                found.append("abandoned, and said to be held, which it was not")
            elif answer.value is False and self._must_be_held_before(call):
                found.append("abandoned, and said not to be held, which it was")
        return found

    def _is_applied_twice(self) -> bool:
        """Two attempts were told that they applied it, and nobody can have given it back between them."""
        applied = [call for answer, call in self._acknowledged() if answer.value is True]
        return any(
            not any(back[1].asked < other.answered and self._landed(back) > one.asked for back in self._abandons())
            for one, other in combinations(applied, 2)
        )

    def _may_be_held_before(self, call: Invocation) -> bool:
        for word in self._spends():
            answer, other = word
            if other is call or other.asked >= call.answered:
                continue
            overlaps = self._landed(word) > call.asked if answer.executed != "no" else other.answered > call.asked
            if overlaps or (answer.executed == "no" and self.place in named(answer)):
                return True
            if answer.executed != "no" and not self._was_given_back(self._landed(word), call.asked):
                return True
        return False

    def _must_be_held_before(self, call: Invocation) -> bool:
        return any(
            other.answered < call.asked
            and not any(
                back[1] is not call and back[1].asked < call.answered and self._landed(back) > other.asked
                for back in self._abandons()
            )
            for _, other in self._acknowledged()
        )

    def _was_given_back(self, since: float, until: float) -> bool:
        return any(
            answer.executed == YES and since <= call.asked and call.answered <= until
            for answer, call in self._abandons()
        )


def _is_word(answer: Answer) -> bool:
    """It says something about the output: it is no fault that kept it from being asked."""
    return answer.executed != "no" or answer.code in REJECTIONS


Claims = dict[Place, dict[bytes, Claim]]


def spending_data(spender: str, vin: int) -> bytes:
    """As a record has them. spender: a txid in hexadecimal, wire order."""
    return bytes.fromhex(spender) + int(vin).to_bytes(4, "little")


def claims_of(calls: Iterable[Invocation], first: int = 0) -> Claims:
    """By output, by spending data. calls: in the order in which they were asked. first: where in an item the output
    stands, its spender and its input following."""
    claims: Claims = {}
    for item, answer, call in events(calls, (*SPENDS, "abandon")):
        place, data = place_of(item, first), spending_data(item[first + 2], item[first + 3])
        claim = claims.setdefault(place, {}).setdefault(data, Claim(place))
        claim.words.append((answer, call))
    return claims


def place_of(item: Item, first: int) -> Place:
    return item[first], item[first + 1]


def held_twice(spenders: dict[bytes, Claim]) -> Sequence[Invocation]:
    """Two spenders who were promised the same output at the same time: the calls that say so."""
    spans = sorted(
        ((since, until, data, call) for data, claim in spenders.items() for since, until, call in claim.holds()),
        key=lambda span: span[:3],
    )
    latest: dict[bytes, tuple[float, Invocation]] = {}
    for since, until, data, call in spans:
        for other, (other_until, other_call) in latest.items():
            if other != data and since < other_until:
                return other_call, call
        if until > latest.get(data, (0.0, call))[0]:
            latest[data] = until, call
    return ()


def shown(*claims: Claim | None) -> list[Invocation]:
    """The calls that these are about, in the order in which they were asked."""
    calls = {id(call): call for claim in claims if claim is not None for call in claim.calls}
    return sorted(calls.values(), key=lambda call: call.asked)
