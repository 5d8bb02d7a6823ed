"""A mutant: an implementation of the rules with one thing changed."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tests.conformance.implementations import Implementation


class Mutant(NamedTuple):
    """change: what stood there, and what stands there now; with the function it is in, it names the mutant. rules:
    those that it can be seen in. make: raises an error where the change makes no program."""

    file: str
    line: int
    function: str
    change: str
    rules: frozenset[str]
    make: Callable[[], Implementation]

    @property
    def name(self) -> str:
        return f"{self.function}: {self.change}"


def tell(before: str, after: str) -> str:
    """A line as it was and is."""
    return f"{' '.join(before.split())}  =>  {' '.join(after.split())}"


def reach(bodies: Mapping[str, str], rules: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """By function (or constant): the rules that it has a part in. bodies: the text of each. rules: by rule, the
    function that is called."""
    calls = {name: {other for other in re.findall(r"\w+", body) if other in bodies} for name, body in bodies.items()}
    reached: dict[str, set[str]] = {name: set() for name in bodies}
    for rule, function in rules.items():
        for name in _closure(function, calls):
            reached[name].add(rule)
    return {name: frozenset(found) for name, found in reached.items()}


def _closure(first: str, calls: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += calls[name]
    return seen
