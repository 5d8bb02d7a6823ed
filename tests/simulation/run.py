"""One seed, or many: what a run came to."""

from collections.abc import Callable
from dataclasses import dataclass

from broker.core import Core
from tests.simulation.planted import SOUND, Mutant
from tests.simulation.shared_set_world import SharedSetWorld
from tests.simulation.world import CoreFactory, World


@dataclass(frozen=True, slots=True)
class Outcome:
    """steps: events after each of which the invariants held. violation: what did not hold, None where all did."""

    seed: int
    steps: int
    violation: str | None


def run_seed(seed: int, make_core: CoreFactory = Core, trace: Callable[[str], None] | None = None) -> Outcome:
    """Runs one seed. Whatever the core raises is a violation too: it would have ended the daemon."""
    world = World(seed, make_core, trace)
    try:
        return Outcome(seed, world.run(), None)
    except Exception as error:
        return Outcome(seed, world.steps, f"{type(error).__name__}: {error}")


def run_records_seed(seed: int, mutant: Mutant = SOUND, trace: Callable[[str], None] | None = None) -> Outcome:
    """One seed of daemons on one set of records."""
    with mutant.planted() as steps:
        world = SharedSetWorld(seed, steps, trace)
        try:
            return Outcome(seed, world.run(), None)
        except Exception as error:
            return Outcome(seed, world.taken, f"{type(error).__name__}: {error}")
