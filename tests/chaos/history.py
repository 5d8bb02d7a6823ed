"""The history of a run of chaos, or of rivals: what each client asked, and what it was answered, in a file of its own.

A line of JSON for each invocation before it is sent, and one for its answers. Each line is one system call, so that a
client that is killed loses none; its last line may be torn, and is then ignored.

Items of a chaos run, by operation: create [parent]; spend, transaction (the spends of one), unspend [parent, vout,
spender, vin, early]; get [parent]; outpoint [parent, vout]; set_locked [parent, value]; increment [parent, delta].
early: whether it is judged at the height before the one at which a coinbase is mature. Those of a rivals run:
tests/rivals/questions.py.

Answers: [code, executed, value, held, request id], one per item; `executed` is "yes", "no" or "unknown"; value: a
spend's or unspend's result, a refusal's spender, what a read gave, a fault's message; request id: as an error tells it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

YES: Final = "yes"
CUT_OFF: Final = "CUT_OFF"  # the client was killed before its answer came

Item = tuple[Any, ...]


class Answer(NamedTuple):
    """held: the outputs that the spender may still hold, as the answer says, each by two numbers. request_id: with the
    item's index, of an error."""

    code: str
    executed: str
    value: Any = None
    held: Sequence[Sequence[int]] = ()
    request_id: str = ""


@dataclass(slots=True)
class Invocation:
    """asked, due, answered: seconds, monotonic. answered: 0.0 where no answer came. quiet: asked when nothing else was
    under way, and nothing broken."""

    client: str
    number: int
    operation: str
    items: Sequence[Item]
    asked: float
    due: float
    answered: float
    answers: Sequence[Answer]
    quiet: bool = False

    def __str__(self) -> str:
        took = f"answered after {self.answered - self.asked:.3f} s" if self.answered else "never answered"
        listed = "; ".join(
            f"{list(item)} -> {' '.join(map(str, answer))}"
            for item, answer in zip(self.items, self.answers, strict=True)
        )
        return (
            f"{self.client} #{self.number} {self.operation} at {self.asked:.3f}, due in {self.due - self.asked:.3f} s, "
            f"{took}: {listed}"
        )


class HistoryFile:
    """Not for two threads at once with the same invocation number; lines of several may interleave, whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def asked(self, number: int, operation: str, items: Sequence[Item], now: float, due: float) -> None:
        self._write(["asked", number, operation, items, now, due])

    def answered(self, number: int, answers: Sequence[Answer], now: float) -> None:
        self._write(["answered", number, answers, now])

    def over(self, scenario: int) -> None:
        """Nothing more is asked that is of this scenario (`read_scenarios`)."""
        self._write(["over", scenario])

    def _write(self, line: Any) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


def read_history(path: Path, *, quiet: bool = False) -> list[Invocation]:
    invocations: dict[int, Invocation] = {}
    for kind, number, *rest in _lines(path):
        if kind == "asked":
            invocations[number] = _invocation(path.stem, number, rest, quiet)
        else:
            _answer(invocations[number], rest)
    return list(invocations.values())


def read_scenarios(path: Path) -> Iterator[tuple[int, list[Invocation]]]:
    """The invocations of each scenario, in the order in which they were asked, as soon as it is over: a long history is
    not held as a whole. An item's first field is the number of its scenario. Last come those that were not over."""
    scenarios: dict[int, list[Invocation]] = {}
    pending: dict[int, Invocation] = {}
    for kind, number, *rest in _lines(path):
        if kind == "over":
            yield number, scenarios.pop(number)
        elif kind == "asked":
            invocation = pending[number] = _invocation(path.stem, number, rest, quiet=False)
            scenarios.setdefault(invocation.items[0][0], []).append(invocation)
        else:
            _answer(pending.pop(number), rest)
    yield from scenarios.items()


def _invocation(client: str, number: int, rest: Sequence[Any], quiet: bool) -> Invocation:
    operation, items, asked, due = rest
    listed = [tuple(item) for item in items]
    cut_off = [Answer(CUT_OFF, "unknown")] * len(listed)
    return Invocation(client, number, operation, listed, asked, due, 0.0, cut_off, quiet)


def _answer(invocation: Invocation, rest: Sequence[Any]) -> None:
    answers, invocation.answered = rest
    invocation.answers = [Answer(*fields)._replace(held=tuple(fields[3])) for fields in answers]


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return  # the last one: empty, or torn when its writer was killed


def events(invocations: Iterable[Invocation], operations: Sequence[str]) -> Iterator[tuple[Item, Answer, Invocation]]:
    """Every item of the invocations of these operations, with its answer."""
    for invocation in invocations:
        if invocation.operation in operations:
            for item, answer in zip(invocation.items, invocation.answers, strict=True):
                yield item, answer, invocation
