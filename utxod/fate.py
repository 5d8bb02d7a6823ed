"""What became of a request, item by item, as far as its receipts carry it: executed, not executed, or not known. What
the receipts don't tell is not known; nothing is concluded from what is missing in them.

An id is its submitter's choice: several requests may bear the same. They are told apart by when they came.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from broker.receipts.reading import Answer, Execution, FanInAnswer, Found, Part
from broker.receipts.records import FOLLOW_UP, PART, WHOLE, Outcome
from protocol import codes

from .plurals import many

YES: Final = "yes"
NO: Final = codes.NO
UNKNOWN: Final = codes.UNKNOWN
MIXED: Final = "mixed"  # of several items, that differ


class Verdict(NamedTuple):
    """executed: YES, NO or UNKNOWN. reason: in words."""

    executed: str
    reason: str


class Reply(NamedTuple):
    """What was answered. by: the daemon itself, or a worker. code: OK where it went well."""

    time: int
    by: str
    code: str
    executed: str
    message: str = ""


_WELL: Final = Outcome(0, 0, 1, codes.OK, "")


class Held(NamedTuple):
    """What one dispatch had of a request. outcomes: of its items that did not plainly go well, by item."""

    execution: Execution
    part: Part
    outcomes: dict[int, Outcome]

    @property
    def of_item(self) -> int | None:
        """Of a part, the item that it is for."""
        return self.part.mark - PART if self.part.mark >= PART else None

    def outcome(self, item: int) -> Outcome | None:
        """Of the request's item; None where nothing is known of it."""
        own = 0 if self.of_item is not None else item
        told = self.outcomes.get(WHOLE) or self.outcomes.get(own)
        if told is not None or not self.execution.done:
            return told
        return _WELL if self.execution.is_whole else None


@dataclass(slots=True)
class Request:
    """came: when. arrived: the same, on its daemon's clock. held: by dispatches, in their order. parts: work for single
    items, that its answer waited for; part_answers: the broker's own to such. answers: its own to the request, at most
    one. fan_in: the answer when all parts were done; fanned_in: what that says of single items. again: by item, its
    own dispatches, of a read whose worker was lost."""

    epoch: int
    came: int
    arrived: int
    operation: str = ""
    items: int = 0
    held: list[Held] = field(default_factory=list)
    parts: list[Held] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    part_answers: list[Answer] = field(default_factory=list)
    fan_in: FanInAnswer | None = None
    fanned_in: dict[int, Outcome] = field(default_factory=dict)
    again: dict[int, list[Held]] = field(default_factory=dict)
    ended: int = 0

    def singled_out(self) -> list[int]:
        """The items of which something is told that is not told of all."""
        items = {item for held in self.held for item in held.outcomes}
        items |= {held.part.mark - PART for held in self.parts} | {answer.mark - PART for answer in self.part_answers}
        items |= self.fanned_in.keys()
        return sorted(items - {WHOLE})

    def add_part(self, held: Held) -> None:
        """Work for one of its items: what follows from its execution, or the item once more."""
        self.parts.append(held)
        if held.execution.operation == self.operation and held.of_item is not None:
            self.again.setdefault(held.of_item, []).append(held)

    def lacks(self, item: int) -> bool:
        """Whether it is known to have no such item."""
        return 0 < self.items <= item

    def judge(self, item: int) -> Verdict:
        """What became of the item."""
        if self._are_several:
            return Verdict(UNKNOWN, "several requests that came at the same moment bear this id")
        refusal = next((answer for answer in self.answers if answer.refused), None)
        if refusal is not None:
            return Verdict(NO, f"it was refused on arrival, {refusal.code}, and handed to no worker")
        if self.lacks(item):
            return Verdict(UNKNOWN, f"the request has {many(self.items, 'item')} only")
        attempts = [self._judge_held(held, item) for held in self._of(item)]
        if not attempts:
            return self._judge_unheld()
        for executed in (YES, UNKNOWN):
            found = [verdict for verdict in attempts if verdict.executed == executed]
            if found:
                return found[-1]
        return attempts[-1]

    def reply(self, item: int) -> Reply | None:
        """The answer that the submitter was sent; None where none is known."""
        if self.lacks(item):
            return None
        for answer in self.answers:
            return Reply(answer.time, "the daemon", answer.code, answer.executed, answer.message)
        if self.fan_in is not None:
            told = self._fanned_in(item) or _WELL
            if told is not _WELL or self.fan_in.is_whole:
                return Reply(self.fan_in.time, "the daemon, when all parts were done", told.code, told.executed)
        for held in self.held:
            told_of_it = held.outcome(item)
            if held.execution.done and told_of_it is not None and told_of_it.code != FOLLOW_UP:
                # Of a read that is asked a second time nobody knows of the first.
                is_fault = told_of_it.code in codes.FAULTS and len(self.held) > 1
                executed = UNKNOWN if is_fault else told_of_it.executed
                return Reply(held.execution.done, "its worker", told_of_it.code, executed)
        return None

    def late(self, item: int) -> Reply | None:
        """What a worker answered when the submitter had been answered already."""
        if self.lacks(item):
            return None
        for answer in self.answers:
            for held in self._of(item):
                told = held.outcome(item)
                if told is not None and held.execution.done >= answer.time:
                    if told.code == FOLLOW_UP:
                        text = "its own record was written; the work on others that belongs to it was not begun"
                        return Reply(held.execution.done, "its worker", codes.OK, "", text)
                    return Reply(held.execution.done, "its worker", told.code, told.executed)
        return None

    def _of(self, item: int) -> Iterator[Held]:
        """The dispatches that were to execute the item: those of the request; and of a read whose worker was lost,
        those of the item alone. Other parts follow from its execution."""
        yield from self.held
        yield from self.again.get(item, ())

    @property
    def may_be_told_yet(self) -> bool:
        """Whether a worker may have something of it still."""
        under_way = (held.execution for held in (*self.held, *self.parts))
        return not self.ended and any(not execution.done and not execution.lost for execution in under_way)

    @property
    def _are_several(self) -> bool:
        """Whether it is more than one request: a write is handed out once, a read again where its worker was lost, and
        what the broker refuses, or gives up as not executed, never."""
        never = any(answer.refused or answer.executed == NO for answer in self.answers)
        return any(not held.execution.lost for held in self.held[:-1]) or (never and bool(self.held))

    def _fanned_in(self, item: int) -> Outcome | None:
        return self.fanned_in.get(WHOLE) or self.fanned_in.get(item)

    def _judge_held(self, held: Held, item: int) -> Verdict:
        execution, told = held.execution, held.outcome(item)
        worker = f"worker {execution.pid}"
        if told is not None and told.code == FOLLOW_UP:
            return self._judge_fanned_in(item)
        if told is not None:
            if told.code == codes.OK:
                return Verdict(YES, f"{worker} answered that it was done")
            if told.executed == NO:
                return Verdict(NO, f"{worker} answered {told.code}, and that nothing of it was executed")
            return Verdict(UNKNOWN, f"{worker} answered {told.code}, and does not know whether it was executed")
        if execution.done:
            return Verdict(UNKNOWN, f"{worker} has answered, but what it said is not kept whole")
        if execution.lost:
            return Verdict(UNKNOWN, f"{worker} {execution.reason} while it had it: nobody knows how far it came")
        if self.ended:
            return Verdict(UNKNOWN, f"the daemon was gone while {worker} had it: nobody knows how far it came")
        return Verdict(UNKNOWN, f"{worker} has it still, or its answer is not in the receipts")

    def _judge_fanned_in(self, item: int) -> Verdict:
        """Of an item whose own record was written, and that led to further work."""
        if self._fanned_in(item) is not None:
            return Verdict(UNKNOWN, "its own record was written; the work on others that belongs to it failed")
        if self.fan_in is not None and self.fan_in.is_whole:
            return Verdict(YES, "its own record was written, and all the work that belongs to it was done")
        return Verdict(UNKNOWN, "its own record was written; whether all the work that belongs to it was, is not known")

    def _judge_unheld(self) -> Verdict:
        for answer in self.answers:
            if answer.executed == NO:
                return Verdict(NO, f"it was handed to no worker: {answer.code}, {answer.message}")
            return Verdict(UNKNOWN, "a worker had had it, of which nothing is kept here any more")
        return Verdict(UNKNOWN, "its beginning is not kept here any more")


def requests_of(found: Found) -> list[Request]:
    """All that bear the id, by when they came."""
    requests: dict[tuple[int, int], Request] = {}

    def request(epoch: int, came: int, arrived: int, operation: str, items: int) -> Request:
        asked = requests.setdefault((epoch, arrived), Request(epoch, came, arrived))
        asked.operation, asked.items = operation or asked.operation, items or asked.items
        asked.ended = found.daemons[epoch].ended if epoch in found.daemons else 0
        return asked

    def owner(epoch: int, came: int, arrived: int) -> Request:
        """Whose part it is that arrived then: a read's with it, a follow-up later. Where what it began with has been
        overwritten, one of which no more is known."""
        own = arrivals.setdefault(epoch, [])
        place = bisect_right(own, arrived)
        if not place:
            own.insert(0, arrived)
            return request(epoch, came, arrived, "", 0)
        return requests[epoch, own[place - 1]]

    parts: list[Held] = []
    for execution in found.executions:
        by_place = _by_place_and_item(execution)
        for part in execution.parts:
            held = Held(execution, part, by_place.get(part.place, {}))
            if held.of_item is not None:
                parts.append(held)
            else:
                own = request(execution.epoch, part.came, part.arrived, execution.operation, part.mark)
                own.held.append(held)
    for answer in found.answers:
        if answer.mark < PART:
            request(answer.epoch, answer.came, answer.arrived, answer.operation, answer.mark).answers.append(answer)
    for fan_in in found.fan_ins:
        asked = request(fan_in.epoch, fan_in.came, fan_in.arrived, "", 0)
        asked.fan_in = fan_in
        asked.fanned_in = {item: outcome for outcome in fan_in.outcomes for item in _items(outcome)}
    arrivals: dict[int, list[int]] = {}
    for epoch, arrived in sorted(requests):
        arrivals.setdefault(epoch, []).append(arrived)
    for held in parts:
        owner(held.execution.epoch, held.part.came, held.part.arrived).add_part(held)
    for answer in found.answers:
        if answer.mark >= PART:
            owner(answer.epoch, answer.came, answer.arrived).part_answers.append(answer)
    return sorted(requests.values(), key=lambda asked: asked.came)


def _by_place_and_item(execution: Execution) -> dict[int, dict[int, Outcome]]:
    by_place: dict[int, dict[int, Outcome]] = {}
    for outcome in execution.outcomes:
        by_place.setdefault(outcome.request, {}).update(dict.fromkeys(_items(outcome), outcome))
    return by_place


def _items(outcome: Outcome) -> range:
    return range(outcome.item, outcome.item + outcome.items)
