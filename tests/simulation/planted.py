"""A planted bug, in the rules or in the workers: in its place for as long as somebody looks for it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.simulation.records import Steps


class Mutant(NamedTuple):
    """rules: texts of utxo.lua, and what stands in their place. workers: modules or classes, a name there, and what it
    means instead."""

    rules: Sequence[tuple[str, str]] = ()
    workers: Sequence[tuple[Any, str, Any]] = ()

    @contextmanager
    def planted(self) -> Iterator[Steps]:
        """The steps, while the bug is in the workers."""
        with ExitStack() as stack:
            for target, name, value in self.workers:
                stack.enter_context(patch.object(target, name, value))
            yield Steps(*self.rules)


def in_rule(text: str, instead: str) -> Mutant:
    return Mutant(rules=[(text, instead)])


def in_worker(targets: Sequence[Any], name: str, value: Any) -> Mutant:
    """targets: the modules, or classes, that know it by this name."""
    return Mutant(workers=[(target, name, value) for target in targets])


SOUND = Mutant()
