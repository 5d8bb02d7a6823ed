"""Random sequences of calls on one record, which is what the calls before have made of it. A history is given by its
seed; a difference in it is a case of its own, with the record as it was then."""

from random import Random
from typing import Final

from tests.conformance import arguments, records
from tests.conformance.comparison import Case, Difference, judge
from tests.conformance.implementations import FAILED, Bins, Implementation

CALLS: Final = 40  # of one history
_FUNCTIONS: Final = sorted(arguments.PARAMETERS)


def run_history(seed: int, expected: Implementation, actual: Implementation) -> tuple[int, Difference | None]:
    """How many calls there were, and the difference that ended it."""
    random = Random(seed)
    bins: Bins | None = records.drawn(random)
    usual = random.choice([0.5, 0.7, 0.9])
    for call in range(1, CALLS + 1):
        function = random.choice(_FUNCTIONS)
        args = arguments.drawn(function, random, bins, usual)
        outcomes = expected.hold(bins)(function, args), actual.hold(bins)(function, args)
        if difference := judge(Case(function, args, bins), *outcomes):
            return call, difference
        if outcomes[1] is not FAILED:
            bins = outcomes[1].bins
    return CALLS, None
