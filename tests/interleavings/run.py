"""The models by what they are of, and one or all of them explored."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from tests.interleavings import accepts, coins, conflicts, counters, creations
from tests.interleavings.explorer import MOST_STATES, Explorer, Verdict
from tests.interleavings.models import Model
from tests.simulation.planted import SOUND, Mutant
from tests.simulation.replay import Replayer

FAMILIES: Final[dict[str, Callable[[], Iterator[Model]]]] = {
    "coins": coins.models,
    "conflicts": conflicts.models,
    "counters": counters.models,
    "creations": creations.models,
    "accepts": accepts.models,
}


# A bug is nearly always near the start of some model: all are looked at so far before one is looked at further.
_DEPTHS: Final = (500, 5_000, MOST_STATES)


def explore(model: Model, mutant: Mutant = SOUND, most_states: int = MOST_STATES) -> Verdict:
    with mutant.planted() as steps:
        replayer = Replayer(utxo_batch_size=model.utxo_batch_size, is_atomic=model.is_atomic)
        return Explorer(model, steps, replayer).run(most_states)


def find(family: str, mutant: Mutant) -> Verdict | None:
    """The first model that finds it."""
    verdicts = (explore(model, mutant, depth) for depth in _DEPTHS for model in FAMILIES[family]())
    return next((verdict for verdict in verdicts if verdict.violation is not None), None)


def larger(family: str) -> Iterator[Model]:
    """With faults of more kinds than the tests take the time for, and one more; creations, and what has faults of every
    kind already, have so many states that they make do with the number they have."""
    for model in FAMILIES[family]():
        more = 0 if family == "creations" or (model.in_doubt and model.doubles) else 1
        if model.faults:
            yield replace(model, faults=model.faults + more, in_doubt=model.late, doubles=model.late)
        else:
            yield model
